//! What is kept of a walk for the next one: each frame's words, its running hash, and what must be compared before it may be taken
//! over.
//!
//! A frame's state is (slot, address, BP), and where the caller's SP does not follow from the slot, how far above it lies (`Span`). BP
//! only counts where an older frame uses it before it is restored. What the step from a frame to its caller read from memory is
//! compared later: the return address always, the saved BP where it counts, and the few other words that signal frames and realigned
//! frames depend on.

use super::frames::{End, Prefix, Word, extend};
use super::machine::{code_address, signal_frame};
use super::rules::{FROM_BP, FROM_SP, REALIGNED, Rule};
use super::stack_bounds::load;
use super::unloadable::{self, MODULES};
use super::walk::{Found, KEPT_MAX, Stopped, Unwinder};
use core::sync::atomic::{Ordering, compiler_fence};

/// An older frame's rule uses the BP of this frame.
pub(super) const BP_IS_USED: u32 = 1;
/// This frame or an older one was found in a way that cannot be verified by comparing words of the thread's own stack.
pub(super) const UNVERIFIABLE: u32 = 2;
/// This frame's state is more than (slot, address, BP); an inner one may match instead.
pub(super) const NO_MATCH: u32 = 4;

impl Unwinder {
    /// Puts the first `count` frames found on top of those that still hold; `leaving` is the rule that led from the last of them
    /// to the kept one. Returns how many frames are kept now.
    pub(super) fn keep(&mut self, mut count: usize, mut leaving: Rule, stopped: Stopped) -> usize {
        let mut kept_count = 0;
        let mut prefix = Prefix::NOTHING;
        let mut older = Found { slot: 0, address: 0, bp: 0, rule: Rule::ROOT };
        match stopped {
            Stopped::Matched(index) => {
                kept_count = index;
                if kept_count + count > KEPT_MAX {
                    kept_count = self.drop_outer(kept_count, count);
                }
                prefix = self.prefixes[kept_count];
                older.slot = self.kept[kept_count].slot;
                older.bp = prefix.bp;
            }
            Stopped::Ended(end) => {
                self.end = end;
                if matches!(end, End::BadStack | End::Unsupported) {
                    prefix.flags = UNVERIFIABLE;
                } else if count > 0 && self.found[count - 1].address == 0 {
                    // A return address of zero ends the stack, and is a word to compare, not a frame.
                    count -= 1;
                    older = self.found[count];
                    leaving = older.rule;
                    self.depend(&mut prefix, Word { slot: older.slot, value: 0 });
                }
            }
        }
        // A signal handler that never returns here must not leave kept frames which are half written. Only the compiler could
        // reorder: the handler runs on this thread.
        self.kept_count = kept_count as u32;
        compiler_fence(Ordering::SeqCst);
        if let Stopped::Ended(_) = stopped {
            self.prefixes[0] = Prefix::NOTHING;
        }
        // SAFETY: kept_count + count is at most KEPT_MAX, there is one place more than that for kept frames and their prefixes, and
        // count is at most the number of found ones.
        unsafe { self.append(count, kept_count, leaving, older.slot, prefix) };
        kept_count += count;
        compiler_fence(Ordering::SeqCst);
        kept_count
    }

    /// Writes the first `count` found frames behind the kept ones, outermost first.
    ///
    /// # Safety
    /// `count` and `kept_count + count` are at most KEPT_MAX.
    #[inline(never)]
    unsafe fn append(
        &mut self,
        count: usize,
        kept_count: usize,
        mut leaving: Rule,
        mut older_slot: usize,
        older: Prefix,
    ) {
        let Prefix { mut running, bp: mut older_bp, mut dependencies, mut flags, .. } = older;
        // SAFETY: by this function's contract; there is one place more than KEPT_MAX for kept frames and their prefixes.
        let (mut next, mut word, mut prefix) = unsafe {
            (
                self.found.as_ptr().add(count),
                self.kept.as_mut_ptr().add(kept_count),
                self.prefixes.as_mut_ptr().add(kept_count),
            )
        };
        let may_be_unloaded = unloadable::any();
        for _ in 0..count {
            // SAFETY: `count` steps each, from the ends given above.
            let frame = unsafe {
                (next, word, prefix) = (next.sub(1), word.add(1), prefix.add(1));
                *next
            };
            let state = flags & !MODULES;
            let is_plain = leaving.kind() == FROM_SP
                && (state == 0 || (state == BP_IS_USED && leaving.saved_offset() == leaving.return_offset()));
            if !is_plain {
                let older = Found { slot: older_slot, address: 0, bp: older_bp, rule: leaving };
                (dependencies, flags) = self.relate(dependencies, flags, &frame, &older);
            }
            if may_be_unloaded {
                flags |= unloadable::flag_of(code_address(frame.address));
            }
            running = extend(running, code_address(frame.address));
            let own_flags = if frame.rule.is_special() { flags | NO_MATCH } else { flags };
            // SAFETY: as above.
            unsafe {
                *word = Word { slot: frame.slot, value: frame.address };
                *prefix = Prefix { running, bp: frame.bp, span: frame.rule.span(), dependencies, flags: own_flags };
            }
            (leaving, older_slot, older_bp) = (frame.rule, frame.slot, frame.bp);
        }
    }

    /// What a later walk must compare before it may take over the frames older than `frame`, given the dependencies and flags of
    /// `older`, the next one, which `older.rule` led to.
    #[cold]
    #[inline(never)]
    fn relate(&mut self, dependencies: u32, flags: u32, frame: &Found, older: &Found) -> (u32, u32) {
        let bp_was_used = flags & BP_IS_USED != 0;
        let leaving = older.rule;
        let mut prefix = Prefix { dependencies, flags: flags & (UNVERIFIABLE | MODULES), ..Prefix::NOTHING };
        match (leaving.kind(), leaving) {
            (FROM_SP | FROM_BP, _) => {
                let saved_below = leaving.return_offset() - leaving.saved_offset();
                if bp_was_used && saved_below == 0 {
                    prefix.flags |= BP_IS_USED;
                } else if bp_was_used {
                    let slot = older.slot.wrapping_sub(saved_below);
                    self.depend(&mut prefix, Word { slot, value: older.bp });
                }
                if leaving.kind() == FROM_BP {
                    prefix.flags |= BP_IS_USED;
                }
            }
            (REALIGNED, _) => {
                let cfa_slot = frame.bp.wrapping_sub(leaving.return_offset());
                self.depend(&mut prefix, Word { slot: cfa_slot, value: older.slot.wrapping_add(8) });
                if bp_was_used {
                    self.depend(&mut prefix, Word { slot: frame.bp, value: older.bp });
                }
                prefix.flags |= BP_IS_USED;
            }
            (_, Rule::SIGNAL) => {
                // The slot is that of PC in the kernel's frame; SP and BP are next to it.
                let kernel_frame = older.slot.wrapping_sub(signal_frame::PC);
                let sp_slot = kernel_frame.wrapping_add(signal_frame::SP);
                // SAFETY: the walk has just read this word, on the thread's own stack, which has not shrunk since.
                let sp = unsafe { load(sp_slot) };
                self.depend(&mut prefix, Word { slot: sp_slot, value: sp });
                if bp_was_used {
                    let slot = kernel_frame.wrapping_add(signal_frame::BP);
                    self.depend(&mut prefix, Word { slot, value: older.bp });
                }
            }
            (_, Rule::ROOT) => {}
            _ => prefix.flags |= UNVERIFIABLE,
        }
        (prefix.dependencies, prefix.flags)
    }

    /// Notes one more word that the frames so far depend on.
    fn depend(&mut self, prefix: &mut Prefix, word: Word) {
        match self.dependencies.get_mut(prefix.dependencies as usize) {
            Some(place) => {
                *place = word;
                prefix.dependencies += 1;
            }
            None => prefix.flags |= UNVERIFIABLE,
        }
    }

    /// Makes room for `count` more frames by dropping outer ones. Returns how many of the first `kept_count` are left.
    #[cold]
    #[inline(never)]
    fn drop_outer(&mut self, kept_count: usize, count: usize) -> usize {
        let left = if count > KEPT_MAX / 2 { 0 } else { KEPT_MAX / 2 };
        let Some(dropped) = kept_count.min(KEPT_MAX).checked_sub(left) else {
            return kept_count;
        };
        // A handler that interrupts this for good must find nothing kept.
        self.kept_count = 0;
        compiler_fence(Ordering::SeqCst);
        self.end = End::DepthLimit;
        self.start = u32::MAX; // No window starts here: all frames count as changed.
        self.kept.copy_within(dropped + 1..=dropped + left, 1);
        // The prefix before the first frame that is left takes the place of the one before all.
        self.prefixes.copy_within(dropped..=dropped + left, 0);
        self.prefixes[0].dependencies = 0;
        self.prefixes[0].flags = 0;
        if left == 0 {
            return 0;
        }
        // What the first frame left depends on was outside it.
        let outside = self.prefixes[1].dependencies;
        for prefix in &mut self.prefixes[1..=left] {
            prefix.dependencies -= outside;
        }
        let inside = self.prefixes[left].dependencies as usize;
        self.dependencies.copy_within(outside as usize..outside as usize + inside, 0);
        left
    }
}
