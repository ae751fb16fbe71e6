//! `'%s'.format([x])`.

use super::{Answer, Context, convert};
use crate::types::Type;
use crate::value::Value;

/// Digits after the point if the clause does not say.
const PRECISION: usize = 6;

/// A clause: `%s`, `%.3f`.
struct Clause {
    verb: char,
    precision: Option<usize>,
}

/// Splits at clauses and calls `part` for text and `clause` for the others.
fn parse(
    text: &str,
    mut part: impl FnMut(&str),
    mut clause: impl FnMut(Clause) -> Result<(), String>,
) -> Result<(), String> {
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        part(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(tail) = rest.strip_prefix('%') {
            part("%");
            rest = tail;
            continue;
        }
        if rest.is_empty() {
            return Err("unexpected end of string".to_owned());
        }
        let mut precision = None;
        if let Some(tail) = rest.strip_prefix('.') {
            let len = tail.bytes().take_while(u8::is_ascii_digit).count();
            if len == tail.len() {
                return Err("could not parse formatting clause: error while parsing precision: could not find end of precision specifier".to_owned());
            }
            let digits = tail[..len].parse();
            precision = Some(digits.map_err(|_| {
                "could not parse formatting clause: error while parsing precision: error while converting precision to integer".to_owned()
            })?);
            rest = &tail[len..];
        }
        let Some(verb) = rest.chars().next() else {
            return Err("unexpected end of string".to_owned());
        };
        rest = &rest[verb.len_utf8()..];
        clause(Clause { verb, precision })?;
    }
    part(rest);
    Ok(())
}

/// What is wrong with a literal format: the argument it is about, if it is about one, and the message.
pub(crate) type Wrong = (Option<usize>, String);

/// Checks a literal format against the types of its arguments.
///
/// # Errors
/// What the checker reports.
pub(crate) fn validate(text: &str, args: &[Type]) -> Result<(), Wrong> {
    let mut used = 0;
    let mut about = None;
    let parsed = parse(
        text,
        |_| {},
        |clause| {
            known(clause.verb)?;
            let Some(ty) = args.get(used) else {
                return Err(format!("index {used} out of range"));
            };
            used += 1;
            if ty.is_dyn() || allowed(clause.verb, ty) {
                return Ok(());
            }
            about = Some(used - 1);
            Err(wrong(clause.verb, ty))
        },
    );
    parsed.map_err(|message| (about, message))?;
    if used < args.len() {
        let message = format!(
            "too many arguments supplied to string.format (expected {used}, got {})",
            args.len()
        );
        return Err((None, message));
    }
    Ok(())
}

/// Types that a clause writes. Text is allowed where it may spell an infinity.
fn allowed(verb: char, ty: &Type) -> bool {
    match verb {
        'd' | 'o' => matches!(ty, Type::Int | Type::Uint),
        'f' | 'e' => matches!(ty, Type::Double | Type::String),
        'b' => matches!(ty, Type::Int | Type::Uint | Type::Bool),
        'x' | 'X' => matches!(ty, Type::Int | Type::Uint | Type::String | Type::Bytes),
        _ => !matches!(ty, Type::Object(_) | Type::Opaque(_)),
    }
}

fn wrong(verb: char, ty: &Type) -> String {
    let message = match verb {
        'd' => "decimal clause can only be used on integers",
        'f' => "fixed-point clause can only be used on doubles",
        'e' => "scientific clause can only be used on doubles",
        'b' => "only integers and bools can be formatted as binary",
        'o' => "octal clause can only be used on integers",
        'x' | 'X' => "only integers, byte buffers, and strings can be formatted as hex",
        _ => {
            "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps"
        }
    };
    format!("error during formatting: {message}, was given {}", ty.name())
}

fn known(verb: char) -> Result<(), String> {
    match verb {
        's' | 'd' | 'f' | 'e' | 'b' | 'x' | 'X' | 'o' => Ok(()),
        other => Err(format!(
            "could not parse formatting clause: unrecognized formatting clause \"{other}\""
        )),
    }
}

pub(super) fn compute<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let [Value::String(text), list] = args else {
        return context.no_overload(args);
    };
    let Some(items) = list.list_items() else {
        return context.no_overload(args);
    };
    let out = std::cell::RefCell::new(String::new());
    let mut used = 0;
    let result = parse(
        text,
        |part| out.borrow_mut().push_str(part),
        |clause| {
            known(clause.verb)?;
            let Some(item) = items.get(used) else {
                return Err(format!("index {used} out of range"));
            };
            used += 1;
            let shown = write(&clause, item, context)?;
            out.borrow_mut().push_str(&shown);
            Ok(())
        },
    );
    match result {
        Ok(()) => Ok(Value::string(out.into_inner())),
        Err(message) => super::failed(message),
    }
}

fn write(clause: &Clause, value: &Value<'_>, context: &Context<'_>) -> Result<String, String> {
    let precision = clause.precision.unwrap_or(PRECISION);
    match clause.verb {
        's' => string(value, context),
        'd' => match value {
            Value::Int(_) | Value::Uint(_) => Ok(convert::display(value).unwrap_or_default()),
            other => Err(wrong(clause.verb, &other.type_of())),
        },
        'f' => match value {
            Value::Double(d) if d.is_finite() => Ok(grouped(&format!("{d:.precision$}"))),
            Value::Double(d) => Ok(special(*d)),
            Value::String(s) if matches!(&**s, "NaN" | "Infinity" | "-Infinity") => Ok(spelled(s)),
            other => Err(wrong(clause.verb, &other.type_of())),
        },
        'e' => match value {
            Value::Double(d) if d.is_finite() => Ok(scientific(*d, precision)),
            Value::Double(d) => Ok(special(*d)),
            Value::String(s) if matches!(&**s, "NaN" | "Infinity" | "-Infinity") => Ok(spelled(s)),
            other => Err(wrong(clause.verb, &other.type_of())),
        },
        'b' => match value {
            Value::Bool(b) => Ok(u8::from(*b).to_string()),
            Value::Int(i) => Ok(signed(*i, |n| format!("{n:b}"))),
            Value::Uint(u) => Ok(format!("{u:b}")),
            other => Err(wrong(clause.verb, &other.type_of())),
        },
        'o' => match value {
            Value::Int(i) => Ok(signed(*i, |n| format!("{n:o}"))),
            Value::Uint(u) => Ok(format!("{u:o}")),
            other => Err(wrong(clause.verb, &other.type_of())),
        },
        verb => hex(value, verb == 'X'),
    }
}

fn signed(i: i64, write: impl Fn(u64) -> String) -> String {
    let digits = write(i.unsigned_abs());
    if i < 0 { format!("-{digits}") } else { digits }
}

fn hex(value: &Value<'_>, upper: bool) -> Result<String, String> {
    let bytes = |b: &[u8]| b.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let text = match value {
        Value::Int(i) => signed(*i, |n| format!("{n:x}")),
        Value::Uint(u) => format!("{u:x}"),
        Value::String(s) => bytes(s.as_bytes()),
        Value::Bytes(b) => bytes(b),
        other => return Err(wrong('x', &other.type_of())),
    };
    Ok(if upper { text.to_uppercase() } else { text })
}

/// Thousands are separated by commas, as in upstream's locale.
fn grouped(number: &str) -> String {
    let (sign, number) = number.strip_prefix('-').map_or(("", number), |n| ("-", n));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut out = String::from(sign);
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

fn scientific(d: f64, precision: usize) -> String {
    let text = format!("{d:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(("", exponent), |e| ("⁻", e));
    const RAISED: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let raised: String = format!("{exponent:0>2}")
        .chars()
        .filter_map(|c| c.to_digit(10).and_then(|d| RAISED.get(d as usize)))
        .collect();
    format!("{digits}×10{sign}{raised}")
}

fn special(d: f64) -> String {
    if d.is_nan() {
        return "NaN".to_owned();
    }
    if d > 0.0 { "∞" } else { "-∞" }.to_owned()
}

fn spelled(text: &str) -> String {
    match text {
        "Infinity" => "∞",
        "-Infinity" => "-∞",
        _ => "NaN",
    }
    .to_owned()
}

fn string(value: &Value<'_>, context: &Context<'_>) -> Result<String, String> {
    if value.is_list() || value.is_map() {
        return nested(value, context);
    }
    match value {
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Uint(_)
        | Value::Double(_)
        | Value::String(_)
        | Value::Bytes(_)
        | Value::Timestamp(_)
        | Value::Duration(_)
        | Value::Type(_) => Ok(convert::display(value).unwrap_or_default()),
        other => Err(wrong('s', &other.type_of())),
    }
}

/// A value inside a list or map, written as a literal.
fn nested(value: &Value<'_>, context: &Context<'_>) -> Result<String, String> {
    if let Some(items) = value.list_items() {
        let items: Result<Vec<String>, String> = items.iter().map(|i| nested(i, context)).collect();
        return Ok(format!("[{}]", items?.join(", ")));
    }
    if let Some(entries) = value.map_entries(context.shared) {
        let mut pairs = Vec::with_capacity(entries.len());
        for (key, value) in &entries {
            pairs.push((nested(key, context)?, nested(value, context)?));
        }
        pairs.sort();
        let pairs: Vec<String> = pairs.into_iter().map(|(k, v)| format!("{k}:{v}")).collect();
        return Ok(format!("{{{}}}", pairs.join(", ")));
    }
    let text = || convert::display(value).unwrap_or_default();
    Ok(match value {
        Value::String(s) => convert::quoted(s),
        Value::Bytes(b) => format!("b{}", convert::quoted(&String::from_utf8_lossy(b))),
        Value::Timestamp(_) => format!("timestamp({})", convert::quoted(&text())),
        Value::Duration(_) => format!("duration({})", convert::quoted(&text())),
        Value::Double(d) if d.is_finite() => format!("{d:.PRECISION$}"),
        Value::Double(_) => convert::quoted(&text()),
        _ => string(value, context)?,
    })
}
