//! The query of lists and watches, validated in upstream's words (apimachinery `meta/internalversion/validation`).

use corten_meta::field::{Error, ErrorList, Path};
use corten_meta::{Status, fields, labels};
use corten_registry::{ListOptions, VersionMatch, WatchOptions};

use crate::options::invalid;
use crate::query::Query;
use crate::request_info::RequestInfo;

/// The query of a list or watch.
pub struct Listing {
    label_selector: Option<labels::Selector>,
    field_selector: Option<fields::Selector>,
    limit: u64,
    continue_token: String,
    resource_version: String,
    version_match: Option<VersionMatch>,
    bookmarks: bool,
    send_initial_events: Option<bool>,
    /// `timeoutSeconds`
    pub timeout_seconds: Option<u64>,
}

impl Listing {
    /// Reads and validates. The request's name is the object's where the path or a field selector pins one.
    ///
    /// # Errors
    /// 400 for what does not parse, 422 for what does not go together.
    pub fn read(query: &Query, info: &RequestInfo, watch: bool) -> Result<Self, Status> {
        let name = info.name.as_str();
        let selector = query.text("labelSelector");
        let label_selector = match selector {
            "" => None,
            s => Some(labels::Selector::parse(s).map_err(Status::bad_request)?),
        };
        let mut field_selector = match query.text("fieldSelector") {
            "" => None,
            s => Some(fields::Selector::parse(s).map_err(Status::bad_request)?),
        };
        if info.group == "events.k8s.io" {
            field_selector = field_selector.map(of_core_events).transpose()?;
        }
        if !name.is_empty() {
            match &field_selector {
                Some(s) if s.exact("metadata.name") != Some(name) => {
                    return Err(Status::bad_request(
                        "fieldSelector metadata.name doesn't match requested name",
                    ));
                }
                Some(_) => {}
                None => field_selector = Some(fields::Selector::equal("metadata.name", name)),
            }
        }
        let int = |key| query.int(key).map_err(Status::bad_request);
        let mut listing = Self {
            label_selector,
            field_selector,
            limit: int("limit")?.and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
            continue_token: query.text("continue").to_owned(),
            resource_version: query.text("resourceVersion").to_owned(),
            version_match: match query.text("resourceVersionMatch") {
                "Exact" => Some(VersionMatch::Exact),
                "NotOlderThan" => Some(VersionMatch::NotOlderThan),
                _ => None,
            },
            bookmarks: query.flag("allowWatchBookmarks").unwrap_or(false),
            send_initial_events: query.flag("sendInitialEvents"),
            timeout_seconds: int("timeoutSeconds")?.and_then(|n| u64::try_from(n).ok()),
        };
        let matching = query.text("resourceVersionMatch");
        let legacy = matches!(listing.resource_version.as_str(), "" | "0");
        let unsaid = listing.send_initial_events.is_none() && matching.is_empty();
        let matching = if watch && legacy && unsaid {
            // What such a watch begins with is marked as any client's initial events.
            listing.send_initial_events = Some(true);
            listing.version_match = Some(VersionMatch::NotOlderThan);
            "NotOlderThan"
        } else {
            matching
        };
        let errors = if watch {
            listing.watch_errors(matching)
        } else {
            listing.list_errors(matching)
        };
        invalid("ListOptions", errors)?;
        Ok(listing)
    }

    fn list_errors(&self, matching: &str) -> ErrorList {
        let mut errors = ErrorList::new();
        let path = Path::new("resourceVersionMatch");
        if !matching.is_empty() {
            let mut no = |text: &str| errors.push(Error::forbidden(&path, text));
            if self.resource_version.is_empty() {
                no("resourceVersionMatch is forbidden unless resourceVersion is provided");
            }
            if !self.continue_token.is_empty() {
                no("resourceVersionMatch is forbidden when continue is provided");
            }
            if matching == "Exact" && self.resource_version == "0" {
                no("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
            }
            if self.version_match.is_none() {
                errors.push(Error::not_supported(
                    &path,
                    matching,
                    &["Exact", "NotOlderThan", ""],
                ));
            }
        }
        if self.send_initial_events.is_some() {
            let text = "sendInitialEvents is forbidden for list";
            errors.push(Error::forbidden(&Path::new("sendInitialEvents"), text));
        }
        errors
    }

    fn watch_errors(&self, matching: &str) -> ErrorList {
        let mut errors = ErrorList::new();
        let path = Path::new("resourceVersionMatch");
        let mut no = |text: &str| errors.push(Error::forbidden(&path, text));
        let not_older = self.version_match == Some(VersionMatch::NotOlderThan);
        if self.send_initial_events.is_some() && !not_older {
            no("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
        }
        if matching.is_empty() {
            return errors;
        }
        if self.send_initial_events.is_none() {
            no("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
        }
        if !self.continue_token.is_empty() {
            no("resourceVersionMatch is forbidden when continue is provided");
        }
        if !not_older {
            errors.push(Error::not_supported(&path, matching, &["NotOlderThan"]));
        }
        errors
    }

    /// For the registry's lists.
    pub fn into_list(self) -> ListOptions {
        // Any version will do: upstream answers from its cache, all of it.
        let limit = match self.resource_version.as_str() {
            "0" => 0,
            _ => self.limit,
        };
        ListOptions {
            label_selector: self.label_selector,
            field_selector: self.field_selector,
            limit,
            continue_token: self.continue_token,
            resource_version: self.resource_version,
            version_match: self.version_match,
        }
    }

    /// For the registry's watches.
    pub fn into_watch(self, timeout: std::time::Duration) -> WatchOptions {
        WatchOptions {
            label_selector: self.label_selector,
            field_selector: self.field_selector,
            resource_version: self.resource_version,
            version_match: self.version_match,
            bookmarks: self.bookmarks,
            send_initial_events: self.send_initial_events,
            timeout: Some(timeout),
        }
    }
}

/// Selectors of `events.k8s.io` name the same fields otherwise than the core group does (upstream's
/// `pkg/apis/events/v1/conversion.go`).
fn of_core_events(selector: fields::Selector) -> Result<fields::Selector, Status> {
    let core = |field: &str| match field {
        "reason" | "type" | "metadata.name" | "metadata.namespace" => Some(field.to_owned()),
        "reportingController" => Some("reportingComponent".to_owned()),
        _ => {
            let part = field.strip_prefix("regarding.")?;
            REGARDING
                .contains(&part)
                .then(|| format!("involvedObject.{part}"))
        }
    };
    let unknown = |field| Status::bad_request(format!("field label not supported: {field}"));
    selector.renamed(core).map_err(unknown)
}

const REGARDING: [&str; 7] = [
    "kind",
    "namespace",
    "name",
    "uid",
    "apiVersion",
    "resourceVersion",
    "fieldPath",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn events_are_selected_by_the_names_of_their_group() {
        let core = |text| of_core_events(fields::Selector::parse(text).unwrap());
        let selected = core("regarding.name=a,reportingController=b,reason!=c").unwrap();
        assert_eq!(selected.exact("involvedObject.name"), Some("a"));
        assert_eq!(selected.exact("reportingComponent"), Some("b"));
        let refused = core("involvedObject.name=a").unwrap_err();
        assert_eq!(refused.message, "field label not supported: involvedObject.name");
    }
}
