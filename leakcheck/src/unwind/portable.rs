//! The unwinder for platforms without one of our own: every frame, by the `backtrace` crate. Slow, and right.

use super::{DEPTH_MAX, EMPTY_HASH, End, Unsupported, Walk, extend_hash};

/// One thread's unwinding state. All-zero bytes are a fresh one.
pub struct Unwinder {
    /// Innermost first.
    addresses: [u64; DEPTH_MAX],
    depth: u32,
    hash: u64,
}

impl Unwinder {
    /// Forgets the previous walk, which another thread made.
    pub fn reset(&mut self) {
        self.depth = 0;
    }

    /// Takes the stack of the caller.
    ///
    /// # Safety
    ///
    /// The calling thread's own stack is walked; nothing is asked of the caller.
    #[inline(always)]
    pub unsafe fn walk(&mut self, depth_max: u32) -> Walk {
        let limit = (depth_max as usize).min(DEPTH_MAX);
        let (mut depth, mut end) = (0, End::Root);
        let addresses = &mut self.addresses;
        // SAFETY: the recorder walks on one thread at a time per state, and `backtrace` locks nothing here.
        unsafe {
            backtrace::trace_unsynchronized(|frame| {
                if depth == limit {
                    end = End::DepthLimit;
                    return false;
                }
                addresses[depth] = frame.ip() as u64;
                depth += 1;
                true
            });
        }
        self.depth = depth as u32;
        self.hash = self.addresses[..depth].iter().rev().fold(EMPTY_HASH, |hash, address| extend_hash(hash, *address));
        Walk { hash: self.hash, depth: self.depth, end }
    }

    /// Outer frames that are the same as in the walk before the last; none is known to be.
    pub fn unchanged(&self) -> u32 {
        0
    }

    /// Frames of the last walk.
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// Hash of the last walk.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The return address at a place, counted from the outermost frame.
    pub fn address(&self, place: u32) -> u64 {
        self.addresses[(self.depth - 1 - place) as usize]
    }
}

/// Nothing to prepare.
///
/// # Errors
///
/// None.
pub fn prepare() -> Result<(), Unsupported> {
    Ok(())
}

/// Nothing to refresh.
pub fn refresh_modules() {}
