//! Warnings about Jobs and what CronJobs make of them (`pkg/api/job/warnings.go`).

use super::super::pod::warnings::of_template;
use super::super::rules::At;

/// Above both, the failed indexes may not fit into the status.
const COMPLETIONS_MAX: i64 = 100_000;
const PARALLELISM_MAX: i64 = 10_000;
const TOO_MANY: &str = "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, \
                        Kubernetes might not be able to track completedIndexes when a big number of indexes fail";

/// `WarningsForJobSpec`.
pub(in crate::strategy) fn of_spec(spec: &At<'_, '_>) -> Vec<String> {
    let above = |field: &str, max: i64| spec.get(field).int().is_some_and(|number| number > max);
    let too_many = spec.get("completionMode").str() == "Indexed"
        && above("completions", COMPLETIONS_MAX)
        && above("parallelism", PARALLELISM_MAX);
    let mut warnings = Vec::new();
    if too_many {
        warnings.push(format!("{}: {TOO_MANY}", spec.path()));
    }
    warnings.extend(of_template(&spec.get("template")));
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn indexes_are_too_many_above_both_limits() {
        let count = |mode: &str, completions: i64, parallelism: i64| {
            let spec =
                json!({"completionMode": mode, "completions": completions, "parallelism": parallelism});
            of_spec(&At::top("spec", &spec)).len()
        };
        assert_eq!(count("Indexed", 100_001, 10_001), 1);
        assert_eq!(count("Indexed", 100_000, 10_001), 0);
        assert_eq!(count("Indexed", 100_001, 10_000), 0);
        assert_eq!(count("NonIndexed", 100_001, 10_001), 0);
    }
}
