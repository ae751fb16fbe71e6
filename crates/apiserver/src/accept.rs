//! Wording what negotiation refuses, per kind of route.

use corten_meta::Status;
use corten_meta::status::Details;
use http::Method;

use crate::call::Call;
use crate::catalog::Served;
use crate::negotiate::{self, Accepted, MEDIA_TYPES, Transforms};

const STREAMS: [&str; 2] = [
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];

/// Subresources that upstream has no Tables of, though their objects are the resource's.
const WITHOUT_TABLE: [(&str, &str); 8] = [
    ("apiservices", "status"),
    ("certificatesigningrequests", "approval"),
    ("customresourcedefinitions", "status"),
    ("devicetaintrules", "status"),
    ("namespaces", "finalize"),
    ("pods", "ephemeralcontainers"),
    ("pods", "resize"),
    ("resourceclaims", "status"),
];

impl Call {
    /// Encoding and shape of an answer that is an API object or list.
    ///
    /// # Errors
    /// 406: the router's where no type fits, the handler's where no conversion does.
    pub fn object_answer(&self) -> Result<Accepted, Status> {
        self.routed_answer(Transforms::All)
    }

    /// Encoding and shape of an answer that is an object or list of a kind. Custom kinds have no protobuf form, though
    /// their metadata has.
    ///
    /// # Errors
    /// As [`Call::object_answer`]; custom kinds have only the handler's 406.
    pub fn answer_of(&self, served: &Served) -> Result<Accepted, Status> {
        if served.custom.is_none() {
            return match WITHOUT_TABLE.contains(&(served.schema.plural, &*self.info.subresource)) {
                true => self.plain_answer(),
                false => self.object_answer(),
            };
        }
        self.indented(negotiate::accept_custom(self.accept()))
    }

    /// Encoding and shape of an answer that has no Table.
    ///
    /// # Errors
    /// As [`Call::object_answer`].
    pub fn plain_answer(&self) -> Result<Accepted, Status> {
        self.routed_answer(Transforms::Metadata)
    }

    /// Encoding of discovery, whose documents have no other shape. `routed` where a router stands before it.
    ///
    /// # Errors
    /// As [`Call::object_answer`]; without a router only the handler's 406.
    pub fn discovery_answer(&self, routed: bool) -> Result<Accepted, Status> {
        if routed {
            return self.routed_answer(Transforms::None);
        }
        self.indented(negotiate::accept(self.accept(), Transforms::None))
    }

    /// What the router says to a GET of a path that gives these types, before the handler is asked.
    ///
    /// # Errors
    /// 405 for other methods, 406 where no type fits.
    pub fn routed_get(&self, types: &[&str]) -> Result<(), Status> {
        if self.method != Method::GET {
            return Err(Status::method_not_allowed());
        }
        self.routed(types)
    }

    /// What a route that also gives a type of its own says where something goes wrong: its handler wants to be able to.
    ///
    /// # Errors
    /// 406: the router's where no type fits, the handler's where none but its own does.
    pub fn answer_beside(&self, own: &str) -> Result<Accepted, Status> {
        let types: Vec<&str> = std::iter::once(own).chain(MEDIA_TYPES.map(|(m, _)| m)).collect();
        self.routed(&types)?;
        self.indented(negotiate::accept(self.accept(), Transforms::Metadata))
    }

    fn routed_answer(&self, transforms: Transforms) -> Result<Accepted, Status> {
        self.routed(&MEDIA_TYPES.map(|(m, _)| m))?;
        self.indented(negotiate::accept(self.accept(), transforms))
    }

    fn indented(&self, accepted: Option<Accepted>) -> Result<Accepted, Status> {
        let refused = || Status::not_acceptable(&MEDIA_TYPES.map(|(m, _)| m));
        Ok(accepted.ok_or_else(refused)?.indented(self.pretty()))
    }

    fn routed(&self, types: &[&str]) -> Result<(), Status> {
        if negotiate::routed(self.accept(), types) {
            return Ok(());
        }
        let mut all = types.to_vec();
        if matches!(&*self.info.verb, "list" | "watch") {
            all.extend(STREAMS);
        }
        let text = format!(
            "406: Not Acceptable\n\nAvailable representations: {}",
            all.join(", ")
        );
        Err(Status::new(406, "NotAcceptable", text).with_details(Details::default()))
    }
}
