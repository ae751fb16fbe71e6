//! `kill -9` in the middle of a storm of writes: what was acknowledged is there.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use corten_store::embedded::{Engine, Options};
use corten_store::{Op, Range, RangeRequest, Store, Txn};

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

/// The victim: writes for ever, prints `key revision` for each acknowledged write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by acknowledged_writes_survive_a_kill"]
async fn victim() {
    let dir = PathBuf::from(std::env::var(DIR).unwrap());
    let engine = Arc::new(Engine::open(dir, options()).await.unwrap());
    let base = engine.current_revision().await.unwrap();
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
