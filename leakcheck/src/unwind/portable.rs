//! The walk by the `backtrace` crate, for platforms that the compiled rules do not cover.
//!
//! Always the whole stack, some microseconds a frame, and only as safe inside an allocator hook as the platform's own unwinder:
//! it may take locks. Deliberately simple: same interface, same hashes, no speed.

use super::Counters;
use super::frames::{End, Frames, Glanced, Prefix, Walk, Way, Word, extend, finish};
use core::alloc::Layout;

/// The most frames a walk can be asked for.
pub const DEPTH_MAX: u32 = 1024;

/// The registers of a function that is running: not needed here.
#[derive(Clone, Copy)]
pub struct Registers;

impl Registers {
    /// Those of the function this is called in.
    #[inline(always)]
    pub const fn here() -> Self {
        Self
    }
}

/// One thread's unwinding state. All-zero bytes are a valid empty state.
pub struct Unwinder {
    count: u32,
    ends: [u64; End::COUNT],
    kept: [Word; DEPTH_MAX as usize],
    prefixes: [Prefix; DEPTH_MAX as usize],
}

impl Unwinder {
    /// An empty state on the heap, for tests and for recorders without zeroed memory at hand.
    pub fn boxed() -> Box<Self> {
        let layout = Layout::new::<Self>();
        // SAFETY: the layout is not of size zero; the memory goes to a box of the same layout; all-zero bytes are valid for every
        // field: integers, words of integers, `End::Root`.
        unsafe {
            let memory = std::alloc::alloc_zeroed(layout).cast::<Self>();
            if memory.is_null() {
                std::alloc::handle_alloc_error(layout);
            }
            Box::from_raw(memory)
        }
    }

    /// Takes the calling function's stack; the first frame is the one that called that function.
    ///
    /// # Safety
    /// One call at a time in the process: the platform's unwinder may keep state without a lock of its own.
    #[inline(always)]
    pub unsafe fn walk(&mut self, depth_max: u32) -> Walk {
        // SAFETY: by this function's contract.
        unsafe { self.walk_below(depth_max) }
    }

    /// The same; the registers are not needed here.
    ///
    /// # Safety
    /// As for [`walk`](Self::walk).
    #[inline(always)]
    pub unsafe fn walk_from(&mut self, _registers: Registers, _glanced: Glanced, depth_max: u32) -> Walk {
        // SAFETY: by this function's contract.
        unsafe { self.walk_below(depth_max) }
    }

    /// No stack is recognised here.
    ///
    /// # Safety
    /// None; it is so where the stack is read.
    pub unsafe fn recognise<T>(&self, _registers: Registers, _known: impl FnMut(u64) -> Option<T>) -> Option<T> {
        None
    }

    /// No stack is recognised here.
    ///
    /// # Safety
    /// None; it is so where the stack is read.
    pub unsafe fn recognise_otherwise<T>(
        &self,
        _registers: Registers,
        _known: impl FnMut(u64) -> Option<T>,
    ) -> Option<(T, Way)> {
        None
    }

    /// Nothing to note.
    pub fn note_way(&mut self, _registers: Registers, _way: Way) {}

    /// No stack is recognised here.
    ///
    /// # Safety
    /// None; it is so where the stack is read.
    pub unsafe fn glance(&self, _registers: Registers, _depth_max: u32) -> Glanced {
        Glanced::NOTHING
    }

    /// Nothing is learnt here.
    pub fn is_worth_learning(&mut self, _registers: Registers) -> bool {
        false
    }

    /// Nothing is learnt here.
    ///
    /// # Safety
    /// None; it is so where the stack is read.
    pub unsafe fn learn(&mut self, _registers: Registers) -> Option<u64> {
        None
    }

    #[inline(never)]
    unsafe fn walk_below(&mut self, depth_max: u32) -> Walk {
        let depth_max = depth_max.clamp(1, DEPTH_MAX) as usize;
        let mut passed = Passed::Unwinder;
        let (mut count, mut end) = (0, End::Root);
        let visit = |frame: &backtrace::Frame| {
            let address = frame.ip().expose_provenance();
            match passed {
                Passed::Unwinder if is_walk_below(frame) => passed = Passed::Walk,
                Passed::Unwinder => {}
                Passed::Walk => passed = Passed::Caller,
                Passed::Caller if address == 0 => return false,
                Passed::Caller if count == depth_max => {
                    end = End::DepthLimit;
                    return false;
                }
                Passed::Caller => {
                    // Innermost first for now.
                    self.kept[count] = Word { slot: 0, value: address };
                    count += 1;
                }
            }
            true
        };
        // SAFETY: by this function's contract no other thread traces meanwhile.
        unsafe { backtrace::trace_unsynchronized(visit) };
        self.kept[..count].reverse();
        let mut running = 0;
        for (word, prefix) in self.kept[..count].iter().zip(&mut self.prefixes) {
            running = extend(running, word.value);
            *prefix = Prefix { running, ..Prefix::NOTHING };
        }
        if count == 0 {
            end = End::NoRule;
        }
        self.count = count as u32;
        self.ends[end as usize] += 1;
        Walk { hash: finish(running), depth: count as u32, changed: count as u32, end }
    }

    /// The frames of the last walk.
    pub fn frames(&self) -> Frames<'_> {
        let count = self.count as usize;
        Frames { words: &self.kept[..count], prefixes: &self.prefixes[..count], before: 0 }
    }

    /// Nothing is kept here.
    pub fn forget(&mut self) {}

    /// What this thread's walks met so far.
    pub fn counters(&self) -> Counters {
        Counters { ends: self.ends, slow_steps: 0 }
    }
}

enum Passed {
    Unwinder,
    Walk,
    Caller,
}

fn is_walk_below(frame: &backtrace::Frame) -> bool {
    let start = Unwinder::walk_below as *const ();
    core::ptr::eq(frame.symbol_address().cast::<()>(), start)
}

/// Nothing to find.
pub(super) fn prepare() {}

/// Nothing to notice.
pub fn refresh_modules() {}

/// Where a thread's stack lies is not known here.
pub(crate) const fn top_of_thread() -> Option<usize> {
    None
}

/// Nothing to note.
pub(crate) fn note_permanent_modules() {}

/// No rules are compiled here.
pub fn rules_compiled() -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::hint::black_box;

    #[inline(never)]
    fn descend(depth: u32, unwinder: &mut Unwinder, depth_max: u32) -> Walk {
        let walk = if depth == 0 {
            // SAFETY: no other test traces this way, and this platform's unwinder does not mind anyway.
            unsafe { unwinder.walk(depth_max) }
        } else {
            descend(depth - 1, unwinder, depth_max)
        };
        black_box(walk)
    }

    #[test]
    fn walks_start_at_the_caller_and_keep_inner_frames() {
        let mut unwinder = Unwinder::boxed();
        let whole = descend(10, &mut unwinder, DEPTH_MAX);
        assert_eq!(whole.end, End::Root);
        let frames: Vec<usize> = unwinder.frames().addresses().collect();
        assert_eq!(frames.len(), whole.depth as usize);
        let recursive = frames[frames.len() - 1];
        assert_eq!(frames.iter().filter(|&&address| address == recursive).count(), 10);
        let cut = descend(10, &mut unwinder, 5);
        assert_eq!((cut.end, cut.depth), (End::DepthLimit, 5));
        assert!(unwinder.frames().addresses().eq([recursive; 5]));
        assert_eq!(unwinder.frames().iter().next_back().map(|frame| frame.hash), Some(cut.hash));
    }
}
