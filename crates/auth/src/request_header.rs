//! Identities that an authenticating proxy in front of a server vouches for, in headers of its requests.
//! Rules: upstream's apiserver/pkg/authentication/request/headerrequest.

use rustls_pki_types::CertificateDer;

use crate::authn::{CertificateError, ClientCertificates, user_of};
use crate::user::UserInfo;

/// The user's name.
pub const USER: &str = "x-remote-user";
/// The user's uid.
pub const UID: &str = "x-remote-uid";
/// A group; one header for each.
pub const GROUP: &str = "x-remote-group";
/// Begins the headers with extra values; the key follows, percent-encoded.
pub const EXTRA_PREFIX: &str = "x-remote-extra-";

/// True for the headers of which only a trusted proxy may say anything. `name` is in lower case.
pub fn is_identity_header(name: &str) -> bool {
    name == USER || name == UID || name == GROUP || name.starts_with(EXTRA_PREFIX)
}

/// Which proxies are believed.
#[derive(Clone, Debug)]
pub struct FrontProxies {
    certificates: ClientCertificates,
    names: Vec<String>,
}

impl FrontProxies {
    /// Believes proxies with a certificate of one of `authorities` whose common name is one of `names` (any name where there
    /// are none).
    ///
    /// # Errors
    /// Where an authority cannot be used.
    pub fn new(authorities: &[CertificateDer<'static>], names: &[&str]) -> Result<Self, CertificateError> {
        Ok(Self {
            certificates: ClientCertificates::new(authorities)?,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        })
    }

    /// True where the client with this chain is believed. `now_s` is seconds since 1970.
    pub fn trust(&self, chain: &[CertificateDer<'_>], now_s: i64) -> bool {
        let Some(own) = chain.first() else { return false };
        if self.certificates.verify(chain, now_s).is_err() {
            return false;
        }
        let named = |user: &UserInfo| self.names.contains(&user.username);
        self.names.is_empty() || matches!(user_of(own), Ok(Some(user)) if named(&user))
    }
}

/// The user that a trusted proxy's headers (names in lower case) name; `None` where they name nobody.
pub fn user<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>) -> Option<UserInfo> {
    let mut user = UserInfo::default();
    for (name, value) in headers.filter(|(_, value)| !value.is_empty()) {
        match name {
            USER if user.username.is_empty() => value.clone_into(&mut user.username),
            UID if user.uid.is_empty() => value.clone_into(&mut user.uid),
            GROUP => user.groups.push(value.to_owned()),
            _ => {
                if let Some(key) = name.strip_prefix(EXTRA_PREFIX) {
                    let key = unescape(key).unwrap_or_else(|| key.to_owned());
                    user.extra.entry(key).or_default().push(value.to_owned());
                }
            }
        }
    }
    (!user.username.is_empty()).then(|| user.authenticated())
}

fn unescape(key: &str) -> Option<String> {
    let mut out = Vec::with_capacity(key.len());
    let mut bytes = key.bytes();
    let hex = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    while let Some(b) = bytes.next() {
        out.push(match b {
            b'%' => (hex(bytes.next()?)? << 4) | hex(bytes.next()?)?,
            b => b,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::pki::{Authority, Subject};

    #[test]
    fn only_the_named_proxy_of_the_authority_is_believed() {
        let (front, other) = (
            Authority::generate("front").unwrap(),
            Authority::generate("other").unwrap(),
        );
        let proxies = FrontProxies::new(&[front.certificate()], &["front-proxy-client"]).unwrap();
        let now_s = jiff::Timestamp::now().as_second();
        let trusted = |authority: &Authority, name: &str| {
            let identity = authority.issue(&Subject::client(name, &[])).unwrap();
            proxies.trust(&identity.chain().unwrap(), now_s)
        };
        assert!(trusted(&front, "front-proxy-client"));
        assert!(!trusted(&front, "somebody"));
        assert!(!trusted(&other, "front-proxy-client"));
        assert!(!proxies.trust(&[], now_s));
    }

    #[test]
    fn headers_name_a_user() {
        let headers = [
            (USER, "ann"),
            (GROUP, "dev"),
            (GROUP, "ops"),
            (UID, "7"),
            ("x-remote-extra-example.com%2fscope", "a"),
        ];
        let ann = user(headers.into_iter()).unwrap();
        assert_eq!((ann.username.as_str(), ann.uid.as_str()), ("ann", "7"));
        assert_eq!(ann.groups, ["dev", "ops", "system:authenticated"]);
        assert_eq!(ann.extra["example.com/scope"], ["a"]);
        assert_eq!(user([(GROUP, "dev")].into_iter()), None);
    }
}
