//! `kill -9` in the middle of a storm of writes: what was acknowledged is there.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use corten_store::embedded::{Engine, Options};
use corten_store::{Error, Op, Range, RangeRequest, Store, Txn};

const DIR: &str = "CORTEN_CRASH_DIR";
const WRITERS: usize = 16;
/// Acknowledgements seen before the kill.
const SEEN: usize = 2000;
const ROUNDS: usize = 3;

fn options() -> Options {
    Options {
        compact_interval: None,
        free_bytes_min: 0,
        ..Options::default()
    }
}

/// Runs a test of this binary as a process of its own.
pub fn test_process(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"]);
    command
}

/// The victim: writes for ever, prints `key revision` for each acknowledged write, and compacts beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by acknowledged_writes_survive_a_kill"]
async fn victim() {
    let dir = PathBuf::from(std::env::var(DIR).unwrap());
    let engine = Arc::new(Engine::open(dir, options()).await.unwrap());
    let base = engine.current_revision().await.unwrap();
    let compacted = Arc::clone(&engine);
    tokio::spawn(async move {
        loop {
            let revision = compacted.current_revision().await.unwrap();
            match compacted.compact(revision).await {
                Ok(()) | Err(Error::Compacted { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    });
    let writers = (0..WRITERS).map(|writer| {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move {
            for count in 0_u64.. {
                let key = format!("/{base}/{writer}/{count}");
                let txn = Txn {
                    success: vec![Op::put(key.clone(), vec![b'x'; 512])],
                    ..Txn::default()
                };
                let revision = engine.txn(txn).await.unwrap().revision;
                let mut out = std::io::stdout().lock();
                writeln!(out, "acked {key} {revision}").unwrap();
            }
        })
    });
    futures::future::join_all(writers).await;
}

/// Starts the victim, kills it in full flight, returns what it had acknowledged.
fn kill_in_flight(dir: &Path) -> HashMap<String, u64> {
    let mut child = test_process("crash::victim")
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acked = HashMap::new();
    let mut collect = |line: String| {
        let mut words = line
            .split(' ')
            .skip_while(|word| !word.ends_with("acked"))
            .skip(1);
        if let (Some(key), Some(Ok(revision))) = (words.next(), words.next().map(str::parse)) {
            acked.insert(key.to_owned(), revision);
        }
        acked.len()
    };
    for line in lines.by_ref() {
        if collect(line.unwrap()) >= SEEN {
            break;
        }
    }
    child.kill().unwrap();
    // What it had printed before it died counts, too; the last line may be torn.
    for line in lines.map_while(Result::ok) {
        collect(line);
    }
    child.wait().unwrap();
    acked
}

#[tokio::test]
async fn acknowledged_writes_survive_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut acked = HashMap::new();
    for _ in 0..ROUNDS {
        acked.extend(kill_in_flight(dir.path()));
        let engine = Engine::open(dir.path(), options()).await.unwrap();
        let answer = engine.range(RangeRequest::new(Range::prefix("/"))).await.unwrap();
        let stored: HashMap<_, _> = answer
            .kvs
            .iter()
            .map(|kv| (String::from_utf8_lossy(&kv.key).into_owned(), kv.mod_revision))
            .collect();
        let lost: Vec<_> = acked
            .iter()
            .filter(|(key, revision)| stored.get(*key) != Some(revision))
            .collect();
        assert!(
            lost.is_empty(),
            "{} of {} lost: {:?}",
            lost.len(),
            acked.len(),
            &lost[..lost.len().min(3)]
        );
        assert!(stored.values().all(|revision| *revision <= answer.revision));
    }
    assert!(acked.len() >= ROUNDS * SEEN);
}

const LARGE: usize = 100_000;

/// Writes a small and a large value, and gives the journal and where the large one is in it.
async fn journal_of_two(dir: &Path) -> (PathBuf, usize) {
    let engine = Engine::open(dir, options()).await.unwrap();
    for (key, bytes) in [("/small", 10), ("/large", LARGE)] {
        let txn = Txn {
            success: vec![Op::put(key, vec![b'x'; bytes])],
            ..Txn::default()
        };
        engine.txn(txn).await.unwrap();
    }
    drop(engine);
    let journal = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut journal = journal.filter(|path| path.extension().is_some_and(|extension| extension == "jnl"));
    let path = journal.next().unwrap();
    let content = std::fs::read(&path).unwrap();
    let large = content
        .windows(LARGE)
        .position(|part| part.iter().all(|byte| *byte == b'x'));
    (path, large.unwrap())
}

fn overwrite(journal: &Path, at: usize, with: &[u8]) {
    let file = std::fs::OpenOptions::new().write(true).open(journal).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, with, at as u64).unwrap();
}

/// A power failure while the last write is made: of its pages one did not reach the disk.
#[tokio::test]
async fn a_torn_write_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, large) = journal_of_two(dir.path()).await;
    overwrite(&journal, (large + 10_000).next_multiple_of(4096), &[0; 4096]);
    for again in ["/again", "/and-again"] {
        let engine = Engine::open(dir.path(), options()).await.unwrap();
        let answer = engine.range(RangeRequest::new(Range::prefix("/"))).await.unwrap();
        let keys: Vec<_> = answer.kvs.iter().map(|kv| &*kv.key).collect();
        assert!(keys.contains(&b"/small".as_slice()) && !keys.contains(&b"/large".as_slice()));
        let txn = Txn {
            success: vec![Op::put(again, "1")],
            ..Txn::default()
        };
        engine.txn(txn).await.unwrap();
    }
    let engine = Engine::open(dir.path(), options()).await.unwrap();
    let answer = engine.range(RangeRequest::new(Range::prefix("/"))).await.unwrap();
    assert_eq!(answer.kvs.len(), 3);
}

/// Bytes that changed on the disk are something else: acknowledged writes are not dropped silently.
#[tokio::test]
async fn a_damaged_journal_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, large) = journal_of_two(dir.path()).await;
    overwrite(&journal, large + 10_000, b"y");
    let error = Engine::open(dir.path(), options()).await.err().unwrap();
    assert!(matches!(error, Error::Corrupt(_)), "{error}");
}
