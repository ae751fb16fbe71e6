//! Archives and layers of which little is right: an import ends with the image or an error, leaves nothing half-made,
//! and never touches what is outside of the layer.

use crate::fixture::{Tar, config, docker_archive, node_architecture, sha256};
use corten_fuzz::Random;
use corten_runtime::image::{self, ImageStore};
use std::fs;
use std::path::Path;
use tar::EntryType;

/// Rounds that write files cost more than others.
fn rounds() -> u64 {
    corten_fuzz::rounds() / 6
}

/// A store in a directory beside things that no image may touch.
struct Place {
    dir: tempfile::TempDir,
    store: ImageStore,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = ImageStore::open(&dir.path().join("root")).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/kept"), "kept").unwrap();
        Self { dir, store }
    }

    fn import(&self, archive: &[u8]) -> bool {
        let path = self.dir.path().join("image.tar");
        fs::write(&path, archive).unwrap();
        let imported = image::import(&self.store, &path, &image::quiet());
        self.check();
        for image in self.store.list() {
            self.store.remove(&image.id).unwrap();
        }
        self.store.collect(&|_| false).unwrap();
        imported.is_ok()
    }

    fn check(&self) {
        let names = |path: &Path| -> Vec<_> {
            let entries = fs::read_dir(path).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(self.dir.path()), ["image.tar", "outside", "root"]);
        assert_eq!(names(&self.dir.path().join("outside")), ["kept"]);
        assert_eq!(
            fs::read_to_string(self.dir.path().join("outside/kept")).unwrap(),
            "kept"
        );
        assert_eq!(names(&self.store.dir().join("tmp")).len(), 0);
    }
}

/// Headers with their checksums put right, so that more than the checksum is tried. Sparse entries, whose size is not
/// bounded by their bytes, become plain.
fn mended(mut archive: Vec<u8>) -> Vec<u8> {
    let mut at = 0;
    while at + 512 <= archive.len() {
        let header = &mut archive[at..at + 512];
        if header[156] == b'S' {
            header[156] = b'0';
        }
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        let mut header = tar::Header::from_byte_slice(header).clone();
        header.set_cksum();
        archive[at..at + 512].copy_from_slice(header.as_bytes());
        let size = usize::try_from(header.entry_size().unwrap_or(0)).unwrap_or(usize::MAX);
        at = at
            .saturating_add(512)
            .saturating_add(size.div_ceil(512).saturating_mul(512));
    }
    archive
}

fn archive_of(layer: &[u8]) -> Vec<u8> {
    let config = config(node_architecture(), &[layer], serde_json::json!({}));
    docker_archive("x:1", &config, &[layer])
}

fn layer() -> Vec<u8> {
    Tar::new()
        .dir("etc", 0o755)
        .file("etc/a", 0o4755, b"a")
        .link("etc/b", "a", EntryType::Symlink)
        .link("c", "etc/a", EntryType::Link)
        .file("etc/.wh.gone", 0o644, b"")
        .file("d/.wh..wh..opq", 0o644, b"")
        .file(&format!("{}/x", "long".repeat(40)), 0o644, b"x")
        .bytes()
}

#[test]
fn spoiled_layers_stay_inside() {
    let place = Place::new();
    let mut unpacked = 0;
    corten_fuzz::each("layer", rounds(), 36, &[layer()], |_, input| {
        unpacked += u32::from(place.import(&archive_of(&mended(input.to_vec()))));
    });
    assert!(unpacked > 50, "only {unpacked} were unpacked");
}

/// A layer of names and links that try to lead out, in any order.
fn climbing(random: &mut Random, outside: &str) -> Vec<u8> {
    let names = [
        "a",
        "a/b",
        "a/b/c",
        "./a/../d",
        "../x",
        "/e",
        "a/.wh.b",
        ".wh...",
        "a/.wh..wh..opq",
        ".wh.",
        "kept",
        "a/kept",
        ".",
    ];
    let targets = [
        "/",
        "..",
        "../..",
        "../../../..",
        outside,
        "a",
        ".",
        "b",
        "/proc/self/cwd",
        "/etc",
    ];
    let mut tar = Tar::new();
    for _ in 0..2 + random.below(6) {
        let name = *random.pick(&names).unwrap();
        let target = *random.pick(&targets).unwrap();
        tar = match random.below(5) {
            0 => tar.raw(&format!("{name}/"), b""),
            1 => tar.link(
                random.pick(&["a", "a/b", "d", "kept"]).unwrap(),
                target,
                EntryType::Symlink,
            ),
            2 => tar.link("h", &format!("{target}/kept"), EntryType::Link),
            _ => tar.raw(name, b"spoiled"),
        };
    }
    tar.bytes()
}

#[test]
fn spoiled_links_lead_nowhere() {
    let place = Place::new();
    let outside = place.dir.path().join("outside").display().to_string();
    let mut unpacked = 0;
    corten_fuzz::each("links", rounds(), 36, &[layer()], |random, _| {
        unpacked += u32::from(place.import(&archive_of(&climbing(random, &outside))));
    });
    assert!(unpacked > 5, "only {unpacked} were unpacked");
}

/// An OCI layout of one image.
fn layout(layer: &[u8]) -> Vec<u8> {
    let config = config(node_architecture(), &[layer], serde_json::json!({}));
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", &sha256(bytes)["sha256:".len()..]);
    let descriptor =
        |bytes: &[u8]| serde_json::json!({"mediaType": "x", "digest": sha256(bytes), "size": bytes.len()});
    let manifest =
        serde_json::json!({"schemaVersion": 2, "config": descriptor(&config), "layers": [descriptor(layer)]});
    let manifest = manifest.to_string().into_bytes();
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [descriptor(&manifest)]}).to_string();
    Tar::new()
        .file("index.json", 0o644, index.as_bytes())
        .file(&blob(&manifest), 0o644, &manifest)
        .file(&blob(&config), 0o644, &config)
        .file(&blob(layer), 0o644, layer)
        .bytes()
}

#[test]
fn spoiled_archives_leave_nothing_half_made() {
    let place = Place::new();
    let small = Tar::new().file("a", 0o644, b"a").bytes();
    let compressed = zstd::encode_all(&archive_of(&small)[..], 1).unwrap();
    let mut imported = 0;
    let corpus = [archive_of(&small), layout(&small), compressed];
    corten_fuzz::each("archive", rounds(), 36, &corpus, |_, input| {
        imported += u32::from(place.import(&mended(input.to_vec())));
    });
    assert!(imported > 20, "only {imported} were imported");
}
