//! The keys that sign and verify tokens: P-256 as generated here, RSA and P-384 where the operator brings them.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, KeyPair as _, RsaKeyPair};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey as ParsedKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::private_key::{self, RSA_ALGORITHM, der};

/// DER of SubjectPublicKeyInfo up to the point: algorithm id-ecPublicKey with the named curve.
const P256_SPKI_PREFIX: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const P384_SPKI_PREFIX: &[u8] = &[
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81,
    0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
];

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("not a PEM key: {0}")]
    Pem(String),
    #[error(
        "key is neither RSA (2048 bits or more) nor ECDSA on P-256 or P-384 in PKCS #8, PKCS #1 or SEC 1 form"
    )]
    Unsupported,
    #[error("key could not be generated: {0}")]
    Generate(String),
    #[error("signing failed")]
    Sign,
}

/// A private key with the key id that verifiers look it up by. Clones share the key.
#[derive(Clone)]
pub struct SigningKey {
    pair: Pair,
    public: PublicKey,
}

#[derive(Clone)]
enum Pair {
    Ecdsa(Arc<EcdsaKeyPair>),
    Rsa(Arc<RsaKeyPair>),
}

impl SigningKey {
    /// A new P-256 key, as PKCS #8 PEM. Takes well under a millisecond.
    pub fn generate_pem() -> Result<String, KeyError> {
        let pair = rcgen::KeyPair::generate().map_err(|error| KeyError::Generate(error.to_string()))?;
        Ok(pair.serialize_pem())
    }

    /// Reads a private key from PEM.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let key = private_key::pkcs8(pem).map_err(|error| KeyError::Pem(error.to_string()))?;
        let key = key.secret_pkcs8_der();
        let rng = SystemRandom::new();
        let ecdsa = |curve| EcdsaKeyPair::from_pkcs8(curve, key, &rng).map(Arc::new).ok();
        let (pair, algorithm) = if let Some(pair) = ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING) {
            (Pair::Ecdsa(pair), Algorithm::Es256)
        } else if let Ok(pair) = RsaKeyPair::from_pkcs8(key) {
            (Pair::Rsa(Arc::new(pair)), Algorithm::Rs256)
        } else {
            let pair = ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING).ok_or(KeyError::Unsupported)?;
            (Pair::Ecdsa(pair), Algorithm::Es384)
        };
        let raw = match &pair {
            Pair::Ecdsa(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
        };
        Ok(Self {
            pair,
            public: PublicKey::new(algorithm, raw),
        })
    }

    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The JWS signature of `message`.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let rng = SystemRandom::new();
        match &self.pair {
            Pair::Ecdsa(pair) => Ok(pair
                .sign(&rng, message)
                .map_err(|_| KeyError::Sign)?
                .as_ref()
                .to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &rng, message, &mut signature)
                    .map_err(|_| KeyError::Sign)?;
                Ok(signature)
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Es256,
    Es384,
    Rs256,
}

/// A key that verifies tokens.
#[derive(Clone, Debug)]
pub struct PublicKey {
    algorithm: Algorithm,
    /// The uncompressed point, or DER RSAPublicKey.
    raw: Vec<u8>,
    spki: Vec<u8>,
    id: String,
}

impl PublicKey {
    fn new(algorithm: Algorithm, raw: Vec<u8>) -> Self {
        let spki = match algorithm {
            Algorithm::Es256 => [P256_SPKI_PREFIX, &raw].concat(),
            Algorithm::Es384 => [P384_SPKI_PREFIX, &raw].concat(),
            Algorithm::Rs256 => {
                let bits = der(0x03, &[&[0], raw.as_slice()].concat());
                der(0x30, &[RSA_ALGORITHM, &bits].concat())
            }
        };
        let digest = ring::digest::digest(&ring::digest::SHA256, &spki);
        Self {
            algorithm,
            raw,
            id: URL_SAFE_NO_PAD.encode(digest.as_ref()),
            spki,
        }
    }

    /// Reads a `PUBLIC KEY` PEM block.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let spki = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| KeyError::Pem(error.to_string()))?;
        let (_, info) = SubjectPublicKeyInfo::from_der(&spki).map_err(|_| KeyError::Unsupported)?;
        let algorithm = match info.parsed() {
            Ok(ParsedKey::RSA(_)) => Algorithm::Rs256,
            Ok(ParsedKey::EC(point)) if point.key_size() == 256 => Algorithm::Es256,
            Ok(ParsedKey::EC(point)) if point.key_size() == 384 => Algorithm::Es384,
            _ => return Err(KeyError::Unsupported),
        };
        Ok(Self::new(algorithm, info.subject_public_key.data.to_vec()))
    }

    /// The key as a `PUBLIC KEY` PEM block.
    pub fn to_pem(&self) -> String {
        let body = base64::engine::general_purpose::STANDARD.encode(&self.spki);
        let lines: Vec<&str> = body
            .as_bytes()
            .chunks(64)
            .filter_map(|line| std::str::from_utf8(line).ok())
            .collect();
        format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            lines.join("\n")
        )
    }

    /// Key id as upstream derives it: SHA-256 of the DER public key, base64url.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// JWS algorithm name.
    pub fn algorithm(&self) -> &'static str {
        match self.algorithm {
            Algorithm::Es256 => "ES256",
            Algorithm::Es384 => "ES384",
            Algorithm::Rs256 => "RS256",
        }
    }

    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &dyn signature::VerificationAlgorithm = match self.algorithm {
            Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
            Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
            Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        };
        signature::UnparsedPublicKey::new(algorithm, &self.raw)
            .verify(message, signature)
            .is_ok()
    }

    /// The key as JSON Web Key (RFC 7517, 7518).
    pub fn jwk(&self) -> Value {
        let (kid, alg) = (&self.id, self.algorithm());
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let point = |crv: &str| {
            let (x, y) = self.raw[1..].split_at(self.raw.len() / 2);
            json!({"use": "sig", "kty": "EC", "kid": kid, "crv": crv, "alg": alg, "x": encode(x), "y": encode(y)})
        };
        match self.algorithm {
            Algorithm::Es256 => point("P-256"),
            Algorithm::Es384 => point("P-384"),
            Algorithm::Rs256 => {
                let (modulus, exponent) = self.rsa_parts().unwrap_or_default();
                json!({"use": "sig", "kty": "RSA", "kid": kid, "alg": alg,
                    "n": encode(&modulus), "e": encode(&exponent)})
            }
        }
    }

    fn rsa_parts(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let (_, info) = SubjectPublicKeyInfo::from_der(&self.spki).ok()?;
        let ParsedKey::RSA(key) = info.parsed().ok()? else {
            return None;
        };
        let trimmed = |bytes: &[u8]| {
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            bytes[zeros..].to_vec()
        };
        Some((trimmed(key.modulus), trimmed(key.exponent)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_generated_key_signs_and_its_public_half_survives_pem() {
        let key = SigningKey::from_pem(&SigningKey::generate_pem().unwrap()).unwrap();
        let public = PublicKey::from_pem(&key.public().to_pem()).unwrap();
        assert_eq!(public.id(), key.public().id());
        let signature = key.sign(b"message").unwrap();
        assert_eq!(signature.len(), 64);
        assert!(public.verify(b"message", &signature));
        assert!(!public.verify(b"massage", &signature));
        let jwk = public.jwk();
        assert_eq!(
            (jwk["kty"].as_str(), jwk["alg"].as_str()),
            (Some("EC"), Some("ES256"))
        );
        assert_eq!(jwk["x"].as_str().map(str::len), Some(43));
        assert_eq!(jwk["y"].as_str().map(str::len), Some(43));
    }

    #[test]
    fn garbage_is_refused() {
        assert!(SigningKey::from_pem("x").is_err());
        assert!(PublicKey::from_pem("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n").is_err());
    }
}
