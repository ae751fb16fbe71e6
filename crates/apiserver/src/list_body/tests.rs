//! Every encoding and shape: as a whole value would be encoded, and never more of it at hand than a frame and an item.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use corten_meta::Status;
use corten_registry::{CreateOptions, Items, ListOptions, Object, OpenPage, Registry, User, WriteContext};
use corten_store::embedded::{Engine, Options};
use serde_json::{Value, json};

use super::{FRAME_BYTES, Form, Frames};
use crate::catalog::{Catalog, Served};
use crate::negotiate::{Accepted, Format, Shape};
use crate::shape::{self, TableOptions};
use crate::verbs::list::{form, served_value};
use crate::{gzip, respond};

struct Fixture {
    registry: Arc<Registry>,
    catalog: Catalog,
    ctx: WriteContext,
    _dir: tempfile::TempDir,
}

const MAPS: (&str, &str, &str) = ("", "v1", "configmaps");
const EVENTS: (&str, &str, &str) = ("events.k8s.io", "v1", "events");

/// The longest of the objects, about.
const LONG_BYTES: usize = 100_000;

impl Fixture {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Engine::open(dir.path(), Options::default()).await.unwrap();
        let registry = Registry::open(Arc::new(store), corten_registry::Options::default());
        let registry = registry.await.unwrap();
        let user = User {
            name: "me".to_owned(),
            ..User::default()
        };
        let f = Self {
            catalog: Catalog::builtin(&registry, &Default::default()),
            registry,
            // Long ago, so that ages in Tables are the same whenever they are computed.
            ctx: WriteContext::new(user, SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)),
            _dir: dir,
        };
        let namespace = json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "default"}});
        f.create("namespaces", "", std::iter::once(namespace)).await;
        f
    }

    fn served(&self, (group, version, plural): (&str, &str, &str)) -> Arc<Served> {
        self.catalog.lookup(group, version, plural).unwrap()
    }

    async fn create(&self, plural: &str, namespace: &str, objects: impl Iterator<Item = Value>) {
        let resource = self.registry.resource("", plural).unwrap();
        let options = CreateOptions::default();
        let create = |object| {
            self.registry
                .create(&self.ctx, &resource, namespace, object, &options)
        };
        for object in futures::future::join_all(objects.map(create)).await {
            object.unwrap();
        }
    }

    async fn maps(&self, count: usize) {
        let map = |i: usize| {
            let text = match i % 997 {
                5 => "l".repeat(LONG_BYTES),
                6 | 7 => "m".repeat(9_000),
                n => format!("short\n  {n}\n"),
            };
            json!({"kind": "ConfigMap", "apiVersion": "v1", "data": {"text": text, "b": "1"},
                "metadata": {"name": format!("m{i:05}"), "labels": {"i": i.to_string()}}})
        };
        self.create("configmaps", "default", (0..count).map(map)).await;
    }

    async fn events(&self, count: usize) {
        let event = |i: usize| {
            json!({"kind": "Event", "apiVersion": "v1", "metadata": {"name": format!("e{i}"), "namespace": "default"},
                "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}, "reason": "r", "message": "m",
                "type": "Normal", "source": {"component": "c"}})
        };
        self.create("events", "default", (0..count).map(event)).await;
    }

    async fn page(&self, served: &Served, limit: u64) -> OpenPage {
        let options = ListOptions {
            limit,
            ..ListOptions::default()
        };
        let resource = served.stored().unwrap();
        self.registry.open_list(resource, None, &options).await.unwrap()
    }
}

/// Every encoding of every shape that a list can be asked for in.
fn encodings() -> Vec<Accepted> {
    let mut all = Vec::new();
    for shape in [Shape::Plain, Shape::PartialList, Shape::Table] {
        for (format, pretty) in [
            (Format::Json, false),
            (Format::Json, true),
            (Format::Yaml, false),
            (Format::Protobuf, false),
        ] {
            if (shape, format) != (Shape::Table, Format::Protobuf) {
                all.push(Accepted {
                    format,
                    shape,
                    pretty,
                    ..Accepted::JSON
                });
            }
        }
    }
    all
}

/// The list as one value.
fn whole(served: &Served, page: &OpenPage, accepted: Accepted) -> Value {
    let mut values = Vec::new();
    let taken = page.items.clone().read(|object| {
        values.push(served_value(served, object).unwrap());
        true
    });
    taken.unwrap();
    let mut metadata = json!({"resourceVersion": page.revision.to_string()});
    if !page.continue_token.is_empty() {
        metadata["continue"] = json!(page.continue_token);
        metadata["remainingItemCount"] = json!(page.remaining);
    }
    match accepted.shape {
        Shape::PartialList => shape::partial_list(&values, metadata, "v1"),
        Shape::Table => shape::rows(&TableOptions::default(), served, values, metadata, "v1", true).unwrap(),
        _ => shape::plain_list(served, values, metadata),
    }
}

/// Counts what has been made of a list.
struct Counted {
    form: Box<dyn Form>,
    made: Arc<AtomicUsize>,
    longest: Arc<AtomicUsize>,
}

impl Form for Counted {
    fn begin(&mut self) -> Vec<u8> {
        let head = self.form.begin();
        self.made.fetch_add(head.len(), Ordering::Relaxed);
        head
    }

    fn item(&mut self, out: &mut Vec<u8>, object: &Object, first: bool) -> Result<Option<Bytes>, Status> {
        let before = out.len();
        let long = self.form.item(out, object, first)?;
        let made = out.len() - before + long.as_ref().map_or(0, Bytes::len);
        self.made.fetch_add(made, Ordering::Relaxed);
        self.longest.fetch_max(made, Ordering::Relaxed);
        Ok(long)
    }

    fn end(&mut self, out: &mut Vec<u8>, empty: bool) -> Result<(), Status> {
        self.form.end(out, empty)
    }
}

/// The body, taken frame by frame while it is checked how much of it has been made and not been taken.
async fn in_frames(served: &Arc<Served>, page: OpenPage, accepted: Accepted) -> Vec<u8> {
    let form = form(served, &page, accepted, TableOptions::default())
        .await
        .unwrap();
    let (made, longest) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let counted = Counted {
        form,
        made: made.clone(),
        longest: longest.clone(),
    };
    let mut frames = Frames::new(Box::new(counted), page.items);
    let mut out = Vec::new();
    while let Some(frame) = frames.next_frame().unwrap() {
        out.extend_from_slice(&frame);
        let longest = longest.load(Ordering::Relaxed);
        let bound = FRAME_BYTES + longest;
        assert!(frame.len() <= bound, "{accepted:?}: a frame of {}", frame.len());
        let ahead = made.load(Ordering::Relaxed).saturating_sub(out.len());
        assert!(ahead <= longest, "{accepted:?}: {ahead} bytes are made ahead");
        assert_eq!(
            frames.frame.capacity(),
            0,
            "{accepted:?}: the frame is the client's now"
        );
    }
    out
}

async fn same_as_whole(f: &Fixture, kind: (&str, &str, &str), limit: u64) {
    let served = f.served(kind);
    for accepted in encodings() {
        let page = f.page(&served, limit).await;
        let want = whole(&served, &page, accepted);
        let got = in_frames(&served, page, accepted).await;
        if accepted.format == Format::Json && !accepted.pretty {
            // The watch cache's own bytes have their members in another order.
            assert_eq!(got.last(), Some(&b'\n'));
            assert_eq!(
                serde_json::from_slice::<Value>(&got).unwrap(),
                want,
                "{accepted:?}"
            );
            continue;
        }
        let want = respond::encode(&want, accepted).unwrap();
        assert!(
            got == want,
            "{kind:?} {accepted:?}: {} and {} bytes",
            got.len(),
            want.len()
        );
    }
}

#[tokio::test]
async fn lists_are_as_a_whole_value_is_encoded() {
    let f = Fixture::open().await;
    same_as_whole(&f, MAPS, 0).await;
    same_as_whole(&f, EVENTS, 0).await;
    f.maps(1).await;
    f.events(5).await;
    same_as_whole(&f, MAPS, 0).await;
    same_as_whole(&f, EVENTS, 0).await;
    same_as_whole(&f, EVENTS, 2).await;
}

#[tokio::test]
async fn thousands_of_objects_are_never_whole() {
    let f = Fixture::open().await;
    f.maps(4000).await;
    same_as_whole(&f, MAPS, 0).await;
    same_as_whole(&f, MAPS, 1200).await;
}

#[tokio::test]
async fn compression_goes_frame_by_frame() {
    let f = Fixture::open().await;
    f.maps(3000).await;
    let served = f.served(MAPS);
    let page = f.page(&served, 0).await;
    let form = form(&served, &page, Accepted::JSON, TableOptions::default())
        .await
        .unwrap();
    let taken = Arc::<AtomicUsize>::default();
    let count = taken.clone();
    let frames = Frames::new(form, page.items).map(move |frame| {
        let frame = frame?;
        count.fetch_add(frame.len(), Ordering::Relaxed);
        Ok(frame)
    });
    let (mut before, mut out) = (0, Vec::new());
    for frame in gzip::compressed(Box::new(frames)) {
        out.extend_from_slice(&frame.unwrap());
        let now = taken.load(Ordering::Relaxed);
        assert!(
            now - before <= gzip::TURN_BYTES + FRAME_BYTES + LONG_BYTES,
            "{}",
            now - before
        );
        before = now;
    }
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&out[..]), &mut text).unwrap();
    assert_eq!(text.len(), taken.load(Ordering::Relaxed));
    assert_eq!(
        serde_json::from_slice::<Value>(&text).unwrap()["items"]
            .as_array()
            .unwrap()
            .len(),
        3000
    );
}

/// An item that cannot be encoded.
struct Fails(usize);

impl Form for Fails {
    fn begin(&mut self) -> Vec<u8> {
        b"[".to_vec()
    }

    fn item(&mut self, out: &mut Vec<u8>, _: &Object, _: bool) -> Result<Option<Bytes>, Status> {
        self.0 = self.0.checked_sub(1).ok_or_else(|| Status::internal("no"))?;
        out.extend_from_slice(&[b' '; 1000]);
        Ok(None)
    }

    fn end(&mut self, _: &mut Vec<u8>, _: bool) -> Result<(), Status> {
        Ok(())
    }
}

#[tokio::test]
async fn a_failure_is_an_answer_or_cuts_the_connection() {
    let f = Fixture::open().await;
    f.maps(200).await;
    let served = f.served(MAPS);
    let items = async || -> Items { f.page(&served, 0).await.items };
    let Err(status) = super::body(Box::new(Fails(10)), items().await) else {
        panic!("the first frame has failed")
    };
    assert_eq!(status.code, 500);
    let body = super::body(Box::new(Fails(150)), items().await).ok().unwrap();
    let crate::body::Body::Frames(frames) = body else {
        panic!("more than a frame")
    };
    let frames: Vec<bool> = frames.map(|frame| frame.is_ok()).collect();
    assert_eq!(frames.last(), Some(&false));
    assert_eq!(frames.iter().filter(|ok| !**ok).count(), 1);
}
