//! From a request's credentials to a user: client certificates, bearer tokens, nobody.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::token::{TokenError, Verified, Verifier};
use crate::user::{UserInfo, extra};

/// Subject attribute that carries the user's uid.
const UID_OID: &str = "1.3.6.1.4.1.57683.2";

/// What a request shows of itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Credentials<'a> {
    /// The client's certificate chain, end entity first.
    pub certificates: &'a [CertificateDer<'a>],
    /// The header `Authorization`.
    pub authorization: Option<&'a str>,
    /// The header `Sec-WebSocket-Protocol`, where browsers put a bearer token.
    pub websocket_protocols: Option<&'a str>,
}

/// Who the request is from.
#[derive(Debug)]
pub enum Outcome {
    User(UserInfo),
    /// A service-account token: its user counts once [`Verified::bound_objects`] have been looked up and checked, or
    /// what [`Verified::legacy`] names.
    Token {
        verified: Verified,
        token: String,
    },
    /// No credentials: [`UserInfo::anonymous`].
    Anonymous,
    /// Credentials that are not good: 401, with this for the log.
    Invalid(String),
}

/// Tries client certificate, then bearer token. A wrong token is never taken for anonymous.
pub struct Authenticator {
    pub certificates: ClientCertificates,
    pub tokens: Arc<Verifier>,
}

impl Authenticator {
    /// `now_s` is seconds since 1970.
    pub fn authenticate(&self, credentials: &Credentials<'_>, now_s: i64) -> Outcome {
        let mut refused = None;
        if !credentials.certificates.is_empty() {
            match self.certificates.user(credentials.certificates, now_s) {
                Ok(Some(user)) => return Outcome::User(user),
                Ok(None) => {}
                Err(error) => refused = Some(error.to_string()),
            }
        }
        let Some(token) = bearer_token(credentials) else {
            return refused.map_or(Outcome::Anonymous, Outcome::Invalid);
        };
        match self.tokens.verify(&token, &[], now_s) {
            Some(Ok(verified)) => Outcome::Token { verified, token },
            Some(Err(error)) => Outcome::Invalid(format!("[invalid bearer token, {error}]")),
            None => Outcome::Invalid("invalid bearer token".to_owned()),
        }
    }

    /// For TokenReviews: a token alone, with the audiences the review asks about.
    pub fn review(
        &self,
        token: &str,
        audiences: &[String],
        now_s: i64,
    ) -> Option<Result<Verified, TokenError>> {
        self.tokens.verify(token, audiences, now_s)
    }
}

/// Whether two spaces stand before the token of the `Authorization` header, which is nobody's then.
pub fn holds_no_token(credentials: &Credentials<'_>) -> bool {
    let parts = credentials
        .authorization
        .and_then(|value| value.trim().split_once(' '));
    parts.is_some_and(|(scheme, rest)| scheme.eq_ignore_ascii_case("bearer") && rest.starts_with(' '))
}

/// The bearer token of the `Authorization` header, or of the WebSocket protocol
/// `base64url.bearer.authorization.k8s.io.<base64url token>`.
pub fn bearer_token(credentials: &Credentials<'_>) -> Option<String> {
    const PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";
    let header = credentials.authorization.and_then(|value| {
        let (scheme, rest) = value.trim().split_once(' ')?;
        let token = rest.split(' ').next().unwrap_or_default();
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
    });
    header.or_else(|| {
        use base64::Engine as _;
        let mut protocols = credentials.websocket_protocols?.split(',').map(str::trim);
        let encoded = protocols.find_map(|protocol| protocol.strip_prefix(PROTOCOL))?;
        let token = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(encoded.trim_end_matches('='))
            .ok()?;
        String::from_utf8(token).ok().filter(|token| !token.is_empty())
    })
}

/// Client certificates of one CA.
///
/// As on upstream the handshake takes any certificate whose key the client holds, and the chain is judged afterwards, so
/// that a client with a wrong certificate reads 401 and not a broken connection.
#[derive(Clone, Debug)]
pub struct ClientCertificates(Arc<dyn ClientCertVerifier>);

#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("no usable CA certificate: {0}")]
    Authority(String),
    #[error("x509: {0}")]
    Rejected(String),
}

impl ClientCertificates {
    /// Trusts `authorities`, each a CA certificate.
    pub fn new(authorities: &[CertificateDer<'static>]) -> Result<Self, CertificateError> {
        let wrong = |error: String| CertificateError::Authority(error);
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots
                .add(authority.clone())
                .map_err(|error| wrong(error.to_string()))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
        Ok(Self(verifier.map_err(|error| wrong(error.to_string()))?))
    }

    /// For `rustls::ServerConfig::builder().with_client_cert_verifier`.
    pub fn tls_verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::new(Unjudged(Arc::clone(&self.0)))
    }

    /// Judges a chain and names its user; `None` if the subject has no common name.
    pub fn user(
        &self,
        chain: &[CertificateDer<'_>],
        now_s: i64,
    ) -> Result<Option<UserInfo>, CertificateError> {
        let Some(own) = chain.first() else {
            return Ok(None);
        };
        self.verify(chain, now_s)?;
        user_of(own)
    }

    /// Judges a chain. One without certificates is rejected.
    pub fn verify(&self, chain: &[CertificateDer<'_>], now_s: i64) -> Result<(), CertificateError> {
        let (own, intermediates) = chain
            .split_first()
            .ok_or_else(|| CertificateError::Rejected("no certificate".to_owned()))?;
        let now =
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(now_s).unwrap_or(0)));
        let verified = self.0.verify_client_cert(own, intermediates, now);
        verified
            .map(drop)
            .map_err(|error| CertificateError::Rejected(error.to_string()))
    }
}

/// The user a (verified) certificate names: common name, organizations as groups.
pub fn user_of(certificate: &CertificateDer<'_>) -> Result<Option<UserInfo>, CertificateError> {
    let rejected = |error: &dyn ToString| CertificateError::Rejected(error.to_string());
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| rejected(&error))?;
    let subject = parsed.subject();
    let Some(name) = subject.iter_common_name().find_map(|name| name.as_str().ok()) else {
        return Ok(None);
    };
    if name.is_empty() {
        return Ok(None);
    }
    let groups = subject
        .iter_organization()
        .filter_map(|organization| organization.as_str().ok());
    let mut user = UserInfo::new(name, groups);
    let uid = subject
        .iter_attributes()
        .find(|attribute| attribute.attr_type().to_id_string() == UID_OID);
    if let Some(uid) = uid.and_then(|attribute| attribute.as_str().ok()) {
        uid.clone_into(&mut user.uid);
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    user.extra
        .insert(extra::CREDENTIAL_ID.to_owned(), vec![format!("X509SHA256={hex}")]);
    Ok(Some(user))
}

/// Checks that the client holds the key and leaves the chain to [`ClientCertificates::user`].
#[derive(Debug)]
struct Unjudged(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Unjudged {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::pki::{Authority, Subject};
    use base64::Engine as _;

    fn authenticator(authority: &Authority) -> Authenticator {
        let tokens = Arc::new(Verifier::new(vec!["iss".into()], Vec::new(), vec!["iss".into()]));
        Authenticator {
            certificates: ClientCertificates::new(&[authority.certificate()]).unwrap(),
            tokens,
        }
    }

    fn now_s() -> i64 {
        jiff::Timestamp::now().as_second()
    }

    #[test]
    fn a_certificate_of_the_ca_names_its_user_and_a_foreign_one_is_invalid() {
        let authority = Authority::generate("kubernetes").unwrap();
        let authenticator = authenticator(&authority);
        let identity = authority
            .issue(&Subject::client("system:node:a", &["system:nodes"]))
            .unwrap();
        let chain = identity.chain().unwrap();
        let credentials = Credentials {
            certificates: &chain,
            ..Credentials::default()
        };
        let Outcome::User(user) = authenticator.authenticate(&credentials, now_s()) else {
            panic!()
        };
        assert_eq!(user.node_name(), Some("a"));
        assert!(user.extra[extra::CREDENTIAL_ID][0].starts_with("X509SHA256="));

        let foreign = Authority::generate("kubernetes").unwrap();
        let chain = foreign
            .issue(&Subject::client("admin", &["system:masters"]))
            .unwrap()
            .chain()
            .unwrap();
        let credentials = Credentials {
            certificates: &chain,
            ..Credentials::default()
        };
        assert!(matches!(
            authenticator.authenticate(&credentials, now_s()),
            Outcome::Invalid(_)
        ));
    }

    #[test]
    fn a_wrong_token_is_not_anonymous() {
        let authenticator = authenticator(&Authority::generate("kubernetes").unwrap());
        let with = |authorization| Credentials {
            authorization,
            ..Credentials::default()
        };
        assert!(matches!(
            authenticator.authenticate(&with(None), 0),
            Outcome::Anonymous
        ));
        assert!(matches!(
            authenticator.authenticate(&with(Some("Bearer x")), 0),
            Outcome::Invalid(_)
        ));
        assert!(matches!(
            authenticator.authenticate(&with(Some("Basic x")), 0),
            Outcome::Anonymous
        ));
    }

    #[test]
    fn browsers_put_the_token_into_the_protocol() {
        let token = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode("secret");
        let protocols = format!("v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.{token}");
        let credentials = Credentials {
            websocket_protocols: Some(&protocols),
            ..Credentials::default()
        };
        assert_eq!(bearer_token(&credentials).as_deref(), Some("secret"));
    }
}
