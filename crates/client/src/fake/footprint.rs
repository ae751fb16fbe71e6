//! What one of many objects takes in memory, for tests. The figure is that of the process: such a test needs its own.

use std::ops::Range;

/// Bytes of private memory that each of `count` objects takes once `count` others are there: `fill` adds those with the numbers
/// it is given.
///
/// # Panics
/// Where the kernel does not say what the process has, or memory became less.
pub fn each(count: usize, mut fill: impl FnMut(Range<usize>)) -> usize {
    fill(0..count);
    let before = private();
    fill(count..2 * count);
    (private() - before) / count
}

/// Bytes of private memory, as the kernel counts them.
fn private() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("a process can read its status");
    let mut lines = status.lines();
    let field = lines
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .expect("the kernel counts private memory");
    let kilobytes: usize = field
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("the kernel counts in kB");
    kilobytes * 1024
}
