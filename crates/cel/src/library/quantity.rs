//! Quantities and semantic versions.

use super::{Answer, Context, failed};
use crate::value::Value;
use corten_meta::Quantity;
use corten_meta::quantity::Format;
use semver::Version;
use std::cmp::Ordering;
use std::sync::Arc;

const NANOS_PER_UNIT: i128 = 1_000_000_000;

pub(super) fn compute<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    match (context.function, args) {
        ("quantity", [Value::String(text)]) => match Quantity::parse(text) {
            Ok(q) => Ok(Value::Quantity(Arc::new(q))),
            Err(e) => failed(e.to_string()),
        },
        ("isQuantity", [Value::String(text)]) => Ok(Value::Bool(Quantity::parse(text).is_ok())),
        (operation, [Value::Quantity(q), rest @ ..]) => quantity(context, operation, q, rest),
        ("semver", [Value::String(text)]) => version(text, false),
        ("semver", [Value::String(text), Value::Bool(normalize)]) => version(text, *normalize),
        ("isSemver", [Value::String(text)]) => Ok(Value::Bool(version(text, false).is_ok())),
        ("isSemver", [Value::String(text), Value::Bool(normalize)]) => {
            Ok(Value::Bool(version(text, *normalize).is_ok()))
        }
        (operation, [Value::Semver(v)]) => match operation {
            "major" => part(v.major),
            "minor" => part(v.minor),
            "patch" => part(v.patch),
            _ => context.no_overload(args),
        },
        (operation, [Value::Semver(a), Value::Semver(b)]) => {
            compared(context, operation, a.cmp_precedence(b))
        }
        _ => context.no_overload(args),
    }
}

fn part<'a>(number: u64) -> Answer<'a> {
    Ok(Value::Int(number as i64))
}

fn compared<'a>(context: &Context<'_>, operation: &str, order: Ordering) -> Answer<'a> {
    Ok(match operation {
        "isGreaterThan" => Value::Bool(order == Ordering::Greater),
        "isLessThan" => Value::Bool(order == Ordering::Less),
        "compareTo" => Value::Int(order as i64),
        _ => return context.no_overload(&[]),
    })
}

fn quantity<'a>(context: &Context<'_>, operation: &str, q: &Quantity, rest: &[Value<'a>]) -> Answer<'a> {
    let made = |q: Quantity| Ok(Value::Quantity(Arc::new(q)));
    match (operation, rest) {
        ("sign", []) => Ok(Value::Int(q.nanos().signum() as i64)),
        ("isInteger", []) => Ok(Value::Bool(integer(q).is_some())),
        ("asInteger", []) => match integer(q) {
            Some(i) => Ok(Value::Int(i)),
            None => failed("cannot convert value to integer"),
        },
        ("asApproximateFloat", []) => Ok(Value::Double(q.as_f64())),
        ("add", [Value::Quantity(other)]) => made(q.add(other)),
        ("sub", [Value::Quantity(other)]) => made(q.sub(other)),
        ("add", [Value::Int(i)]) => made(q.add(&Quantity::new(*i, Format::DecimalExponent))),
        ("sub", [Value::Int(i)]) => made(q.sub(&Quantity::new(*i, Format::DecimalExponent))),
        (operation, [Value::Quantity(other)]) => compared(context, operation, q.nanos().cmp(&other.nanos())),
        _ => context.no_overload(rest),
    }
}

fn integer(q: &Quantity) -> Option<i64> {
    let nanos = q.nanos();
    if nanos % NANOS_PER_UNIT != 0 {
        return None;
    }
    i64::try_from(nanos / NANOS_PER_UNIT).ok()
}

fn version<'a>(text: &str, normalize: bool) -> Answer<'a> {
    let parsed = if normalize {
        normalized(text).as_deref().map(parse_version)
    } else {
        Some(parse_version(text))
    };
    match parsed {
        Some(Ok(version)) => Ok(Value::Semver(Arc::new(version))),
        Some(Err(message)) => failed(message),
        None => failed("short version cannot contain PreRelease/Build meta data"),
    }
}

fn parse_version(text: &str) -> Result<Version, String> {
    if text.is_empty() {
        return Err("Version string empty".to_owned());
    }
    let core = text.splitn(3, '.').count();
    if core != 3 {
        return Err("No Major.Minor.Patch elements found".to_owned());
    }
    let numbers = text.split(['-', '+']).next().unwrap_or(text);
    for (number, name) in numbers.split('.').zip(["major", "minor", "patch"]) {
        check_number(number, name)?;
    }
    Version::parse(text).map_err(|e| e.to_string())
}

fn check_number(number: &str, name: &str) -> Result<(), String> {
    let shown = super::convert::quoted(number);
    if !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("Invalid character(s) found in {name} number {shown}"));
    }
    if number.len() > 1 && number.starts_with('0') {
        let name = name[..1].to_uppercase() + &name[1..];
        return Err(format!("{name} number must not contain leading zeroes {shown}"));
    }
    Ok(())
}

/// Without a `v`, without leading zeros, and with all three numbers. None if a short version has more than numbers.
fn normalized(text: &str) -> Option<String> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut parts: Vec<String> = text
        .splitn(3, '.')
        .map(|part| {
            let stripped = part.trim_start_matches('0');
            match part.len() > 1 && !stripped.starts_with(|c: char| c.is_ascii_digit()) {
                true => format!("0{stripped}"),
                false if part.len() > 1 => stripped.to_owned(),
                false => part.to_owned(),
            }
        })
        .collect();
    if parts.len() < 3 && parts.last().is_some_and(|p| p.contains(['+', '-'])) {
        return None;
    }
    while parts.len() < 3 {
        parts.push("0".to_owned());
    }
    Some(parts.join("."))
}
