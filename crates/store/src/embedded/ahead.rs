//! Zeros written to the journal before it gets there.
//!
//! fjall makes a journal as a hole of 64 MiB. A sync of what was written into the hole has to write where in the file system it
//! is as well, and waits for the device twice. Where there are blocks of the file already, even of zeros, a sync writes the data
//! alone. The price: the journal is written twice, and one sync in a hundred writes 256 KiB of zeros.
//!
//! Zeros only ever go where the file has a hole, and nobody writes to the journal meanwhile ([`super::disk::Disk::commit`]). A
//! journal that an earlier process began has no hole: its next one does.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::SeekFrom;

/// Written at a time: bounds how long the sync that writes it takes.
const STEP_BYTES: usize = 256 << 10;
/// Of these, how many are left when the next are written.
const LEFT_BYTES: usize = STEP_BYTES / 4;

/// How far ahead the journal has blocks.
#[derive(Default)]
pub(super) struct Ahead {
    /// About as many bytes.
    left: usize,
}

impl Ahead {
    /// About `bytes` were written to the journal.
    pub fn written(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }

    /// Writes the next zeros when it is time. Without them syncs are slower, and nothing else: an error is for the log.
    pub fn extend(&mut self, store: &Path) -> io::Result<()> {
        if self.left > LEFT_BYTES {
            return Ok(());
        }
        self.left = STEP_BYTES;
        match super::torn::newest_journal(store)? {
            Some(journal) => fill(&journal),
            None => Ok(()),
        }
    }
}

/// Fills the beginning of the first hole.
fn fill(journal: &Path) -> io::Result<()> {
    static ZEROS: [u8; STEP_BYTES] = [0; STEP_BYTES];
    let file = OpenOptions::new().write(true).open(journal)?;
    let end = file.metadata()?.len();
    // A file without a hole has one at its end.
    let hole = match rustix::fs::seek(&file, SeekFrom::Hole(0)) {
        Ok(hole) if hole < end => hole,
        Ok(_) | Err(rustix::io::Errno::NXIO) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let room = usize::try_from(end - hole).unwrap_or(STEP_BYTES).min(STEP_BYTES);
    file.write_all_at(&ZEROS[..room], hole)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn blocks(file: &std::fs::File) -> u64 {
        rustix::fs::seek(file, SeekFrom::Hole(0)).unwrap()
    }

    /// What is in the journal stays, and it does not grow.
    #[test]
    fn zeros_go_where_the_hole_is() {
        const LENGTH: u64 = 3 * STEP_BYTES as u64 / 2;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("7.jnl");
        let file = std::fs::File::create(&path).unwrap();
        let written = vec![b'x'; 10_000];
        file.write_all_at(&written, 0).unwrap();
        file.set_len(LENGTH).unwrap();
        let before = blocks(&file);
        let mut ahead = Ahead::default();
        ahead.extend(dir.path()).unwrap();
        assert_eq!(blocks(&file), before + STEP_BYTES as u64);
        ahead.written(STEP_BYTES / 2);
        ahead.extend(dir.path()).unwrap();
        assert_eq!(blocks(&file), before + STEP_BYTES as u64, "enough is left");
        for _ in 0..2 {
            ahead.written(STEP_BYTES);
            ahead.extend(dir.path()).unwrap();
            assert_eq!(file.metadata().unwrap().len(), LENGTH);
            assert_eq!(blocks(&file), LENGTH);
        }
        let content = std::fs::read(&path).unwrap();
        assert_eq!(content[..written.len()], written);
        assert!(content[written.len()..].iter().all(|byte| *byte == 0));
    }

    /// The newest journal is fjall's own, and has blocks where it will be written to next.
    #[test]
    fn a_new_store_has_blocks_ahead() {
        let dir = tempfile::tempdir().unwrap();
        let disk = super::super::disk::Disk::open(dir.path()).unwrap();
        for revision in 1..100 {
            disk.set_compacted(revision).unwrap();
            disk.after_commit();
        }
        let journal = super::super::torn::newest_journal(dir.path()).unwrap().unwrap();
        let file = std::fs::File::open(journal).unwrap();
        assert!(blocks(&file) >= STEP_BYTES as u64);
        assert!(file.metadata().unwrap().len() > blocks(&file));
    }
}
