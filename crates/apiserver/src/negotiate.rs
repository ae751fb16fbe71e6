//! Content negotiation: which encoding and which shape (object, Table, metadata only) an answer takes.
//! Rules: upstream's `endpoints/handlers/negotiation` and goautoneg.

/// Encodings both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/json`
    Json,
    /// `application/yaml`
    Yaml,
    /// `application/vnd.kubernetes.protobuf`
    Protobuf,
}

/// Media types in upstream's order.
pub const MEDIA_TYPES: [(&str, Format); 3] = [
    ("application/json", Format::Json),
    ("application/yaml", Format::Yaml),
    ("application/vnd.kubernetes.protobuf", Format::Protobuf),
];

impl Format {
    /// The content type of a whole answer.
    pub fn content_type(self) -> &'static str {
        MEDIA_TYPES[self as usize].0
    }

    /// The content type of a watch stream.
    pub fn stream_content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml;stream=watch",
            Self::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        }
    }
}

/// Shapes an answer can be turned into (`as=` with group meta.k8s.io, versions v1 and v1beta1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The object or list itself.
    Plain,
    /// `as=Table`
    Table,
    /// `as=PartialObjectMetadata`
    Partial,
    /// `as=PartialObjectMetadataList`
    PartialList,
}

/// What the answer to one request looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Encoding.
    pub format: Format,
    /// Shape.
    pub shape: Shape,
    /// The meta.k8s.io version asked for with `v=`: `v1` or `v1beta1`.
    pub meta_version: &'static str,
    /// Indent JSON.
    pub pretty: bool,
}

impl Accepted {
    /// Plain JSON, for callers that say nothing.
    pub const JSON: Self = Self {
        format: Format::Json,
        shape: Shape::Plain,
        meta_version: "v1",
        pretty: false,
    };

    /// Indented, if the request asks for that apart from its media type.
    #[must_use]
    pub fn indented(self, pretty: bool) -> Self {
        let pretty = self.pretty || pretty;
        Self { pretty, ..self }
    }
}

/// Which other shapes an answer may be asked for in (upstream's `EndpointRestrictions`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transforms {
    /// Only its own: discovery and errors.
    None,
    /// Its metadata too.
    Metadata,
    /// Its metadata or a Table.
    All,
}

/// Whether the router takes a request to a route that gives these types. It goes by whole names and `*/*`; unlike handlers
/// it knows neither `application/*` nor parameters (go-restful's `matchesAccept`).
pub fn routed(header: Option<&str>, types: &[&str]) -> bool {
    let header = header.unwrap_or_default();
    let named = |clause: &str| {
        let name = clause.split(';').next().unwrap_or_default().trim();
        name == "*/*" || types.contains(&name)
    };
    header.is_empty() || header.split(',').any(named)
}

/// One clause of an Accept header.
#[derive(Debug, PartialEq)]
pub struct Clause<'a> {
    /// `application`
    pub main: &'a str,
    /// `json`
    pub sub: &'a str,
    q: f32,
    params: Vec<(&'a str, &'a str)>,
}

impl<'a> Clause<'a> {
    /// A parameter's value.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params.iter().find(|(k, _)| *k == name).map(|(_, v)| *v)
    }

    /// True where the clause admits this media type.
    pub fn admits(&self, media_type: &str) -> bool {
        let (main, sub) = media_type.split_once('/').unwrap_or((media_type, ""));
        (self.main == main && (self.sub == sub || self.sub == "*")) || (self.main == "*" && self.sub == "*")
    }
}

/// Clauses of an Accept header, most wanted first.
pub fn clauses(header: &str) -> Vec<Clause<'_>> {
    let mut out: Vec<Clause<'_>> = header.split(',').filter_map(clause).collect();
    let rank = |c: &Clause<'_>| (c.main == "*", c.sub == "*");
    out.sort_by(|a, b| b.q.total_cmp(&a.q).then_with(|| rank(a).cmp(&rank(b))));
    out
}

fn clause(text: &str) -> Option<Clause<'_>> {
    let mut pieces = text.split(';').map(str::trim);
    let range = pieces.next()?;
    let (main, sub) = match range.split_once('/') {
        Some((m, s)) if !s.contains('/') => (m.trim(), s.trim()),
        None if range == "*" => ("*", "*"),
        _ => return None,
    };
    let mut c = Clause {
        main,
        sub,
        q: 1.0,
        params: Vec::new(),
    };
    for (k, v) in pieces.filter_map(|p| p.split_once('=')) {
        match k.trim() {
            "q" => c.q = v.trim().parse().unwrap_or(0.0),
            k => c.params.push((k, v.trim())),
        }
    }
    Some(c)
}

/// Chooses encoding and shape for an answer that is an API object; `None` where nothing fits.
pub fn accept(header: Option<&str>, transforms: Transforms) -> Option<Accepted> {
    first_of(header, |clause, format| accept_clause(clause, format, transforms))
}

/// As [`accept`] of everything, for kinds whose objects have no protobuf form.
pub fn accept_custom(header: Option<&str>) -> Option<Accepted> {
    first_of(header, |clause, format| {
        let plain = |a: &Accepted| a.shape == Shape::Plain && a.format == Format::Protobuf;
        accept_clause(clause, format, Transforms::All).filter(|a| !plain(a))
    })
}

/// Chooses the encoding of discovery in one document; `None` where no clause asks for that.
pub fn accept_aggregated(header: Option<&str>) -> Option<Accepted> {
    let header = header.filter(|header| !header.is_empty())?;
    let asked = [
        ("g", "apidiscovery.k8s.io"),
        ("v", "v2"),
        ("as", "APIGroupDiscoveryList"),
    ];
    first_of(Some(header), |clause, format| {
        let is_asked = streams(clause) && asked.iter().all(|(k, v)| clause.param(k) == Some(v));
        is_asked.then(|| Accepted {
            pretty: clause.param("pretty") == Some("1"),
            format,
            ..Accepted::JSON
        })
    })
}

fn first_of(
    header: Option<&str>,
    choose: impl Fn(&Clause<'_>, Format) -> Option<Accepted>,
) -> Option<Accepted> {
    let header = header.unwrap_or_default();
    if header.is_empty() {
        return Some(Accepted::JSON);
    }
    for clause in &clauses(header) {
        let admitted = MEDIA_TYPES.into_iter().filter(|(t, _)| clause.admits(t));
        let chosen = admitted.filter_map(|(_, format)| choose(clause, format)).next();
        if chosen.is_some() {
            return chosen;
        }
    }
    None
}

/// Whether it asks for no stream of another kind than there is.
fn streams(clause: &Clause<'_>) -> bool {
    matches!(clause.param("stream"), None | Some("" | "watch"))
}

fn accept_clause(clause: &Clause<'_>, format: Format, transforms: Transforms) -> Option<Accepted> {
    if !streams(clause) {
        return None;
    }
    let pretty = clause.param("pretty") == Some("1");
    let (kind, group, version) = (clause.param("as"), clause.param("g"), clause.param("v"));
    if kind.is_none() && group.is_none() && version.is_none() {
        return Some(Accepted {
            pretty,
            format,
            ..Accepted::JSON
        });
    }
    if transforms == Transforms::None {
        return None;
    }
    let meta_version = match (group, version) {
        (Some("meta.k8s.io"), Some("v1")) => "v1",
        (Some("meta.k8s.io"), Some("v1beta1")) => "v1beta1",
        _ => return None,
    };
    let shape = match kind? {
        "Table" if transforms == Transforms::All && format != Format::Protobuf => Shape::Table,
        "PartialObjectMetadata" => Shape::Partial,
        "PartialObjectMetadataList" => Shape::PartialList,
        _ => return None,
    };
    Some(Accepted {
        format,
        shape,
        meta_version,
        pretty,
    })
}

/// The encoding of a request body; no header, and an empty one, means JSON.
pub fn content_format(header: Option<&str>) -> Option<Format> {
    let header = header.filter(|header| !header.is_empty());
    let Some(header) = header else {
        return Some(Format::Json);
    };
    let media_type = header.split(';').next().unwrap_or_default().trim();
    MEDIA_TYPES
        .iter()
        .find(|(m, _)| m.eq_ignore_ascii_case(media_type))
        .map(|(_, f)| *f)
}

/// True where JSON is to be indented: `?pretty` says, else clients that people type.
pub fn pretty(query: Option<&str>, user_agent: &str) -> bool {
    match query {
        Some(v) if !v.is_empty() => matches!(v, "1" | "t" | "T" | "TRUE" | "true" | "True"),
        _ => ["curl", "Wget", "Mozilla/5.0"]
            .iter()
            .any(|p| user_agent.starts_with(p)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn kubectl_get_prefers_tables() {
        let h = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        let a = accept(Some(h), Transforms::All).unwrap();
        assert_eq!((a.shape, a.meta_version), (Shape::Table, "v1"));
        assert_eq!(accept(Some(h), Transforms::Metadata).unwrap().shape, Shape::Plain);
    }

    #[test]
    fn protobuf_first() {
        let a = accept(
            Some("application/vnd.kubernetes.protobuf,application/json"),
            Transforms::All,
        )
        .unwrap();
        assert_eq!(a.format, Format::Protobuf);
        let a = accept(Some("application/json;q=0.5, application/yaml"), Transforms::All).unwrap();
        assert_eq!(a.format, Format::Yaml);
        assert_eq!(accept(Some("*/*"), Transforms::All).unwrap(), Accepted::JSON);
    }

    #[test]
    fn refusals() {
        let partial = Some("application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io");
        assert_eq!(accept(Some("text/html"), Transforms::All), None);
        assert_eq!(
            accept(
                Some("application/json;as=Chair;v=v1;g=meta.k8s.io"),
                Transforms::All
            ),
            None
        );
        assert!(accept(partial, Transforms::Metadata).is_some());
        assert_eq!(accept(partial, Transforms::None), None);
        assert_eq!(content_format(Some("text/plain")), None);
        assert_eq!(
            content_format(Some("application/json; charset=utf-8")),
            Some(Format::Json)
        );
    }

    #[test]
    fn the_router_goes_by_whole_names() {
        let types = MEDIA_TYPES.map(|(m, _)| m);
        for header in [
            "",
            "*/*",
            "text/html, application/yaml;q=0.1",
            "application/json;as=X",
        ] {
            assert!(routed(Some(header), &types), "{header}");
        }
        for header in ["application/*", "*", "text/html", "application/jso"] {
            assert!(!routed(Some(header), &types), "{header}");
        }
        assert!(accept(Some("application/*"), Transforms::All).is_some());
    }
}
