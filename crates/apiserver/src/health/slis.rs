//! `/metrics/slis`: how the health checks went, each time somebody asked. Names and labels: component-base's
//! `metrics/prometheus/slis`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What became of one check at one endpoint.
#[derive(Default)]
struct Outcomes {
    passed: u64,
    failed: u64,
    passes: bool,
}

/// Outcomes by check and endpoint.
#[derive(Default)]
pub struct Slis(BTreeMap<(String, &'static str), Outcomes>);

impl Slis {
    /// Counts one outcome.
    pub fn observe(&mut self, check: &str, endpoint: &'static str, passed: bool) {
        let outcomes = self.0.entry((check.to_owned(), endpoint)).or_default();
        outcomes.passes = passed;
        if passed {
            outcomes.passed += 1;
        } else {
            outcomes.failed += 1;
        }
    }

    /// In the text format; nothing before the first outcome.
    pub fn render(&self) -> String {
        let mut out = String::new();
        if self.0.is_empty() {
            return out;
        }
        let name = "kubernetes_healthcheck";
        let _ = writeln!(
            out,
            "# HELP {name} [STABLE] This metric records the result of a single healthcheck."
        );
        let _ = writeln!(out, "# TYPE {name} gauge");
        for ((check, endpoint), outcomes) in &self.0 {
            let value = u8::from(outcomes.passes);
            let _ = writeln!(out, "{name}{{name=\"{check}\",type=\"{endpoint}\"}} {value}");
        }
        let name = "kubernetes_healthchecks_total";
        let _ = writeln!(
            out,
            "# HELP {name} [STABLE] This metric records the results of all healthcheck."
        );
        let _ = writeln!(out, "# TYPE {name} counter");
        for ((check, endpoint), outcomes) in &self.0 {
            for (status, count) in [("error", outcomes.failed), ("success", outcomes.passed)] {
                if count > 0 {
                    let labels = format!("name=\"{check}\",status=\"{status}\",type=\"{endpoint}\"");
                    let _ = writeln!(out, "{name}{{{labels}}} {count}");
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_counted_and_the_last_stands() {
        let mut slis = Slis::default();
        assert_eq!(slis.render(), "");
        for passed in [true, true, false] {
            slis.observe("etcd", "readyz", passed);
        }
        let text = slis.render();
        assert!(text.contains("kubernetes_healthcheck{name=\"etcd\",type=\"readyz\"} 0\n"));
        let total = "kubernetes_healthchecks_total{name=\"etcd\",status=";
        assert!(text.contains(&format!("{total}\"error\",type=\"readyz\"}} 1\n")));
        assert!(text.contains(&format!("{total}\"success\",type=\"readyz\"}} 2\n")));
    }
}
