//! Call frame information: a code address in, the unwind row that covers it out.
//!
//! gimli decodes the bytes; the row itself is kept here, 8 bytes a register, because this runs inside an allocator hook on stacks of
//! unknown size, where gimli's own context would take several kilobytes. Deliberately not here: what a row means for a walk
//! (`rules.rs`), and registers (`reference.rs`).

use super::machine::{self, LINK, REGISTER_COUNT, RETURN_ADDRESS};
use super::modules::{self, Sections};
use super::stack_bounds::{Proven, StackBounds};
use core::mem::MaybeUninit;
use core::sync::atomic::{Ordering, compiler_fence};
use gimli::{
    BaseAddresses, CallFrameInstruction, CallFrameInstructionIter, EhFrame, EhFrameHdr, EndianSlice, Expression,
    FrameDescriptionEntry, LittleEndian, UnwindExpression, UnwindSection, Vendor,
};

pub(super) type Bytes = EndianSlice<'static, LittleEndian>;

/// `DW_CFA_remember_state` nests once in compiled code; deeper than this there is no row.
const REMEMBERED_MAX: usize = 3;

/// Where an expression lies in `.eh_frame`. Packed so that [`Saved`] takes 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, packed(2))]
pub(super) struct ExpressionAt {
    offset: u32,
    length: u16,
}

/// How the caller's value of a register is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Saved {
    Unchanged,
    Undefined,
    /// In memory at CFA + offset.
    At(i32),
    /// Is CFA + offset.
    Is(i32),
    InRegister(u8),
    AtExpression(ExpressionAt),
    IsExpression(ExpressionAt),
}

/// How the canonical frame address is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cfa {
    Register { register: u8, offset: i64 },
    Expression(ExpressionAt),
}

/// The unwind row of one code address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) cfa: Cfa,
    pub(super) registers: [Saved; REGISTER_COUNT],
    /// The frame was interrupted by a signal: the caller's address is exact, not one past a call.
    pub(super) is_signal_frame: bool,
}

/// A row and the tables its expressions lie in.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) row: Row,
    frames: EhFrame<Bytes>,
}

impl Found {
    pub(super) fn expression(&self, at: ExpressionAt) -> Option<Expression<Bytes>> {
        UnwindExpression { offset: at.offset as usize, length: usize::from(at.length) }.get(&self.frames).ok()
    }
}

/// The encoding of expressions in `.eh_frame`.
pub(super) const ENCODING: gimli::Encoding =
    gimli::Encoding { address_size: 8, format: gimli::Format::Dwarf32, version: 4 };

/// The row that covers `pc`, if any unwind table does or the kernel's signal trampoline lies there.
pub(super) fn row_at(pc: usize) -> Option<Found> {
    row_by_tables(pc).or_else(|| row_of_trampoline(pc))
}

fn row_by_tables(pc: usize) -> Option<Found> {
    let sections = modules::sections_of(pc)?;
    let bases = BaseAddresses::default()
        .set_eh_frame_hdr(sections.header_address as u64)
        .set_eh_frame(sections.frames_address as u64);
    let mut frames = EhFrame::new(sections.frames, LittleEndian);
    if machine::SIGNS_RETURN_ADDRESSES {
        // The one vendor whose tables tell where they are signed.
        frames.set_vendor(Vendor::AArch64);
    }
    let fde = entry_at(pc, &sections, &frames, &bases)?;
    let row = Interpreter::run(pc, &fde, &frames, &bases)?;
    Some(Found { row, frames })
}

/// The row that the kernel's signal trampoline would have, if `pc` is in its first instruction or, as return addresses are looked up,
/// right before.
fn row_of_trampoline(pc: usize) -> Option<Found> {
    let trampoline = machine::TRAMPOLINE?;
    let start = pc.checked_next_multiple_of(1 << machine::INSTRUCTION_ALIGN_LOG2)?;
    let mut proven = Proven::NOTHING;
    if proven.read(&StackBounds::NOTHING, start)? != trampoline.code {
        return None;
    }
    let registers = core::array::from_fn(|number| Saved::At((trampoline.registers + 8 * number) as i32));
    let cfa = Cfa::Register { register: machine::SP as u8, offset: 0 };
    Some(Found { row: Row { cfa, registers, is_signal_frame: true }, frames: EhFrame::new(&[], LittleEndian) })
}

/// The last row that was asked for. All-zero bytes are valid: none yet.
pub(super) struct LastRow {
    /// 0 where there is none, or it is half written.
    pc: usize,
    found: MaybeUninit<Found>,
}

impl LastRow {
    /// What [`row_at`] says, without decoding it again.
    pub(super) fn row_at(&mut self, pc: usize) -> Option<Found> {
        if self.pc == pc && pc != 0 {
            // SAFETY: written before `pc` was.
            return Some(unsafe { self.found.assume_init() });
        }
        let found = row_at(pc)?;
        // Where another module may come to lie there, it is not remembered.
        if modules::is_permanent(pc) {
            // A signal handler that interrupts this and never returns here must not leave a row that is half written.
            self.pc = 0;
            compiler_fence(Ordering::SeqCst);
            self.found = MaybeUninit::new(found);
            compiler_fence(Ordering::SeqCst);
            self.pc = pc;
        }
        Some(found)
    }
}

fn entry_at(
    pc: usize,
    sections: &Sections,
    frames: &EhFrame<Bytes>,
    bases: &BaseAddresses,
) -> Option<FrameDescriptionEntry<Bytes>> {
    let header = EhFrameHdr::new(sections.header, LittleEndian).parse(bases, 8).ok()?;
    let entry_address = header.table()?.lookup(pc as u64, bases).ok()?.direct().ok()?;
    let offset = (entry_address as usize).checked_sub(sections.frames_address)?;
    let fde = frames.fde_from_offset(bases, offset.into(), EhFrame::cie_from_offset).ok()?;
    fde.contains(pc as u64).then_some(fde)
}

/// Runs the instructions of a CIE and an FDE up to one address.
struct Interpreter {
    row: Row,
    initial: [Saved; REGISTER_COUNT],
    remembered: [(Cfa, [Saved; REGISTER_COUNT]); REMEMBERED_MAX],
    remembered_count: usize,
    code_factor: u64,
    data_factor: i64,
}

impl Interpreter {
    fn run(
        pc: usize,
        fde: &FrameDescriptionEntry<Bytes>,
        frames: &EhFrame<Bytes>,
        bases: &BaseAddresses,
    ) -> Option<Row> {
        let cie = fde.cie();
        if usize::from(cie.return_address_register().0) != LINK.unwrap_or(RETURN_ADDRESS) {
            return None;
        }
        let nothing = (Cfa::Register { register: 0, offset: 0 }, [Saved::Unchanged; REGISTER_COUNT]);
        let mut interpreter = Self {
            row: Row { cfa: nothing.0, registers: nothing.1, is_signal_frame: cie.is_signal_trampoline() },
            initial: nothing.1,
            remembered: [nothing; REMEMBERED_MAX],
            remembered_count: 0,
            code_factor: cie.code_alignment_factor(),
            data_factor: cie.data_alignment_factor(),
        };
        let start = fde.initial_address();
        interpreter.run_until(pc as u64, start, cie.instructions(frames, bases))?;
        interpreter.initial = interpreter.row.registers;
        interpreter.run_until(pc as u64, start, fde.instructions(frames, bases))?;
        let mut row = interpreter.row;
        if let Some(link) = LINK {
            // The caller goes on at what is in that register on return.
            row.registers[RETURN_ADDRESS] = match row.registers[link] {
                Saved::Unchanged => Saved::InRegister(link as u8),
                saved => saved,
            };
        }
        Some(row)
    }

    fn run_until(&mut self, pc: u64, start: u64, mut instructions: CallFrameInstructionIter<'_, Bytes>) -> Option<()> {
        let mut location = start;
        while let Some(instruction) = instructions.next().ok()? {
            match instruction {
                CallFrameInstruction::SetLoc { address } => location = address,
                CallFrameInstruction::AdvanceLoc { delta } => {
                    location = location.wrapping_add(u64::from(delta).wrapping_mul(self.code_factor));
                }
                other => self.apply(other)?,
            }
            if location > pc {
                break;
            }
        }
        Some(())
    }

    fn apply(&mut self, instruction: CallFrameInstruction<usize>) -> Option<()> {
        use CallFrameInstruction as I;
        match instruction {
            I::DefCfa { register, offset } => self.set_cfa(register, i64::try_from(offset).ok()?)?,
            I::DefCfaSf { register, factored_offset } => self.set_cfa(register, self.factored(factored_offset)?)?,
            I::DefCfaRegister { register } => {
                let Cfa::Register { offset, .. } = self.row.cfa else {
                    return None;
                };
                self.set_cfa(register, offset)?;
            }
            I::DefCfaOffset { offset } => self.set_cfa_offset(i64::try_from(offset).ok()?)?,
            I::DefCfaOffsetSf { factored_offset } => self.set_cfa_offset(self.factored(factored_offset)?)?,
            I::DefCfaExpression { expression } => self.row.cfa = Cfa::Expression(at(expression)?),
            I::Undefined { register } => self.set(register, Saved::Undefined),
            I::SameValue { register } => self.set(register, Saved::Unchanged),
            I::Offset { register, factored_offset } => {
                let offset = self.factored(i64::try_from(factored_offset).ok()?)?;
                self.set(register, Saved::At(i32::try_from(offset).ok()?));
            }
            I::OffsetExtendedSf { register, factored_offset } => {
                self.set(register, Saved::At(i32::try_from(self.factored(factored_offset)?).ok()?));
            }
            I::ValOffset { register, factored_offset } => {
                let offset = self.factored(i64::try_from(factored_offset).ok()?)?;
                self.set(register, Saved::Is(i32::try_from(offset).ok()?));
            }
            I::ValOffsetSf { register, factored_offset } => {
                self.set(register, Saved::Is(i32::try_from(self.factored(factored_offset)?).ok()?));
            }
            I::Register { dest_register, src_register } => {
                self.set(dest_register, Saved::InRegister(u8::try_from(src_register.0).ok()?));
            }
            I::Expression { register, expression } => self.set(register, Saved::AtExpression(at(expression)?)),
            I::ValExpression { register, expression } => self.set(register, Saved::IsExpression(at(expression)?)),
            I::Restore { register } => {
                if let Some(&initial) = self.initial.get(usize::from(register.0)) {
                    self.set(register, initial);
                }
            }
            I::RememberState => {
                *self.remembered.get_mut(self.remembered_count)? = (self.row.cfa, self.row.registers);
                self.remembered_count += 1;
            }
            I::RestoreState => {
                self.remembered_count = self.remembered_count.checked_sub(1)?;
                (self.row.cfa, self.row.registers) = *self.remembered.get(self.remembered_count)?;
            }
            // A signature is taken off wherever a code address is needed.
            I::ArgsSize { .. } | I::NegateRaState | I::Nop => {}
            _ => return None,
        }
        Some(())
    }

    fn factored(&self, offset: i64) -> Option<i64> {
        offset.checked_mul(self.data_factor)
    }

    fn set_cfa(&mut self, register: gimli::Register, offset: i64) -> Option<()> {
        self.row.cfa = Cfa::Register { register: u8::try_from(register.0).ok()?, offset };
        Some(())
    }

    fn set_cfa_offset(&mut self, new: i64) -> Option<()> {
        let Cfa::Register { offset, .. } = &mut self.row.cfa else {
            return None;
        };
        *offset = new;
        Some(())
    }

    /// Vector registers and the like are of no use to a walk and are passed over.
    fn set(&mut self, register: gimli::Register, saved: Saved) {
        if let Some(slot) = self.row.registers.get_mut(usize::from(register.0)) {
            *slot = saved;
        }
    }
}

fn at(expression: UnwindExpression<usize>) -> Option<ExpressionAt> {
    Some(ExpressionAt {
        offset: u32::try_from(expression.offset).ok()?,
        length: u16::try_from(expression.length).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stay_small() {
        let registers = 8 * REGISTER_COUNT;
        assert!(size_of::<Row>() <= registers + 32, "a row is {} bytes", size_of::<Row>());
        let interpreter = size_of::<Interpreter>();
        assert!(interpreter <= 5 * registers + 152, "the interpreter is {interpreter} bytes");
    }

    #[test]
    fn on_entry_the_frame_is_what_the_call_made() {
        modules::prepare();
        let found = row_at(libc::qsort as *const () as usize).expect("libc has unwind tables");
        let (offset, return_address) = match LINK {
            None => (8, Saved::At(-8)),
            Some(link) => (0, Saved::InRegister(link as u8)),
        };
        assert_eq!(found.row.cfa, Cfa::Register { register: machine::SP as u8, offset });
        assert_eq!(found.row.registers[RETURN_ADDRESS], return_address);
        assert!(!found.row.is_signal_frame);
    }

    #[test]
    fn garbage_has_no_row() {
        modules::prepare();
        assert!(row_at(0).is_none());
        assert!(row_at(usize::MAX).is_none());
        let data = 5u64;
        assert!(row_at(&raw const data as usize).is_none());
    }
}
