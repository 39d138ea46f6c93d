//! The four bytes behind a tracked block that hold its cell.
//!
//! The pointer and its alignment stay as the inner allocator gave them; only the size grows. `Layout` tells the size at
//! every free, so the tail is found again without a look-up.

use std::alloc::Layout;

const TAIL_BYTES: usize = size_of::<u32>();
/// Tracked blocks are at least one granule of the byte map long, so that two never start in the same one.
const SIZE_MIN: usize = 16;

/// The layout to ask the inner allocator for; `None` when the size would overflow.
#[inline(always)]
pub(super) fn padded(layout: Layout) -> Option<Layout> {
    padded_size(layout.size()).and_then(|size| Layout::from_size_align(size, layout.align()).ok())
}

#[inline(always)]
fn padded_size(size: usize) -> Option<usize> {
    Some(size.checked_add(TAIL_BYTES)?.max(SIZE_MIN))
}

/// Reads the cell of a tracked block of `size` bytes.
///
/// # Safety
///
/// The block was allocated with [`padded`] for `size`, and [`write`] was called for it.
#[inline(always)]
pub(super) unsafe fn read(block: *mut u8, size: usize) -> u32 {
    // SAFETY: the block is `size + TAIL_BYTES` long at least; the tail need not be aligned.
    unsafe { block.add(size).cast::<u32>().read_unaligned() }
}

/// Writes the cell of a block of `size` bytes.
///
/// # Safety
///
/// The block was allocated with [`padded`] for `size`.
#[inline(always)]
pub(super) unsafe fn write(block: *mut u8, size: usize, cell: u32) {
    // SAFETY: as in `read`.
    unsafe { block.add(size).cast::<u32>().write_unaligned(cell) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_leave_room_and_never_overflow() {
        let layout = |size| Layout::from_size_align(size, 8).unwrap();
        assert_eq!(padded(layout(0)).unwrap().size(), 16);
        assert_eq!(padded(layout(13)).unwrap().size(), 17);
        assert_eq!(padded(layout(64)).unwrap(), layout(68));
        assert_eq!(padded(layout(isize::MAX as usize - 7)), None);
    }
}
