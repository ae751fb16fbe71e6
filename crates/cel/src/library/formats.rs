//! Named formats: `format.dns1123Label().validate(x)`.

use super::{Answer, Context, time};
use crate::value::Value;
use base64::Engine;
use corten_meta::names;
use std::sync::Arc;

/// A format that text may have.
pub struct NamedFormat {
    name: &'static str,
    /// Length of the pattern that checks it, for its cost.
    pub(crate) regex_size: u64,
    validate: fn(&str) -> Vec<String>,
}

pub(crate) static FORMATS: [NamedFormat; 13] = [
    NamedFormat {
        name: "dns1123Label",
        regex_size: 30,
        validate: |s| owned(names::name_is_dns_label(s, false)),
    },
    NamedFormat {
        name: "dns1123Subdomain",
        regex_size: 60,
        validate: |s| owned(names::name_is_dns_subdomain(s, false)),
    },
    NamedFormat {
        name: "dns1035Label",
        regex_size: 30,
        validate: |s| owned(names::name_is_dns1035_label(s, false)),
    },
    NamedFormat {
        name: "qualifiedName",
        regex_size: 60,
        validate: |s| owned(names::is_qualified_name(s)),
    },
    NamedFormat {
        name: "dns1123LabelPrefix",
        regex_size: 30,
        validate: |s| owned(names::name_is_dns_label(s, true)),
    },
    NamedFormat {
        name: "dns1123SubdomainPrefix",
        regex_size: 60,
        validate: |s| owned(names::name_is_dns_subdomain(s, true)),
    },
    NamedFormat {
        name: "dns1035LabelPrefix",
        regex_size: 30,
        validate: |s| owned(names::name_is_dns1035_label(s, true)),
    },
    NamedFormat {
        name: "labelValue",
        regex_size: 40,
        validate: |s| owned(names::is_label_value(s)),
    },
    NamedFormat {
        name: "uri",
        regex_size: 1103,
        validate: |s| super::url::parse(s).err().into_iter().collect(),
    },
    NamedFormat {
        name: "uuid",
        regex_size: 70,
        validate: |s| unless(is_uuid(s), "does not match the UUID format"),
    },
    NamedFormat {
        name: "byte",
        regex_size: 84,
        validate: |s| unless(is_base64(s), "invalid base64"),
    },
    NamedFormat {
        name: "date",
        regex_size: 71,
        validate: |s| unless(is_date(s), "invalid date"),
    },
    NamedFormat {
        name: "datetime",
        regex_size: 71,
        validate: |s| unless(time::parse_timestamp(s).is_some(), "invalid datetime"),
    },
];

fn owned(messages: Vec<impl Into<String>>) -> Vec<String> {
    messages.into_iter().map(Into::into).collect()
}

fn unless(valid: bool, message: &str) -> Vec<String> {
    if valid {
        Vec::new()
    } else {
        vec![message.to_owned()]
    }
}

/// Eight, four, four, four and twelve hexadecimal digits; the hyphens may be missing.
fn is_uuid(text: &str) -> bool {
    let mut rest = text;
    for (i, len) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if i > 0 {
            rest = rest.strip_prefix('-').unwrap_or(rest);
        }
        match rest.as_bytes().get(..len) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => rest = &rest[len..],
            _ => return false,
        }
    }
    rest.is_empty()
}

fn is_base64(text: &str) -> bool {
    !text.is_empty() && base64::engine::general_purpose::STANDARD.decode(text).is_ok()
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

fn named(name: &str) -> Option<&'static NamedFormat> {
    FORMATS.iter().find(|f| f.name == name)
}

/// `format.dns1123Label()` and its like.
pub(super) fn constant<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let format = context.function.strip_prefix("format.").and_then(named);
    match (format, args) {
        (Some(format), []) => Ok(Value::Format(format)),
        _ => context.no_overload(args),
    }
}

pub(super) fn compute<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    match args {
        [Value::String(name)] => {
            let format = named(name).map(|f| Arc::new(Value::Format(f)));
            Ok(Value::Optional(format))
        }
        [Value::Format(format), Value::String(text)] => {
            let messages = (format.validate)(text);
            if messages.is_empty() {
                return Ok(Value::Optional(None));
            }
            let list = Value::list(messages.into_iter().map(Value::string).collect());
            Ok(Value::Optional(Some(Arc::new(list))))
        }
        _ => context.no_overload(args),
    }
}
