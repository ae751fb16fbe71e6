//! The program's allocator: mimalloc, asked for no more than is needed.

use libmimalloc_sys as mimalloc;
use std::alloc::{GlobalAlloc, Layout};

/// What mimalloc aligns every block to that is at least as long (`MI_MAX_ALIGN_SIZE`).
const NATURAL: usize = 16;

/// mimalloc as the global allocator. The crate of that name asks for an alignment each time. Blocks that are neither powers of two
/// nor found at once are then made longer by it, and what is a size class long takes the next one: a fifth of an object's memory.
pub struct Allocator;

/// Whether a block of this layout has its alignment without being asked for it.
fn is_natural(size: usize, align: usize) -> bool {
    align <= NATURAL && align <= size
}

// SAFETY: blocks are mimalloc's from the first to the last call, of the size and alignment that were asked for; null where it has
// none. It does not unwind.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: any size; the alignment of a layout is a power of two.
        unsafe {
            match is_natural(size, align) {
                true => mimalloc::mi_malloc(size).cast(),
                false => mimalloc::mi_malloc_aligned(size, align).cast(),
            }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: as above.
        unsafe {
            match is_natural(size, align) {
                true => mimalloc::mi_zalloc(size).cast(),
                false => mimalloc::mi_zalloc_aligned(size, align).cast(),
            }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller's block is one of the above.
        unsafe { mimalloc::mi_free(block.cast()) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let align = layout.align();
        // SAFETY: the caller's block is one of the above.
        unsafe {
            match is_natural(size, align) {
                true => mimalloc::mi_realloc(block.cast(), size).cast(),
                false => mimalloc::mi_realloc_aligned(block.cast(), size, align).cast(),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, unsafe_code)]
mod tests {
    use super::*;

    /// Blocks are aligned, keep what is written to them, and are zero where that was asked for.
    #[test]
    fn blocks_are_as_their_layouts_say() {
        for align in (0..=13).map(|shift| 1_usize << shift) {
            for size in [
                1, 7, 8, 15, 16, 24, 33, 100, 1_000, 1_025, 1_528, 1_536, 5_120, 70_001,
            ] {
                let layout = Layout::from_size_align(size, align).unwrap();
                // SAFETY: written within its size, freed once with the layout it has then.
                unsafe {
                    let zeroed = Allocator.alloc_zeroed(layout);
                    assert!((0..size).all(|at| *zeroed.add(at) == 0));
                    let block = Allocator.alloc(layout);
                    block.write_bytes(7, size);
                    zeroed.write_bytes(8, size);
                    let grown = Allocator.realloc(block, layout, size * 3);
                    assert!((0..size).all(|at| *grown.add(at) == 7));
                    for block in [zeroed, grown] {
                        assert_eq!(block.align_offset(align), 0, "{size} at {align}");
                    }
                    Allocator.dealloc(zeroed, layout);
                    Allocator.dealloc(grown, Layout::from_size_align(size * 3, align).unwrap());
                }
            }
        }
    }

    /// What has the length of a size class takes no more.
    #[test]
    fn a_size_class_is_filled() {
        for size in [96, 1_280, 1_536, 1_792, 5_120, 6_144] {
            let layout = Layout::from_size_align(size, 8).unwrap();
            // SAFETY: each is freed once.
            let mut blocks: Vec<_> = (0..32).map(|_| unsafe { Allocator.alloc(layout) }).collect();
            blocks.sort_unstable();
            let apart = blocks.windows(2).map(|pair| pair[1].addr() - pair[0].addr());
            assert_eq!(apart.min(), Some(size));
            // SAFETY: as above.
            blocks
                .into_iter()
                .for_each(|block| unsafe { Allocator.dealloc(block, layout) });
        }
    }
}
