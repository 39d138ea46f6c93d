//! The walk: from the innermost frame outwards, only as far as something changed.
//!
//! The previous walk of the thread is kept, outermost frame first: for each frame the stack slot of its return address,
//! the return address, and what the rules of the frames outside it depend on. When the new walk comes to a frame with
//! the same slot and the same return address as a kept one, everything farther out is a function of memory that can be
//! compared word by word: the older return addresses and the saved BP values that older rules need. Where that memory
//! is unchanged, so are the frames.

use super::modules;
use super::rules::{self, Rule};
use super::stack::{self, Readable};
use super::{DEPTH_MAX, EMPTY_HASH, End, Unsupported, Walk, cfi, extend_hash};
use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::sync::atomic::{AtomicU32, Ordering};

/// Frames kept; more than a walk returns, so that deep stacks can grow and shrink without being walked anew.
const KEPT_MAX: usize = 2 * DEPTH_MAX;

/// Raised when rules changed: walks kept under an older number are not built upon.
static EPOCH: AtomicU32 = AtomicU32::new(1);

/// One frame of a kept walk.
#[derive(Clone, Copy)]
#[repr(C)]
struct Frame {
    /// Where the return address is stored.
    slot: usize,
    return_address: u64,
    /// BP in the frame returned to.
    bp: usize,
    /// Where that BP was loaded from; 0 when it is that of the next inner frame.
    bp_slot: usize,
    /// Whether the rule of the frame returned to computes the CFA from BP.
    uses_bp: bool,
    /// Whether that rule, or one farther out before BP is loaded anew, does.
    needs_bp: bool,
}

/// One thread's unwinding state. All-zero bytes are a fresh one.
#[repr(C)]
pub struct Unwinder {
    epoch: u32,
    /// Kept frames.
    kept: u32,
    /// Frames of the last walk: the innermost ones of the kept.
    depth: u32,
    /// Outer frames of the last walk that stood at the same place in the one before.
    unchanged: u32,
    hash: u64,
    /// Whether frames outside the kept ones were dropped.
    outer_dropped: bool,
    /// Whether the last walk left out kept frames, so that places in it are not places among the kept.
    windowed: bool,
    /// How the walk that found the outermost kept frame ended; read only when `depth` is not 0.
    end: Option<End>,
    own_end: usize,
    /// Outermost first.
    frames: [Frame; KEPT_MAX],
    /// Hash of the frames up to and including each.
    hashes: [u64; KEPT_MAX],
    /// Frames found by the walk in progress, innermost first.
    fresh: [Frame; KEPT_MAX],
}

/// The stack has frames that only the careful walk understands.
struct NotPlain;

/// Where the walk is.
#[derive(Clone, Copy)]
struct Cursor {
    sp: usize,
    bp: usize,
    /// The address to look up: inside the call instruction, or exactly where a signal interrupted.
    lookup: u64,
}

/// Makes ready what walks need. Called outside the hook, before the first walk.
///
/// # Errors
///
/// When the self-test finds that stacks cannot be taken in this process.
pub fn prepare() -> Result<(), Unsupported> {
    refresh_modules();
    self_test()
}

/// Notices libraries that were loaded or unloaded. Must not be called from inside the hook.
pub fn refresh_modules() {
    let (changed, unloaded) = modules::refresh();
    if changed {
        if unloaded {
            rules::forget_all();
        }
        // Relaxed: a walk that misses it is as right as one that was made just before.
        EPOCH.fetch_add(1, Ordering::Relaxed);
    }
}

/// Walks from a known call chain and checks that it is found.
fn self_test() -> Result<(), Unsupported> {
    #[inline(never)]
    fn inner(unwinder: &mut Unwinder) -> u32 {
        // SAFETY: this thread's own stack.
        let walk = unsafe { unwinder.walk(64) };
        std::hint::black_box(if walk.end == End::Root || walk.end == End::DepthLimit { walk.depth } else { 0 })
    }
    #[inline(never)]
    fn outer(unwinder: &mut Unwinder) -> u32 {
        std::hint::black_box(inner(unwinder))
    }
    let mut unwinder = Unwinder::boxed();
    // At least `outer`, this function and its callers up to the program's start.
    if outer(&mut unwinder) >= 3 { Ok(()) } else { Err(Unsupported::SelfTest) }
}

impl Unwinder {
    /// A state for the calling thread, on the heap.
    #[must_use]
    pub fn boxed() -> Box<Self> {
        let layout = Layout::new::<Self>();
        // SAFETY: the layout is not empty; all-zero bytes are a fresh state.
        let mut unwinder = unsafe {
            let memory = alloc_zeroed(layout).cast::<Self>();
            if memory.is_null() {
                handle_alloc_error(layout);
            }
            Box::from_raw(memory)
        };
        unwinder.reset();
        unwinder
    }

    /// Forgets the previous walk, which another thread made, and notes the calling thread's stack.
    pub fn reset(&mut self) {
        self.kept = 0;
        self.depth = 0;
        self.unchanged = 0;
        self.own_end = stack::own_end();
    }

    /// Takes the stack of the function this is inlined into. The first frame is that function's return address.
    ///
    /// # Safety
    ///
    /// [`reset`](Self::reset) was called on the calling thread, and [`prepare`] before that.
    #[inline(always)]
    pub unsafe fn walk(&mut self, depth_max: u32) -> Walk {
        let (pc, sp, bp): (u64, usize, usize);
        // SAFETY: reads registers only; no memory is touched.
        unsafe {
            std::arch::asm!(
                "lea {pc}, [rip]",
                "mov {sp}, rsp",
                "mov {bp}, rbp",
                pc = out(reg) pc,
                sp = out(reg) sp,
                bp = out(reg) bp,
                options(nomem, nostack, preserves_flags),
            );
        }
        self.walk_from(Cursor { sp, bp, lookup: pc }, depth_max)
    }

    /// Outer frames that are the same as in the walk before the last.
    #[inline(always)]
    pub fn unchanged(&self) -> u32 {
        self.unchanged
    }

    /// Frames of the last walk.
    #[inline(always)]
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// Hash of the last walk.
    #[inline(always)]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The return address at a place below [`depth`](Self::depth), counted from the outermost frame.
    #[inline(always)]
    pub fn address(&self, place: u32) -> u64 {
        self.frames[(self.kept - self.depth + place) as usize].return_address
    }

    fn walk_from(&mut self, start: Cursor, depth_max: u32) -> Walk {
        // Relaxed: see `refresh_modules`.
        let epoch = EPOCH.load(Ordering::Relaxed);
        if self.epoch != epoch {
            self.epoch = epoch;
            self.kept = 0;
        }
        if !stack::is_own(start.sp, self.own_end) {
            return self.walk_foreign(start, depth_max);
        }
        let mut walk = self.walk_own(start, depth_max);
        if self.outer_dropped && walk.is_ok() && self.kept < depth_max {
            // The stack shrank to below what was dropped of it.
            self.kept = 0;
            walk = self.walk_own(start, depth_max);
        }
        match walk {
            Ok(walk) => walk,
            Err(NotPlain) => self.walk_foreign(start, depth_max),
        }
    }

    /// Walks the thread's own stack, building upon the previous walk.
    #[inline(always)]
    fn walk_own(&mut self, mut cursor: Cursor, depth_max: u32) -> Result<Walk, NotPlain> {
        let words_end = self.own_end - size_of::<usize>();
        let mut found = 0_usize;
        let mut kept = self.kept as usize;
        let end = loop {
            let Some(rule) = rules::find(cursor.lookup).or_else(|| find_anew(cursor.lookup)) else { break End::NoRule };
            let (cfa, bp_slot, uses_bp) = match rule {
                Rule::Sp { cfa } => (cursor.sp.wrapping_add(cfa as usize), 0, false),
                Rule::SpSavedBp { cfa, bp } => {
                    let cfa = cursor.sp.wrapping_add(cfa as usize);
                    (cfa, cfa.wrapping_sub(bp as usize), false)
                }
                Rule::Bp { cfa } => (cursor.bp.wrapping_add(cfa as usize), 0, true),
                Rule::BpSavedBp { cfa, bp } => {
                    let cfa = cursor.bp.wrapping_add(cfa as usize);
                    (cfa, cfa.wrapping_sub(bp as usize), true)
                }
                Rule::Root => break End::Root,
                Rule::Unsupported => break End::NoRule,
                Rule::Realigned { .. } | Rule::Signal => return Err(NotPlain),
            };
            let slot = cfa.wrapping_sub(8);
            let is_word = |address: usize| address >= cursor.sp && address < words_end && address.is_multiple_of(8);
            if !is_word(slot) || bp_slot != 0 && !is_word(bp_slot) {
                break End::BadStack;
            }
            // SAFETY: an aligned word between the stack pointer and the end of this thread's stack.
            let return_address = unsafe { *(slot as *const u64) };
            // SAFETY: as above.
            let bp = if bp_slot == 0 { cursor.bp } else { unsafe { *(bp_slot as *const usize) } };
            if found > 0 {
                self.fresh[found - 1].uses_bp = uses_bp;
            }
            while kept > 0 && self.frames[kept - 1].slot < slot {
                kept -= 1;
            }
            if kept > 0 {
                let old = &mut self.frames[kept - 1];
                if old.slot == slot && old.return_address == return_address && (!old.needs_bp || old.bp == bp) {
                    old.bp = bp;
                    old.bp_slot = bp_slot;
                    let valid_from = self.first_unchanged(kept - 1);
                    if valid_from == 0 {
                        return Ok(self.finish(kept, found, None, depth_max));
                    }
                    // Part of the way is unchanged: take it over, then walk on from there.
                    cursor = self.take_over(valid_from, kept, &mut found);
                    kept = valid_from;
                    if found == KEPT_MAX {
                        break End::DepthLimit;
                    }
                    continue;
                }
            }
            if return_address == 0 {
                break End::Root;
            }
            self.fresh[found] = Frame { slot, return_address, bp, bp_slot, uses_bp: false, needs_bp: false };
            found += 1;
            if found == KEPT_MAX {
                break End::DepthLimit;
            }
            cursor = Cursor { sp: slot + 8, bp, lookup: return_address - 1 };
        };
        Ok(self.finish(0, found, Some(end), depth_max))
    }

    /// Walks a stack that is not the thread's own, or that a signal interrupted: every frame, every word proven
    /// readable before it is read, and nothing kept to build upon.
    #[cold]
    #[inline(never)]
    fn walk_foreign(&mut self, mut cursor: Cursor, depth_max: u32) -> Walk {
        let mut readable = Readable::nothing();
        let mut read = |address: usize| {
            // SAFETY: the kernel has just read from the page of this aligned word.
            readable.holds(address).then(|| unsafe { *(address as *const usize) })
        };
        let mut found = 0;
        let end = loop {
            let Some(rule) = rules::find(cursor.lookup).or_else(|| find_anew(cursor.lookup)) else { break End::NoRule };
            let caller = match rule {
                Rule::Root => break End::Root,
                Rule::Unsupported => break End::NoRule,
                Rule::Signal => interrupted(&cursor, &mut read),
                _ => caller_of(rule, &cursor, &mut read),
            };
            let Some((slot, caller)) = caller else { break End::BadStack };
            if caller.lookup == 0 || caller.lookup == u64::MAX {
                break End::Root;
            }
            let is_call = rule != Rule::Signal;
            // The stack grows towards lower addresses, except where a signal switched it.
            if is_call && caller.sp <= cursor.sp {
                break End::BadStack;
            }
            let return_address = caller.lookup + u64::from(is_call);
            self.fresh[found] =
                Frame { slot, return_address, bp: caller.bp, bp_slot: 0, uses_bp: false, needs_bp: false };
            found += 1;
            if found == KEPT_MAX {
                break End::DepthLimit;
            }
            cursor = caller;
        };
        let walk = self.finish(0, found, Some(end), depth_max);
        // No epoch has this number, so the next walk starts anew.
        self.epoch = 0;
        walk
    }

    /// Of the kept frames below `join`, the innermost ones that are unchanged: they begin at the returned index, 0 when
    /// all are.
    #[inline(always)]
    fn first_unchanged(&self, join: usize) -> usize {
        for place in (0..join).rev() {
            let frame = &self.frames[place];
            // SAFETY: the slots of kept frames lie outside the joining one on the same stack, which is live.
            let same_return = unsafe { *(frame.slot as *const u64) } == frame.return_address;
            if !same_return {
                return place + 1;
            }
            if frame.needs_bp && frame.bp_slot != 0 {
                // SAFETY: as above; the saved BP lies in the same live frames.
                let same_bp = unsafe { *(frame.bp_slot as *const usize) } == frame.bp;
                if !same_bp {
                    return place + 1;
                }
            }
        }
        0
    }

    /// Takes kept frames `from..to` over into the walk in progress, inner first, with their BP values as they are now.
    fn take_over(&mut self, from: usize, to: usize, found: &mut usize) -> Cursor {
        let mut frame = self.frames[to - 1];
        let mut place = to - 1;
        loop {
            self.fresh[*found] = frame;
            *found += 1;
            if place == from || *found == KEPT_MAX {
                return Cursor { sp: frame.slot + 8, bp: frame.bp, lookup: frame.return_address - 1 };
            }
            place -= 1;
            let inner_bp = frame.bp;
            frame = self.frames[place];
            frame.bp = match frame.bp_slot {
                0 => inner_bp,
                // SAFETY: the word lies in a live frame of this stack, as when it was kept.
                slot => unsafe { *(slot as *const usize) },
            };
        }
    }

    /// Puts the `found` frames inside the first `kept` ones and reports. `end` is how the walk ended, `None` when it
    /// joined the kept frames.
    #[inline(always)]
    fn finish(&mut self, kept: usize, found: usize, end: Option<End>, depth_max: u32) -> Walk {
        let mut kept = kept;
        if let Some(end) = end {
            self.end = Some(end);
            self.outer_dropped = end == End::DepthLimit;
        }
        if kept + found > KEPT_MAX {
            // Keep the inner half; hashes of what remains have no meaning as prefixes any more.
            let drop = kept + found - KEPT_MAX;
            self.frames.copy_within(drop..kept, 0);
            kept -= drop;
            self.outer_dropped = true;
            self.rehash(kept);
        }
        let mut hash = if kept == 0 { EMPTY_HASH } else { self.hashes[kept - 1] };
        // Whether BP is needed farther out is known from the outside inwards.
        let mut passed_on = kept > 0 && self.frames[kept - 1].bp_slot == 0 && self.frames[kept - 1].needs_bp;
        for place in 0..found {
            let mut frame = self.fresh[found - 1 - place];
            frame.needs_bp = frame.uses_bp || passed_on;
            passed_on = frame.bp_slot == 0 && frame.needs_bp;
            hash = extend_hash(hash, frame.return_address);
            self.frames[kept + place] = frame;
            self.hashes[kept + place] = hash;
        }
        self.kept = (kept + found) as u32;
        self.report(kept as u32, hash, depth_max)
    }

    #[inline(always)]
    fn report(&mut self, unchanged: u32, hash: u64, depth_max: u32) -> Walk {
        let depth_max = depth_max.min(DEPTH_MAX as u32);
        let end = self.end.unwrap_or(End::Root);
        if self.kept <= depth_max && !self.outer_dropped {
            self.depth = self.kept;
            // Places count from the outermost frame of the report; they moved if the last report left some out.
            self.unchanged = if self.windowed { 0 } else { unchanged };
            self.windowed = false;
            self.hash = hash;
            return Walk { hash, depth: self.kept, end };
        }
        self.report_inner(depth_max)
    }

    /// Reports the innermost frames of a stack deeper than the limit. Their hash must not depend on the rest.
    #[cold]
    #[inline(never)]
    fn report_inner(&mut self, depth_max: u32) -> Walk {
        self.depth = self.kept.min(depth_max);
        self.windowed = true;
        self.unchanged = 0;
        let inner = &self.frames[(self.kept - self.depth) as usize..self.kept as usize];
        self.hash = inner.iter().fold(EMPTY_HASH, |hash, frame| extend_hash(hash, frame.return_address));
        Walk { hash: self.hash, depth: self.depth, end: End::DepthLimit }
    }

    fn rehash(&mut self, depth: usize) {
        let mut hash = EMPTY_HASH;
        for place in 0..depth {
            hash = extend_hash(hash, self.frames[place].return_address);
            self.hashes[place] = hash;
        }
    }
}

/// The caller of a frame, and where its return address is stored. The cursor's `lookup` is one below the return address.
fn caller_of(rule: Rule, frame: &Cursor, read: &mut impl FnMut(usize) -> Option<usize>) -> Option<(usize, Cursor)> {
    let (cfa, saved_bp) = match rule {
        Rule::Sp { cfa } => (frame.sp.checked_add(cfa as usize)?, None),
        Rule::SpSavedBp { cfa, bp } => (frame.sp.checked_add(cfa as usize)?, Some(bp)),
        Rule::Bp { cfa } => (frame.bp.checked_add(cfa as usize)?, None),
        Rule::BpSavedBp { cfa, bp } => (frame.bp.checked_add(cfa as usize)?, Some(bp)),
        Rule::Realigned { cfa_at } => {
            let cfa = read(frame.bp.checked_sub(cfa_at as usize)?)?;
            let bp = read(frame.bp)?;
            let slot = cfa.checked_sub(8)?;
            return Some((slot, Cursor { sp: cfa, bp, lookup: (read(slot)? as u64).wrapping_sub(1) }));
        }
        Rule::Signal | Rule::Root | Rule::Unsupported => return None,
    };
    let bp = match saved_bp {
        None => frame.bp,
        Some(below) => read(cfa.checked_sub(below as usize)?)?,
    };
    let slot = cfa.checked_sub(8)?;
    Some((slot, Cursor { sp: cfa, bp, lookup: (read(slot)? as u64).wrapping_sub(1) }))
}

/// The frame that a signal interrupted: in the kernel's trampoline SP points to a `ucontext_t`, whose registers are an
/// array at offset 40 (x86-64 Linux ABI, `REG_RBP` = 10, `REG_RSP` = 15, `REG_RIP` = 16). The address is exact: the
/// frame was interrupted there, it did not call.
fn interrupted(frame: &Cursor, read: &mut impl FnMut(usize) -> Option<usize>) -> Option<(usize, Cursor)> {
    let register = |number: usize| frame.sp.checked_add(40 + number * 8);
    let (bp, sp, ip) = (register(10)?, register(15)?, register(16)?);
    Some((ip, Cursor { bp: read(bp)?, sp: read(sp)?, lookup: read(ip)? as u64 }))
}

/// The rule of an address that is not in the table.
#[cold]
#[inline(never)]
fn find_anew(address: u64) -> Option<Rule> {
    let rule = cfi::rule_of(address)?;
    rules::remember(address, rule);
    Some(rule)
}
