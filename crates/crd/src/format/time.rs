//! Dates, times and durations.

/// `2006-01-02`, a day there is.
pub(super) fn date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shape = bytes.len() == 10
        && bytes.iter().enumerate().all(|(at, c)| match at {
            4 | 7 => *c == b'-',
            _ => c.is_ascii_digit(),
        });
    if !shape {
        return false;
    }
    let number = |from: usize, to: usize| text[from..to].parse::<u32>().unwrap_or_default();
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        1..=12 => 31,
        _ => return false,
    };
    (1..=days).contains(&day)
}

/// RFC 3339's date-time, letters of either case, any one character before the fraction.
pub(super) fn date_time(text: &str) -> bool {
    let text = text.to_lowercase();
    let mut parts = text.split('t');
    let (Some(day), Some(clock)) = (parts.next(), parts.next()) else {
        return false;
    };
    date(day) && self::clock(clock)
}

fn clock(text: &str) -> bool {
    let bytes = text.as_bytes();
    let pair = |at: usize, most: &[u8; 2]| {
        bytes
            .get(at..at + 2)
            .is_some_and(|two| two.iter().all(u8::is_ascii_digit) && two <= most.as_slice())
    };
    let colon = |at: usize| bytes.get(at) == Some(&b':');
    if !(pair(0, b"23") && colon(2) && pair(3, b"59") && colon(5) && pair(6, b"59")) {
        return false;
    }
    let Some(rest) = text.get(8..) else {
        return false;
    };
    let zone = |text: &str| {
        let b = text.as_bytes();
        text == "z"
            || (b.len() == 6
                && matches!(b[0], b'+' | b'-')
                && b[3] == b':'
                && [1, 2, 4, 5].iter().all(|at| b[*at].is_ascii_digit()))
    };
    if zone(rest) {
        return true;
    }
    let mut after = rest.chars();
    if after.next().is_none_or(|c| c == '\n') {
        return false;
    }
    let fraction = after.as_str();
    let end = fraction
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(fraction.len());
    end > 0 && zone(&fraction[end..])
}

/// Words for units beyond Go's own: a prefix of the last of each row will do.
const UNITS: [&[&str]; 8] = [
    &["ns", "nano"],
    &["us", "µs", "micro"],
    &["ms", "milli"],
    &["s", "sec"],
    &["m", "min"],
    &["h", "hr", "hour"],
    &["d", "day"],
    &["w", "wk", "week"],
];

/// Go's own durations, or numbers with a unit's name somewhere in the text.
pub(super) fn duration(text: &str) -> bool {
    if go_duration(text) {
        return true;
    }
    let mut found = false;
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        rest = &rest[at..];
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number = &rest[..digits];
        let after = rest[digits..].trim_start_matches(['\t', '\n', '\x0c', '\r', ' ']);
        let word = |c: char| c.is_ascii_alphabetic() || c == 'µ';
        let end = after.find(|c: char| !word(c)).unwrap_or(after.len());
        if end > 0 {
            if number.parse::<i64>().is_err() {
                return false;
            }
            found |= is_unit(&after[..end].to_lowercase());
        }
        rest = &after[end..];
    }
    found
}

fn is_unit(word: &str) -> bool {
    UNITS
        .iter()
        .any(|names| names.contains(&word) || names.last().is_some_and(|name| word.starts_with(name)))
}

/// `-1h3m2.5s`; `0` needs no unit.
fn go_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let number = &rest[..end];
        if number.matches('.').count() > 1 || !number.contains(|c: char| c.is_ascii_digit()) {
            return false;
        }
        let after = &rest[end..];
        let end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        if !matches!(&after[..end], "ns" | "us" | "µs" | "μs" | "ms" | "s" | "m" | "h") {
            return false;
        }
        rest = &after[end..];
    }
    true
}
