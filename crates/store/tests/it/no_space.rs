//! A full disk: writes are refused with an error that says so, reads go on, nothing acknowledged is lost.

use std::path::{Path, PathBuf};
use std::process::Command;

use corten_store::embedded::{Engine, Options};
use corten_store::{Error, Op, Range, RangeRequest, Store, Txn};

use crate::crash::test_process;

const DIR: &str = "CORTEN_FULL_DIR";

async fn open(dir: &Path, free_bytes_min: u64) -> Engine {
    let options = Options {
        compact_interval: None,
        free_bytes_min,
        ..Options::default()
    };
    Engine::open(dir, options).await.unwrap()
}

async fn put(engine: &Engine, at: usize) -> corten_store::Result<()> {
    // Not compressible, so that the disk does fill.
    let mut seed = at as u64 + 1;
    let value: Vec<u8> = std::iter::repeat_with(|| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as u8
    })
    .take(256 << 10)
    .collect();
    let txn = Txn {
        success: vec![Op::put(format!("k{at:04}"), value)],
        ..Txn::default()
    };
    engine.txn(txn).await.map(drop)
}

/// Writes until there is no room; returns how many were acknowledged.
async fn fill(engine: &Engine) -> usize {
    for at in 0..1000 {
        match put(engine, at).await {
            Ok(()) => {}
            Err(Error::NoSpace { .. }) => return at,
            Err(other) => panic!("{other}"),
        }
    }
    panic!("the disk did not fill");
}

async fn count(engine: &Engine) -> usize {
    engine
        .range(RangeRequest::new(Range::prefix("k")))
        .await
        .unwrap()
        .kvs
        .len()
}

#[tokio::test]
async fn too_little_room_is_refused_before_it_is_too_late() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), u64::MAX).await;
    let error = put(&engine, 0).await.unwrap_err();
    assert!(matches!(error, Error::NoSpace { .. }));
    assert!(
        error
            .to_string()
            .starts_with("no space left on the device that holds"),
        "{error}"
    );
    assert_eq!(count(&engine).await, 0);
    assert!(matches!(engine.health(), Err(Error::NoSpace { .. })));
}

#[tokio::test]
async fn a_store_with_room_is_well() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), 0).await;
    put(&engine, 0).await.unwrap();
    assert!(engine.health().is_ok());
}

/// Inside a mount namespace, on a tmpfs of 48 MiB.
#[tokio::test]
#[ignore = "started by a_full_disk_loses_nothing"]
async fn on_a_small_disk() {
    let dir = PathBuf::from(std::env::var(DIR).unwrap());
    // With a reserve, writing goes on when there is room again.
    let ballast = dir.join("ballast");
    std::fs::write(&ballast, vec![1; 4 << 20]).unwrap();
    let engine = open(&dir.join("reserve"), 24 << 20).await;
    let acked = fill(&engine).await;
    assert!(acked > 0);
    assert_eq!(count(&engine).await, acked);
    std::fs::remove_file(&ballast).unwrap();
    put(&engine, acked).await.unwrap();
    drop(engine);
    // Without one the disk itself says no: nothing acknowledged is lost.
    let engine = open(&dir.join("none"), 0).await;
    let acked = fill(&engine).await;
    assert!(acked > 0);
    assert_eq!(count(&engine).await, acked);
    drop(engine);
    std::fs::remove_dir_all(dir.join("reserve")).unwrap();
    let engine = open(&dir.join("none"), 0).await;
    assert_eq!(count(&engine).await, acked);
    put(&engine, acked).await.unwrap();
}

#[test]
fn a_full_disk_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let test = test_process("no_space::on_a_small_disk");
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs -o size=48m tmpfs \"$CORTEN_FULL_DIR\" && exec \"$@\"";
    command.args(["--mount", "--map-root-user", "sh", "-c", script, "sh"]);
    command
        .arg(test.get_program())
        .args(test.get_args())
        .env(DIR, dir.path());
    let output = command.output().unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if text.contains("unshare failed") || text.contains("must be superuser") {
        println!("skipped: no mount namespaces here: {text}");
        return;
    }
    assert!(output.status.success(), "{text}");
}
