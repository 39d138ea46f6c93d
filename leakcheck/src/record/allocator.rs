//! The global-allocator wrapper: forwards all four methods, and records on the way.

use super::byte_map::{self, Block, Mark};
use super::{hook, scratch, tail};
use std::alloc::{GlobalAlloc, Layout, System};

/// A global allocator that records where memory is allocated and what stays live.
///
/// ```
/// #[global_allocator]
/// static ALLOC: leakcheck::Leakcheck = leakcheck::Leakcheck::system();
/// # fn main() {}
/// ```
///
/// It is dormant until a recording begins: by `LEAKCHECK=exact` (or `sampled`) in the environment, or by
/// [`Recorder`](crate::Recorder). Dormant, every call goes to the inner allocator after one check; `docs/overhead.md`
/// has the figures. While recording, each recorded block is four bytes longer (and at least 16 bytes long), which the
/// inner allocator sees and the program does not.
///
/// Blocks allocated while dormant are forwarded untouched for their whole life, except that one which grows during an
/// exact recording is recorded from then on, at the place that made it grow.
#[derive(Debug, Default, Clone, Copy)]
pub struct Leakcheck<A = System> {
    inner: A,
}

impl Leakcheck<System> {
    /// Wraps the system allocator.
    #[must_use]
    pub const fn system() -> Self {
        Self { inner: System }
    }
}

impl<A> Leakcheck<A> {
    /// Wraps any other allocator.
    #[must_use]
    pub const fn new(inner: A) -> Self {
        Self { inner }
    }
}

impl<A: GlobalAlloc> Leakcheck<A> {
    /// Allocates by `from_inner`, where a recording may want to know.
    #[inline(never)]
    unsafe fn alloc_noticed(&self, layout: Layout, from_inner: impl Fn(&A, Layout) -> *mut u8) -> *mut u8 {
        let (Some(state), Some(padded)) = (hook::admit_at_once(), tail::padded(layout)) else {
            // SAFETY: passed on from this function's contract.
            return unsafe { self.alloc_rarely(layout, from_inner) };
        };
        let block = from_inner(&self.inner, padded);
        // SAFETY: if it is not null, it was just allocated with the padded layout.
        if block.is_null() || unsafe { hook::born(state, block, layout.size()) } {
            return block;
        }
        // SAFETY: as above, and the block is known to nobody else.
        unsafe { self.alloc_again(block, padded, layout, from_inner) }
    }

    #[cold]
    #[inline(never)]
    unsafe fn alloc_rarely(&self, layout: Layout, from_inner: impl Fn(&A, Layout) -> *mut u8) -> *mut u8 {
        let admitted = match hook::admit() {
            None => return from_inner(&self.inner, layout),
            Some(hook::Admitted::Scratch) => {
                // Fresh memory of the region is zeroed: pages given back read as zeroes again.
                let block = scratch::alloc(layout);
                return if block.is_null() { from_inner(&self.inner, layout) } else { block };
            }
            Some(admitted) => admitted,
        };
        let Some(padded) = tail::padded(layout) else { return from_inner(&self.inner, layout) };
        let block = from_inner(&self.inner, padded);
        // SAFETY: if it is not null, it was just allocated with the padded layout.
        if block.is_null() || unsafe { hook::admitted_born(admitted, block, layout.size()) } {
            return block;
        }
        // SAFETY: as above, and the block is known to nobody else.
        unsafe { self.alloc_again(block, padded, layout, from_inner) }
    }

    /// Exchanges a block that cannot be tracked for one with the layout it will be freed with.
    #[cold]
    unsafe fn alloc_again(
        &self,
        block: *mut u8,
        padded: Layout,
        layout: Layout,
        from_inner: impl Fn(&A, Layout) -> *mut u8,
    ) -> *mut u8 {
        // SAFETY: by this function's contract, allocated with this layout.
        unsafe { self.inner.dealloc(block, padded) };
        from_inner(&self.inner, layout)
    }

    /// Resizes a block without a tail.
    unsafe fn realloc_untracked(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let growth = hook::admit_growth(layout.size(), new_size);
        let with_tail = growth.and_then(|admitted| {
            let layout = Layout::from_size_align(new_size, layout.align()).ok()?;
            Some((admitted, tail::padded(layout)?))
        });
        let Some((admitted, padded)) = with_tail else {
            // SAFETY: forwarded.
            return unsafe { self.inner.realloc(block, layout, new_size) };
        };
        // SAFETY: the caller's contract with a larger new size, which `padded` shows not to overflow.
        let moved = unsafe { self.inner.realloc(block, layout, padded.size()) };
        if moved.is_null() {
            return moved;
        }
        // SAFETY: just reallocated to the padded size.
        if unsafe { hook::admitted_born(admitted, moved, new_size) } {
            hook::note_unknown_growth();
            return moved;
        }
        // SAFETY: reallocated above to the padded size.
        unsafe { self.without_tail(moved, padded, new_size) }
    }

    /// Resizes a block with a tail.
    unsafe fn realloc_tracked(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let new_layout = Layout::from_size_align(new_size, layout.align()).ok();
        let (Some(old_padded), Some(new_padded)) = (tail::padded(layout), new_layout.and_then(tail::padded)) else {
            return std::ptr::null_mut();
        };
        // SAFETY: the block is tracked, and the caller owns it.
        let resizing = unsafe { hook::begin_resize(block, layout.size(), new_size) };
        let inner_size = if resizing.stays { new_padded.size() } else { new_size };
        // SAFETY: the block has the padded layout; the new size was shown not to overflow.
        let moved = unsafe { self.inner.realloc(block, old_padded, inner_size) };
        if moved.is_null() {
            hook::resize_failed(block);
            return moved;
        }
        if !resizing.stays {
            hook::resized_away(resizing);
            return moved;
        }
        // SAFETY: just reallocated to the padded size.
        if unsafe { hook::resized(resizing, moved, new_size) } {
            return moved;
        }
        // SAFETY: reallocated above to the padded size.
        unsafe { self.without_tail(moved, new_padded, new_size) }
    }

    /// Resizes a block of the scratch region: a new one, wherever it belongs now, and a copy.
    #[cold]
    unsafe fn realloc_scratch(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Ok(new_layout) = Layout::from_size_align(new_size, layout.align()) else { return std::ptr::null_mut() };
        // SAFETY: the new size is not zero, by the caller's contract; the blocks are distinct and as long as is copied.
        unsafe {
            let moved = self.alloc(new_layout);
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(block, layout.size().min(new_size));
                scratch::dealloc(block as usize);
            }
            moved
        }
    }

    /// Frees a block that the byte map does not leave blank.
    #[inline(never)]
    unsafe fn dealloc_marked(&self, mark: Mark, block: *mut u8, layout: Layout) {
        // SAFETY: a tracked block is the caller's and has the padded layout; it is recorded before the memory goes back.
        unsafe {
            if mark.is_of_tracked(block as usize) && hook::freed_at_once(mark, block, layout.size()) {
                self.inner.dealloc(block, tail::padded_unchecked(layout));
            } else {
                self.dealloc_rarely(block, layout);
            }
        }
    }

    #[cold]
    #[inline(never)]
    unsafe fn dealloc_rarely(&self, block: *mut u8, layout: Layout) {
        match byte_map::block_at(block as usize) {
            // SAFETY: as in `dealloc_marked`.
            Block::Tracked => unsafe {
                hook::freed(block, layout.size());
                self.inner.dealloc(block, tail::padded_unchecked(layout));
            },
            Block::Scratch => scratch::dealloc(block as usize),
            // SAFETY: forwarded.
            Block::Other => unsafe { self.inner.dealloc(block, layout) },
        }
    }

    /// Takes the room for a tail off a block that could not be tracked.
    #[cold]
    unsafe fn without_tail(&self, block: *mut u8, padded: Layout, size: usize) -> *mut u8 {
        // SAFETY: the block has the padded layout.
        let shrunk = unsafe { self.inner.realloc(block, padded, size) };
        // An allocator that refuses to shrink leaves the block as it is: longer than its layout says.
        if shrunk.is_null() { block } else { shrunk }
    }
}

// SAFETY: every call is forwarded to the inner allocator with a layout of the same alignment and at least the same
// size, and a block goes back with the layout it was allocated with: the byte map tells which of the two it was.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Leakcheck<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if hook::passes(layout.size()) {
            // SAFETY: forwarded.
            return unsafe { self.inner.alloc(layout) };
        }
        // SAFETY: forwarded, maybe with a larger size.
        unsafe { self.alloc_noticed(layout, |inner, layout| inner.alloc(layout)) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match Mark::at(block as usize) {
            // SAFETY: forwarded.
            None => unsafe { self.inner.dealloc(block, layout) },
            // SAFETY: forwarded.
            Some(mark) => unsafe { self.dealloc_marked(mark, block, layout) },
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if hook::passes(layout.size()) {
            // SAFETY: forwarded.
            return unsafe { self.inner.alloc_zeroed(layout) };
        }
        // SAFETY: forwarded, maybe with a larger size.
        unsafe { self.alloc_noticed(layout, |inner, layout| inner.alloc_zeroed(layout)) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the block is of the kind the map says; the contract is the caller's.
        unsafe {
            match byte_map::block_at(block as usize) {
                Block::Tracked => self.realloc_tracked(block, layout, new_size),
                Block::Scratch => self.realloc_scratch(block, layout, new_size),
                Block::Other => self.realloc_untracked(block, layout, new_size),
            }
        }
    }
}
