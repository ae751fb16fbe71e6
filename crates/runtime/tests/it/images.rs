use crate::fixture::{Tar, busybox_layer, config, docker_archive, node_architecture, sha256};
use corten_runtime::image::{self, Error, ImageRecord, ImageStore};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

struct Images {
    dir: tempfile::TempDir,
    store: ImageStore,
}

impl Images {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = ImageStore::open(&dir.path().join("root")).unwrap();
        Self { dir, store }
    }

    fn import(&self, archive: &[u8]) -> Result<Vec<ImageRecord>, Error> {
        let path = self.dir.path().join("image.tar");
        std::fs::write(&path, archive).unwrap();
        image::import(&self.store, &path, &image::quiet())
    }

    fn layer(&self, layer: Vec<u8>) -> Result<PathBuf, Error> {
        let config = config(node_architecture(), &[&layer], serde_json::json!({}));
        let images = self.import(&docker_archive("x:1", &config, &[&layer]))?;
        Ok(self.store.lower_dirs(&images[0])[0].clone())
    }

    /// Nothing half-made: no layer, no leftover, no image.
    fn is_empty(&self) -> bool {
        let count = |part: &str| std::fs::read_dir(self.store.dir().join(part)).unwrap().count();
        self.store.list().is_empty()
            && count("layers") == 0
            && count("tmp") == 0
            && count("blobs/sha256") == 0
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn docker_archives_with_several_images_share_layers() {
    let images = Images::new();
    let (base, top) = (busybox_layer(), Tar::new().file("etc/extra", 0o600, b"x").bytes());
    let one = config(
        node_architecture(),
        &[&base],
        serde_json::json!({ "Entrypoint": ["/bin/sh"], "User": "app" }),
    );
    let two = config(node_architecture(), &[&base, &top], serde_json::json!({}));
    let manifest = serde_json::json!([
        { "Config": "one.json", "RepoTags": ["one:a", "registry.io/one:b"], "Layers": ["base.tar"] },
        { "Config": "two.json", "RepoTags": null, "Layers": ["base.tar", "top/layer.tar"] },
    ]);
    let archive = Tar::new()
        .file("base.tar", 0o644, &base)
        .link("top/layer.tar", "../real.tar", tar::EntryType::Symlink)
        .file("real.tar", 0o644, &top)
        .file("one.json", 0o644, &one)
        .file("two.json", 0o644, &two)
        .file("manifest.json", 0o644, manifest.to_string().as_bytes())
        .bytes();
    let found = images.import(&gzip(&archive)).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].id, sha256(&one));
    assert_eq!(found[0].run.user, "app");
    let tags: Vec<&str> = found[0].tags.iter().map(String::as_str).collect();
    assert_eq!(tags, ["docker.io/library/one:a", "registry.io/one:b"]);
    assert_eq!(found[0].layers[0], found[1].layers[0]);
    assert_eq!(
        std::fs::read_dir(images.store.dir().join("layers"))
            .unwrap()
            .count(),
        2
    );
    assert_eq!(
        images.store.lower_dirs(&found[1])[0]
            .join("etc/extra")
            .metadata()
            .unwrap()
            .mode()
            & 0o777,
        0o600
    );
    for name in [
        "one:a",
        "docker.io/library/one:a",
        &found[0].id,
        found[0].id.trim_start_matches("sha256:"),
    ] {
        assert_eq!(images.store.get(name).unwrap().id, found[0].id, "{name}");
    }
    // A store that is opened again has them; a tag that is removed leaves the image, the last one takes it along.
    let again = ImageStore::open(&images.dir.path().join("root")).unwrap();
    assert_eq!(again.list().len(), 2);
    again.remove("one:a").unwrap();
    assert!(again.get("one:a").is_none() && again.get("registry.io/one:b").is_some());
    again.remove("registry.io/one:b").unwrap();
    assert_eq!(again.collect(&|_| false).unwrap(), 0);
    again.remove(&found[1].id).unwrap();
    let kept = again.lower_dirs(&found[0])[0].clone();
    assert_eq!(again.collect(&|dir| dir == kept).unwrap(), 1);
    assert_eq!(again.collect(&|_| false).unwrap(), 1);
}

#[test]
fn layouts_with_nested_indexes_platforms_and_compression() {
    let images = Images::new();
    let (base, top) = (busybox_layer(), Tar::new().file("top", 0o644, b"top").bytes());
    let config = config(
        node_architecture(),
        &[&base, &top],
        serde_json::json!({ "Cmd": ["/bin/sh"] }),
    );
    let blobs = [gzip(&base), zstd::encode_all(&top[..], 3).unwrap(), config];
    let descriptor = |bytes: &[u8], kind: &str| serde_json::json!({ "mediaType": kind, "digest": sha256(bytes), "size": bytes.len() });
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor(&blobs[2], "application/vnd.oci.image.config.v1+json"),
        "layers": [descriptor(&blobs[0], "application/vnd.oci.image.layer.v1.tar+gzip"),
                   descriptor(&blobs[1], "application/vnd.oci.image.layer.v1.tar+zstd")],
    })
    .to_string();
    let mut entry = descriptor(manifest.as_bytes(), "application/vnd.oci.image.manifest.v1+json");
    entry["platform"] = serde_json::json!({ "os": "linux", "architecture": node_architecture() });
    let other = serde_json::json!({
        "digest": sha256(b"absent"), "size": 1, "platform": { "os": "linux", "architecture": "s390x" },
    });
    let inner = serde_json::json!({ "schemaVersion": 2, "manifests": [other, entry] }).to_string();
    let mut outer = descriptor(inner.as_bytes(), "application/vnd.oci.image.index.v1+json");
    outer["annotations"] = serde_json::json!({ "io.containerd.image.name": "registry.io/team/app:v1" });
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [outer] }).to_string();
    let mut archive = Tar::new().file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#);
    for blob in [
        &blobs[0],
        &blobs[1],
        &blobs[2],
        &manifest.into_bytes(),
        &inner.clone().into_bytes(),
    ] {
        archive = archive.file(&format!("blobs/sha256/{}", &sha256(blob)[7..]), 0o644, blob);
    }
    let found = images
        .import(&archive.file("./index.json", 0o644, index.as_bytes()).bytes())
        .unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].run.cmd, ["/bin/sh"]);
    let digest = format!("registry.io/team/app@{}", sha256(inner.as_bytes()));
    assert!(found[0].digests.contains(&digest));
    assert_eq!(images.store.get(&digest).unwrap().id, found[0].id);
    let lower = images.store.lower_dirs(&found[0]);
    assert_eq!(std::fs::read(lower[0].join("top")).unwrap(), b"top");
    assert_eq!(
        lower[1].join("bin/busybox").metadata().unwrap().mode() & 0o777,
        0o755
    );
}

fn layer_with_everything() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o4755);
    header.set_size(4);
    header.set_mtime(1_000_000_000);
    header.set_uid(1234);
    header.set_gid(4321);
    builder
        .append_pax_extensions([
            ("SCHILY.xattr.user.colour", &b"red"[..]),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ])
        .unwrap();
    builder
        .append_data(&mut header, "dir/program", &b"data"[..])
        .unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Char);
    header.set_mode(0o666);
    header.set_size(0);
    header.set_mtime(0);
    header.set_device_major(1).unwrap();
    header.set_device_minor(3).unwrap();
    builder.append_data(&mut header, "dir/null", &[][..]).unwrap();
    let mut tar = builder.into_inner().unwrap();
    tar.truncate(tar.len() - 1024);
    tar.extend(
        Tar::new()
            .link("dir/hard", "dir/program", tar::EntryType::Link)
            .link("dir/soft", "/etc/passwd", tar::EntryType::Symlink)
            .link("usr", "real", tar::EntryType::Symlink)
            .dir("real", 0o755)
            .file("usr/through", 0o644, b"x")
            .file("dir/.wh.gone", 0o644, b"")
            .file("opaque/.wh..wh..opq", 0o644, b"")
            .bytes(),
    );
    tar
}

#[test]
fn layers_keep_owners_modes_links_devices_and_deletions() {
    let images = Images::new();
    let dir = images.layer(layer_with_everything()).unwrap();
    let program = dir.join("dir/program").metadata().unwrap();
    assert_eq!(
        (
            program.uid(),
            program.gid(),
            program.mode() & 0o7777,
            program.mtime()
        ),
        (1234, 4321, 0o4755, 1_000_000_000)
    );
    assert_eq!(program.ino(), dir.join("dir/hard").metadata().unwrap().ino());
    assert_eq!(
        std::fs::read_link(dir.join("dir/soft")).unwrap(),
        Path::new("/etc/passwd")
    );
    let null = dir.join("dir/null").metadata().unwrap();
    assert!(null.file_type().is_char_device() && null.rdev() == 0x103);
    let gone = dir.join("dir/gone").symlink_metadata().unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    assert!(
        dir.join("real/through").exists(),
        "a link inside the layer is followed inside it"
    );
    let mut value = [0; 8];
    assert_eq!(
        rustix::fs::getxattr(dir.join("opaque"), "trusted.overlay.opaque", &mut value).unwrap(),
        1
    );
    assert_eq!(
        rustix::fs::getxattr(dir.join("dir/program"), "user.colour", &mut value).unwrap(),
        3
    );
    assert!(rustix::fs::getxattr(dir.join("dir/program"), "trusted.overlay.opaque", &mut value).is_err());
    assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o755);
}

#[test]
fn paths_that_escape_are_refused() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_string_lossy().into_owned();
    let climbing = "../".repeat(20) + &target;
    let evil = [
        Tar::new().raw("../../escaped", b"x").bytes(),
        Tar::new().raw("a/../../../escaped", b"x").bytes(),
        Tar::new()
            .link("link", &target, tar::EntryType::Symlink)
            .file("link/escaped", 0o644, b"x")
            .bytes(),
        Tar::new()
            .link("link", &climbing, tar::EntryType::Symlink)
            .file("link/escaped", 0o644, b"x")
            .bytes(),
        Tar::new()
            .link("link", "../..", tar::EntryType::Symlink)
            .file("link/nothere/escaped", 0o644, b"x")
            .link("hard", "../../etc/passwd", tar::EntryType::Link)
            .bytes(),
    ];
    for (number, layer) in evil.into_iter().enumerate() {
        let images = Images::new();
        let error = images.layer(layer).unwrap_err();
        assert!(matches!(error, Error::Escapes(_)), "{number}: {error}");
        assert!(error.to_string().contains("leads out of the image's root"));
        assert!(images.is_empty(), "{number}");
    }
    // An absolute path is one inside the image.
    let images = Images::new();
    assert!(
        images
            .layer(Tar::new().raw("/etc/inside", b"x").bytes())
            .unwrap()
            .join("etc/inside")
            .exists()
    );
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn damaged_archives_say_so_and_leave_nothing() {
    let layer = busybox_layer();
    let good_config = config(node_architecture(), &[&layer], serde_json::json!({}));
    let archive = docker_archive("x:1", &good_config, &[&layer]);
    for end in [0, 100, 512, archive.len() / 2, layer.len(), archive.len() - 3000] {
        for cut in [
            archive[..end].to_vec(),
            gzip(&archive)[..end.min(gzip(&archive).len() - 9)].to_vec(),
        ] {
            let images = Images::new();
            let error = images.import(&cut).unwrap_err();
            assert!(
                matches!(error, Error::Truncated | Error::Malformed(_)),
                "{end}: {error}"
            );
            assert!(images.is_empty());
        }
    }
    let images = Images::new();
    let truncated = images.import(&archive[..archive.len() / 2]).unwrap_err();
    assert!(truncated.to_string().contains("ends too early"), "{truncated}");

    let other = Tar::new().file("other", 0o644, b"x").bytes();
    let error = images
        .import(&docker_archive("x:1", &good_config, &[&other]))
        .unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error}");
    let foreign = config("s390x", &[&layer], serde_json::json!({}));
    let error = images
        .import(&docker_archive("x:1", &foreign, &[&layer]))
        .unwrap_err();
    let node = node_architecture();
    let want = format!("image docker.io/library/x:1 is for linux/s390x, this node is linux/{node}");
    assert!(error.to_string().starts_with(&want), "{error}");
    let error = images
        .import(&Tar::new().file("readme", 0o644, b"x").bytes())
        .unwrap_err();
    assert!(error.to_string().contains("neither manifest.json"), "{error}");
    let cut_layer = &layer[..layer.len() / 2];
    let config = config(node, &[cut_layer], serde_json::json!({}));
    let error = images
        .import(&docker_archive("x:1", &config, &[cut_layer]))
        .unwrap_err();
    assert!(matches!(error, Error::Truncated), "{error}");
    assert!(images.is_empty());
}
