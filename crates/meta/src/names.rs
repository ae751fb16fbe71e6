//! Rules for names and keys, each returning upstream's messages: an empty list means the value is good.

pub type Messages = Vec<String>;

const DNS1123_LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const DNS1123_SUBDOMAIN: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const QUALIFIED_MESSAGE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
pub const DNS1123_LABEL_MAX: usize = 63;
pub const DNS1123_SUBDOMAIN_MAX: usize = 253;

/// A rule on the name of an object. `prefix` is true for `generateName`, where a trailing dash is allowed.
pub type NameRule = fn(name: &str, prefix: bool) -> Messages;

/// The text of a failed regular expression.
pub fn regex_error(message: &str, regex: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{message} (regex used for validation is '{regex}')");
    }
    let quoted: Vec<String> = examples.iter().map(|e| format!("'{e}', ")).collect();
    format!(
        "{message} (e.g. {}regex used for validation is '{regex}')",
        quoted.join(" or ")
    )
}

pub fn max_length_error(length: usize) -> String {
    format!("must be no more than {length} characters")
}

fn max_bytes_error(length: usize) -> String {
    format!("must be no more than {length} bytes")
}

pub fn inclusive_range_error(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

/// Non-empty, `inner` throughout, `ends` first and last.
fn bounded(value: &str, first: fn(u8) -> bool, inner: fn(u8) -> bool, last: fn(u8) -> bool) -> bool {
    match value.as_bytes() {
        [] => false,
        [one] => first(*one),
        [a, middle @ .., z] => first(*a) && last(*z) && middle.iter().all(|b| inner(*b)),
    }
}

fn lower_alnum(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn lower_alnum_dash(b: u8) -> bool {
    lower_alnum(b) || b == b'-'
}

fn alnum(b: u8) -> bool {
    b.is_ascii_alphanumeric()
}

fn qualified_inner(b: u8) -> bool {
    alnum(b) || matches!(b, b'-' | b'_' | b'.')
}

fn label_matches(value: &str) -> bool {
    bounded(value, lower_alnum, lower_alnum_dash, lower_alnum)
}

fn subdomain_matches(value: &str) -> bool {
    value.split('.').all(label_matches)
}

pub fn is_dns1123_label(value: &str) -> Messages {
    let mut out = Messages::new();
    if value.len() > DNS1123_LABEL_MAX {
        out.push(max_length_error(DNS1123_LABEL_MAX));
    }
    if !label_matches(value) {
        out.push(if subdomain_matches(value) {
            "must not contain dots".to_owned()
        } else {
            regex_error(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
                DNS1123_LABEL,
                &["my-name", "123-abc"],
            )
        });
    }
    out
}

pub fn is_dns1123_subdomain(value: &str) -> Messages {
    subdomain(value, max_length_error)
}

fn subdomain(value: &str, too_long: fn(usize) -> String) -> Messages {
    let mut out = Messages::new();
    if value.len() > DNS1123_SUBDOMAIN_MAX {
        out.push(too_long(DNS1123_SUBDOMAIN_MAX));
    }
    if !subdomain_matches(value) {
        out.push(regex_error(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            DNS1123_SUBDOMAIN,
            &["example.com"],
        ));
    }
    out
}

pub fn is_wildcard_dns1123_subdomain(value: &str) -> Messages {
    let mut out = Messages::new();
    if value.len() > DNS1123_SUBDOMAIN_MAX {
        out.push(max_length_error(DNS1123_SUBDOMAIN_MAX));
    }
    if !value.strip_prefix("*.").is_some_and(subdomain_matches) {
        out.push(regex_error(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
            &format!("\\*\\.{DNS1123_SUBDOMAIN}"),
            &["*.example.com"],
        ));
    }
    out
}

pub fn is_dns1035_label(value: &str) -> Messages {
    let mut out = Messages::new();
    if value.len() > DNS1123_LABEL_MAX {
        out.push(max_length_error(DNS1123_LABEL_MAX));
    }
    if !bounded(value, |b| b.is_ascii_lowercase(), lower_alnum_dash, lower_alnum) {
        out.push(regex_error(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
            "[a-z]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "abc-123"],
        ));
    }
    out
}

/// A label key, annotation key or resource name: `[prefix/]name`.
pub fn is_qualified_name(value: &str) -> Messages {
    let mut out = Messages::new();
    let parts: Vec<&str> = value.split('/').collect();
    let name = match parts.as_slice() {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                out.push("prefix part must be non-empty".to_owned());
            } else {
                out.extend(
                    subdomain(prefix, max_bytes_error)
                        .into_iter()
                        .map(|m| format!("prefix part {m}")),
                );
            }
            name
        }
        _ => {
            let rule = regex_error(QUALIFIED_MESSAGE, QUALIFIED, &["MyName", "my.name", "123-abc"]);
            return vec![format!(
                "a valid label key {rule} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        out.push("name part must be non-empty".to_owned());
    } else if name.len() > DNS1123_LABEL_MAX {
        out.push(format!("name part {}", max_bytes_error(DNS1123_LABEL_MAX)));
    }
    if !bounded(name, alnum, qualified_inner, alnum) {
        let rule = regex_error(QUALIFIED_MESSAGE, QUALIFIED, &["MyName", "my.name", "123-abc"]);
        out.push(format!("name part {rule}"));
    }
    out
}

pub fn is_label_value(value: &str) -> Messages {
    let mut out = Messages::new();
    if value.len() > DNS1123_LABEL_MAX {
        out.push(max_bytes_error(DNS1123_LABEL_MAX));
    }
    if !value.is_empty() && !bounded(value, alnum, qualified_inner, alnum) {
        out.push(regex_error(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            &format!("({QUALIFIED})?"),
            &["MyValue", "my_value", "12345"],
        ));
    }
    out
}

pub fn is_c_identifier(value: &str) -> Messages {
    let good = bounded(value, |b| b.is_ascii_alphabetic() || b == b'_', word, word);
    if good {
        return Messages::new();
    }
    vec![regex_error(
        "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'",
        "[A-Za-z_][A-Za-z0-9_]*",
        &["my_name", "MY_NAME", "MyName"],
    )]
}

fn word(b: u8) -> bool {
    alnum(b) || b == b'_'
}

pub fn is_port_number(port: i64) -> Messages {
    if (1..=65535).contains(&port) {
        Messages::new()
    } else {
        vec![inclusive_range_error(1, 65535)]
    }
}

/// A named port (IANA service name, lower case).
pub fn is_port_name(port: &str) -> Messages {
    let mut out = Messages::new();
    if port.len() > 15 {
        out.push(max_length_error(15));
    }
    if port.is_empty() || !port.bytes().all(lower_alnum_dash) {
        out.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !port.bytes().any(|b| b.is_ascii_lowercase()) {
        out.push("must contain at least one letter (a-z)".to_owned());
    }
    if port.contains("--") {
        out.push("must not contain consecutive hyphens".to_owned());
    }
    if port.starts_with('-') || port.ends_with('-') {
        out.push("must not begin or end with a hyphen".to_owned());
    }
    out
}

pub fn is_percent(value: &str) -> Messages {
    let good = value
        .strip_suffix('%')
        .is_some_and(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()));
    if good {
        return Messages::new();
    }
    vec![regex_error(
        "a valid percent string must be a numeric string followed by an ending '%'",
        "[0-9]+%",
        &["1%", "93%"],
    )]
}

pub fn is_http_header_name(value: &str) -> Messages {
    if !value.is_empty() && value.bytes().all(|b| alnum(b) || b == b'-') {
        return Messages::new();
    }
    vec![regex_error(
        "a valid HTTP header must consist of alphanumeric characters or '-'",
        "[-A-Za-z0-9]+",
        &["X-Header-Name"],
    )]
}

/// Names of environment variables under the relaxed rule (GA in 1.34): printable ASCII other than `=`.
pub fn is_env_var_name(value: &str) -> Messages {
    let mut out = Messages::new();
    if value.is_empty() {
        out.push("environment variable name must be non-empty".to_owned());
    }
    if value.bytes().any(|b| !(0x20..0x7f).contains(&b) || b == b'=') {
        out.push(
            "a valid environment variable name must consist only of printable ASCII characters other than '='"
                .to_owned(),
        );
    }
    out
}

/// A key of a ConfigMap or Secret.
pub fn is_config_map_key(value: &str) -> Messages {
    let mut out = Messages::new();
    if value.len() > DNS1123_SUBDOMAIN_MAX {
        out.push(max_length_error(DNS1123_SUBDOMAIN_MAX));
    }
    if value.is_empty() || !value.bytes().all(qualified_inner) {
        out.push(regex_error(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    match value {
        "." => out.push("must not be '.'".to_owned()),
        ".." => out.push("must not be '..'".to_owned()),
        v if v.starts_with("..") => out.push("must not start with '..'".to_owned()),
        _ => {}
    }
    out
}

/// What may stand as one segment of a URL path: the rule for RBAC names and the like.
pub fn is_path_segment(name: &str, prefix: bool) -> Messages {
    if !prefix && (name == "." || name == "..") {
        return vec![format!("may not be '{name}'")];
    }
    ["/", "%"]
        .iter()
        .filter(|c| name.contains(**c))
        .map(|c| format!("may not contain '{c}'"))
        .collect()
}

/// `NameIsDNSSubdomain`: the rule for most kinds.
pub fn name_is_dns_subdomain(name: &str, prefix: bool) -> Messages {
    is_dns1123_subdomain(&masked(name, prefix))
}

/// `NameIsDNSLabel`: namespaces and the like.
pub fn name_is_dns_label(name: &str, prefix: bool) -> Messages {
    is_dns1123_label(&masked(name, prefix))
}

/// `NameIsDNS1035Label`: services.
pub fn name_is_dns1035_label(name: &str, prefix: bool) -> Messages {
    is_dns1035_label(&masked(name, prefix))
}

/// A generateName may end in a dash: something will follow it.
fn masked(name: &str, prefix: bool) -> std::borrow::Cow<'_, str> {
    if prefix && name.len() > 1 && name.ends_with('-') {
        let end = name.char_indices().rev().nth(1).map_or(0, |(at, _)| at);
        format!("{}a", &name[..end]).into()
    } else {
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_subdomains() {
        assert!(is_dns1123_label("my-name").is_empty());
        assert_eq!(is_dns1123_label("my.name"), ["must not contain dots"]);
        assert_eq!(
            is_dns1123_subdomain("UP"),
            [
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ]
        );
        assert!(name_is_dns_subdomain("web-", true).is_empty());
        assert!(!name_is_dns_subdomain("web-", false).is_empty());
        assert!(!is_dns1123_subdomain("").is_empty());
    }

    #[test]
    fn qualified_names() {
        for good in ["a", "app.kubernetes.io/name", "A_b.c-d", "1"] {
            assert!(is_qualified_name(good).is_empty(), "{good}");
        }
        assert_eq!(is_qualified_name("/a"), ["prefix part must be non-empty"]);
        assert_eq!(is_qualified_name("a/b/c").len(), 1);
        assert_eq!(is_qualified_name("").len(), 2);
        assert!(is_label_value("").is_empty());
        assert_eq!(is_label_value("-a").len(), 1);
    }
}
