//! What a certificate request asks for, and whether its signer gives it. Upstream: pkg/apis/certificates/helpers.go and
//! the signer's checks.

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

pub const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
pub const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
pub const CLIENT: &str = "kubernetes.io/kube-apiserver-client";

const NODE_GROUP: &str = "system:nodes";
const NODE_PREFIX: &str = "system:node:";

/// The subject and the kinds of alternative names of a request.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Request {
    pub common_name: String,
    pub organizations: Vec<String>,
    pub has_dns: bool,
    pub has_ip: bool,
    pub has_email: bool,
    pub has_uri: bool,
}

impl Request {
    /// Reads PEM.
    ///
    /// # Errors
    /// When it is no certificate request.
    pub fn parse(pem: &[u8]) -> Result<Self, String> {
        let wrong_block = "PEM block type must be CERTIFICATE REQUEST";
        let (_, block) = x509_parser::pem::parse_x509_pem(pem).map_err(|_| wrong_block.to_owned())?;
        if block.label != "CERTIFICATE REQUEST" {
            return Err(wrong_block.to_owned());
        }
        let (_, request) = X509CertificationRequest::from_der(&block.contents)
            .map_err(|error| format!("x509: malformed certificate request: {error}"))?;
        let subject = &request.certification_request_info.subject;
        let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            value.as_str().unwrap_or_default().to_owned()
        };
        let mut read = Self {
            common_name: subject.iter_common_name().last().map(text).unwrap_or_default(),
            organizations: subject.iter_organization().map(text).collect(),
            ..Self::default()
        };
        for extension in request.requested_extensions().into_iter().flatten() {
            if let ParsedExtension::SubjectAlternativeName(names) = extension {
                names.general_names.iter().for_each(|name| read.note(name));
            }
        }
        Ok(read)
    }

    fn note(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(_) => self.has_dns = true,
            GeneralName::IPAddress(_) => self.has_ip = true,
            GeneralName::RFC822Name(_) => self.has_email = true,
            GeneralName::URI(_) => self.has_uri = true,
            _ => {}
        }
    }

    /// Whether the signer gives what is asked for.
    ///
    /// # Errors
    /// Why it does not.
    pub fn check(&self, signer: &str, usages: &[String]) -> Result<(), String> {
        match signer {
            KUBELET_CLIENT => self.kubelet_client(usages),
            KUBELET_SERVING => self.kubelet_serving(usages),
            CLIENT => client_usages(usages),
            other => Err(format!("unrecognized signerName: {other:?}")),
        }
    }

    fn kubelet_client(&self, usages: &[String]) -> Result<(), String> {
        self.of_nodes()?;
        refuse(self.has_dns, "DNS")?;
        refuse(self.has_email, "Email")?;
        refuse(self.has_ip, "IP")?;
        refuse(self.has_uri, "URI")?;
        self.named_as_node()?;
        exactly(usages, "client auth")
    }

    fn kubelet_serving(&self, usages: &[String]) -> Result<(), String> {
        self.of_nodes()?;
        if !self.has_dns && !self.has_ip {
            return Err("DNS or IP subjectAltName is required".to_owned());
        }
        refuse(self.has_email, "Email")?;
        refuse(self.has_uri, "URI")?;
        exactly(usages, "server auth")?;
        self.named_as_node()
    }

    fn of_nodes(&self) -> Result<(), String> {
        if self.organizations == [NODE_GROUP] {
            return Ok(());
        }
        Err(format!("subject organization is not {NODE_GROUP}"))
    }

    fn named_as_node(&self) -> Result<(), String> {
        if self.common_name.starts_with(NODE_PREFIX) {
            return Ok(());
        }
        Err(format!("subject common name does not begin with {NODE_PREFIX}"))
    }
}

fn refuse(has: bool, kind: &str) -> Result<(), String> {
    if has {
        return Err(format!("{kind} subjectAltNames are not allowed"));
    }
    Ok(())
}

/// Digital signature and `auth`, with or without key encipherment, which only RSA keys need.
fn exactly(usages: &[String], auth: &str) -> Result<(), String> {
    let mut wanted = [auth, "digital signature", "key encipherment"];
    wanted.sort_unstable();
    let mut given: Vec<&str> = usages.iter().map(String::as_str).collect();
    given.sort_unstable();
    given.dedup();
    let without: Vec<&str> = wanted
        .into_iter()
        .filter(|usage| *usage != "key encipherment")
        .collect();
    if given == wanted || given == without {
        return Ok(());
    }
    Err(format!("usages did not match [{}]", wanted.join(" ")))
}

fn client_usages(usages: &[String]) -> Result<(), String> {
    for usage in usages {
        if !matches!(
            usage.as_str(),
            "digital signature" | "key encipherment" | "client auth"
        ) {
            return Err(format!("invalid usage for client certificate: {usage}"));
        }
    }
    if usages.iter().any(|usage| usage == "client auth") {
        return Ok(());
    }
    Err("missing required usage for client certificate: client auth".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn spoiled_requests_are_read_or_refused() {
        let names = vec!["a.test".to_owned()];
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "system:node:a");
        let key = rcgen::KeyPair::generate().unwrap();
        let request = params.serialize_request(&key).unwrap();
        assert_eq!(
            Request::parse(request.pem().unwrap().as_bytes())
                .unwrap()
                .common_name,
            "system:node:a"
        );
        let mut read = 0;
        let mut check = |pem: &[u8]| {
            if let Ok(asked) = Request::parse(pem) {
                read += 1;
                let _ = asked.check(KUBELET_SERVING, &[]);
            }
        };
        let pem = request.pem().unwrap().into_bytes();
        corten_fuzz::spoil("certificate request", &[pem], &mut check);
        corten_fuzz::spoil("certificate request's DER", &[request.der().to_vec()], |input| {
            let body = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, input);
            let label = "CERTIFICATE REQUEST";
            check(format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n").as_bytes());
        });
        assert!(read > 100, "only {read} were read");
    }

    fn usages(all: &[&str]) -> Vec<String> {
        all.iter().map(|u| (*u).to_owned()).collect()
    }

    #[test]
    fn each_signer_gives_what_upstream_s_gives() {
        let node = Request {
            common_name: "system:node:a".into(),
            organizations: vec![NODE_GROUP.into()],
            ..Request::default()
        };
        let client = usages(&["key encipherment", "client auth", "digital signature"]);
        assert_eq!(node.check(KUBELET_CLIENT, &client), Ok(()));
        assert_eq!(
            node.check(KUBELET_CLIENT, &usages(&["client auth"])),
            Err("usages did not match [client auth digital signature key encipherment]".into())
        );
        let named = Request {
            has_dns: true,
            ..node.clone()
        };
        assert_eq!(
            named.check(KUBELET_CLIENT, &client),
            Err("DNS subjectAltNames are not allowed".into())
        );
        let server = usages(&["digital signature", "server auth"]);
        assert_eq!(named.check(KUBELET_SERVING, &server), Ok(()));
        assert_eq!(
            node.check(KUBELET_SERVING, &server),
            Err("DNS or IP subjectAltName is required".into())
        );
        let other = Request {
            organizations: vec![NODE_GROUP.into(), "more".into()],
            ..node
        };
        assert_eq!(
            other.check(KUBELET_CLIENT, &client),
            Err("subject organization is not system:nodes".into())
        );
        assert_eq!(
            other.check(CLIENT, &usages(&["client auth", "server auth"])),
            Err("invalid usage for client certificate: server auth".into())
        );
        assert_eq!(
            other.check(CLIENT, &usages(&["digital signature"])),
            Err("missing required usage for client certificate: client auth".into())
        );
    }
}
