//! Cron schedules, as robfig/cron reads them: five fields or a macro, `@every`, a time zone.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned, civil};

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// A schedule that has no time within this many years has none (29 February comes every eight at most).
const MAX_YEARS: i16 = 9;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    bits: u64,
    star: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Every(i64),
    Fields([Field; 5]),
}

/// A parsed schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    kind: Kind,
    zone: TimeZone,
}

impl Schedule {
    /// Parses a schedule that is meant in `zone`, unless it names one itself.
    ///
    /// # Errors
    /// With what is wrong, in robfig's words.
    pub fn parse(text: &str, zone: TimeZone) -> Result<Self, String> {
        let mut text = text.trim();
        let mut zone = zone;
        if let Some(rest) = text.strip_prefix("TZ=").or_else(|| text.strip_prefix("CRON_TZ=")) {
            let (name, rest) = rest.split_once(' ').ok_or("missing schedule after time zone")?;
            zone = TimeZone::get(name).map_err(|e| format!("provided bad location {name}: {e}"))?;
            text = rest.trim();
        }
        let kind = if let Some(name) = text.strip_prefix('@') {
            descriptor(name)?
        } else {
            fields(text)?
        };
        Ok(Self { kind, zone })
    }

    /// The first time after `from`; none if there is none.
    #[must_use]
    pub fn next(&self, from: Timestamp) -> Option<Timestamp> {
        match &self.kind {
            Kind::Every(seconds) => Timestamp::from_second(from.as_second() + seconds).ok(),
            Kind::Fields(fields) => next(fields, from, &self.zone),
        }
    }
}

fn descriptor(name: &str) -> Result<Kind, String> {
    let fixed = match name {
        "yearly" | "annually" => "0 0 1 1 *",
        "monthly" => "0 0 1 * *",
        "weekly" => "0 0 * * 0",
        "daily" | "midnight" => "0 0 * * *",
        "hourly" => "0 * * * *",
        other => {
            let every = other
                .strip_prefix("every ")
                .ok_or(format!("unrecognized descriptor: @{other}"))?;
            return duration(every.trim()).map(|s| Kind::Every(s.max(1)));
        }
    };
    fields(fixed)
}

/// Go's durations, in whole seconds: `1h30m`.
fn duration(text: &str) -> Result<i64, String> {
    let wrong = || format!("failed to parse duration @every {text}: time: invalid duration \"{text}\"");
    let (mut total, mut number) = (0.0, String::new());
    let mut unit = String::new();
    let mut add = |number: &mut String, unit: &mut String| -> Option<()> {
        let factor = match unit.as_str() {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * factor;
        number.clear();
        unit.clear();
        Some(())
    };
    for c in text.chars() {
        if c.is_ascii_digit() || c == '.' {
            if !unit.is_empty() {
                add(&mut number, &mut unit).ok_or_else(wrong)?;
            }
            number.push(c);
        } else {
            unit.push(c);
        }
    }
    add(&mut number, &mut unit).ok_or_else(wrong)?;
    Ok(total as i64)
}

fn fields(text: &str) -> Result<Kind, String> {
    let parts: Vec<&str> = text.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = parts[..] else {
        return Err(
            format!("expected exactly 5 fields, found {}: {parts:?}", parts.len())
                .replace("\", \"", " ")
                .replace('"', ""),
        );
    };
    Ok(Kind::Fields([
        field(minute, 0, 59, &[])?,
        field(hour, 0, 23, &[])?,
        field(day, 1, 31, &[])?,
        field(month, 1, 12, &MONTHS)?,
        field(weekday, 0, 6, &DAYS)?,
    ]))
}

fn field(text: &str, low: u32, high: u32, names: &[&str]) -> Result<Field, String> {
    let mut all = Field { bits: 0, star: false };
    for part in text.split(',') {
        let one = range(part, low, high, names)?;
        all.bits |= one.bits;
        all.star |= one.star;
    }
    Ok(all)
}

fn range(text: &str, low: u32, high: u32, names: &[&str]) -> Result<Field, String> {
    let (span, step) = match text.split_once('/') {
        Some((span, step)) => (span, Some(step)),
        None => (text, None),
    };
    let number = |s: &str| -> Result<u32, String> {
        if let Some(i) = names.iter().position(|n| n.eq_ignore_ascii_case(s)) {
            return Ok(u32::try_from(i).unwrap_or(0) + low);
        }
        s.parse().map_err(|_| {
            format!("failed to parse int from {s}: strconv.Atoi: parsing \"{s}\": invalid syntax")
        })
    };
    let star = matches!(span, "*" | "?");
    let (first, mut last) = match span.split_once('-') {
        _ if star => (low, high),
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(span)?, number(span)?),
    };
    let step = match step {
        None => 1,
        Some(step) => {
            if !star && !span.contains('-') {
                last = high;
            }
            number(step)?
        }
    };
    // Sunday is 0 and, to many, 7 as well; robfig takes only 0.
    if first < low {
        return Err(format!(
            "beginning of range ({first}) below minimum ({low}): {text}"
        ));
    }
    if last > high {
        return Err(format!("end of range ({last}) above maximum ({high}): {text}"));
    }
    if first > last {
        return Err(format!(
            "beginning of range ({first}) beyond end of range ({last}): {text}"
        ));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    let bits = (first..=last)
        .step_by(step as usize)
        .fold(0, |bits, i| bits | (1 << i));
    Ok(Field {
        bits,
        star: star && step == 1,
    })
}

fn has(field: &Field, value: i8) -> bool {
    field.bits & (1 << value) != 0
}

/// If both day fields are restricted, either of them is enough.
fn is_day(fields: &[Field; 5], date: civil::Date) -> bool {
    let of_month = has(&fields[2], date.day());
    let of_week = has(&fields[4], date.weekday().to_sunday_zero_offset());
    if fields[2].star || fields[4].star {
        of_month && of_week
    } else {
        of_month || of_week
    }
}

fn next(fields: &[Field; 5], from: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let start: Zoned = from.to_zoned(zone.clone());
    let mut at = start
        .datetime()
        .with()
        .second(0)
        .subsec_nanosecond(0)
        .build()
        .ok()?;
    at = at.checked_add(1.minute()).ok()?;
    let end = at.year() + MAX_YEARS;
    while at.year() <= end {
        if !has(&fields[3], at.month()) {
            at = at
                .date()
                .first_of_month()
                .checked_add(1.month())
                .ok()?
                .at(0, 0, 0, 0);
        } else if !is_day(fields, at.date()) {
            at = at.date().tomorrow().ok()?.at(0, 0, 0, 0);
        } else if !has(&fields[1], at.hour()) {
            at = at.with().minute(0).build().ok()?.checked_add(1.hour()).ok()?;
        } else if !has(&fields[0], at.minute()) {
            at = at.checked_add(1.minute()).ok()?;
        } else {
            let zoned = at.to_zoned(zone.clone()).ok()?;
            // A time the clocks skip does not come that day; one they repeat comes once.
            if zoned.datetime() == at && zoned.timestamp() > from {
                return Some(zoned.timestamp());
            }
            at = at.checked_add(1.minute()).ok()?;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Whatever can be read has a next time that is later, or none.
    #[test]
    fn spoiled_schedules_are_refused_or_go_forward() {
        let corpus = [
            "*/5 1-3 * * mon",
            "TZ=Europe/Berlin 0 0 29 2 *",
            "@every 1h30m",
            "@hourly",
            "0 0 1,15 jan-mar ?",
        ];
        let corpus: Vec<Vec<u8>> = corpus.iter().map(|text| text.as_bytes().to_vec()).collect();
        let from: Timestamp = "2026-03-28T23:59:59Z".parse().unwrap();
        let mut read = 0;
        corten_fuzz::spoil("cron schedule", &corpus, |input| {
            let text = String::from_utf8_lossy(input);
            if let Ok(schedule) = Schedule::parse(&text, TimeZone::UTC) {
                read += 1;
                assert!(schedule.next(from).is_none_or(|next| next > from), "{text}");
            }
        });
        assert!(read > 100, "only {read} were taken");
    }

    fn times(schedule: &str, zone: &str, from: &str) -> Vec<String> {
        let schedule = Schedule::parse(schedule, TimeZone::get(zone).unwrap()).unwrap();
        let mut at: Timestamp = from.parse().unwrap();
        (0..3)
            .map(|_| {
                at = schedule.next(at).unwrap();
                at.to_string()
            })
            .collect()
    }

    #[test]
    fn schedules_come_when_they_should() {
        let from = "2026-01-30T10:02:30Z";
        let check = |schedule: &str, zone: &str, expected: [&str; 3]| {
            assert_eq!(times(schedule, zone, from), expected, "{schedule} {zone}");
        };
        check(
            "*/5 * * * *",
            "UTC",
            [
                "2026-01-30T10:05:00Z",
                "2026-01-30T10:10:00Z",
                "2026-01-30T10:15:00Z",
            ],
        );
        check(
            "0 9 * * mon-fri",
            "UTC",
            [
                "2026-02-02T09:00:00Z",
                "2026-02-03T09:00:00Z",
                "2026-02-04T09:00:00Z",
            ],
        );
        check(
            "0 0 13 * 5",
            "UTC",
            [
                "2026-02-06T00:00:00Z",
                "2026-02-13T00:00:00Z",
                "2026-02-20T00:00:00Z",
            ],
        );
        check(
            "0 0 29 2 *",
            "UTC",
            [
                "2028-02-29T00:00:00Z",
                "2032-02-29T00:00:00Z",
                "2036-02-29T00:00:00Z",
            ],
        );
        check(
            "@every 1h30m",
            "UTC",
            [
                "2026-01-30T11:32:30Z",
                "2026-01-30T13:02:30Z",
                "2026-01-30T14:32:30Z",
            ],
        );
        check(
            "30 2 * 3 *",
            "Europe/Berlin",
            [
                "2026-03-01T01:30:00Z",
                "2026-03-02T01:30:00Z",
                "2026-03-03T01:30:00Z",
            ],
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = |s: &str| Schedule::parse(s, TimeZone::UTC).unwrap_err();
        assert_eq!(error("61 * * * *"), "end of range (61) above maximum (59): 61");
        assert_eq!(error("* * *"), "expected exactly 5 fields, found 3: [* * *]");
        assert_eq!(error("@never"), "unrecognized descriptor: @never");
    }
}
