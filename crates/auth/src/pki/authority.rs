//! A certificate authority: makes leaf certificates and signs the requests of others.

use std::net::IpAddr;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::files::{read, write_private};
use super::{Identity, PkiError, ServingNames};
use crate::private_key;

const CA_DAYS: i64 = 3650;
const LEAF_DAYS: i64 = 365;
/// Leaf certificates with less time left are made anew at start.
const RENEW_DAYS: i64 = 90;
/// Clocks of other machines may be behind.
const BACKDATE_S: i64 = 300;

/// A CA certificate and its key.
pub struct Authority {
    pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    /// The issuer's, once more: it does not lend it.
    pub(super) key: KeyPair,
}

/// What a leaf certificate says.
#[derive(Clone, Debug)]
pub struct Subject {
    pub common_name: String,
    pub organizations: Vec<String>,
    pub names: ServingNames,
    pub usage: Usage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    Client,
    Server,
}

impl Subject {
    pub fn client(name: &str, groups: &[&str]) -> Self {
        Self {
            common_name: name.to_owned(),
            organizations: groups.iter().map(|group| (*group).to_owned()).collect(),
            names: ServingNames::default(),
            usage: Usage::Client,
        }
    }

    pub fn server(name: &str, names: &ServingNames) -> Self {
        Self {
            names: names.clone(),
            usage: Usage::Server,
            ..Self::client(name, &[])
        }
    }
}

impl Authority {
    /// A new authority, not stored anywhere.
    pub fn generate(common_name: &str) -> Result<Self, PkiError> {
        let (certificate, key) = make_ca(common_name)?;
        Self::from_pem(&certificate, &key).map_err(PkiError::Issue)
    }

    /// Reads an authority from PEM.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, String> {
        let text = |error: rcgen::Error| error.to_string();
        let identity = Identity::new(certificate.to_owned(), String::new());
        let der = identity
            .chain()
            .map_err(|error| error.to_string())?
            .into_iter()
            .next();
        let der = der.ok_or("no certificate in it")?;
        let key = private_key::pkcs8(key).map_err(|error| format!("key: {error}"))?;
        let load = || KeyPair::try_from(&key).map_err(|error| format!("key: {error}"));
        let (pair, own) = (load()?, load()?);
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|error| error.to_string())?;
        if parsed.public_key().subject_public_key.data.as_ref() != pair.public_key_raw() {
            return Err("certificate and key do not belong together".to_owned());
        }
        let issuer = Issuer::from_ca_cert_der(&der, pair).map_err(text)?;
        Ok(Self {
            pem: certificate.to_owned(),
            der,
            issuer,
            key: own,
        })
    }

    pub(super) fn load_or_create(dir: &Path, file: &str, common_name: &str) -> Result<Self, PkiError> {
        let (certificate, key) = (dir.join(format!("{file}.crt")), dir.join(format!("{file}.key")));
        let (certificate_pem, key_pem) = match (read(&certificate)?, read(&key)?) {
            (None, _) => {
                // The certificate is written last: without it, nothing was ever signed.
                let (certificate_pem, key_pem) = make_ca(common_name)?;
                write_private(&key, &key_pem, true)?;
                write_private(&certificate, &certificate_pem, true)?;
                (certificate_pem, key_pem)
            }
            (Some(certificate_pem), key_pem) => (certificate_pem, key_pem.unwrap_or_default()),
        };
        let loaded = Self::from_pem(&certificate_pem, &key_pem);
        loaded.map_err(|reason| PkiError::Unusable {
            path: certificate,
            dir: dir.to_owned(),
            reason,
        })
    }

    pub fn pem(&self) -> &str {
        &self.pem
    }

    pub fn certificate(&self) -> CertificateDer<'static> {
        self.der.clone()
    }

    /// A new key and certificate, valid for a year.
    pub fn issue(&self, subject: &Subject) -> Result<Identity, PkiError> {
        let failed = |error: rcgen::Error| PkiError::Issue(error.to_string());
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::default();
        let name = &mut params.distinguished_name;
        *name = rcgen::DistinguishedName::new();
        // One attribute of a kind is all rcgen keeps; no identity of ours is in two groups.
        for organization in &subject.organizations {
            name.push(DnType::OrganizationName, organization.as_str());
        }
        name.push(DnType::CommonName, subject.common_name.as_str());
        params.subject_alt_names = alt_names(&subject.names)?;
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = match subject.usage {
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        };
        validity(&mut params, LEAF_DAYS * 24 * 3600);
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(Identity::new(certificate.pem(), key.serialize_pem()))
    }

    pub(super) fn load_or_issue(
        &self,
        dir: &Path,
        file: &str,
        subject: &Subject,
    ) -> Result<Identity, PkiError> {
        let (certificate, key) = (dir.join(format!("{file}.crt")), dir.join(format!("{file}.key")));
        if let (Some(certificate), Some(key)) = (read(&certificate)?, read(&key)?) {
            let identity = Identity::new(certificate, key);
            if self.still_good(&identity, subject) {
                return Ok(identity);
            }
        }
        let identity = self.issue(subject)?;
        write_private(&key, identity.key_pem(), false)?;
        write_private(&certificate, identity.certificate_pem(), false)?;
        Ok(identity)
    }

    fn still_good(&self, identity: &Identity, wanted: &Subject) -> bool {
        let Ok(chain) = identity.chain() else { return false };
        let Some(Ok((_, parsed))) = chain.first().map(|der| X509Certificate::from_der(der)) else {
            return false;
        };
        let Ok(key) = KeyPair::from_pem(identity.key_pem()) else {
            return false;
        };
        let Ok((_, own)) = X509Certificate::from_der(&self.der) else {
            return false;
        };
        let left = parsed.validity().not_after.timestamp() - jiff::Timestamp::now().as_second();
        left > RENEW_DAYS * 24 * 3600
            && parsed.public_key().subject_public_key.data.as_ref() == key.public_key_raw()
            && key_id(&parsed, true).is_some_and(|issuer| Some(issuer) == key_id(&own, false))
            && has_names(&parsed, &wanted.names)
    }
}

fn make_ca(common_name: &str) -> Result<(String, String), PkiError> {
    let failed = |error: rcgen::Error| PkiError::Issue(error.to_string());
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
    ];
    validity(&mut params, CA_DAYS * 24 * 3600);
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn validity(params: &mut CertificateParams, duration_s: i64) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let at = |time_s: i64| epoch + std::time::Duration::from_secs(u64::try_from(time_s).unwrap_or(0));
    let now_s = jiff::Timestamp::now().as_second();
    params.not_before = at(now_s - BACKDATE_S);
    params.not_after = at(now_s + duration_s);
}

fn alt_names(names: &ServingNames) -> Result<Vec<SanType>, PkiError> {
    let mut found = Vec::new();
    for name in &names.dns {
        let name = name
            .as_str()
            .try_into()
            .map_err(|error: rcgen::Error| PkiError::Issue(error.to_string()))?;
        found.push(SanType::DnsName(name));
    }
    found.extend(names.ips.iter().copied().map(SanType::IpAddress));
    Ok(found)
}

/// Subject key id, or that of the issuer.
pub(super) fn key_id(certificate: &X509Certificate<'_>, of_issuer: bool) -> Option<Vec<u8>> {
    use x509_parser::extensions::ParsedExtension::{AuthorityKeyIdentifier, SubjectKeyIdentifier};
    certificate
        .extensions()
        .iter()
        .find_map(|extension| match extension.parsed_extension() {
            AuthorityKeyIdentifier(id) if of_issuer => id.key_identifier.as_ref().map(|id| id.0.to_vec()),
            SubjectKeyIdentifier(id) if !of_issuer => Some(id.0.to_vec()),
            _ => None,
        })
}

fn has_names(certificate: &X509Certificate<'_>, wanted: &ServingNames) -> bool {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let held = extension
        .map(|extension| extension.value.general_names.as_slice())
        .unwrap_or_default();
    let has_ip = |ip: &IpAddr| {
        let octets = match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        held.iter()
            .any(|name| matches!(name, GeneralName::IPAddress(bytes) if *bytes == octets))
    };
    let has_dns = |dns: &String| {
        held.iter()
            .any(|name| matches!(name, GeneralName::DNSName(own) if own == dns))
    };
    wanted.dns.iter().all(has_dns) && wanted.ips.iter().all(has_ip)
}
