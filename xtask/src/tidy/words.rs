//! Calls and words that have no place here, each with the thing to do instead.

use super::Finding;
use std::path::Path;

struct Rule {
    word: &'static str,
    /// Path fragments where the word is allowed.
    except: &'static [&'static str],
    instead: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        word: "thread::sleep(",
        except: &[],
        instead: "wait for the event itself",
    },
    Rule {
        word: "unsafe {",
        except: &["crates/sys/"],
        instead: "put the system call into corten-sys",
    },
    Rule {
        word: "Command::new(\"ip\")",
        except: &["/tests/"],
        instead: "use netlink",
    },
    Rule {
        word: "Command::new(\"nft\")",
        except: &["/tests/"],
        instead: "use netlink",
    },
    Rule {
        word: "Command::new(\"iptables",
        except: &[],
        instead: "use netlink",
    },
    Rule {
        word: "Command::new(\"mount\")",
        except: &["/tests/"],
        instead: "use corten-sys",
    },
    Rule {
        word: "println!(",
        except: &["crates/corten/", "xtask/", "/examples/", "/tests/", "/benches/"],
        instead: "use tracing",
    },
    Rule {
        word: "TODO",
        except: &[],
        instead: "do it, or file an issue",
    },
    Rule {
        word: "FIXME",
        except: &[],
        instead: "do it, or file an issue",
    },
    Rule {
        word: "danger_accept_invalid_certs",
        except: &[],
        instead: "trust the right CA",
    },
];

pub(super) fn check(path: &Path, text: &str) -> Vec<Finding> {
    let place = path.to_string_lossy();
    if place.ends_with("xtask/src/tidy/words.rs") {
        return Vec::new();
    }
    let rules: Vec<&Rule> = RULES
        .iter()
        .filter(|rule| !rule.except.iter().any(|e| place.contains(e)))
        .collect();
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for rule in rules.iter().filter(|rule| line.contains(rule.word)) {
            let message = format!("`{}`: {}", rule.word, rule.instead);
            findings.push(Finding {
                path: path.into(),
                line: index + 1,
                message,
            });
        }
    }
    findings
}
