//! Certificates for approved requests: the requester's name, key and alternative names as they stand, everything else by
//! the signer. Upstream: pkg/controller/certificates/authority (`PermissiveSigningPolicy`).
//!
//! The certificate is put together here because a certificate builder keeps one attribute of a kind in a name, while
//! the organizations of a request are the user's groups.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rcgen::{KeyPair, SigningKey as _};
use ring::rand::{SecureRandom as _, SystemRandom};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::PkiError;
use super::authority::{Authority, key_id};

/// Clocks of other machines may be behind.
const BACKDATE_S: i64 = 300;
/// Certificates that live shorter end when asked for; longer ones are moved back as a whole.
const SHORT_S: i64 = 8 * 3600;

const SEQUENCE: u8 = 0x30;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;

/// Bits of the key usage extension, first bit highest.
const KEY_USAGES: [(&str, u16); 10] = [
    ("signing", 0x8000),
    ("digital signature", 0x8000),
    ("content commitment", 0x4000),
    ("key encipherment", 0x2000),
    ("data encipherment", 0x1000),
    ("key agreement", 0x0800),
    ("cert sign", 0x0400),
    ("crl sign", 0x0200),
    ("encipher only", 0x0100),
    ("decipher only", 0x0080),
];

/// Object identifiers of extended key usages, as DER content.
const EXTENDED: [(&str, &[u8]); 13] = [
    ("any", &[0x55, 0x1d, 0x25, 0x00]),
    ("server auth", &[0x2b, 6, 1, 5, 5, 7, 3, 1]),
    ("client auth", &[0x2b, 6, 1, 5, 5, 7, 3, 2]),
    ("code signing", &[0x2b, 6, 1, 5, 5, 7, 3, 3]),
    ("email protection", &[0x2b, 6, 1, 5, 5, 7, 3, 4]),
    ("s/mime", &[0x2b, 6, 1, 5, 5, 7, 3, 4]),
    ("ipsec end system", &[0x2b, 6, 1, 5, 5, 7, 3, 5]),
    ("ipsec tunnel", &[0x2b, 6, 1, 5, 5, 7, 3, 6]),
    ("ipsec user", &[0x2b, 6, 1, 5, 5, 7, 3, 7]),
    ("timestamping", &[0x2b, 6, 1, 5, 5, 7, 3, 8]),
    ("ocsp signing", &[0x2b, 6, 1, 5, 5, 7, 3, 9]),
    ("microsoft sgc", &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 0x0a, 3, 3]),
    ("netscape sgc", &[0x60, 0x86, 0x48, 1, 0x86, 0xf8, 0x42, 4, 1]),
];

impl Authority {
    /// Signs a PEM certificate request with these usages (upstream's words) for `ttl_s` seconds from `now`, or until the
    /// authority itself ends. The caller has decided that the subject and names in it may be had.
    ///
    /// # Errors
    /// When the request is no signed request, a usage is unknown, or the authority has expired.
    pub fn sign_approved(
        &self,
        request_pem: &[u8],
        usages: &[String],
        ttl_s: i64,
        now: Timestamp,
    ) -> Result<String, PkiError> {
        let failed = |what: &str| PkiError::Issue(what.to_owned());
        let (_, block) =
            x509_parser::pem::parse_x509_pem(request_pem).map_err(|error| failed(&error.to_string()))?;
        let (_, request) = X509CertificationRequest::from_der(&block.contents)
            .map_err(|error| failed(&format!("x509: malformed certificate request: {error}")))?;
        request
            .verify_signature()
            .map_err(|_| failed("x509: signature is not valid"))?;
        let own = self.certificate();
        let (_, own) = X509Certificate::from_der(&own).map_err(|error| failed(&error.to_string()))?;
        let ends = own.validity().not_after.timestamp();
        if now.as_second() >= ends {
            return Err(failed("the signer has expired"));
        }
        let validity = validity(now.as_second(), ttl_s, ends).ok_or_else(|| failed("time out of range"))?;
        let algorithm = algorithm(&self.key).ok_or_else(|| failed("the authority's key has no use here"))?;
        let info = &request.certification_request_info;
        let parts = [
            tlv(0xa0, &tlv(0x02, &[2])),
            tlv(0x02, &serial()?),
            algorithm.to_vec(),
            own.subject().as_raw().to_vec(),
            validity,
            info.subject.as_raw().to_vec(),
            info.subject_pki.raw.to_vec(),
            tlv(0xa3, &tlv(SEQUENCE, &extensions(&request, &own, usages)?)),
        ];
        let body = tlv(SEQUENCE, &parts.concat());
        let signature = self.key.sign(&body).map_err(|error| failed(&error.to_string()))?;
        let signature = tlv(0x03, &[&[0][..], &signature].concat());
        let der = tlv(SEQUENCE, &[&body[..], algorithm, &signature].concat());
        Ok(pem(&der))
    }
}

fn algorithm(key: &KeyPair) -> Option<&'static [u8]> {
    let used = key.algorithm();
    if used == &rcgen::PKCS_ECDSA_P256_SHA256 {
        Some(&[0x30, 0x0a, OID, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2])
    } else if used == &rcgen::PKCS_ECDSA_P384_SHA384 {
        Some(&[0x30, 0x0a, OID, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3])
    } else if used == &rcgen::PKCS_RSA_SHA256 {
        Some(&[
            0x30, 0x0d, OID, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0b, 5, 0,
        ])
    } else if used == &rcgen::PKCS_ED25519 {
        Some(&[0x30, 5, OID, 3, 0x2b, 0x65, 0x70])
    } else {
        None
    }
}

fn serial() -> Result<[u8; 16], PkiError> {
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| PkiError::Issue("no randomness".to_owned()))?;
    // Positive, and without a leading zero that DER would not allow.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(bytes)
}

fn validity(now_s: i64, ttl_s: i64, ends_s: i64) -> Option<Vec<u8>> {
    let end = if ttl_s < SHORT_S {
        now_s + ttl_s
    } else {
        now_s + ttl_s - BACKDATE_S
    };
    let times = [time(now_s - BACKDATE_S)?, time(end.min(ends_s))?];
    Some(tlv(SEQUENCE, &times.concat()))
}

/// UTCTime up to 2049, GeneralizedTime after (RFC 5280, 4.1.2.5).
fn time(at_s: i64) -> Option<Vec<u8>> {
    let at = Timestamp::from_second(at_s).ok()?.to_zoned(TimeZone::UTC);
    let rest = at.strftime("%m%d%H%M%SZ").to_string();
    Some(if at.year() < 2050 {
        tlv(0x17, format!("{:02}{rest}", at.year() % 100).as_bytes())
    } else {
        tlv(0x18, format!("{:04}{rest}", at.year()).as_bytes())
    })
}

fn extensions(
    request: &X509CertificationRequest<'_>,
    own: &X509Certificate<'_>,
    usages: &[String],
) -> Result<Vec<u8>, PkiError> {
    let (mut bits, mut extended) = (0_u16, Vec::<&[u8]>::new());
    for usage in usages {
        if let Some((_, bit)) = KEY_USAGES.iter().find(|(name, _)| name == usage) {
            bits |= bit;
        } else if let Some((_, oid)) = EXTENDED.iter().find(|(name, _)| name == usage) {
            extended.push(oid);
        } else {
            return Err(PkiError::Issue(format!("unrecognized usage {usage:?}")));
        }
    }
    extended.sort_unstable();
    extended.dedup();
    let mut all = Vec::new();
    if bits != 0 {
        all.extend(extension(0x0f, true, &bit_string(bits)));
    }
    if !extended.is_empty() {
        let oids: Vec<u8> = extended.iter().flat_map(|oid| tlv(OID, oid)).collect();
        all.extend(extension(0x25, false, &tlv(SEQUENCE, &oids)));
    }
    all.extend(extension(0x13, true, &tlv(SEQUENCE, &[])));
    if let Some(id) = key_id(own, false) {
        all.extend(extension(0x23, false, &tlv(SEQUENCE, &tlv(0x80, &id))));
    }
    let names = alternative_names(request);
    if !names.is_empty() {
        let unnamed = request.certification_request_info.subject.iter().next().is_none();
        all.extend(extension(0x11, unnamed, &tlv(SEQUENCE, &names)));
    }
    Ok(all)
}

/// The DNS names, addresses, URIs and mail addresses asked for; other kinds of names are not given.
fn alternative_names(request: &X509CertificationRequest<'_>) -> Vec<u8> {
    let mut names = Vec::new();
    for asked in request.requested_extensions().into_iter().flatten() {
        let ParsedExtension::SubjectAlternativeName(asked) = asked else {
            continue;
        };
        for name in &asked.general_names {
            match name {
                GeneralName::RFC822Name(mail) => names.extend(tlv(0x81, mail.as_bytes())),
                GeneralName::DNSName(dns) => names.extend(tlv(0x82, dns.as_bytes())),
                GeneralName::URI(uri) => names.extend(tlv(0x86, uri.as_bytes())),
                GeneralName::IPAddress(ip) => names.extend(tlv(0x87, ip)),
                _ => {}
            }
        }
    }
    names
}

/// An extension of the arc 2.5.29.
fn extension(last: u8, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { &[0x01, 0x01, 0xff] } else { &[] };
    let oid = tlv(OID, &[0x55, 0x1d, last]);
    tlv(SEQUENCE, &[&oid[..], critical, &tlv(OCTETS, value)].concat())
}

/// A named bit list: trailing zeros are left out.
fn bit_string(bits: u16) -> Vec<u8> {
    let bytes = bits.to_be_bytes();
    let used = if bytes[1] == 0 { &bytes[..1] } else { &bytes[..] };
    let unused = used.last().map_or(0, |last| last.trailing_zeros());
    let unused = u8::try_from(unused).unwrap_or_default();
    tlv(0x03, &[&[unused][..], used].concat())
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let length = content.len().to_be_bytes();
            let significant = &length[content.len().leading_zeros() as usize / 8..];
            out.push(0x80 | u8::try_from(significant.len()).unwrap_or_default());
            out.extend(significant);
        }
    }
    out.extend(content);
    out
}

fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut out = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in text.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rcgen::{CertificateParams, DnType};

    use super::*;

    #[test]
    fn a_request_becomes_a_certificate_of_the_authority() {
        let authority = Authority::generate("kubernetes").unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "devs");
        params.distinguished_name.push(DnType::CommonName, "jane");
        let request = params.serialize_request(&key).unwrap().pem().unwrap();
        let now = Timestamp::now();
        let usages = ["client auth", "digital signature", "key encipherment"].map(str::to_owned);
        let sign = |ttl_s| authority.sign_approved(request.as_bytes(), &usages, ttl_s, now);
        let signed = sign(3600).unwrap();
        let (_, block) = x509_parser::pem::parse_x509_pem(signed.as_bytes()).unwrap();
        let parsed = block.parse_x509().unwrap();
        let own = authority.certificate();
        let (_, own) = X509Certificate::from_der(&own).unwrap();
        parsed.verify_signature(Some(own.public_key())).unwrap();
        assert_eq!(parsed.subject().to_string(), "O=devs, CN=jane");
        assert_eq!(parsed.issuer(), own.subject());
        let usage = parsed.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && usage.key_encipherment() && !usage.key_cert_sign());
        let extended = parsed.extended_key_usage().unwrap().unwrap().value;
        assert!(extended.client_auth && !extended.server_auth);
        assert!(!parsed.is_ca());
        assert_eq!(
            parsed.validity().not_before.timestamp(),
            now.as_second() - BACKDATE_S
        );
        assert_eq!(parsed.validity().not_after.timestamp(), now.as_second() + 3600);
        let names = parsed.subject_alternative_name().unwrap().unwrap().value;
        assert_eq!(names.general_names, [GeneralName::DNSName("a.example")]);
        // No longer than the authority itself.
        let long = sign(100 * 365 * 24 * 3600).unwrap();
        let (_, block) = x509_parser::pem::parse_x509_pem(long.as_bytes()).unwrap();
        let end = block.parse_x509().unwrap().validity().not_after.timestamp();
        assert_eq!(end, own.validity().not_after.timestamp());
        let unknown = ["flying".to_owned()];
        assert!(
            authority
                .sign_approved(request.as_bytes(), &unknown, 3600, now)
                .is_err()
        );
    }
}
