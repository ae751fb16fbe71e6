//! Numbers from text, with Go's words for what is none.

use std::str::FromStr;

/// Go's `strconv.ParseUint`, as wide as `T` is.
///
/// # Errors
/// The text Go gives.
pub fn parse_uint<T: FromStr>(text: &str) -> Result<T, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let why = if digits {
        "value out of range"
    } else {
        "invalid syntax"
    };
    let parsed = text.parse().ok().filter(|_| digits);
    parsed.ok_or_else(|| format!("strconv.ParseUint: parsing {text:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::parse_uint;

    #[test]
    fn digits_alone_are_a_number() {
        assert_eq!(parse_uint::<u16>("65535"), Ok(65535));
        assert_eq!(parse_uint::<u64>("007"), Ok(7));
        let refused = |text: &str, why: &str| {
            let message = format!("strconv.ParseUint: parsing {text:?}: {why}");
            assert_eq!(parse_uint::<u16>(text), Err(message));
        };
        refused("65536", "value out of range");
        for text in ["", "+1", "-1", "1.0", "0x1", " 1"] {
            refused(text, "invalid syntax");
        }
    }
}
