//! Times of managed fields that are all that a write would change.
//!
//! Who writes an object as it is leaves it as it is: what the writer said may have become the same only by defaults and
//! canonical forms, which ownership does not know. Upstream: `IgnoreManagedFieldsTimestampsTransformer`.

use serde_json::{Map, Value};

const MANAGED: &str = "managedFields";

/// Puts the times of `old` back where `new` differs from it in nothing else.
pub(super) fn keep(new: &mut Value, old: &Value) {
    let (Some(after), Some(before)) = (entries(new), entries(old)) else {
        return;
    };
    let same_but_for_time = after.len() == before.len()
        && after != before
        && after
            .iter()
            .zip(before)
            .all(|(a, b)| equal_but(a, b, "time", &|_, _| true));
    if same_but_for_time
        && equal_but(new, old, "metadata", &|a, b| {
            equal_but(a, b, MANAGED, &|_, _| true)
        })
    {
        new["metadata"][MANAGED] = old["metadata"][MANAGED].clone();
    }
}

fn entries(object: &Value) -> Option<&Vec<Value>> {
    object["metadata"][MANAGED].as_array()
}

/// Two objects are the same, but for a member that `fits` judges.
fn equal_but(a: &Value, b: &Value, member: &str, fits: &dyn Fn(&Value, &Value) -> bool) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else {
        return a == b;
    };
    let others = |all: &Map<String, Value>| all.keys().filter(|name| *name != member).count();
    others(a) == others(b)
        && a.iter().all(|(name, value)| match b.get(name) {
            Some(other) if name == member => fits(value, other),
            Some(other) => value == other,
            None => name == member,
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(time: &str, owner: &str, data: &str) -> Value {
        json!({"data": data, "metadata": {"name": "a", MANAGED: [
            {"manager": owner, "time": time, "fieldsV1": {"f:data": {}}}
        ]}})
    }

    #[test]
    fn a_time_that_alone_would_change_stays() {
        let old = object("1", "m", "x");
        let mut same = object("2", "m", "x");
        keep(&mut same, &old);
        assert_eq!(same, old);
        for changed in [object("2", "m", "y"), object("2", "n", "x")] {
            let mut new = changed.clone();
            keep(&mut new, &old);
            assert_eq!(new, changed);
        }
        let mut first = json!({"data": "x", "metadata": {"name": "a", MANAGED: [
            {"manager": "m", "fieldsV1": {"f:data": {}}}
        ]}});
        keep(&mut first, &old);
        assert_eq!(first, old, "an entry without a time is the same as well");
    }
}
