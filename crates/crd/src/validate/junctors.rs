//! `anyOf`, `oneOf`, `allOf` and `not`.

use corten_meta::quote;
use serde_json::Value;

use super::Walk;
use super::fault::{Fault, Outcome};
use crate::structural::{Check, Structural};

impl Walk {
    /// Alternatives are checked as if the object were new: ratcheting is for the node as a whole.
    pub(super) fn junctors(self, value: &Value, schema: &Structural, path: &str) -> Outcome {
        let mut out = Outcome::default();
        let run = |schema: &Structural| self.checks(value, schema, path, None);
        for check in &schema.checks {
            if let Check::AnyOf(schemas) = check {
                any_of(schemas, &run, path, &mut out);
            }
        }
        for check in &schema.checks {
            if let Check::OneOf(schemas) = check {
                one_of(schemas, &run, path, &mut out);
            }
        }
        for check in &schema.checks {
            match check {
                Check::AllOf(schemas) => all_of(schemas, &run, path, &mut out),
                Check::Not(schema) if run(schema).is_valid() => {
                    let message = format!("{} must not validate the schema (not)", quote(path));
                    out.push(Fault::loose(message));
                }
                _ => {}
            }
        }
        out.applied();
        out
    }
}

/// The outcome that more checks applied to; the first where equal.
fn better(best: Option<Outcome>, other: Outcome) -> Option<Outcome> {
    match best {
        Some(best) if best.applied >= other.applied => Some(best),
        _ => Some(other),
    }
}

fn any_of(schemas: &[Structural], run: &dyn Fn(&Structural) -> Outcome, path: &str, out: &mut Outcome) {
    let mut best = None;
    for schema in schemas {
        let outcome = run(schema);
        if outcome.is_valid() {
            return out.merge(outcome);
        }
        best = better(best, outcome);
    }
    out.push(Fault::loose(format!(
        "{} must validate at least one schema (anyOf)",
        quote(path)
    )));
    if let Some(best) = best {
        out.merge(best);
    }
}

fn one_of(schemas: &[Structural], run: &dyn Fn(&Structural) -> Outcome, path: &str, out: &mut Outcome) {
    let (mut best, mut first, mut valid) = (None, None, 0);
    for schema in schemas {
        let outcome = run(schema);
        if outcome.is_valid() {
            valid += 1;
            best = None;
            first.get_or_insert(outcome);
        } else if valid == 0 {
            best = better(best, outcome);
        }
    }
    if valid == 1 {
        return first.into_iter().for_each(|outcome| out.merge(outcome));
    }
    let found = match valid {
        0 => "Found none valid".to_owned(),
        n => format!("Found {n} valid alternatives"),
    };
    out.push(Fault::loose(format!(
        "{} must validate one and only one schema (oneOf). {found}",
        quote(path)
    )));
    if let Some(best) = best {
        out.merge(best);
    }
}

fn all_of(schemas: &[Structural], run: &dyn Fn(&Structural) -> Outcome, path: &str, out: &mut Outcome) {
    let mut valid = 0;
    for schema in schemas {
        let outcome = run(schema);
        valid += usize::from(outcome.is_valid());
        out.merge(outcome);
    }
    if valid != schemas.len() {
        let none = if valid == 0 { ". None validated" } else { "" };
        out.push(Fault::loose(format!(
            "{} must validate all the schemas (allOf){none}",
            quote(path)
        )));
    }
}
