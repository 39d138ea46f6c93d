//! The four bytes behind a tracked block that hold its cell.
//!
//! The pointer and its alignment stay as the inner allocator gave them; only the size grows. `Layout` tells the size at
//! every free, so the tail is found again without a look-up.

use std::alloc::Layout;

const TAIL_BYTES: usize = size_of::<u32>();
/// Tracked blocks are at least one granule of the byte map long, so that two never start in the same one.
const SIZE_MIN: usize = 16;

/// Sizes and alignments from here on are not tracked; no allocation of them succeeds.
const TOO_LARGE: usize = 1 << 47;

/// The layout to ask the inner allocator for; `None` when the size would overflow.
#[inline(always)]
pub(super) const fn padded(layout: Layout) -> Option<Layout> {
    if layout.size() | layout.align() < TOO_LARGE {
        // SAFETY: as just checked.
        Some(unsafe { padded_unchecked(layout) })
    } else {
        None
    }
}

/// The layout of a tracked block of the given layout.
///
/// # Safety
///
/// [`padded`] gives one.
#[inline(always)]
pub(super) const unsafe fn padded_unchecked(layout: Layout) -> Layout {
    let with_tail = layout.size() + TAIL_BYTES;
    let size = if with_tail < SIZE_MIN { SIZE_MIN } else { with_tail };
    // SAFETY: the alignment is a layout's, and both it and the size are far below isize::MAX.
    unsafe { Layout::from_size_align_unchecked(size, layout.align()) }
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
