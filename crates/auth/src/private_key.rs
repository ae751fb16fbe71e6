//! Private keys in PEM, as programs write them: PKCS #8, PKCS #1 (`RSA PRIVATE KEY`) and SEC 1 (`EC PRIVATE KEY`).

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// AlgorithmIdentifier rsaEncryption with NULL parameters.
pub(crate) const RSA_ALGORITHM: &[u8] = &[
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];
/// AlgorithmIdentifier id-ecPublicKey with the named curve.
const P256_ALGORITHM: &[u8] = &[
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07,
];
const P384_ALGORITHM: &[u8] = &[
    0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x22,
];
/// What begins an ECPrivateKey of P-384 after its length: version 1 and 48 bytes of key.
const P384_KEY: &[u8] = &[0x02, 0x01, 0x01, 0x04, 0x30];
const INTEGER_ZERO: &[u8] = &[0x02, 0x01, 0x00];

/// The first private key of a PEM text in the one form that can hold every kind of key. Whether the key itself is usable is
/// seen when it is read.
///
/// # Errors
/// Where there is none.
pub(crate) fn pkcs8(pem: &str) -> Result<PrivatePkcs8KeyDer<'static>, rustls_pki_types::pem::Error> {
    Ok(match PrivateKeyDer::from_pem_slice(pem.as_bytes())? {
        PrivateKeyDer::Pkcs8(key) => key,
        PrivateKeyDer::Pkcs1(key) => wrap(RSA_ALGORITHM, key.secret_pkcs1_der()),
        PrivateKeyDer::Sec1(key) => {
            let key = key.secret_sec1_der();
            let p384 = key.windows(P384_KEY.len()).take(5).any(|bytes| bytes == P384_KEY);
            wrap(if p384 { P384_ALGORITHM } else { P256_ALGORITHM }, key)
        }
        _ => return Err(rustls_pki_types::pem::Error::NoItemsFound),
    })
}

fn wrap(algorithm: &[u8], key: &[u8]) -> PrivatePkcs8KeyDer<'static> {
    der(0x30, &[INTEGER_ZERO, algorithm, &der(0x04, key)].concat()).into()
}

/// One DER element.
pub(crate) fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut element = vec![tag];
    match length {
        [short] if *short < 0x80 => element.push(*short),
        long => {
            element.push(0x80 | u8::try_from(long.len()).unwrap_or_default());
            element.extend_from_slice(long);
        }
    }
    element.extend_from_slice(content);
    element
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::pki::Authority;
    use crate::token::SigningKey;

    fn pem(label: &str, der: &[u8]) -> String {
        let body = STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    }

    /// The key within PKCS #8: its last element.
    fn inner(pkcs8: &[u8], algorithm: &[u8]) -> Vec<u8> {
        let at = pkcs8
            .windows(algorithm.len())
            .position(|w| w == algorithm)
            .unwrap();
        let element = &pkcs8[at + algorithm.len()..];
        let header = if element[1] < 0x80 {
            2
        } else {
            2 + usize::from(element[1] & 0x7f)
        };
        element[header..].to_vec()
    }

    #[test]
    fn keys_in_their_older_forms_are_the_same_keys() {
        for (kind, algorithm) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, P256_ALGORITHM),
            (&rcgen::PKCS_ECDSA_P384_SHA384, P384_ALGORITHM),
        ] {
            let pair = rcgen::KeyPair::generate_for(kind).unwrap();
            let whole = SigningKey::from_pem(&pair.serialize_pem()).unwrap();
            let old = pem("EC PRIVATE KEY", &inner(pair.serialized_der(), algorithm));
            let old = SigningKey::from_pem(&old).unwrap();
            assert_eq!(old.public().id(), whole.public().id());
        }
    }

    #[test]
    fn an_authority_takes_a_key_of_its_older_form() {
        let pair = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&pair).unwrap().pem();
        let old = pem("EC PRIVATE KEY", &inner(pair.serialized_der(), P256_ALGORITHM));
        assert!(Authority::from_pem(&certificate, &old).is_ok());
        assert!(Authority::from_pem(&certificate, "nothing").is_err());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for label in ["EC PRIVATE KEY", "RSA PRIVATE KEY", "PRIVATE KEY"] {
            assert!(SigningKey::from_pem(&pem(label, &[])).is_err());
            assert!(SigningKey::from_pem(&pem(label, &[0x30, 3, 2, 1, 1, 4, 0x30])).is_err());
        }
        assert!(SigningKey::from_pem(&pem("CERTIFICATE", &[0])).is_err());
    }
}
