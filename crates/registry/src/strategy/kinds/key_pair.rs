//! Whether a certificate and a key in PEM belong together, in the words of Go's `tls.X509KeyPair`.

use x509_parser::asn1_rs::{Any, Class, Tag};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::pem::blocks;

const NO_MATCH: &str = "tls: private key does not match public key";
const OTHER_TYPE: &str = "tls: private key type does not match public key type";
const ED25519: &str = "1.3.101.112";

/// The content octets of the object identifiers that name keys in PKCS #8.
const OID_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const OID_EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const OID_ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const OID_X25519: &[u8] = &[0x2b, 0x65, 0x6e];

/// The context's tag where a key on a curve has its public half.
const PUBLIC_HALF: Tag = Tag(1);
/// Numbers of an RSA key: version, modulus, exponents, primes and what follows from them.
const RSA_NUMBERS: usize = 9;

/// A private key, as far as it says what its public key is.
enum Key<'a> {
    Rsa {
        modulus: &'a [u8],
        exponent: &'a [u8],
    },
    Ec {
        public: Option<&'a [u8]>,
    },
    Ed25519,
    /// One that TLS cannot use.
    Other,
}

/// What is wrong with the pair. The public half of an Ed25519 key, and of an EC key that does not hold it, is not computed:
/// such a key is taken at its word.
pub(super) fn problem(certificate: &[u8], key: &[u8]) -> Option<String> {
    check(certificate, key).err()
}

fn check(certificate: &[u8], key: &[u8]) -> Result<(), String> {
    let der = certificate_of(certificate)?;
    let key_der = key_of(key)?;
    let malformed = || "x509: malformed certificate".to_owned();
    let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| malformed())?;
    let public = certificate.public_key();
    let key = private_key(&key_der).ok_or("tls: failed to parse private key")?;
    if matches!(key, Key::Other) {
        return Err("tls: found unknown private key type in PKCS#8 wrapping".to_owned());
    }
    let matches = match (public.parsed().map_err(|_| malformed())?, key) {
        (PublicKey::RSA(own), Key::Rsa { modulus, exponent }) => {
            number(own.modulus) == number(modulus) && number(own.exponent) == number(exponent)
        }
        (PublicKey::EC(own), Key::Ec { public }) => public.is_none_or(|public| public == own.data()),
        (PublicKey::RSA(_) | PublicKey::EC(_), _) => return Err(OTHER_TYPE.to_owned()),
        (_, key) if public.algorithm.algorithm.to_id_string() == ED25519 => match key {
            Key::Ed25519 => true,
            _ => return Err(OTHER_TYPE.to_owned()),
        },
        _ => return Err("tls: unknown public key algorithm".to_owned()),
    };
    if matches { Ok(()) } else { Err(NO_MATCH.to_owned()) }
}

fn certificate_of(pem: &[u8]) -> Result<Vec<u8>, String> {
    let mut skipped = Vec::new();
    for block in blocks(pem) {
        if block.kind == "CERTIFICATE" {
            return Ok(block.bytes);
        }
        skipped.push(block.kind);
    }
    Err(match skipped.as_slice() {
        [] => "tls: failed to find any PEM data in certificate input".to_owned(),
        [only] if only.ends_with("PRIVATE KEY") => {
            "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have \
             been switched"
                .to_owned()
        }
        all => format!(
            "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following \
             types: [{}]",
            all.join(" ")
        ),
    })
}

fn key_of(pem: &[u8]) -> Result<Vec<u8>, String> {
    let mut skipped = Vec::new();
    for block in blocks(pem) {
        if block.kind == "PRIVATE KEY" || block.kind.ends_with(" PRIVATE KEY") {
            return Ok(block.bytes);
        }
        skipped.push(block.kind);
    }
    Err(match skipped.as_slice() {
        [] => "tls: failed to find any PEM data in key input".to_owned(),
        [only] if only == "CERTIFICATE" => {
            "tls: found a certificate rather than a key in the PEM for the private key".to_owned()
        }
        all => format!(
            "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the \
             following types: [{}]",
            all.join(" ")
        ),
    })
}

fn private_key(der: &[u8]) -> Option<Key<'_>> {
    rsa(der).or_else(|| wrapped(der)).or_else(|| ec(der))
}

/// PKCS #1.
fn rsa(der: &[u8]) -> Option<Key<'_>> {
    let mut rest = inside(der, Tag::Sequence)?.0;
    let mut numbers = Vec::with_capacity(RSA_NUMBERS);
    while numbers.len() < RSA_NUMBERS {
        let (number, after) = inside(rest, Tag::Integer)?;
        numbers.push(number);
        rest = after;
    }
    Some(Key::Rsa {
        modulus: numbers[1],
        exponent: numbers[2],
    })
}

/// PKCS #8.
fn wrapped(der: &[u8]) -> Option<Key<'_>> {
    let (_, rest) = inside(inside(der, Tag::Sequence)?.0, Tag::Integer)?;
    let (algorithm, rest) = inside(rest, Tag::Sequence)?;
    let (key, _) = inside(rest, Tag::OctetString)?;
    match inside(algorithm, Tag::Oid)?.0 {
        OID_RSA => rsa(key),
        OID_EC => ec(key),
        OID_ED25519 => Some(Key::Ed25519),
        OID_X25519 => Some(Key::Other),
        _ => None,
    }
}

/// SEC 1.
fn ec(der: &[u8]) -> Option<Key<'_>> {
    let (version, rest) = inside(inside(der, Tag::Sequence)?.0, Tag::Integer)?;
    let (_, mut rest) = inside(rest, Tag::OctetString)?;
    let mut public = None;
    while let Ok((after, field)) = Any::from_der(rest) {
        if field.class() == Class::ContextSpecific && field.tag() == PUBLIC_HALF {
            // The first octet of a bit string counts the bits that are not used.
            public = inside(field.data, Tag::BitString)?.0.get(1..);
        }
        rest = after;
    }
    (version == [1]).then_some(Key::Ec { public })
}

/// The content of an element with this tag, and what follows it.
fn inside(der: &[u8], tag: Tag) -> Option<(&[u8], &[u8])> {
    let (rest, element) = Any::from_der(der).ok()?;
    (element.class() == Class::Universal && element.tag() == tag).then_some((element.data, rest))
}

/// A number without what pads it.
fn number(mut octets: &[u8]) -> &[u8] {
    while let Some((0, rest)) = octets.split_first() {
        octets = rest;
    }
    octets
}

#[cfg(test)]
mod tests;
