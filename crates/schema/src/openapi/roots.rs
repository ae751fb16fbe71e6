//! Paths above resources: discovery, the version, the token issuer. Each has a document of its own in version 3.

use serde_json::{Map, Value, json};

use super::Dialect;
use super::definition::reference;
use super::operation::{OBJECT_TYPES, camel, capital, content, tag};
use super::paths::root;
use crate::resources::{Selection, ServedVersion};
use crate::types::{TypeId, named};

const META: &str = "apimachinery/pkg/apis/meta/v1";
/// The definition of what `/version` answers.
pub(super) const VERSION: &str = "io.k8s.apimachinery.pkg.version.Info";

/// What a path above resources answers.
enum Answer {
    /// A kind of apimachinery, in every media type of objects.
    Kind(&'static str),
    Version,
    /// Text in this media type.
    Text(&'static str),
}

/// One such path.
pub(super) struct Root {
    pub path: String,
    id: String,
    tag: String,
    answer: Answer,
}

impl Root {
    fn new(path: impl Into<String>, id: impl Into<String>, tag: impl Into<String>, answer: Answer) -> Self {
        Self {
            path: path.into(),
            id: id.into(),
            tag: tag.into(),
            answer,
        }
    }

    /// The path without its slashes: the name of its document.
    pub(super) fn document(&self) -> &str {
        self.path.trim_matches('/')
    }

    /// The type that the answer's definition begins with.
    pub(super) fn kind(&self) -> Option<TypeId> {
        match self.answer {
            Answer::Kind(kind) => named(META, kind),
            _ => None,
        }
    }

    pub(super) fn is_version(&self) -> bool {
        matches!(self.answer, Answer::Version)
    }

    pub(super) fn put(&self, out: &mut Map<String, Value>, dialect: Dialect) {
        let given: &[&str] = match &self.answer {
            Answer::Kind(_) => &OBJECT_TYPES,
            Answer::Version => &OBJECT_TYPES[..1],
            Answer::Text(media) => &[*media],
        };
        let schema = match (&self.answer, dialect) {
            (Answer::Kind(_), _) => self
                .kind()
                .map_or(Value::Null, |id| reference(id.expr(), dialect)),
            (Answer::Version, Dialect::V2) => json!({ "$ref": format!("#/definitions/{VERSION}") }),
            (Answer::Version, Dialect::V3) => json!({ "$ref": format!("#/components/schemas/{VERSION}") }),
            (Answer::Text(_), _) => json!({"type": "string"}),
        };
        let mut get = json!({"operationId": self.id, "tags": [self.tag]});
        let mut answer = json!({"description": "OK"});
        match dialect {
            Dialect::V2 => {
                get["consumes"] = match self.answer {
                    Answer::Kind(_) => json!(OBJECT_TYPES),
                    _ => json!([OBJECT_TYPES[0]]),
                };
                get["produces"] = json!(given);
                get["schemes"] = json!(["https"]);
                answer["schema"] = schema;
            }
            Dialect::V3 => answer["content"] = json!(content(given, &schema)),
        }
        get["responses"] = json!({"200": answer, "401": {"description": "Unauthorized"}});
        out.insert(self.path.clone(), json!({ "get": get }));
    }
}

/// The list of a group and version's resources, which is in their document.
pub(super) fn of_version(served: ServedVersion) -> Root {
    let (group, version) = (served.group, served.version);
    let id = format!("get{}{}APIResources", capital(&camel(group)), capital(version));
    let path = format!("{}/", root(group, version));
    Root::new(path, id, tag(group, version), Answer::Kind("APIResourceList"))
}

/// All that have documents of their own.
pub(super) fn all(selection: &Selection) -> Vec<Root> {
    let mut out = vec![
        Root::new(
            "/.well-known/openid-configuration/",
            "getServiceAccountIssuerOpenIDConfiguration",
            "WellKnown",
            Answer::Text("application/json"),
        ),
        Root::new("/api/", "getCoreAPIVersions", "core", Answer::Kind("APIVersions")),
        Root::new("/apis/", "getAPIVersions", "apis", Answer::Kind("APIGroupList")),
        Root::new(
            "/openid/v1/jwks/",
            "getServiceAccountIssuerOpenIDKeyset",
            "openid",
            Answer::Text("application/jwk-set+json"),
        ),
        Root::new("/version/", "getCodeVersion", "version", Answer::Version),
    ];
    let mut groups: Vec<&str> = selection.versions().map(|s| s.group).collect();
    groups.sort_unstable();
    groups.dedup();
    out.extend(groups.iter().filter(|g| !g.is_empty()).map(|group| {
        let id = format!("get{}APIGroup", capital(&camel(group)));
        Root::new(
            format!("/apis/{group}/"),
            id,
            camel(group),
            Answer::Kind("APIGroup"),
        )
    }));
    out
}

/// The schema of what `/version` answers.
pub(super) fn version(dialect: Dialect) -> Value {
    const REQUIRED: [&str; 9] = [
        "major",
        "minor",
        "gitVersion",
        "gitCommit",
        "gitTreeState",
        "buildDate",
        "goVersion",
        "compiler",
        "platform",
    ];
    const OPTIONAL: [&str; 4] = [
        "emulationMajor",
        "emulationMinor",
        "minCompatibilityMajor",
        "minCompatibilityMinor",
    ];
    let mut properties = Map::new();
    for name in REQUIRED {
        let property = match dialect {
            Dialect::V2 => json!({"type": "string"}),
            Dialect::V3 => json!({"type": "string", "default": ""}),
        };
        properties.insert(name.to_owned(), property);
    }
    for name in OPTIONAL {
        properties.insert(name.to_owned(), json!({"type": "string"}));
    }
    json!({"type": "object", "required": REQUIRED, "properties": properties})
}
