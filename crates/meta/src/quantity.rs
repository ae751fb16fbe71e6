//! `resource.Quantity`: a decimal number with an SI suffix, kept exactly to a billionth.
//!
//! Canonical form: no precision lost, no fraction, the largest suffix that allows both, and the family of suffixes
//! (decimal, binary, exponent) that the text had.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Units of the stored value: one is 1e9 of them.
const NANO: i128 = 1_000_000_000;
/// Decimal digits of a number that are looked at; more do not fit an i128 of billionths.
const MAX_DIGITS: usize = 38;

/// The family of suffixes a quantity prints with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    DecimalExponent,
    BinarySi,
    DecimalSi,
}

/// An exact amount. Values beyond ±1.7e29 saturate.
#[derive(Clone, Debug)]
pub struct Quantity {
    nanos: i128,
    format: Format,
    /// The text as given, where upstream would print it again unchanged.
    text: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

fn split(text: &str) -> Result<Parts<'_>, ParseError> {
    let (negative, rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let rest = rest.trim_start_matches('0');
    let (whole, rest) = rest.split_at(digits(rest));
    let (fraction, suffix) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(digits(rest)),
        None => ("", rest),
    };
    let letters = suffix.len() - suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c)).len();
    let exponent = suffix[letters..].trim_start_matches(['-', '+']);
    let signs = suffix.len() - letters - exponent.len();
    if signs > 1 || digits(exponent) != exponent.len() {
        return Err(ParseError::Format);
    }
    Ok(Parts {
        negative,
        whole,
        fraction,
        suffix,
    })
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// Base (2 or 10), exponent and format of a suffix.
fn interpret(suffix: &str) -> Option<(u32, i32, Format)> {
    use Format::{BinarySi, DecimalExponent, DecimalSi};
    Some(match suffix {
        "" => (10, 0, DecimalSi),
        "n" => (10, -9, DecimalSi),
        "u" => (10, -6, DecimalSi),
        "m" => (10, -3, DecimalSi),
        "k" => (10, 3, DecimalSi),
        "M" => (10, 6, DecimalSi),
        "G" => (10, 9, DecimalSi),
        "T" => (10, 12, DecimalSi),
        "P" => (10, 15, DecimalSi),
        "E" => (10, 18, DecimalSi),
        "Ki" => (2, 10, BinarySi),
        "Mi" => (2, 20, BinarySi),
        "Gi" => (2, 30, BinarySi),
        "Ti" => (2, 40, BinarySi),
        "Pi" => (2, 50, BinarySi),
        "Ei" => (2, 60, BinarySi),
        other => (10, other.strip_prefix(['e', 'E'])?.parse().ok()?, DecimalExponent),
    })
}

/// Larger amounts than 10^28 are taken for that: the canonical text of every amount must be readable again.
const MAX_NANOS: i128 = 10_i128.pow(37);

fn pow10(exponent: u32) -> i128 {
    10_i128.checked_pow(exponent).unwrap_or(i128::MAX)
}

/// `digits` × 10^`scale` in billionths, rounded away from zero.
fn scale_decimal(digits: i128, scale: i32) -> i128 {
    let scale = scale.saturating_add(9);
    if digits == 0 {
        0
    } else if scale >= 0 {
        digits.saturating_mul(pow10(scale as u32))
    } else {
        let unit = pow10(scale.unsigned_abs());
        digits / unit + i128::from(digits % unit != 0)
    }
}

/// `number` × 10^`places` × `unit` in billionths. Digits that there is no room for are rounded up, the last ones first.
fn scale_binary(mut number: i128, mut places: i32, unit: i128) -> i128 {
    while number.checked_mul(unit).is_none() && places < 0 {
        number = number / 10 + i128::from(number % 10 != 0);
        places += 1;
    }
    scale_decimal(number.saturating_mul(unit), places)
}

impl Quantity {
    pub fn from_nanos(nanos: i128, format: Format) -> Self {
        Self {
            nanos,
            format,
            text: None,
        }
    }

    /// A whole number, as Go's `NewQuantity`.
    pub fn new(value: i64, format: Format) -> Self {
        Self::from_nanos(i128::from(value) * NANO, format)
    }

    /// Thousandths, as Go's `NewMilliQuantity` in DecimalSI.
    pub fn from_milli(milli: i64) -> Self {
        Self::from_nanos(i128::from(milli) * (NANO / 1000), Format::DecimalSi)
    }

    pub fn zero() -> Self {
        Self::from_nanos(0, Format::DecimalSi)
    }

    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if text.is_empty() {
            return Err(ParseError::Format);
        }
        let parts = split(text)?;
        let (base, exponent, mut format) = interpret(parts.suffix).ok_or(ParseError::Suffix)?;
        // Upstream's slow path, for the largest of units, wants a digit.
        let unsigned = text.trim_start_matches(['-', '+']);
        let only_a_point = unsigned.starts_with('.') && parts.fraction.is_empty();
        let slow = base == 2 && exponent >= 50;
        if parts.whole.len() + parts.fraction.len() > MAX_DIGITS || (slow && only_a_point) {
            return Err(ParseError::Numeric);
        }
        let mut all = String::with_capacity(MAX_DIGITS + 1);
        all.push_str(if parts.whole.is_empty() { "0" } else { parts.whole });
        all.push_str(parts.fraction);
        let number: i128 = all.parse().map_err(|_| ParseError::Numeric)?;
        let places = -(parts.fraction.len() as i32);
        let mut nanos = match base {
            10 => scale_decimal(number, places.saturating_add(exponent)),
            _ => scale_binary(number, places, 1 << exponent),
        };
        nanos = nanos.min(MAX_NANOS);
        if format == Format::BinarySi {
            nanos = nanos.min(i128::from(i64::MAX) * NANO);
            if nanos > 0 && nanos < NANO {
                format = Format::DecimalSi;
            }
        }
        let kept = keeps_text(&parts, &all, number, exponent, format);
        let nanos = if parts.negative { -nanos } else { nanos };
        Ok(Self {
            nanos,
            format,
            text: kept.then(|| text.into()),
        })
    }

    pub fn format(&self) -> Format {
        self.format
    }

    pub fn nanos(&self) -> i128 {
        self.nanos
    }

    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// The value rounded up to a whole number, capped at i64.
    pub fn value(&self) -> i64 {
        self.rounded_up(NANO)
    }

    /// The value in thousandths, rounded up, capped at i64.
    pub fn milli_value(&self) -> i64 {
        self.rounded_up(NANO / 1000)
    }

    fn rounded_up(&self, unit: i128) -> i64 {
        let (whole, rest) = (self.nanos / unit, self.nanos % unit);
        // Away from zero, as upstream's scaled values round.
        let rounded = whole + rest.signum();
        rounded.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }

    pub fn as_f64(&self) -> f64 {
        self.nanos as f64 / NANO as f64
    }

    /// The sum, in the format of `self` unless it is zero.
    #[must_use]
    pub fn add(&self, other: &Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self::from_nanos(self.nanos.saturating_add(other.nanos), format)
    }

    #[must_use]
    pub fn sub(&self, other: &Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self::from_nanos(self.nanos.saturating_sub(other.nanos), format)
    }

    #[must_use]
    pub fn neg(&self) -> Self {
        Self::from_nanos(-self.nanos, self.format)
    }

    /// The canonical text, whatever the given one was.
    pub fn canonical(&self) -> String {
        if self.nanos == 0 {
            return "0".to_owned();
        }
        let small = self.nanos.unsigned_abs() < 1024 * NANO.unsigned_abs();
        match self.format {
            Format::BinarySi if !small && self.nanos % NANO == 0 => binary(self.nanos / NANO),
            Format::DecimalExponent => decimal(self.nanos, true),
            _ => decimal(self.nanos, false),
        }
    }
}

/// Whether upstream's fast path recognises the text as canonical and prints it again as it came.
fn keeps_text(parts: &Parts<'_>, all: &str, number: i128, exponent: i32, format: Format) -> bool {
    let length = parts.whole.len().max(1) + parts.fraction.len();
    if i64::try_from(number).is_err() || number == 0 {
        return false;
    }
    match format {
        Format::BinarySi => {
            let precision = 15 - length as i32 - (exponent as f32 * 3.0 / 10.0) as i32 - 1;
            parts.fraction.is_empty() && precision >= 0 && number & 7 != 0
        }
        _ => {
            let scale = exponent.saturating_sub(parts.fraction.len() as i32);
            let exact = length <= 18 && scale >= -9;
            exact && scale % 3 == 0 && !all.ends_with("000") && !all.starts_with('0')
        }
    }
}

fn decimal(nanos: i128, exponent_form: bool) -> String {
    let (mut mantissa, mut exponent) = (nanos, -9);
    while mantissa % 10 == 0 {
        mantissa /= 10;
        exponent += 1;
    }
    while exponent % 3 != 0 {
        mantissa *= 10;
        exponent -= 1;
    }
    if exponent_form {
        return if exponent == 0 {
            mantissa.to_string()
        } else {
            format!("{mantissa}e{exponent}")
        };
    }
    // Beyond E there is no suffix: keep the zeros.
    while exponent > 18 {
        mantissa *= 10;
        exponent -= 1;
    }
    let suffix = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][((exponent + 9) / 3) as usize];
    format!("{mantissa}{suffix}")
}

fn binary(value: i128) -> String {
    let (mut mantissa, mut times) = (value, 0);
    while mantissa % 1024 == 0 && times < 6 {
        mantissa /= 1024;
        times += 1;
    }
    format!("{mantissa}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][times])
}

impl FromStr for Quantity {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => f.write_str(text),
            None => f.write_str(&self.canonical()),
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn canon(text: &str) -> String {
        Quantity::parse(text).unwrap().to_string()
    }

    #[test]
    fn canonical_forms() {
        for (given, printed) in [
            ("0", "0"),
            ("00", "0"),
            ("0m", "0"),
            ("100m", "100m"),
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1.5Gi", "1536Mi"),
            ("1024Mi", "1Gi"),
            ("1025Mi", "1025Mi"),
            ("64Mi", "64Mi"),
            ("128974848", "128974848"),
            ("129e6", "129e6"),
            ("1000000", "1M"),
            ("1Ki", "1Ki"),
            ("512Ki", "512Ki"),
            ("0.1n", "1n"),
            ("1e3", "1e3"),
            ("10e3", "10e3"),
            ("1E", "1E"),
            ("-1500m", "-1500m"),
            ("0.5Mi", "512Ki"),
            ("0.0001Ki", "102400u"),
            ("100Ei", "9223372036854775807"),
            ("62.45638750184064636942Ei", "9223372036854775807"),
            ("1.500", "1.500"),
            ("+372Pi", "372Pi"),
            (".Gi", "0"),
        ] {
            assert_eq!(canon(given), printed, "{given}");
        }
    }

    #[test]
    fn wrong_text_is_refused() {
        for (text, error) in [
            ("", ParseError::Format),
            ("1x", ParseError::Format),
            ("1KI", ParseError::Format),
            ("1mm", ParseError::Suffix),
            ("five", ParseError::Format),
            ("1e", ParseError::Suffix),
            ("1.1.1", ParseError::Format),
            (".Ei", ParseError::Numeric),
        ] {
            assert_eq!(Quantity::parse(text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn values_round_up() {
        assert_eq!(Quantity::parse("1500m").unwrap().value(), 2);
        assert_eq!(Quantity::parse("1n").unwrap().milli_value(), 1);
        assert!(Quantity::parse("1Gi").unwrap() > Quantity::parse("1G").unwrap());
    }
}
