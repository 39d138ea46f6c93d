//! One frame outward where no compiled rule serves: signal frames, realigned frames, stacks that are not the thread's own, rows for
//! the interpreter, and the ends of stacks.
//!
//! Every read is checked first. Deliberately not fast.

use super::frames::End;
use super::machine::{self, BP, RETURN_ADDRESS, SP, code_address, signal_frame};
use super::reference::{self, Registers, Stepped, Stop};
use super::rules::{FROM_BP, FROM_SP, REALIGNED, Rule};
use super::walk::Unwinder;

/// Most frames between the unwinder's own and one whose registers are wanted.
const FRAMES_MAX: usize = 2 * super::walk::DEPTH_MAX as usize;

/// The caller's frame, found the slow way.
pub(super) struct Caller {
    pub(super) slot: usize,
    pub(super) address: usize,
    pub(super) sp: usize,
    pub(super) bp: usize,
    /// The address is that of an interrupted instruction.
    pub(super) is_exact: bool,
    /// What a later walk must compare; [`Rule::FULL`] when it cannot.
    pub(super) rule: Rule,
}

impl Caller {
    /// What its rule is looked up by.
    pub(super) fn key(&self) -> usize {
        code_of(self.address, self.is_exact)
    }
}

/// An address in the instruction that is being executed where a return address, or an exact one, leads.
fn code_of(address: usize, is_exact: bool) -> usize {
    let address = code_address(address);
    if is_exact { address } else { address.wrapping_sub(1) }
}

impl Unwinder {
    /// One frame outward, where the rule is special, the stack is not the thread's own, or something does not fit.
    #[cold]
    #[inline(never)]
    pub(super) fn step_slowly(&mut self, rule: Rule, key: usize, sp: usize, bp: usize) -> Result<Caller, End> {
        self.slow_steps += 1;
        let is_own = self.bounds.limit_if_known(sp) != 0;
        let Self { bounds, proven, .. } = self;
        let mut read = |address: usize| proven.read(bounds, address).ok_or(End::BadStack);
        match (rule.kind(), rule) {
            (_, Rule::ROOT) => Err(End::Root),
            (_, Rule::MISSING) if key == 0usize.wrapping_sub(1) => Err(End::Root),
            (_, Rule::MISSING) => Err(End::NoRule),
            (FROM_SP | FROM_BP, _) => {
                let base = if rule.kind() == FROM_SP { sp } else { bp };
                let slot = base.checked_add(rule.return_offset()).ok_or(End::BadStack)?;
                if base < sp || (is_own && !bounds.contains_word(slot)) {
                    return Err(End::BadStack);
                }
                let address = read(slot)?;
                let saved = base.wrapping_add(rule.saved_offset());
                let bp = if saved == slot { bp } else { read(saved)? };
                let sp = rule.caller_sp(base, slot);
                Ok(Caller { slot, address, sp, bp, is_exact: false, rule: Rule::FULL })
            }
            (REALIGNED, _) => {
                let cfa_slot = bp.wrapping_sub(rule.return_offset());
                let cfa = read(cfa_slot)?;
                let slot = cfa.wrapping_sub(8);
                if slot < sp || bp < sp {
                    return Err(End::BadStack);
                }
                let is_own = is_own && [cfa_slot, slot, bp].iter().all(|&word| bounds.contains_word(word));
                let rule = if is_own { rule } else { Rule::FULL };
                Ok(Caller { slot, address: read(slot)?, sp: cfa, bp: read(bp)?, is_exact: false, rule })
            }
            (_, Rule::SIGNAL) => {
                let at = |offset: usize| sp.wrapping_add(offset);
                let slot = at(signal_frame::PC);
                let is_own = is_own && bounds.contains_word(slot);
                Ok(Caller {
                    slot,
                    address: read(slot)?,
                    sp: read(at(signal_frame::SP))?,
                    bp: read(at(signal_frame::BP))?,
                    is_exact: true,
                    rule: if is_own { Rule::SIGNAL } else { Rule::FULL },
                })
            }
            _ => self.step_fully(key, sp, bp),
        }
    }

    /// One frame outward by the interpreter: first with the registers at hand, then with all of them.
    #[cold]
    #[inline(never)]
    fn step_fully(&mut self, key: usize, sp: usize, bp: usize) -> Result<Caller, End> {
        let mut registers = Registers::NOTHING;
        registers.set(SP, Some(sp));
        registers.set(BP, Some(bp));
        let stepped = self.interpret(key, &mut registers).or_else(|stop| {
            if stop != Stop::UnknownRegister {
                return Err(stop);
            }
            registers = self.registers_at(key, sp)?;
            self.interpret(key, &mut registers)
        });
        let stepped = stepped.map_err(|stop| match stop {
            Stop::Root => End::Root,
            Stop::Unreadable => End::BadStack,
            Stop::UnknownRegister | Stop::Unsupported => End::Unsupported,
        })?;
        Ok(Caller {
            slot: stepped.slot,
            address: registers.get(RETURN_ADDRESS).ok_or(End::Unsupported)?,
            sp: registers.get(SP).ok_or(End::Unsupported)?,
            bp: registers.get(BP).unwrap_or(0),
            is_exact: stepped.exact,
            rule: Rule::FULL,
        })
    }

    fn interpret(&mut self, key: usize, registers: &mut Registers) -> Result<Stepped, Stop> {
        let Self { bounds, proven, last_row, .. } = self;
        registers.set(RETURN_ADDRESS, Some(key));
        reference::step_at(key, last_row, registers, &mut |address| proven.read(bounds, address))
    }

    /// The registers of the frame at `key` with this SP, as far as unwind tables give them: a walk of its own from here, which starts
    /// with all registers that a call preserves.
    #[cold]
    #[inline(never)]
    fn registers_at(&mut self, key: usize, sp: usize) -> Result<Registers, Stop> {
        let mut registers = Registers::NOTHING;
        let (mut pc, preserved) = machine::preserved_here();
        for (number, value) in preserved {
            registers.set(number, Some(value));
        }
        for _ in 0..FRAMES_MAX {
            if pc == key && registers.get(SP) == Some(sp) {
                return Ok(registers);
            }
            let exact = self.interpret(pc, &mut registers)?.exact;
            let address = registers.get(RETURN_ADDRESS).ok_or(Stop::UnknownRegister)?;
            pc = code_of(address, exact);
        }
        Err(Stop::UnknownRegister)
    }
}
