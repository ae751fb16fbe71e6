//! Random name parts and numbers.

use rand::RngExt;

/// Consonants and digits without look-alikes, so that random names spell no words
/// (the alphabet of apimachinery's `util/rand`).
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A random string of `len` characters from an alphabet fit for DNS labels.
pub fn random_suffix(len: usize) -> String {
    let mut rng = rand::rng();
    (0..len)
        .map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())]))
        .collect()
}

/// A random number below `limit` (0 when that is 0).
pub fn random_below(limit: u64) -> u64 {
    if limit == 0 {
        return 0;
    }
    rand::rng().random_range(0..limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_have_the_length_and_the_alphabet() {
        let suffix = random_suffix(64);
        assert_eq!(suffix.len(), 64);
        assert!(suffix.bytes().all(|c| ALPHABET.contains(&c)));
        assert_ne!(suffix, random_suffix(64));
    }
}
