//! Bootstrap tokens: `ID.SECRET`, kept in Secrets of `kube-system`, by which new nodes first show who they are. Upstream:
//! plugin/pkg/auth/authenticator/token/bootstrap.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use serde_json::Value;

use crate::user::UserInfo;

const TYPE: &str = "bootstrap.kubernetes.io/token";
const ID_LEN: usize = 6;
const SECRET_LEN: usize = 16;
const GROUP: &str = "system:bootstrappers";
const GROUP_PREFIX: &str = "system:bootstrappers:";
const GROUP_REST_MAX: usize = 256;
const USER_PREFIX: &str = "system:bootstrap:";

/// A token that has the form of a bootstrap token.
#[derive(Clone, Copy)]
pub struct BootstrapToken<'a> {
    id: &'a str,
    secret: &'a str,
}

impl<'a> BootstrapToken<'a> {
    /// `None`: the token is of another kind.
    pub fn parse(token: &'a str) -> Option<Self> {
        let (id, secret) = token.split_once('.')?;
        let made_of = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
        let formed = id.len() == ID_LEN && secret.len() == SECRET_LEN && made_of(id) && made_of(secret);
        formed.then_some(Self { id, secret })
    }

    /// The Secret in `kube-system` that must vouch for it.
    pub fn secret_name(&self) -> String {
        format!("bootstrap-token-{}", self.id)
    }

    /// The user, if the Secret vouches for the token at this time.
    pub fn user(&self, object: &Value, now: Timestamp) -> Option<UserInfo> {
        let data = |key: &str| text(object, key);
        let same = digest(&SHA256, data("token-secret").as_bytes()).as_ref()
            == digest(&SHA256, self.secret.as_bytes()).as_ref();
        let good = object["type"] == TYPE
            && object["metadata"]["deletionTimestamp"].is_null()
            && same
            && data("token-id") == self.id
            && !expired(&data("expiration"), now)
            && data("usage-bootstrap-authentication") == "true";
        if !good {
            return None;
        }
        let mut groups = vec![GROUP.to_owned()];
        let extra = data("auth-extra-groups");
        for group in extra.split(',').filter(|_| !extra.is_empty()) {
            if !is_group(group) {
                return None;
            }
            groups.push(group.to_owned());
        }
        groups.sort();
        groups.dedup();
        let groups = groups.iter().map(String::as_str);
        Some(UserInfo::new(format!("{USER_PREFIX}{}", self.id), groups))
    }
}

fn text(object: &Value, key: &str) -> String {
    let encoded = object["data"][key].as_str().unwrap_or_default();
    let bytes = STANDARD.decode(encoded).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

/// An unreadable time has passed.
fn expired(text: &str, now: Timestamp) -> bool {
    !text.is_empty() && text.parse::<Timestamp>().map_or(true, |at| at <= now)
}

fn is_group(group: &str) -> bool {
    group.strip_prefix(GROUP_PREFIX).is_some_and(|rest| {
        let part = |b: u8| b.is_ascii_digit() || b.is_ascii_lowercase();
        rest.len() <= GROUP_REST_MAX
            && rest.bytes().all(|b| part(b) || b == b':' || b == b'-')
            && rest.bytes().last().is_some_and(part)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    const TOKEN: &str = "abcdef.0123456789abcdef";

    fn secret(more: &[(&str, &str)]) -> Value {
        let own = [
            ("token-id", "abcdef"),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-authentication", "true"),
        ];
        let mut object = json!({"type": TYPE, "metadata": {}, "data": {}});
        for (key, value) in own.iter().chain(more) {
            object["data"][*key] = STANDARD.encode(value).into();
        }
        object
    }

    #[test]
    fn a_secret_vouches_for_its_token_only() {
        let now = Timestamp::UNIX_EPOCH;
        let token = BootstrapToken::parse(TOKEN).unwrap();
        assert_eq!(token.secret_name(), "bootstrap-token-abcdef");
        let user = |more: &[(&str, &str)]| token.user(&secret(more), now);
        let found = user(&[(
            "auth-extra-groups",
            "system:bootstrappers:kubeadm:default-node-token",
        )])
        .unwrap();
        assert_eq!(found.username, "system:bootstrap:abcdef");
        assert_eq!(
            found.groups,
            [
                "system:bootstrappers",
                "system:bootstrappers:kubeadm:default-node-token",
                "system:authenticated"
            ]
        );
        assert!(user(&[("auth-extra-groups", "system:masters")]).is_none());
        assert!(user(&[("expiration", "1970-01-01T00:00:00Z")]).is_none());
        assert!(user(&[("expiration", "soon")]).is_none());
        assert!(user(&[("expiration", "1970-01-01T00:00:01Z")]).is_some());
        assert!(user(&[("usage-bootstrap-authentication", "yes")]).is_none());
        assert!(user(&[("token-secret", "0123456789abcdee")]).is_none());
        let mut going = secret(&[]);
        going["metadata"]["deletionTimestamp"] = json!("1970-01-01T00:00:00Z");
        assert!(token.user(&going, now).is_none());
    }

    #[test]
    fn other_tokens_are_left_to_others() {
        for other in ["", "abcdef", "abcdef.0123", "ABCDEF.0123456789abcdef", "a.b.c"] {
            assert!(BootstrapToken::parse(other).is_none(), "{other}");
        }
    }
}
