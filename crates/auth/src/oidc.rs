//! The two discovery documents by which others verify this cluster's service-account tokens.

use serde_json::json;

use crate::token::PublicKey;

/// Where the provider configuration is served.
pub const CONFIG_PATH: &str = "/.well-known/openid-configuration";
/// Where the keys are served.
pub const KEYS_PATH: &str = "/openid/v1/jwks";
/// Both answers may be cached this long: `Cache-Control: public, max-age=3600`.
pub const MAX_AGE_S: u32 = 3600;
/// Content type of the keys; the configuration is `application/json`.
pub const KEYS_CONTENT_TYPE: &str = "application/jwk-set+json";

/// The provider configuration. `external` is the API server's `host:port` as clients reach it.
pub fn configuration(issuer: &str, external: &str, keys: &[PublicKey]) -> String {
    let mut algorithms: Vec<&str> = keys.iter().map(PublicKey::algorithm).collect();
    algorithms.sort_unstable();
    algorithms.dedup();
    json!({
        "issuer": issuer,
        "jwks_uri": format!("https://{external}{KEYS_PATH}"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": algorithms,
    })
    .to_string()
}

/// The JSON Web Key Set.
pub fn keys(keys: &[PublicKey]) -> String {
    let keys: Vec<_> = keys.iter().map(PublicKey::jwk).collect();
    json!({ "keys": keys }).to_string()
}
