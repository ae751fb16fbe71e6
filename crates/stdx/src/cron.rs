//! Cron schedules by robfig/cron's rules, whose error texts clients see: five fields, `@daily` and the like, `@every 1h`.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _, Zoned};

/// A field that was `*` or `?`: of day-of-month and day-of-week, a starred one does not restrict the other.
const STAR: u64 = 1 << 63;
/// A schedule without a moment in this many years has none.
const YEARS_SEARCHED: i16 = 5;

/// When something is to happen.
#[derive(Clone, Debug)]
pub struct Schedule {
    kind: Kind,
    zone: Option<TimeZone>,
}

#[derive(Clone, Debug)]
enum Kind {
    Fields {
        minute: u64,
        hour: u64,
        day: u64,
        month: u64,
        weekday: u64,
    },
    Every(SignedDuration),
}

struct Bounds {
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const MINUTES: Bounds = Bounds {
    min: 0,
    max: 59,
    names: &[],
};
const HOURS: Bounds = Bounds {
    min: 0,
    max: 23,
    names: &[],
};
const DAYS: Bounds = Bounds {
    min: 1,
    max: 31,
    names: &[],
};
const MONTHS: Bounds = Bounds {
    min: 1,
    max: 12,
    names: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
};
const WEEKDAYS: Bounds = Bounds {
    min: 0,
    max: 6,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

impl Schedule {
    /// Reads a schedule. The error is robfig's text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (zone, spec) = split_zone(text)?;
        if spec.is_empty() {
            return Err("empty spec string".to_owned());
        }
        let kind = if spec.starts_with('@') {
            descriptor(spec)?
        } else {
            fields(spec)?
        };
        Ok(Self { kind, zone })
    }

    /// The first moment after `after`, in the schedule's own zone (`TZ=`) or else in that of `after`.
    pub fn next(&self, after: &Zoned) -> Option<Zoned> {
        let after = self
            .zone
            .clone()
            .map_or_else(|| after.clone(), |zone| after.with_time_zone(zone));
        match &self.kind {
            Kind::Every(period) => {
                let whole = Timestamp::from_second(after.timestamp().as_second()).ok()?;
                Some(
                    whole
                        .checked_add(*period)
                        .ok()?
                        .to_zoned(after.time_zone().clone()),
                )
            }
            Kind::Fields { .. } => self.next_match(&after),
        }
    }

    fn next_match(&self, after: &Zoned) -> Option<Zoned> {
        let Kind::Fields { minute, hour, .. } = self.kind else {
            return None;
        };
        let start = after.datetime().checked_add(1.minute()).ok()?;
        let mut at = start.date().at(start.hour(), start.minute(), 0, 0);
        let last_year = at.year() + YEARS_SEARCHED;
        while at.year() <= last_year {
            if !self.day_matches(&at) {
                at = at.date().tomorrow().ok()?.at(0, 0, 0, 0);
            } else if hour & bit(at.hour()) == 0 {
                at = at.date().at(at.hour(), 0, 0, 0).checked_add(1.hour()).ok()?;
            } else if minute & bit(at.minute()) == 0 {
                at = at.checked_add(1.minute()).ok()?;
            } else {
                let found = after.time_zone().to_zoned(at).ok()?;
                // A wall time the clocks skip is not a moment of its own.
                if found.datetime() == at && found.timestamp() > after.timestamp() {
                    return Some(found);
                }
                at = at.checked_add(1.minute()).ok()?;
            }
        }
        None
    }

    /// Both days must match if either is starred, else one of them.
    fn day_matches(&self, at: &DateTime) -> bool {
        let Kind::Fields {
            day, month, weekday, ..
        } = self.kind
        else {
            return false;
        };
        let of_month = day & bit(at.day()) != 0;
        let of_week = weekday & bit(at.weekday().to_sunday_zero_offset()) != 0;
        let days = if day & STAR != 0 || weekday & STAR != 0 {
            of_month && of_week
        } else {
            of_month || of_week
        };
        days && month & bit(at.month()) != 0
    }
}

fn bit(number: i8) -> u64 {
    1 << u32::try_from(number).unwrap_or(0)
}

fn split_zone(text: &str) -> Result<(Option<TimeZone>, &str), String> {
    let Some(rest) = text.strip_prefix("CRON_TZ=").or_else(|| text.strip_prefix("TZ=")) else {
        return Ok((None, text));
    };
    let Some((name, spec)) = rest.split_once(' ') else {
        return Err("invalid schedule format: runtime error: slice bounds out of range [:-1]".to_owned());
    };
    let zone =
        TimeZone::get(name).map_err(|_| format!("provided bad location {name}: unknown time zone {name}"))?;
    Ok((Some(zone), spec.trim()))
}

fn fields(spec: &str) -> Result<Kind, String> {
    let parts: Vec<&str> = spec.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = parts.as_slice() else {
        return Err(format!(
            "expected exactly 5 fields, found {}: [{}]",
            parts.len(),
            parts.join(" ")
        ));
    };
    Ok(Kind::Fields {
        minute: field(minute, &MINUTES)?,
        hour: field(hour, &HOURS)?,
        day: field(day, &DAYS)?,
        month: field(month, &MONTHS)?,
        weekday: field(weekday, &WEEKDAYS)?,
    })
}

fn descriptor(spec: &str) -> Result<Kind, String> {
    let fields = match spec {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        other => {
            let Some(period) = other.strip_prefix("@every ") else {
                return Err(format!("unrecognized descriptor: {other}"));
            };
            let nanos = go_duration(period)
                .map_err(|problem| format!("failed to parse duration {other}: {problem}"))?;
            // Whole seconds, at least one.
            return Ok(Kind::Every(SignedDuration::from_secs(
                (nanos / 1_000_000_000).max(1),
            )));
        }
    };
    self::fields(fields)
}

fn field(text: &str, bounds: &Bounds) -> Result<u64, String> {
    text.split(',')
        .filter(|part| !part.is_empty())
        .try_fold(0, |bits, part| Ok(bits | range(part, bounds)?))
}

fn range(text: &str, bounds: &Bounds) -> Result<u64, String> {
    let parts: Vec<&str> = text.split('/').collect();
    let ends: Vec<&str> = parts[0].split('-').collect();
    let starred = matches!(ends[0], "*" | "?");
    let (start, mut end) = match ends.as_slice() {
        _ if starred => (bounds.min, bounds.max),
        [one] => (number_or_name(one, bounds)?, number_or_name(one, bounds)?),
        [start, end] => (number_or_name(start, bounds)?, number_or_name(end, bounds)?),
        _ => return Err(format!("too many hyphens: {text}")),
    };
    let step = match parts.as_slice() {
        [_] => 1,
        [_, step] => {
            let step = number(step)?;
            if ends.len() == 1 {
                end = bounds.max;
            }
            step
        }
        _ => return Err(format!("too many slashes: {text}")),
    };
    let Bounds { min, max, .. } = bounds;
    if start < *min {
        return Err(format!(
            "beginning of range ({start}) below minimum ({min}): {text}"
        ));
    }
    if end > *max {
        return Err(format!("end of range ({end}) above maximum ({max}): {text}"));
    }
    if start > end {
        return Err(format!(
            "beginning of range ({start}) beyond end of range ({end}): {text}"
        ));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    let star = if starred && step == 1 { STAR } else { 0 };
    Ok((start..=end)
        .step_by(step as usize)
        .fold(star, |bits, number| bits | 1 << number))
}

fn number_or_name(text: &str, bounds: &Bounds) -> Result<u32, String> {
    let lower = text.to_lowercase();
    match bounds.names.iter().position(|name| *name == lower) {
        Some(index) => Ok(bounds.min + u32::try_from(index).unwrap_or(0)),
        None => number(text),
    }
}

fn number(text: &str) -> Result<u32, String> {
    match text.parse::<i64>() {
        Ok(number) if number < 0 => Err(format!("negative number ({number}) not allowed: {text}")),
        // Far above every bound; what is too large is said there.
        Ok(number) => Ok(u32::try_from(number).unwrap_or(u32::MAX)),
        Err(_) => Err(format!(
            "failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"
        )),
    }
}

/// Go's `time.ParseDuration`: `1h30m`, `1.5s`; nanoseconds.
fn go_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    let mut total = 0_f64;
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let amount: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let nanos = match &rest[..unit] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 6e10,
            "h" => 3.6e12,
            "" => return Err(format!("time: missing unit in duration {text:?}")),
            other => return Err(format!("time: unknown unit {other:?} in duration {text:?}")),
        };
        total += amount * nanos;
        rest = &rest[unit..];
    }
    #[allow(clippy::cast_possible_truncation)] // saturates
    Ok(if negative { -total } else { total } as i64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn next(schedule: &str, after: &str) -> String {
        let after: Zoned = after.parse().unwrap();
        Schedule::parse(schedule)
            .unwrap()
            .next(&after)
            .map_or_else(|| "never".to_owned(), |at| at.to_string())
    }

    #[test]
    fn the_next_moment_is_robfigs() {
        let after = "2026-01-01T10:07:30+00:00[UTC]";
        assert_eq!(next("*/15 * * * *", after), "2026-01-01T10:15:00+00:00[UTC]");
        assert_eq!(next("0 9-17 * * mon", after), "2026-01-05T09:00:00+00:00[UTC]");
        assert_eq!(next("0 0 13 * fri", after), "2026-01-02T00:00:00+00:00[UTC]");
        assert_eq!(next("0 0 */2 * 1", after), "2026-01-03T00:00:00+00:00[UTC]");
        assert_eq!(next("@every 90s", after), "2026-01-01T10:09:00+00:00[UTC]");
        assert_eq!(next("@monthly", after), "2026-02-01T00:00:00+00:00[UTC]");
        assert_eq!(next("0 0 30 2 *", after), "never");
    }

    #[test]
    fn a_skipped_hour_is_skipped_and_errors_are_robfigs() {
        let after = "2026-03-29T00:00:00+01:00[Europe/Berlin]";
        assert_eq!(
            next("30 2 * * *", after),
            "2026-03-30T02:30:00+02:00[Europe/Berlin]"
        );
        let error = |text: &str| Schedule::parse(text).unwrap_err();
        assert_eq!(error("* * *"), "expected exactly 5 fields, found 3: [* * *]");
        assert_eq!(error("60 * * * *"), "end of range (60) above maximum (59): 60");
        assert_eq!(
            error("5-1 * * * *"),
            "beginning of range (5) beyond end of range (1): 5-1"
        );
        assert_eq!(error("@never"), "unrecognized descriptor: @never");
        assert_eq!(
            error("x * * * *"),
            "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"
        );
    }
}
