//! Timestamps and durations.

use super::{Answer, Context, failed};
use crate::value::Value;
use jiff::{SignedDuration, Timestamp, Zoned, tz};

/// Years 1 to 9999, in seconds.
const FIRST_SECOND: i64 = -62_135_596_800;
const LAST_SECOND: i64 = 253_402_300_799;

pub(crate) fn timestamp_from_seconds(seconds: i64) -> Option<Timestamp> {
    if !(FIRST_SECOND..=LAST_SECOND).contains(&seconds) {
        return None;
    }
    Timestamp::from_second(seconds).ok()
}

/// RFC 3339 with a zone.
pub(crate) fn parse_timestamp(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let shaped = bytes.len() >= 20
        && bytes[..19].iter().enumerate().all(|(i, b)| match i {
            4 | 7 => *b == b'-',
            10 => *b == b'T',
            13 | 16 => *b == b':',
            _ => b.is_ascii_digit(),
        });
    if !shaped || &text[17..19] > "59" || &text[11..13] > "23" {
        return None;
    }
    let rest = &text[19..];
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    let offset = zone.as_bytes();
    let valid = zone == "Z" || (offset.len() == 6 && matches!(offset[0], b'+' | b'-') && offset[3] == b':');
    if !valid {
        return None;
    }
    let at: Timestamp = text.parse().ok()?;
    (FIRST_SECOND..=LAST_SECOND)
        .contains(&floor_seconds(at))
        .then_some(at)
}

/// A `date-time` or `date` of a schema.
pub(crate) fn schema_timestamp(text: &str) -> Option<Timestamp> {
    parse_timestamp(text).or_else(|| {
        let date: jiff::civil::Date = text.parse().ok()?;
        (text.len() == 10).then(|| date.to_zoned(tz::TimeZone::UTC).ok().map(|z| z.timestamp()))?
    })
}

/// Seconds since the epoch, rounded down.
pub(crate) fn floor_seconds(at: Timestamp) -> i64 {
    at.as_nanosecond().div_euclid(1_000_000_000) as i64
}

pub(crate) fn rfc3339(at: Timestamp) -> String {
    at.to_string()
}

const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Go's durations, `1h30m` or `-1.5s`, in nanoseconds.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let whole_len = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, tail) = rest.split_at(whole_len);
        let (fraction, tail) = match tail.strip_prefix('.') {
            Some(tail) => tail.split_at(tail.bytes().take_while(u8::is_ascii_digit).count()),
            None => ("", tail),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let unit_len = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        let scale = UNITS.iter().find(|(name, _)| *name == unit)?.1;
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total = total.checked_add(whole.checked_mul(scale)?)?;
        let mut place = scale;
        for digit in fraction.bytes() {
            place /= 10;
            total += i128::from(digit - b'0') * place;
        }
        rest = tail;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

pub(super) fn arithmetic<'a>(context: &Context<'_>, left: &Value<'a>, right: &Value<'a>) -> Answer<'a> {
    let add = context.function == "_+_";
    match (left, right) {
        (Value::Duration(a), Value::Duration(b)) => {
            let sum = if add { a.checked_add(*b) } else { a.checked_sub(*b) };
            sum.map_or_else(|| failed("duration overflow"), |d| Ok(Value::Duration(d)))
        }
        (Value::Timestamp(at), Value::Duration(d)) => moved(*at, *d, add),
        (Value::Duration(d), Value::Timestamp(at)) if add => moved(*at, *d, true),
        (Value::Timestamp(a), Value::Timestamp(b)) if !add => {
            let nanos = i64::try_from(a.as_nanosecond() - b.as_nanosecond());
            nanos.map_or_else(|_| failed("timestamp overflow"), |d| Ok(Value::Duration(d)))
        }
        _ => context.no_overload(&[left.clone(), right.clone()]),
    }
}

fn moved<'a>(at: Timestamp, nanos: i64, add: bool) -> Answer<'a> {
    let by = SignedDuration::from_nanos(nanos);
    let moved = if add {
        at.checked_add(by)
    } else {
        at.checked_sub(by)
    };
    match moved {
        Ok(at) if (FIRST_SECOND..=LAST_SECOND).contains(&floor_seconds(at)) => Ok(Value::Timestamp(at)),
        _ => failed("timestamp overflow"),
    }
}

/// `getHours()` and its like, of timestamps and durations.
pub(super) fn parts<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let (at, zone) = match args {
        [Value::Duration(nanos)] => return duration_part(context, *nanos),
        [Value::Timestamp(at)] => (at, tz::TimeZone::UTC),
        [Value::Timestamp(at), Value::String(name)] => match time_zone(name) {
            Some(zone) => (at, zone),
            None => return failed(format!("unknown time zone {}", &**name)),
        },
        _ => return context.no_overload(args),
    };
    let local: Zoned = at.to_zoned(zone);
    let part = match context.function {
        "getFullYear" => i64::from(local.year()),
        "getMonth" => i64::from(local.month()) - 1,
        "getDayOfYear" => i64::from(local.day_of_year()) - 1,
        "getDayOfMonth" => i64::from(local.day()) - 1,
        "getDate" => i64::from(local.day()),
        "getDayOfWeek" => i64::from(local.weekday().to_sunday_zero_offset()),
        "getHours" => i64::from(local.hour()),
        "getMinutes" => i64::from(local.minute()),
        "getSeconds" => i64::from(local.second()),
        _ => i64::from(local.subsec_nanosecond()) / 1_000_000,
    };
    Ok(Value::Int(part))
}

fn duration_part<'a>(context: &Context<'_>, nanos: i64) -> Answer<'a> {
    Ok(Value::Int(match context.function {
        "getHours" => nanos / 3_600_000_000_000,
        "getMinutes" => nanos / 60_000_000_000,
        "getSeconds" => nanos / 1_000_000_000,
        "getMilliseconds" => nanos / 1_000_000,
        _ => return context.no_overload(&[Value::Duration(nanos)]),
    }))
}

/// A zone by its IANA name, or a fixed offset `+hh:mm`.
fn time_zone(name: &str) -> Option<tz::TimeZone> {
    let Some((hours, minutes)) = name.split_once(':') else {
        return match name {
            "" | "UTC" => Some(tz::TimeZone::UTC),
            _ => tz::TimeZone::get(name).ok(),
        };
    };
    let hours: i32 = hours.parse().ok()?;
    let minutes: i32 = minutes.parse().ok()?;
    let sign = if name.starts_with('-') { -1 } else { 1 };
    let seconds = hours
        .checked_mul(3600)?
        .checked_add(sign * minutes.checked_mul(60)?)?;
    Some(tz::TimeZone::fixed(tz::Offset::from_seconds(seconds).ok()?))
}
