//! Leaving formats out of a schema (upstream's `StripUnsupportedFormatsPostProcess`).

use super::{Additional, Check, Structural};
use crate::format::OF_NUMBERS;

impl Structural {
    /// Without the formats of numbers, which say nothing of objects.
    pub fn for_objects(mut self) -> Self {
        self.strip();
        self
    }

    fn strip(&mut self) {
        let checks = std::mem::take(&mut self.checks).into_vec();
        let is_kept = |check: &Check| !matches!(check, Check::Format(name) if OF_NUMBERS.contains(&&**name));
        self.checks = checks.into_iter().filter(is_kept).collect();
        for check in &mut self.checks {
            match check {
                Check::AllOf(schemas) | Check::AnyOf(schemas) | Check::OneOf(schemas) => {
                    schemas.iter_mut().for_each(Self::strip);
                }
                Check::Not(schema) => schema.strip(),
                _ => {}
            }
        }
        self.properties.iter_mut().for_each(|(_, schema)| schema.strip());
        if let Some(items) = &mut self.items {
            items.strip();
        }
        if let Additional::Schema(schema) = &mut self.additional {
            schema.strip();
        }
    }
}
