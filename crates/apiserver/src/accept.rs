//! Wording what negotiation refuses, per kind of route.

use corten_meta::Status;
use corten_meta::status::Details;

use crate::call::Call;
use crate::catalog::Served;
use crate::negotiate::{self, Accepted, MEDIA_TYPES, Refused};

const STREAMS: [&str; 2] = [
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];

impl Call {
    /// Encoding and shape of an answer that is an API object or list.
    ///
    /// # Errors
    /// 406: the router's where no type fits, the handler's where no conversion does.
    pub fn object_answer(&self) -> Result<Accepted, Status> {
        self.negotiated(true)
    }

    /// Encoding and shape of an answer that is an object or list of a kind. Custom kinds have no protobuf form, though
    /// their metadata has.
    ///
    /// # Errors
    /// As [`Call::object_answer`]; custom kinds have only the handler's 406.
    pub fn answer_of(&self, served: &Served) -> Result<Accepted, Status> {
        if served.custom.is_none() {
            return self.object_answer();
        }
        match negotiate::accept_custom(self.accept()) {
            Ok(a) => Ok(Accepted {
                pretty: a.pretty || self.pretty(),
                ..a
            }),
            Err(_) => Err(Status::not_acceptable(&MEDIA_TYPES.map(|(m, _)| m))),
        }
    }

    /// Encoding of an answer that cannot change its shape.
    ///
    /// # Errors
    /// As [`Call::object_answer`].
    pub fn plain_answer(&self) -> Result<Accepted, Status> {
        self.negotiated(false)
    }

    fn negotiated(&self, tables: bool) -> Result<Accepted, Status> {
        let types = MEDIA_TYPES.map(|(m, _)| m);
        match negotiate::accept(self.accept(), tables) {
            Ok(a) => Ok(Accepted {
                pretty: a.pretty || self.pretty(),
                ..a
            }),
            Err(Refused::Conversion) => Err(Status::not_acceptable(&types)),
            Err(Refused::Type) => {
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
    }
}
