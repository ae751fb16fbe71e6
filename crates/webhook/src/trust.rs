//! Which servers a bundle of certificates vouches for: those that Go's verifier takes.
//!
//! Beside a chain to one of the bundle's authorities that is a certificate of the bundle itself, also where it calls itself an
//! authority: what `openssl req -x509` makes, and many an operator for its own webhook. webpki refuses any authority as a
//! server (`CaUsedAsEndEntity`); whose signature such a server has is looked at here.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WantsClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme, WantsVerifier,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Authorities that a server may bring along between itself and the bundle.
const MAX_INTERMEDIATES: u32 = 4;

/// The verifier of a bundle. Certificates that do not parse are left out: they cannot have signed anything.
#[derive(Debug)]
pub struct Bundle {
    chains: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

impl Bundle {
    /// `None` where no certificate parses.
    pub fn of(certificates: impl IntoIterator<Item = CertificateDer<'static>>) -> Option<Arc<Self>> {
        let mut roots = RootCertStore::empty();
        let mut certificates: Vec<_> = certificates.into_iter().collect();
        certificates.retain(|certificate| roots.add(certificate.clone()).is_ok());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        chains.ok().map(|chains| Arc::new(Self { chains, certificates }))
    }

    /// Whether one of the bundle's authorities signed a certificate, or one that it brings along and that is signed so.
    /// `below` are the authorities between this certificate and the server's.
    fn signed(
        &self,
        certificate: &CertificateDer<'_>,
        brought: &[CertificateDer<'_>],
        below: u32,
        now: UnixTime,
    ) -> bool {
        let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
            return false;
        };
        let by = |issuer: &CertificateDer<'_>| is_issuer(issuer, &certificate, below, now);
        if self.certificates.iter().any(by) {
            return true;
        }
        below < MAX_INTERMEDIATES
            && brought
                .iter()
                .any(|issuer| by(issuer) && self.signed(issuer, brought, below + 1, now))
    }
}

/// Adds trust in a bundle; without one nobody is trusted.
pub fn trusting(
    builder: ConfigBuilder<ClientConfig, WantsVerifier>,
    bundle: Option<Arc<Bundle>>,
) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    match bundle {
        Some(bundle) => builder.dangerous().with_custom_certificate_verifier(bundle),
        None => builder.with_root_certificates(RootCertStore::empty()),
    }
}

impl ServerCertVerifier for Bundle {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let outcome = self
            .chains
            .verify_server_cert(end_entity, intermediates, name, ocsp, now);
        match outcome {
            Err(_) if self.certificates.contains(end_entity) => serves(end_entity, name, now),
            Err(Error::InvalidCertificate(CertificateError::Other(_))) if is_authority(end_entity) => {
                if !self.signed(end_entity, intermediates, 0, now) {
                    return Err(CertificateError::UnknownIssuer.into());
                }
                serves(end_entity, name, now)
            }
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

fn is_authority(certificate: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(_, parsed)| parsed.is_ca())
}

/// Whether an authority signed a certificate, and may have. One for some names only is none here: who has such an authority
/// has servers that are no authorities, and those are webpki's.
fn is_issuer(
    issuer: &CertificateDer<'_>,
    certificate: &X509Certificate<'_>,
    below: u32,
    now: UnixTime,
) -> bool {
    let Ok((_, issuer)) = X509Certificate::from_der(issuer) else {
        return false;
    };
    let length = issuer
        .basic_constraints()
        .ok()
        .flatten()
        .and_then(|c| c.value.path_len_constraint);
    let in_time = |now| {
        now >= issuer.validity().not_before.timestamp() && now <= issuer.validity().not_after.timestamp()
    };
    issuer.is_ca()
        && issuer.subject() == certificate.issuer()
        && length.is_none_or(|length| below <= length)
        && issuer
            .name_constraints()
            .is_ok_and(|constraints| constraints.is_none())
        && i64::try_from(now.as_secs()).is_ok_and(in_time)
        && certificate.verify_signature(Some(issuer.public_key())).is_ok()
}

/// What is asked of a trusted certificate: its time, its purpose, its names.
fn serves(
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < parsed.validity().not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > parsed.validity().not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    let usage = parsed
        .extended_key_usage()
        .map_err(|_| CertificateError::BadEncoding)?;
    if usage.is_some_and(|usage| !usage.value.any && !usage.value.server_auth) {
        return Err(CertificateError::InvalidPurpose.into());
    }
    verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
    Ok(ServerCertVerified::assertion())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd,
    };

    use super::*;

    fn params(names: &[&str]) -> CertificateParams {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2036, 1, 1);
        params
    }

    fn authority(names: &[&str]) -> CertificateParams {
        let mut params = params(names);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn signed_by_itself(params: &CertificateParams) -> CertificateDer<'static> {
        params
            .self_signed(&KeyPair::generate().unwrap())
            .unwrap()
            .der()
            .clone()
    }

    fn verify(
        bundle: &[&CertificateDer<'static>],
        server: &CertificateDer<'_>,
        year: i32,
    ) -> Result<(), Error> {
        let bundle = Bundle::of(bundle.iter().map(|one| (*one).clone())).unwrap();
        let since = std::time::Duration::from_secs(date_time_ymd(year, 6, 1).unix_timestamp() as u64);
        let name = ServerName::try_from("hook.walk.svc").unwrap();
        bundle
            .verify_server_cert(server, &[], &name, &[], UnixTime::since_unix_epoch(since))
            .map(drop)
    }

    #[test]
    fn an_authority_of_the_bundle_serves_itself() {
        let own = signed_by_itself(&authority(&["hook.walk.svc"]));
        verify(&[&own], &own, 2027).unwrap();
        let stranger = signed_by_itself(&authority(&["hook.walk.svc"]));
        assert!(verify(&[&own], &stranger, 2027).is_err());
    }

    #[test]
    fn time_purpose_and_names_are_still_asked() {
        let own = signed_by_itself(&authority(&["hook.walk.svc"]));
        let bad = |error: Result<(), Error>| match error.unwrap_err() {
            Error::InvalidCertificate(bad) => bad,
            other => panic!("{other}"),
        };
        assert_eq!(bad(verify(&[&own], &own, 2037)), CertificateError::Expired);
        assert_eq!(bad(verify(&[&own], &own, 2025)), CertificateError::NotValidYet);
        let other = signed_by_itself(&authority(&["other.walk.svc"]));
        let named = bad(verify(&[&other], &other, 2027));
        assert!(
            matches!(named, CertificateError::NotValidForNameContext { .. }),
            "{named}"
        );
        let mut client = authority(&["hook.walk.svc"]);
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let client = signed_by_itself(&client);
        assert_eq!(
            bad(verify(&[&client], &client, 2027)),
            CertificateError::InvalidPurpose
        );
    }

    #[test]
    fn chains_are_followed() {
        let (key, params_of_ca) = (KeyPair::generate().unwrap(), authority(&[]));
        let ca = params_of_ca.self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::new(params_of_ca, key);
        let leaf = params(&["hook.walk.svc"]).signed_by(&KeyPair::generate().unwrap(), &issuer);
        verify(&[&ca], leaf.unwrap().der(), 2027).unwrap();
        let alone = signed_by_itself(&params(&["hook.walk.svc"]));
        verify(&[&alone], &alone, 2027).unwrap();
    }

    /// `openssl req -x509 -CA` makes such servers.
    #[test]
    fn an_authority_that_another_signed_serves() {
        let named = |name: &str, mut params: CertificateParams| {
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            params
        };
        let (key, root) = (KeyPair::generate().unwrap(), named("root", authority(&[])));
        let ca = root.self_signed(&key).unwrap().der().clone();
        let root = Issuer::new(root, key);
        let leaf = named("leaf", authority(&["hook.walk.svc"]));
        let server = leaf.signed_by(&KeyPair::generate().unwrap(), &root).unwrap();
        verify(&[&ca], server.der(), 2027).unwrap();

        let (key, between) = (KeyPair::generate().unwrap(), named("between", authority(&[])));
        let intermediate = between.signed_by(&key, &root).unwrap();
        let between = Issuer::new(between, key);
        let server = leaf.signed_by(&KeyPair::generate().unwrap(), &between).unwrap();
        let bundle = Bundle::of([ca.clone()]).unwrap();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_800_000_000));
        let name = ServerName::try_from("hook.walk.svc").unwrap();
        let with = |brought: &[CertificateDer<'static>]| {
            bundle
                .verify_server_cert(server.der(), brought, &name, &[], now)
                .map(drop)
        };
        with(&[intermediate.der().clone()]).unwrap();
        let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        assert_eq!(with(&[]), Err(unknown.clone()));
        // A namesake of the root signed nothing.
        let namesake = signed_by_itself(&named("root", authority(&[])));
        assert_eq!(with(std::slice::from_ref(&namesake)), Err(unknown.clone()));
        let other = Bundle::of([namesake]).unwrap();
        let outcome = other.verify_server_cert(server.der(), &[intermediate.der().clone()], &name, &[], now);
        assert_eq!(outcome.map(drop), Err(unknown));
    }
}
