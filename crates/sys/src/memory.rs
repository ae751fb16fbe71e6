//! Memory of this process that it can do without.

use crate::error::{Attempt, Result};
use std::ops::Range;
use std::path::Path;

/// A part of `/proc/self/maps`: `begin-end permissions offset device inode path`.
struct Mapping<'a> {
    begin: usize,
    end: usize,
    permissions: &'a str,
    path: &'a str,
}

fn parse(line: &str) -> Option<Mapping<'_>> {
    let mut words = line.split_ascii_whitespace();
    let (begin, end) = words.next()?.split_once('-')?;
    Some(Mapping {
        begin: usize::from_str_radix(begin, 16).ok()?,
        end: usize::from_str_radix(end, 16).ok()?,
        permissions: words.next()?,
        path: words.nth(3)?,
    })
}

/// What the kernel may map at one page fault. A file in the page cache lies in pieces of up to 2 MiB, and since Linux 6.18 one
/// fault maps a whole piece, if that is within one mapping.
const PIECE: usize = 16 << 10;

/// Where the program's code is mapped, from the program's start to its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Code(Vec<Range<usize>>);

impl Code {
    /// Reads the mappings of this process, of which [`Code::cut`] makes thousands: once is enough. Neighbours are one.
    pub fn find() -> Result<Self> {
        let program = std::env::current_exe().attempt(|| "find the program".into())?;
        let maps = std::fs::read_to_string("/proc/self/maps").attempt(|| "read own mappings".into())?;
        let mut joined: Vec<Range<usize>> = Vec::new();
        for code in code_of(&maps, &program) {
            match joined.last_mut() {
                Some(before) if before.end == code.begin => before.end = code.end,
                _ => joined.push(code.begin..code.end),
            }
        }
        Ok(Self(joined))
    }

    /// Cuts the mapping into pieces, so that only what runs becomes resident. The cuts are made by a mark that means nothing
    /// else here: whether pages of a file, which a core dump has no use for, are left out of it.
    pub fn cut(&self) -> Result<()> {
        for code in &self.0 {
            for begin in code.clone().step_by(2 * PIECE) {
                let end = code.end.min(begin + PIECE);
                advise(begin..end, rustix::mm::Advice::LinuxDontDump)?;
            }
        }
        Ok(())
    }

    /// Gives back its pages: what runs again comes back from the file, piece by piece. Most of what a start or a rare request
    /// has touched never does. Returns the bytes that are mapped.
    pub fn forget(&self) -> Result<usize> {
        for code in &self.0 {
            advise(code.clone(), rustix::mm::Advice::LinuxDontNeed)?;
        }
        Ok(self.0.iter().map(Range::len).sum())
    }
}

/// Executable and never written: every page is the file's.
fn code_of<'a>(maps: &'a str, program: &'a Path) -> impl Iterator<Item = Mapping<'a>> {
    maps.lines()
        .filter_map(parse)
        .filter(move |m| m.permissions == "r-xp" && Path::new(m.path) == program)
}

#[allow(unsafe_code)]
fn advise(code: Range<usize>, advice: rustix::mm::Advice) -> Result<()> {
    let start = std::ptr::with_exposed_provenance_mut(code.start);
    // SAFETY: a part of a mapping of the program's file that cannot be written: the next access reads the same bytes again.
    unsafe { rustix::mm::madvise(start, code.len(), advice) }
        .attempt(|| "advise on the program's pages".into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_the_programs_code() {
        let maps = "55d0-55e0 r--p 00000000 fe:00 7 /bin/a\n55e0-5600 r-xp 00010000 fe:00 7 /bin/a\n\
                    7000-7100 r-xp 00000000 fe:00 8 /lib/b.so\n7f00-7f10 rw-p 00000000 00:00 0\nnonsense\n";
        let found: Vec<_> = code_of(maps, Path::new("/bin/a"))
            .map(|m| (m.begin, m.end))
            .collect();
        assert_eq!(found, [(0x55e0, 0x5600)]);
    }

    #[test]
    fn the_program_goes_on_in_pieces() {
        let whole = Code::find().unwrap();
        whole.cut().unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let program = std::env::current_exe().unwrap();
        let longest = code_of(&maps, &program).map(|code| code.end - code.begin).max();
        assert!(longest.is_some_and(|bytes| bytes <= PIECE));
        assert_eq!(Code::find().unwrap(), whole);
        assert!(whole.forget().is_ok_and(|bytes| bytes > 0));
    }
}
