//! Service-account issuer discovery: `/.well-known/openid-configuration` and `/openid/v1/jwks`.

use corten_auth::oidc;
use http::{HeaderValue, StatusCode};

use crate::call::Call;
use crate::respond::{self, Answer};

fn document(text: String, content_type: &'static str) -> Answer {
    let mut answer = respond::bytes(StatusCode::OK, content_type, text);
    let cache = format!("public, max-age={}", oidc::MAX_AGE_S);
    if let Ok(v) = HeaderValue::from_str(&cache) {
        answer.headers_mut().insert(http::header::CACHE_CONTROL, v);
    }
    answer
}

/// The provider's metadata.
pub fn configuration(call: &Call) -> Answer {
    let server = &call.server;
    let keys = server.authenticator.verifier().keys();
    document(
        oidc::configuration(server.issuer.name(), &server.options.advertise, keys),
        "application/json",
    )
}

/// The public keys.
pub fn keys(call: &Call) -> Answer {
    document(
        oidc::keys(call.server.authenticator.verifier().keys()),
        oidc::KEYS_CONTENT_TYPE,
    )
}
