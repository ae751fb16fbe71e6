//! Resource versions as clients may compare them (`apimachinery/pkg/util/resourceversion`).

/// # Errors
/// Where it is none, in upstream's words.
pub fn check(version: &str) -> Result<(), String> {
    if version.is_empty() || version.starts_with('0') || !version.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("resource version is not well formed: {version}"));
    }
    Ok(())
}

/// Whether one came after another of the same resource.
///
/// # Errors
/// Those of [`check`].
pub fn is_newer(version: &str, than: &str) -> Result<bool, String> {
    check(version)?;
    check(than)?;
    Ok((version.len(), version) > (than.len(), than))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_are_compared_as_numbers() {
        assert_eq!(is_newer("10", "9"), Ok(true));
        assert_eq!(is_newer("9", "10"), Ok(false));
        assert_eq!(is_newer("9", "9"), Ok(false));
        for wrong in ["", "0", "07", "x"] {
            assert_eq!(
                is_newer("9", wrong),
                Err(format!("resource version is not well formed: {wrong}"))
            );
        }
    }
}
