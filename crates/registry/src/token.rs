//! Continue tokens, in upstream's format (`storage.EncodeContinue`).

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use corten_meta::{Result, Status};
use serde_json::{Value, json};

/// As Go's `RawURLEncoding`: no padding, and stray bits in the last character do not matter.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

const VERSION: &str = "meta.k8s.io/v1";

/// Where a list goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// -1: at whatever is the newest revision then.
    pub revision: i64,
    /// The first key not yet listed, without the prefix of the list's scope.
    pub start: String,
}

impl Token {
    /// Continues behind `last`, a key without the scope's prefix.
    pub fn after(last: &str, revision: i64) -> Self {
        Self {
            revision,
            start: format!("{last}\0"),
        }
    }

    pub fn encode(&self) -> String {
        let token = json!({"v": VERSION, "rv": self.revision, "start": self.start});
        BASE64.encode(token.to_string())
    }

    pub fn decode(text: &str) -> Result<Self> {
        let invalid = |detail: String| {
            Status::bad_request(format!(
                "invalid continue token: continue key is not valid{detail}"
            ))
        };
        let bytes = BASE64.decode(text).map_err(|error| {
            invalid(format!(
                ": illegal base64 data at input byte {}",
                bad_byte(text, error)
            ))
        })?;
        let token: Value = serde_json::from_slice(&bytes).map_err(|error| {
            let words = corten_schema::decode::syntax::go_error(&bytes);
            invalid(format!(": {}", words.unwrap_or_else(|| error.to_string())))
        })?;
        let version = token["v"].as_str().unwrap_or_default();
        if version != VERSION {
            return Err(invalid(format!(
                ": server does not recognize this encoded version {version}"
            )));
        }
        let start = token["start"].as_str().unwrap_or_default().to_owned();
        let revision = token["rv"].as_i64().unwrap_or_default();
        match (revision, start.as_str()) {
            (0, _) => Err(invalid(
                ": incorrect encoded start resourceVersion (version meta.k8s.io/v1)".into(),
            )),
            (_, "") => Err(invalid(
                ": encoded start key empty (version meta.k8s.io/v1)".into(),
            )),
            (_, start) if !is_clean(start) => Err(invalid(format!(": {start}"))),
            (revision, _) => Ok(Self { revision, start }),
        }
    }
}

/// Where Go's decoder would stop.
fn bad_byte(text: &str, error: base64::DecodeError) -> usize {
    match error {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
        // One character too many, or too few.
        _ => text.len().saturating_sub(1),
    }
}

/// No way out of the scope: what Go's `path.Clean` would change is refused.
fn is_clean(start: &str) -> bool {
    let start = start.strip_prefix('/').unwrap_or(start);
    !start.split('/').any(|part| matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What is taken is written the same way again, and leads nowhere else.
    #[test]
    fn spoiled_tokens_are_refused_or_lead_into_the_scope() {
        let plain = [
            json!({"v": VERSION, "rv": 33, "start": "default/a\u{0}"}).to_string(),
            json!({"v": VERSION, "rv": -1, "start": "/b"}).to_string(),
        ];
        let plain: Vec<Vec<u8>> = plain.into_iter().map(String::into_bytes).collect();
        let wire: Vec<Vec<u8>> = plain.iter().map(|token| BASE64.encode(token).into()).collect();
        let mut taken = 0;
        let mut check = |text: &str| {
            let Ok(token) = Token::decode(text) else { return };
            taken += 1;
            assert!(!format!("/{}/", token.start).contains("/../"), "{token:?}");
            assert_eq!(Token::decode(&token.encode()), Ok(token));
        };
        corten_fuzz::spoil("continue token", &wire, |input| {
            check(&String::from_utf8_lossy(input));
        });
        corten_fuzz::spoil("continue token's JSON", &plain, |input| {
            check(&BASE64.encode(input))
        });
        assert!(taken > 100, "only {taken} were taken");
    }

    #[test]
    fn tokens_come_back_and_bad_ones_are_refused() {
        let token = Token::after("default/a", 33);
        assert_eq!(Token::decode(&token.encode()).unwrap(), token);
        for bad in [
            json!({"v": "v2", "rv": 1, "start": "a"}),
            json!({"v": VERSION, "rv": 0, "start": "a"}),
            json!({"v": VERSION, "rv": 1, "start": ""}),
            json!({"v": VERSION, "rv": 1, "start": "../a"}),
        ] {
            let status = Token::decode(&BASE64.encode(bad.to_string())).unwrap_err();
            assert_eq!(status.code, 400);
            assert!(
                status
                    .message
                    .starts_with("invalid continue token: continue key is not valid"),
                "{}",
                status.message
            );
        }
        let not_json = "invalid continue token: continue key is not valid: invalid character 'Ï' looking for beginning of value";
        assert_eq!(
            Token::decode("zzz").map_err(|status| status.message),
            Err(not_json.to_owned())
        );
        assert!(Token::decode("***").is_err());
    }
}
