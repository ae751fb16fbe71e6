//! `apiserver_flowcontrol_*`, by upstream's names.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use super::{FlowControl, Why};

impl FlowControl {
    /// Writes the families out.
    pub fn render(&self, out: &mut String) {
        let Some(config) = self.config.load_full() else {
            return;
        };
        let mut family = |name: &str, kind: &str, lines: &dyn Fn(&mut String, &str)| {
            let name = format!("apiserver_flowcontrol_{name}");
            let _ = writeln!(out, "# TYPE {name} {kind}");
            lines(out, &name);
        };
        type OfLevel = (&'static str, fn(&super::level::Level) -> u32);
        let of_levels: [OfLevel; 5] = [
            ("nominal_limit_seats", |l| l.limits().nominal),
            ("lower_limit_seats", |l| l.limits().min),
            ("upper_limit_seats", |l| l.limits().max),
            ("current_limit_seats", |l| l.current()),
            ("current_executing_seats", |l| l.executing()),
        ];
        for (name, value) in of_levels {
            family(name, "gauge", &|out, name| {
                for level in config.levels.values() {
                    let _ = writeln!(
                        out,
                        "{name}{{priority_level=\"{}\"}} {}",
                        level.name,
                        value(level)
                    );
                }
            });
        }
        type OfSchema = (&'static str, &'static str, fn(&super::Counts) -> i64);
        let of_schemas: [OfSchema; 3] = [
            ("dispatched_requests_total", "counter", |c| {
                i64::try_from(c.dispatched.load(Ordering::Relaxed)).unwrap_or(i64::MAX)
            }),
            ("current_executing_requests", "gauge", |c| {
                c.executing.load(Ordering::Relaxed)
            }),
            ("current_inqueue_requests", "gauge", |c| {
                c.waiting.load(Ordering::Relaxed)
            }),
        ];
        for (name, kind, value) in of_schemas {
            family(name, kind, &|out, name| {
                for s in &config.schemas {
                    let (schema, level) = (&s.name, &s.level.name);
                    let labels = format!("flow_schema=\"{schema}\",priority_level=\"{level}\"");
                    let _ = writeln!(out, "{name}{{{labels}}} {}", value(&s.counts));
                }
            });
        }
        family("rejected_requests_total", "counter", &|out, name| {
            for s in &config.schemas {
                for (reason, n) in Why::NAMES.iter().zip(&s.counts.rejected) {
                    let n = n.load(Ordering::Relaxed);
                    if n > 0 {
                        let (schema, level) = (&s.name, &s.level.name);
                        let labels = format!(
                            "flow_schema=\"{schema}\",priority_level=\"{level}\",reason=\"{reason}\""
                        );
                        let _ = writeln!(out, "{name}{{{labels}}} {n}");
                    }
                }
            }
        });
    }
}
