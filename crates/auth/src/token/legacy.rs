//! Tokens kept in Secrets: whether one still counts, and what its use leaves behind. Upstream: pkg/serviceaccount/legacy.go.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{Span, Timestamp, tz::TimeZone};
use serde_json::{Value, json};

use super::claims::Claims;
use super::verify::{TokenError, digest};
use crate::user::service_account_username;

/// The label of a Secret whose token no longer counts: the date (UTC) on which it was put out of use.
pub const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";
/// The label that says on which date (UTC) the token was last used.
pub const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";

const WARNING: &str = "Use tokens from the TokenRequest API or manually created secret-based tokens instead of auto-generated secret-based tokens.";

/// Whose Secret the token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The account names the Secret: a controller once made it.
    Generated,
    /// Someone made the Secret and had it filled in.
    Manual,
    /// Its Secret says that it no longer counts.
    Invalidated,
}

/// What a token of a Secret that still holds it comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// Where it is from.
    pub origin: Origin,
    /// Key and value for the audit event.
    pub annotation: (&'static str, String),
    /// For the client.
    pub warning: Option<&'static str>,
    /// Why it does not count all the same.
    pub refused: Option<TokenError>,
}

/// A token of a Secret, with a good signature.
#[derive(Clone, Copy, Debug)]
pub struct LegacyToken<'a> {
    subject: &'a str,
    /// The namespace of account and Secret.
    pub namespace: &'a str,
    /// The Secret's name.
    pub secret: &'a str,
    /// The ServiceAccount's name.
    pub account: &'a str,
    uid: &'a str,
}

impl<'a> LegacyToken<'a> {
    pub(super) fn of(claims: &'a Claims) -> Self {
        let claim = |value: &'a Option<String>| value.as_deref().unwrap_or_default();
        Self {
            subject: &claims.sub,
            namespace: claim(&claims.legacy_namespace),
            secret: claim(&claims.legacy_secret),
            account: claim(&claims.legacy_name),
            uid: claim(&claims.legacy_uid),
        }
    }

    /// Judges the token by its own claims.
    ///
    /// # Errors
    /// A claim that is missing or contradicts another.
    pub fn check_claims(&self) -> Result<(), TokenError> {
        let claims = [
            ("sub", self.subject),
            ("namespace", self.namespace),
            ("secretName", self.secret),
            ("serviceAccountName", self.account),
            ("serviceAccountUID", self.uid),
        ];
        if let Some((name, _)) = claims.iter().find(|(_, value)| value.is_empty()) {
            return refuse(format!("{name} claim is missing"));
        }
        if self.subject != service_account_username(self.namespace, self.account) {
            return refuse("sub claim is invalid");
        }
        Ok(())
    }

    /// Whether the Secret still holds the token.
    ///
    /// # Errors
    /// When it is gone, going, or holds another.
    pub fn check_secret(&self, token: &str, secret: Option<&Value>) -> Result<(), TokenError> {
        let secret = secret.filter(|secret| secret["metadata"]["deletionTimestamp"].is_null());
        let Some(secret) = secret else {
            return refuse("Token has been invalidated");
        };
        let copy = secret["data"]["token"].as_str().unwrap_or_default();
        let copy = STANDARD.decode(copy).unwrap_or_default();
        // Compared as digests: equal time whatever differs.
        if digest(copy) != digest(token) {
            return refuse("Token does not match server's copy");
        }
        Ok(())
    }

    /// Judges the token by its account, and says what its use is to leave behind. `secret` has been checked.
    ///
    /// # Errors
    /// When the account is gone, or is another of the same name.
    pub fn judge(&self, secret: &Value, account: Option<&Value>) -> Result<Use, TokenError> {
        let (ns, name) = (self.namespace, self.account);
        let Some(account) = account else {
            return refuse(format!("serviceaccounts {} not found", corten_meta::quote(name)));
        };
        if !account["metadata"]["deletionTimestamp"].is_null() {
            return refuse(format!("ServiceAccount {ns}/{name} has been deleted"));
        }
        let uid = account["metadata"]["uid"].as_str().unwrap_or_default();
        if uid != self.uid {
            return refuse(format!(
                "ServiceAccount UID ({uid}) does not match claim ({})",
                self.uid
            ));
        }
        let label = &secret["metadata"]["labels"][INVALID_SINCE];
        if label.as_str().is_some_and(|since| !since.is_empty()) {
            return Ok(self.invalidated());
        }
        let secrets = account["secrets"].as_array();
        let generated = secrets.is_some_and(|all| all.iter().any(|r| r["name"] == self.secret));
        let (origin, key) = if generated {
            (
                Origin::Generated,
                "authentication.k8s.io/legacy-token-autogenerated-secret",
            )
        } else {
            (Origin::Manual, "authentication.k8s.io/legacy-token-manual-secret")
        };
        Ok(Use {
            origin,
            annotation: (key, self.secret.to_owned()),
            warning: generated.then_some(WARNING),
            refused: None,
        })
    }

    fn invalidated(&self) -> Use {
        let (ns, secret) = (self.namespace, self.secret);
        let text = format!(
            "the token in secret {ns}/{secret} for service account {ns}/{} has been marked invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the '{INVALID_SINCE}' label from the secret to temporarily allow use of this token",
            self.account
        );
        Use {
            origin: Origin::Invalidated,
            annotation: (
                "authentication.k8s.io/legacy-token-invalidated",
                format!("{secret}/{ns}"),
            ),
            warning: None,
            refused: Some(TokenError::Object(text)),
        }
    }
}

fn refuse<T>(why: impl Into<String>) -> Result<T, TokenError> {
    Err(TokenError::Object(why.into()))
}

/// Whether a Secret does not say yet that its token was used today. A server whose clock is ahead may have written
/// tomorrow's date.
pub fn is_unmarked(secret: &Value, now: Timestamp) -> bool {
    let last = secret["metadata"]["labels"][LAST_USED].as_str();
    let tomorrow = now.checked_add(Span::new().hours(24)).unwrap_or(now);
    last != Some(date(now).as_str()) && last != Some(date(tomorrow).as_str())
}

/// Notes in the Secret that its token is used now.
pub fn mark(secret: &mut Value, now: Timestamp) {
    if is_unmarked(secret, now) && secret.is_object() {
        let labels = &mut secret["metadata"]["labels"];
        if !labels.is_object() {
            *labels = json!({});
        }
        labels[LAST_USED] = date(now).into();
    }
}

/// A date (UTC) as labels hold it.
pub fn date(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).date().to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::token::{Issuer, Reference, SigningKey, Verifier};

    const TODAY: &str = "2026-03-01T23:59:59Z";

    struct World {
        token: String,
        claims: Claims,
        account: Value,
        secret: Value,
    }

    fn world() -> World {
        let key = SigningKey::from_pem(&SigningKey::generate_pem().unwrap()).unwrap();
        let verifier = Verifier::new(vec![], vec![key.public().clone()], vec!["a".into()]);
        let account = Reference {
            name: "sa".into(),
            uid: "u".into(),
        };
        let token = Issuer::new("", key).sign_legacy("n", &account, "s").unwrap();
        let verified = verifier.verify(&token, &[], 0).unwrap().unwrap();
        assert_eq!(verified.user().username, "system:serviceaccount:n:sa");
        World {
            secret: json!({"metadata": {"name": "s"}, "data": {"token": STANDARD.encode(&token)}}),
            account: json!({"metadata": {"name": "sa", "uid": "u"}, "secrets": [{"name": "s"}]}),
            claims: verified.claims().clone(),
            token,
        }
    }

    fn text<T: std::fmt::Debug>(result: Result<T, TokenError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn a_token_lives_with_its_secret_and_account() {
        let mut w = world();
        let token = LegacyToken::of(&w.claims);
        assert_eq!(token.check_claims(), Ok(()));
        assert_eq!(token.check_secret(&w.token, Some(&w.secret)), Ok(()));
        assert_eq!(
            text(token.check_secret(&w.token, None)),
            "Token has been invalidated"
        );
        let going = json!({"metadata": {"deletionTimestamp": "2020-01-01T00:00:00Z"}});
        assert_eq!(
            text(token.check_secret(&w.token, Some(&going))),
            "Token has been invalidated"
        );
        w.secret["data"]["token"] = json!("eA==");
        assert_eq!(
            text(token.check_secret(&w.token, Some(&w.secret))),
            "Token does not match server's copy"
        );
        assert_eq!(
            text(token.judge(&w.secret, None)),
            "serviceaccounts \"sa\" not found"
        );
        let other = json!({"metadata": {"uid": "v"}});
        assert_eq!(
            text(token.judge(&w.secret, Some(&other))),
            "ServiceAccount UID (v) does not match claim (u)"
        );
        w.account["metadata"]["deletionTimestamp"] = json!("2020-01-01T00:00:00Z");
        assert_eq!(
            text(token.judge(&w.secret, Some(&w.account))),
            "ServiceAccount n/sa has been deleted"
        );
    }

    #[test]
    fn claims_agree_with_each_other() {
        let mut claims = world().claims;
        claims.sub = "system:serviceaccount:n:other".into();
        assert_eq!(
            text(LegacyToken::of(&claims).check_claims()),
            "sub claim is invalid"
        );
        claims.legacy_secret = None;
        assert_eq!(
            text(LegacyToken::of(&claims).check_claims()),
            "secretName claim is missing"
        );
    }

    #[test]
    fn use_is_told_by_where_the_token_is_from() {
        let mut w = world();
        let token = LegacyToken::of(&w.claims);
        let judged = token.judge(&w.secret, Some(&w.account)).unwrap();
        assert_eq!(
            (judged.origin, judged.warning),
            (Origin::Generated, Some(WARNING))
        );
        assert_eq!(
            judged.annotation,
            (
                "authentication.k8s.io/legacy-token-autogenerated-secret",
                "s".into()
            )
        );
        w.account["secrets"] = json!([]);
        let judged = token.judge(&w.secret, Some(&w.account)).unwrap();
        assert_eq!((judged.origin, judged.warning), (Origin::Manual, None));
        w.secret["metadata"]["labels"] = json!({INVALID_SINCE: "2026-01-01"});
        let judged = token.judge(&w.secret, Some(&w.account)).unwrap();
        assert_eq!(judged.origin, Origin::Invalidated);
        assert_eq!(judged.annotation.1, "s/n");
        let why = judged.refused.unwrap().to_string();
        assert!(why.starts_with(
            "the token in secret n/s for service account n/sa has been marked invalid. Use tokens"
        ));
    }

    #[test]
    fn a_day_is_noted_once() {
        let now: Timestamp = TODAY.parse().unwrap();
        let mut secret = world().secret;
        mark(&mut secret, now);
        assert_eq!(secret["metadata"]["labels"], json!({LAST_USED: "2026-03-01"}));
        assert!(!is_unmarked(&secret, now));
        // Another server's clock is a little behind.
        let before = now - Span::new().hours(24);
        assert!(!is_unmarked(&secret, before));
        assert!(is_unmarked(&secret, now + Span::new().seconds(1)));
    }
}
