//! What a request asks for, read from its method and path alone.
//! Rules: upstream's `RequestInfoFactory` (apiserver/pkg/endpoints/request).

use std::borrow::Cow;

use http::Method;

use crate::query::{Query, unescape};

/// The parts of a request that authorization, routing and metrics go by.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct RequestInfo {
    /// True for `/api/v1/...` and `/apis/g/v/...` with at least a resource.
    pub is_resource: bool,
    /// The decoded path.
    pub path: String,
    /// `get list watch create update patch delete deletecollection proxy`, or the lower-case method.
    pub verb: Cow<'static, str>,
    /// API group, `""` for core.
    pub group: String,
    /// API version.
    pub version: String,
    /// Namespace or `""`.
    pub namespace: String,
    /// Plural resource.
    pub resource: String,
    /// Subresource or `""`.
    pub subresource: String,
    /// Object name, from the path or an exact `metadata.name` field selector; or `""`.
    pub name: String,
    /// Segments of the path from the resource on.
    pub depth: usize,
    /// True where the name came from the path.
    pub named_by_path: bool,
}

const LONG_RUNNING_SUBRESOURCES: [&str; 5] = ["attach", "exec", "proxy", "log", "portforward"];

impl RequestInfo {
    /// Reads method, path and query.
    ///
    /// # Errors
    /// A path of `/api/v1/watch` alone; the text is upstream's.
    pub fn parse(method: &Method, path: &str, query: &Query) -> Result<Self, String> {
        let path = unescape(path, false).unwrap_or_else(|| path.to_owned());
        let mut info = Self {
            verb: lower_case(method),
            ..Self::default()
        };
        let all: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, version, mut parts) = match all.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
            _ => return Ok(Self { path, ..info }),
        };
        info.group = group.to_owned();
        info.is_resource = true;
        info.version = version.to_owned();
        let by_prefix = matches!(parts[0], "proxy" | "watch");
        if by_prefix {
            if parts.len() < 2 {
                return Err(format!("unable to determine kind and namespace from url, {path}"));
            }
            info.verb = parts[0].to_owned().into();
            parts = &parts[1..];
        } else {
            info.verb = verb_of(method).into();
        }
        info.take_resource(parts);
        info.refine_verb(query);
        info.path = path;
        Ok(info)
    }

    fn take_resource(&mut self, mut parts: &[&str]) {
        if parts[0] == "namespaces" && parts.len() > 1 {
            self.namespace = parts[1].to_owned();
            if parts.len() > 2 && !matches!(parts[2], "status" | "finalize") {
                parts = &parts[2..];
            }
        }
        if parts.len() >= 3 && self.verb != "proxy" && self.verb != "watch" {
            self.subresource = parts[2].to_owned();
        }
        if parts.len() >= 2 {
            self.name = parts[1].to_owned();
            self.named_by_path = true;
        }
        self.resource = parts[0].to_owned();
        self.depth = parts.len();
    }

    fn refine_verb(&mut self, query: &Query) {
        if !self.name.is_empty() {
            return;
        }
        if self.verb == "get" {
            let watch = query.flag("watch").unwrap_or(false);
            self.verb = if watch { "watch" } else { "list" }.into();
            if let Some(name) = exact_name(query.text("fieldSelector")) {
                self.name = name;
            }
        } else if self.verb == "delete" {
            self.verb = "deletecollection".into();
        }
    }

    /// True for requests without a deadline: watches, streams, logs, proxying.
    pub fn long_running(&self) -> bool {
        matches!(&*self.verb, "watch" | "proxy")
            || (self.is_resource && LONG_RUNNING_SUBRESOURCES.contains(&self.subresource.as_str()))
    }

    /// True for verbs that change nothing.
    pub fn read_only(&self) -> bool {
        matches!(&*self.verb, "get" | "list" | "watch" | "head")
    }
}

fn lower_case(method: &Method) -> Cow<'static, str> {
    match *method {
        Method::GET => "get".into(),
        Method::POST => "post".into(),
        Method::PUT => "put".into(),
        Method::PATCH => "patch".into(),
        Method::DELETE => "delete".into(),
        Method::HEAD => "head".into(),
        _ => method.as_str().to_ascii_lowercase().into(),
    }
}

fn verb_of(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::GET | Method::HEAD => "get",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    }
}

/// The name an exact `metadata.name=x` term pins, unless another term makes the selector odd.
fn exact_name(selector: &str) -> Option<String> {
    let name = selector.split(',').find_map(|term| {
        let v = term.strip_prefix("metadata.name=")?;
        Some(v.strip_prefix('=').unwrap_or(v))
    })?;
    let ok = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '%', '\\']);
    ok.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn info(method: &str, url: &str) -> RequestInfo {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        RequestInfo::parse(&method.parse().unwrap(), path, &Query::parse(Some(query))).unwrap()
    }

    #[track_caller]
    fn check(method: &str, url: &str, want: [&str; 7]) {
        let i = info(method, url);
        let got = [
            &*i.verb,
            &i.group,
            &i.version,
            &i.namespace,
            &i.resource,
            &i.subresource,
            &i.name,
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn resources() {
        check(
            "GET",
            "/api/v1/namespaces",
            ["list", "", "v1", "", "namespaces", "", ""],
        );
        check(
            "GET",
            "/api/v1/namespaces/a",
            ["get", "", "v1", "a", "namespaces", "", "a"],
        );
        check(
            "PUT",
            "/api/v1/namespaces/a/finalize",
            ["update", "", "v1", "a", "namespaces", "finalize", "a"],
        );
        check(
            "POST",
            "/api/v1/namespaces/a/pods",
            ["create", "", "v1", "a", "pods", "", ""],
        );
        check(
            "GET",
            "/apis/apps/v1/deployments?watch=1",
            ["watch", "apps", "v1", "", "deployments", "", ""],
        );
        check(
            "DELETE",
            "/api/v1/namespaces/a/pods",
            ["deletecollection", "", "v1", "a", "pods", "", ""],
        );
        check(
            "POST",
            "/api/v1/namespaces/a/pods/p/exec",
            ["create", "", "v1", "a", "pods", "exec", "p"],
        );
        check(
            "GET",
            "/api/v1/watch/namespaces/a/pods/p",
            ["watch", "", "v1", "a", "pods", "", "p"],
        );
        check(
            "GET",
            "/api/v1/pods?fieldSelector=metadata.name%3Dp",
            ["list", "", "v1", "", "pods", "", "p"],
        );
    }

    #[test]
    fn others() {
        for path in [
            "/",
            "/healthz",
            "/api",
            "/api/v1",
            "/apis",
            "/apis/apps",
            "/apis/apps/v1",
            "/openapi/v3",
        ] {
            let i = info("GET", path);
            assert!(!i.is_resource && i.verb == "get" && i.path == path, "{path}");
        }
        assert!(info("GET", "/api/v1/namespaces/a/pods/p/log").long_running());
    }
}
