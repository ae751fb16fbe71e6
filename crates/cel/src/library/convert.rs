//! Conversions between types, and how values are written as text.

use super::{Answer, Context, failed, time};
use crate::value::Value;

/// 2^63 and 2^64 as doubles: the first values that do not fit.
const INT_END: f64 = 9_223_372_036_854_775_808.0;
const UINT_END: f64 = 18_446_744_073_709_551_616.0;

pub(super) fn convert<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let [value] = args else {
        return context.no_overload(args);
    };
    match context.function {
        "dyn" => Ok(value.clone()),
        "type" => Ok(Value::Type(value.type_of())),
        "bool" => to_bool(value),
        "bytes" => match value {
            Value::Bytes(_) => Ok(value.clone()),
            Value::String(s) => Ok(Value::Bytes(s.as_bytes().into())),
            _ => context.no_overload(args),
        },
        "string" => to_string(context, value),
        "int" => to_int(context, value),
        "uint" => to_uint(context, value),
        "double" => to_double(context, value),
        "duration" => match value {
            Value::Duration(_) => Ok(value.clone()),
            Value::Int(nanos) => Ok(Value::Duration(*nanos)),
            Value::String(s) => match time::parse_duration(s) {
                Some(nanos) => Ok(Value::Duration(nanos)),
                None => conversion_error("google.protobuf.Duration"),
            },
            _ => context.no_overload(args),
        },
        _ => match value {
            Value::Timestamp(_) => Ok(value.clone()),
            Value::Int(seconds) => match time::timestamp_from_seconds(*seconds) {
                Some(at) => Ok(Value::Timestamp(at)),
                None => failed("timestamp overflow"),
            },
            Value::String(s) => match time::parse_timestamp(s) {
                Some(at) => Ok(Value::Timestamp(at)),
                None => conversion_error("google.protobuf.Timestamp"),
            },
            _ => context.no_overload(args),
        },
    }
}

/// Text that is not of the wanted type.
fn conversion_error<'a>(to: &str) -> Answer<'a> {
    failed(format!("type conversion error from 'string' to '{to}'"))
}

/// As Go's `%q`.
pub(crate) fn quoted(text: &str) -> String {
    corten_meta::quote(text)
}

fn to_bool<'a>(value: &Value<'a>) -> Answer<'a> {
    match value {
        Value::Bool(_) => Ok(value.clone()),
        Value::String(s) => match &**s {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => conversion_error("bool"),
        },
        _ => failed("no such overload"),
    }
}

fn to_string<'a>(context: &Context<'_>, value: &Value<'a>) -> Answer<'a> {
    match value {
        Value::String(_) => Ok(value.clone()),
        Value::Bytes(b) => match std::str::from_utf8(b) {
            Ok(text) => Ok(Value::string(text)),
            Err(_) => failed("invalid UTF-8 in bytes, cannot convert to string"),
        },
        Value::Quantity(_) | Value::Null | Value::Type(_) | Value::Semver(_) => {
            context.no_overload(std::slice::from_ref(value))
        }
        other => match display(other) {
            Some(text) => Ok(Value::string(text)),
            None => context.no_overload(std::slice::from_ref(value)),
        },
    }
}

fn to_int<'a>(context: &Context<'_>, value: &Value<'a>) -> Answer<'a> {
    match value {
        Value::Int(_) => Ok(value.clone()),
        Value::Uint(u) => match i64::try_from(*u) {
            Ok(i) => Ok(Value::Int(i)),
            Err(_) => failed("integer overflow"),
        },
        Value::Double(d) if d.is_finite() && *d > -INT_END && *d < INT_END => Ok(Value::Int(*d as i64)),
        Value::Double(_) => failed("integer overflow"),
        Value::String(s) => match s.parse::<i64>() {
            Ok(i) => Ok(Value::Int(i)),
            Err(_) => conversion_error("int"),
        },
        Value::Duration(nanos) => Ok(Value::Int(*nanos)),
        Value::Timestamp(at) => Ok(Value::Int(time::floor_seconds(*at))),
        _ => context.no_overload(std::slice::from_ref(value)),
    }
}

/// A sign is no part of an unsigned number.
fn unsigned(text: &str) -> Result<u64, std::num::ParseIntError> {
    match text.starts_with('+') {
        true => "+".parse(),
        false => text.parse(),
    }
}

fn to_uint<'a>(context: &Context<'_>, value: &Value<'a>) -> Answer<'a> {
    match value {
        Value::Uint(_) => Ok(value.clone()),
        Value::Int(i) => match u64::try_from(*i) {
            Ok(u) => Ok(Value::Uint(u)),
            Err(_) => failed("unsigned integer overflow"),
        },
        Value::Double(d) if *d >= 0.0 && *d < UINT_END => Ok(Value::Uint(*d as u64)),
        Value::Double(_) => failed("unsigned integer overflow"),
        Value::String(s) => match unsigned(s) {
            Ok(u) => Ok(Value::Uint(u)),
            Err(_) => conversion_error("uint"),
        },
        _ => context.no_overload(std::slice::from_ref(value)),
    }
}

fn to_double<'a>(context: &Context<'_>, value: &Value<'a>) -> Answer<'a> {
    match value {
        Value::Double(_) => Ok(value.clone()),
        Value::Int(i) => Ok(Value::Double(*i as f64)),
        Value::Uint(u) => Ok(Value::Double(*u as f64)),
        Value::String(s) => match s.parse::<f64>() {
            Ok(d) => Ok(Value::Double(d)),
            Err(_) => conversion_error("double"),
        },
        _ => context.no_overload(std::slice::from_ref(value)),
    }
}

/// A scalar as text, the way `string(x)` and messages write it; None for lists, maps and what has no text.
pub(crate) fn display(value: &Value<'_>) -> Option<String> {
    Some(match value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Int(i) => i.to_string(),
        Value::Uint(u) => u.to_string(),
        Value::Double(d) => double(*d),
        Value::String(s) => s.to_string(),
        Value::Bytes(b) => String::from_utf8_lossy(b).into_owned(),
        Value::Timestamp(at) => time::rfc3339(*at),
        Value::Duration(nanos) => format!("{}s", *nanos as f64 / 1e9),
        Value::Type(ty) => ty.name().to_owned(),
        Value::Ip(ip) => ip.to_string(),
        Value::Cidr(cidr) => format!("{}/{}", cidr.address, cidr.prefix),
        Value::Quantity(q) => q.canonical(),
        Value::Semver(v) => v.to_string(),
        _ => return None,
    })
}

/// Numbers of more digits than this before the point are written with an exponent.
const EXPONENT_FROM: i32 = 6;

/// As Go's `%g`: the shortest digits, with an exponent if it is very small or large.
pub(crate) fn double(d: f64) -> String {
    if d.is_nan() {
        return "NaN".to_owned();
    }
    if d.is_infinite() {
        return if d > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{d:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if d != 0.0 && (exponent < -4 || exponent >= EXPONENT_FROM) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    d.to_string()
}
