//! Pairs made for these tests, of no use elsewhere.

use super::*;

const EC_CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBbzCCARWgAwIBAgIUUuzlTMaDp56udI1JsU7lGCCZ0HkwCgYIKoZIzj0EAwIw
DDEKMAgGA1UEAwwBeDAgFw0yNjExMjIwMDI2NDhaGA8yMTI2MTAyOTAwMjY0OFow
DDEKMAgGA1UEAwwBeDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABFIpJK82KpHS
7MbYBXvJpYlw0MwgCCUYSge5D+OEgYZhwxkiRVe0c9H/UaMbCjQ9nI4pfl2G++AI
PfxjTwTRXsmjUzBRMB0GA1UdDgQWBBRLWPUFXeAXJOC9BpIAblPFir0/6zAfBgNV
HSMEGDAWgBRLWPUFXeAXJOC9BpIAblPFir0/6zAPBgNVHRMBAf8EBTADAQH/MAoG
CCqGSM49BAMCA0gAMEUCIQDKqG/aDIXd+ZvV/uhqzQYF8XMs71xGcl9Ze7cB0ksu
pgIgH5S4fJJDVPLzWqWoHZKrq8Lw5OxP3mN21Fv0vH95iTQ=
-----END CERTIFICATE-----
";
const EC_KEY: &str = "\
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEINDxTPiQNFB9ZYodhKcsgYc5c2fqUUbeERrD5mzgYforoAoGCCqGSM49
AwEHoUQDQgAEUikkrzYqkdLsxtgFe8mliXDQzCAIJRhKB7kP44SBhmHDGSJFV7Rz
0f9RoxsKND2cjil+XYb74Ag9/GNPBNFeyQ==
-----END EC PRIVATE KEY-----
";
const EC_KEY_WRAPPED: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg0PFM+JA0UH1lih2E
pyyBhzlzZ+pRRt4RGsPmbOBh+iuhRANCAARSKSSvNiqR0uzG2AV7yaWJcNDMIAgl
GEoHuQ/jhIGGYcMZIkVXtHPR/1GjGwo0PZyOKX5dhvvgCD38Y08E0V7J
-----END PRIVATE KEY-----
";
const EC_OTHER_KEY: &str = "\
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIPptbbEsQuitZHy7MIXIlqirDQixtx0x2DQdyU4wdw6coAoGCCqGSM49
AwEHoUQDQgAE/NRs0WHkVKdlOzDIFAOAvH3rVkQcYNLHLEDijy5TaHtgu0peaPZi
oeUGK+iA81Y6mOXcUsi5uC+Q0XDUezkWSQ==
-----END EC PRIVATE KEY-----
";
const RSA_CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIB9jCCAV+gAwIBAgIUU41Nc2pGkKw8BXd511Nkvtzns8AwDQYJKoZIhvcNAQEL
BQAwDDEKMAgGA1UEAwwBeDAgFw0yNjExMjIwMDI2NDhaGA8yMTI2MTAyOTAwMjY0
OFowDDEKMAgGA1UEAwwBeDCBnzANBgkqhkiG9w0BAQEFAAOBjQAwgYkCgYEA3Y4W
zJhbZopJcYsAM6nxaTdzEUmi3RQrAWvobq192a93st4PMiYpRDh3JCQ/tXA57zpC
n7/6yjY+DhICDGLhKxUT5+d72cuFhDJPNP1sVDL7Q9UR9of7I7v/96NROU5hVkpT
bNovuuOVwb79ovU9hnw8YEIRvGFj6d+z51ZPl1UCAwEAAaNTMFEwHQYDVR0OBBYE
FCvZpK0jF3JobGyudBUhOOgiLT28MB8GA1UdIwQYMBaAFCvZpK0jF3JobGyudBUh
OOgiLT28MA8GA1UdEwEB/wQFMAMBAf8wDQYJKoZIhvcNAQELBQADgYEAjb/8WlfI
/AY3KnGLtFUlE4wh3cQ31HXJh/lF9MzPuopYhnGZ8LvtbcY6Gl4HqIop0C4dNQUF
YnBkERAuYJ+i3zGg1G5+g9gAUi6wo2R5uGTJQHbuAXAqOe2uxP4XLrbGtOhoOF51
Wn/A8H38Vcy6K3VO3G6x+MkvNYurHhluDgw=
-----END CERTIFICATE-----
";
const RSA_KEY: &str = "\
-----BEGIN RSA PRIVATE KEY-----
MIICXQIBAAKBgQDdjhbMmFtmiklxiwAzqfFpN3MRSaLdFCsBa+hurX3Zr3ey3g8y
JilEOHckJD+1cDnvOkKfv/rKNj4OEgIMYuErFRPn53vZy4WEMk80/WxUMvtD1RH2
h/sju//3o1E5TmFWSlNs2i+645XBvv2i9T2GfDxgQhG8YWPp37PnVk+XVQIDAQAB
AoGAY7UsgYsXp0AY6WZ7AsU6hfWUbXVMPF51NECR7C1b8/nJzs+s2w7dh3w58iP2
H/uPtx/rF+XYQeTDbKWiElz1pA2HrdQt7lIfzdGwVa9l1/KjkYXyoeLomGnx0Rbj
yOwozw8G9m4Gzob9oRtG0lTbo5TVxzpSHH8n02TqBiMjegECQQDx0d6umwmzwIyy
HVPcgEXOn8fpN4FeqymLI9eigYD9vdgmaUxc74Mx2DNQ7Kfq0YIdBzgmku5gpm+F
h0tR/b7BAkEA6owCoHbUOVL8LMOQwbEyKmppa5mscBmhdkLQivNO+m8S7f7yFC4+
5nW0Z5MTaoqipsBleOUdQVT4HXkn0eTRlQJAK0zQGeXLA/PLfa1AsfAKD+iObFUz
BheR9ccyOngD9+uBg8dBFDcS/97duXTW0HY5XSdIx6dxpb7Ho1pJg2HzQQJBAIaL
Di6yO4cunU2oWW9ikB5YsGRy4MHlUgOezDYI4DM0aC1x47fD130n4/bOHYMuR6NU
FmFFPITvkuyFRVxX4AkCQQDaZR0yZszSKRix6xADL8k67qTXfD7I/gePXsJy7t9R
8d6zUEBOqBHESobukfsvcROi/6iJyShz1YyP2/4M8/9q
-----END RSA PRIVATE KEY-----
";
const ED_CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBLjCB4aADAgECAhQi664evF44rgd/VMJgXqPN6gQwHDAFBgMrZXAwDDEKMAgG
A1UEAwwBeDAgFw0yNjExMjIwMDI2NDhaGA8yMTI2MTAyOTAwMjY0OFowDDEKMAgG
A1UEAwwBeDAqMAUGAytlcAMhAOgCQGxH2Uq5jOoR7BRi8yTC2WOKWHFYk1OoYMUx
grhvo1MwUTAdBgNVHQ4EFgQUe3vP1+6liptfC7sRyVhGSlkNsPwwHwYDVR0jBBgw
FoAUe3vP1+6liptfC7sRyVhGSlkNsPwwDwYDVR0TAQH/BAUwAwEB/zAFBgMrZXAD
QQDbGsW9RcdzC1aqXboPXaXYy0xTqm3mJy3DuLPJFqwhzNp55VjcGMIT6BirW51K
bJeo3U1kYYXOinM2TPwtkYAO
-----END CERTIFICATE-----
";
const ED_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIBVvIIjoaR5cM/0SSc61C6WYWdpPBaAh4LBBTIsllpak
-----END PRIVATE KEY-----
";

fn of(certificate: &str, key: &str) -> String {
    problem(certificate.as_bytes(), key.as_bytes()).unwrap_or_default()
}

#[test]
fn pairs_belong_together() {
    for (certificate, key) in [
        (EC_CERTIFICATE, EC_KEY),
        (EC_CERTIFICATE, EC_KEY_WRAPPED),
        (RSA_CERTIFICATE, RSA_KEY),
        (ED_CERTIFICATE, ED_KEY),
    ] {
        assert_eq!(of(certificate, key), "");
        assert_eq!(
            of(&format!("text\n{certificate}"), &format!("{certificate}{key}")),
            ""
        );
    }
}

#[test]
fn what_does_not_belong_together_is_told_apart() {
    assert_eq!(of(EC_CERTIFICATE, EC_OTHER_KEY), NO_MATCH);
    assert_eq!(of(EC_CERTIFICATE, RSA_KEY), OTHER_TYPE);
    assert_eq!(of(RSA_CERTIFICATE, EC_KEY), OTHER_TYPE);
    assert_eq!(of(ED_CERTIFICATE, EC_KEY), OTHER_TYPE);
    let broken = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert_eq!(of(EC_CERTIFICATE, broken), "tls: failed to parse private key");
    let unreadable = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(of(unreadable, EC_KEY), "x509: malformed certificate");
}

#[test]
fn what_is_missing_is_named() {
    let csr = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n";
    let none = "tls: failed to find any PEM data in";
    assert_eq!(of("x", EC_KEY), format!("{none} certificate input"));
    assert_eq!(of(EC_CERTIFICATE, ""), format!("{none} key input"));
    assert!(
        of(EC_KEY, EC_CERTIFICATE).ends_with("did find a private key; PEM inputs may have been switched")
    );
    assert!(of(EC_CERTIFICATE, EC_CERTIFICATE).starts_with("tls: found a certificate rather than a key"));
    assert!(of(&format!("{csr}{csr}"), EC_KEY).ends_with("types: [CERTIFICATE REQUEST CERTIFICATE REQUEST]"));
    assert!(
        of(EC_CERTIFICATE, csr).ends_with(
            "in key input after skipping PEM blocks of the following types: [CERTIFICATE REQUEST]"
        )
    );
}
