//! A walk that keeps nothing: only the hash of the stack, for those that differ too much from each other to be recognised by a layout.
//!
//! It goes from the caller outward by plain rules alone until it meets a kept frame whose words, and those of all older ones, still
//! hold: a third of the work of a walk, where the hash is all that is asked for. Whatever it does not expect is left to the walk.

use super::frames::{Glanced, finish, mix, one_frame_in};
use super::keep::BP_IS_USED;
use super::layouts::STRIDE;
use super::machine::code_address;
use super::rules;
use super::stack_bounds::load;
use super::unloadable;
use super::walk::{Registers, Unwinder, rule_from_bp};

/// Frames looked at, at most: where more have changed, a walk brings the kept ones up to date.
const GLANCED_MAX: u32 = 48;

impl Unwinder {
    /// The hash of the calling stack: the one that a walk to this depth would give, or none.
    ///
    /// # Safety
    /// As for [`walk_from`](Self::walk_from).
    #[inline(never)]
    pub unsafe fn glance(&self, registers: Registers, depth_max: u32) -> Glanced {
        // A rule of a module that may be unloaded must be asked about afterwards, which is left to the walk.
        if self.whole_count == 0 || self.generation != rules::generation() || unloadable::any() {
            return Glanced::NOTHING;
        }
        // SAFETY: passed on from this function's contract.
        unsafe { self.hash_into_kept(registers, depth_max) }.unwrap_or(Glanced::NOTHING)
    }

    /// # Safety
    /// As for [`walk_from`](Self::walk_from), and all of the stack that was walked last is kept.
    #[inline(always)]
    unsafe fn hash_into_kept(&self, registers: Registers, depth_max: u32) -> Option<Glanced> {
        let Registers { pc, mut sp, mut bp } = registers;
        let limit = self.bounds.limit_if_known(sp);
        let kept = self.kept.as_ptr();
        // SAFETY: at most KEPT_MAX frames are kept, after the one of number 0, whose slot no other exceeds.
        let mut top = unsafe { kept.add(self.kept_count as usize) };
        let (mut key, mut inner, mut factor, mut count) = (pc, 0_u64, 1_u64, 0);
        loop {
            let probed = rules::probe(key);
            let (rule, base, slot) = match probed.rule_from_sp() {
                Some(rule) => (rule, sp, sp.wrapping_add(probed.return_offset())),
                None => rule_from_bp(probed, sp, bp, limit)?,
            };
            if slot >= limit {
                return None;
            }
            let saved = base.wrapping_add(rule.saved_offset());
            // SAFETY: sp <= base <= saved <= slot < limit: both words lie between this frame and the end of the thread's own stack.
            // `top` does not go below the word of number 0.
            let address = unsafe {
                let address = load(slot);
                if saved != slot {
                    bp = load(saved);
                }
                while (*top).slot < slot {
                    top = top.sub(1);
                }
                if (*top).slot == slot {
                    if (*top).value == address && self.has_span(top, rule.span()) {
                        break;
                    }
                    top = top.sub(1);
                }
                code_address(address)
            };
            count += 1;
            if count > GLANCED_MAX {
                return None;
            }
            inner = inner.wrapping_add(mix(address).wrapping_mul(factor));
            factor = one_frame_in(factor);
            (sp, key) = (rule.caller_sp(base, slot), address.wrapping_sub(1));
        }
        // SAFETY: both point into the array of kept frames.
        let number = unsafe { top.offset_from_unsigned(kept) };
        let prefix = self.prefixes[number];
        let is_same_state = prefix.flags == 0 || (prefix.flags == BP_IS_USED && prefix.bp == bp);
        if number < STRIDE || !is_same_state || number as u32 + count > depth_max {
            return None;
        }
        // SAFETY: the frames up to this one lie on the thread's own stack, above the frame this function looks from.
        let hold = unsafe { self.hold_up_to(number) };
        let running = prefix.running.wrapping_mul(factor).wrapping_add(inner);
        hold.then(|| Glanced { hash: Some(finish(running)), held: number as u32 })
    }
}
