//! What can go wrong with a call, in the words Go's clients have for it.

use std::error::Error;
use std::fmt::Write as _;
use std::io;

/// A call that gave no usable document.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// `clientConfig` cannot be used.
    #[error("could not get REST client: {0}")]
    Config(#[from] crate::config::ConfigError),
    /// No answer: not reached, not trusted, too late.
    #[error("failed to call webhook: Post {url:?}: {error}")]
    Transport {
        /// The whole URL.
        url: String,
        /// Go's text.
        error: String,
    },
    /// An answer with a code other than 2xx.
    #[error("failed to call webhook: {message}")]
    Refused {
        /// HTTP status code.
        code: u16,
        /// Upstream's generic words for it, or those of a `Status` in the answer.
        message: String,
    },
    /// An answer that is no JSON document.
    #[error("failed to call webhook: {0}")]
    Undecodable(String),
}

impl CallError {
    /// The code that upstream's metrics and statuses carry for this failure.
    pub fn code(&self) -> u16 {
        match self {
            Self::Refused { code, .. } => *code,
            Self::Config(_) => 500,
            Self::Transport { .. } | Self::Undecodable(_) => 503,
        }
    }
}

/// An error's innermost cause, which for failures to connect is ours already.
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    if at
        .downcast_ref::<hyper::Error>()
        .is_some_and(hyper::Error::is_incomplete_message)
    {
        return "EOF".to_owned();
    }
    match at.downcast_ref::<io::Error>() {
        Some(error) if error.kind() == io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        Some(error) if error.kind() == io::ErrorKind::ConnectionReset => {
            "read: connection reset by peer".to_owned()
        }
        _ => at.to_string(),
    }
}

/// Go's text for a dial that failed; errors of kind `Other` speak for themselves.
pub fn dial_text(address: &str, error: &io::Error) -> String {
    let what = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused",
        io::ErrorKind::HostUnreachable => "connect: no route to host",
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable",
        io::ErrorKind::TimedOut => "i/o timeout",
        // What the dialer itself has to say (a Service without endpoints).
        io::ErrorKind::Other => return error.to_string(),
        _ => return format!("dial tcp {address}: {error}"),
    };
    format!("dial tcp {address}: {what}")
}

/// Go's text for a handshake that failed.
pub(crate) fn tls_text(error: &io::Error) -> String {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(problem)) = inner else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
            _ => format!("remote error: tls: {error}"),
        };
    };
    let mut text = "tls: failed to verify certificate: x509: ".to_owned();
    use rustls::CertificateError as Bad;
    match problem {
        Bad::UnknownIssuer | Bad::BadSignature => text.push_str("certificate signed by unknown authority"),
        Bad::Expired | Bad::ExpiredContext { .. } | Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
            text.push_str("certificate has expired or is not yet valid");
        }
        Bad::NotValidForNameContext { expected, presented } => {
            let presented: Vec<&str> = presented.iter().map(|name| alternative_name(name)).collect();
            let _ = write!(
                text,
                "certificate is valid for {}, not {}",
                presented.join(", "),
                expected.to_str()
            );
        }
        Bad::NotValidForName => text.push_str("certificate is not valid for any names"),
        other => {
            let _ = write!(text, "{other}");
        }
    }
    text
}

/// `DnsName("a")` as rustls prints it, without the wrapping.
fn alternative_name(name: &str) -> &str {
    name.split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'))
        .map_or(name, |inner| inner.trim_matches('"'))
}

/// Upstream's words for an answer that is no success (`NewGenericServerResponse`).
pub(crate) fn refusal_text(code: u16, body: &str) -> String {
    match code {
        400 => "the server rejected our request for an unknown reason".to_owned(),
        401 => "the server has asked for the client to provide credentials".to_owned(),
        403 | 415 => body.to_owned(),
        404 => "the server could not find the requested resource".to_owned(),
        405 => "the server does not allow this method on the requested resource".to_owned(),
        406 if matches!(body, "" | "unknown") => {
            "the server was unable to respond with a content type that the client supports".to_owned()
        }
        406 => body.to_owned(),
        409 => "the server reported a conflict".to_owned(),
        422 => "the server rejected our request due to an error in our request".to_owned(),
        429 => "the server has received too many requests and has asked us to try again later".to_owned(),
        503 => "the server is currently unable to handle the request".to_owned(),
        504 => {
            "the server was unable to return a response in the time allotted, but may still be processing the request"
                .to_owned()
        }
        500.. => format!("an error on the server ({body:?}) has prevented the request from succeeding"),
        _ => format!("the server responded with the status code {code} but did not return more information"),
    }
}
