//! Book, card and colour codes.

fn digits(text: &str) -> Vec<u32> {
    text.chars().filter_map(|c| c.to_digit(10)).collect()
}

fn without_space_and_dash(text: &str) -> String {
    text.chars()
        .filter(|c| !matches!(c, '\t' | '\n' | '\x0c' | '\r' | ' ' | '-'))
        .collect()
}

pub(super) fn isbn10(text: &str) -> bool {
    let text = without_space_and_dash(text);
    let last = match text.as_bytes() {
        [first @ .., last] if first.len() == 9 && first.iter().all(u8::is_ascii_digit) => match last {
            b'X' => 10,
            b'0'..=b'9' => u32::from(last - b'0'),
            _ => return false,
        },
        _ => return false,
    };
    let sum: u32 = digits(&text[..9])
        .iter()
        .zip(1..)
        .map(|(digit, at)| digit * at)
        .sum();
    (sum + 10 * last).is_multiple_of(11)
}

pub(super) fn isbn13(text: &str) -> bool {
    let text = without_space_and_dash(text);
    if text.len() != 13 || !text.bytes().all(|c| c.is_ascii_digit()) {
        return false;
    }
    let digits = digits(&text);
    let sum: u32 = digits[..12]
        .iter()
        .zip([1, 3].into_iter().cycle())
        .map(|(digit, factor)| digit * factor)
        .sum();
    digits[12] == (10 - sum % 10) % 10
}

/// A card company's prefix and length, and Luhn's check digit; whatever is no digit is left out.
pub(super) fn credit_card(text: &str) -> bool {
    let number: String = text.chars().filter(char::is_ascii_digit).collect();
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| number.starts_with(prefix));
    let company = match number.len() {
        13 => starts(&["4"]),
        14 => starts(&["300", "301", "302", "303", "304", "305", "36", "38"]),
        15 => starts(&["34", "37", "2131", "1800"]),
        16 => {
            let discover = starts(&["6011"]) || (starts(&["65"]) && number.len() == 16);
            starts(&["4", "51", "52", "53", "54", "55", "35"]) || discover
        }
        _ => false,
    };
    let sum: u32 = digits(&number)
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| match at % 2 {
            0 => *digit,
            _ if digit * 2 >= 10 => digit * 2 % 10 + 1,
            _ => digit * 2,
        })
        .sum();
    company && sum.is_multiple_of(10)
}

pub(super) fn hex_color(text: &str) -> bool {
    let digits = text.strip_prefix('#').unwrap_or(text);
    matches!(digits.len(), 3 | 6) && digits.bytes().all(|c| c.is_ascii_hexdigit())
}

/// Padded, without line breaks, not empty.
pub(super) fn base64(text: &str) -> bool {
    let data = text.trim_end_matches('=');
    let padding = text.len() - data.len();
    let wanted = match data.len() % 4 {
        0 => 0,
        2 => 2,
        3 => 1,
        _ => return false,
    };
    let alphabet = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/');
    !text.is_empty() && padding == wanted && data.bytes().all(alphabet)
}
