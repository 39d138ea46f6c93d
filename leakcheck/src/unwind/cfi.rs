//! Call frame information: a code address in, the unwind row that covers it out.
//!
//! gimli decodes the bytes; the row itself is kept here, in 168 bytes, because this runs inside an allocator hook on stacks of
//! unknown size, where gimli's own context would take several kilobytes. Deliberately not here: what a row means for a walk
//! (`rules.rs`), and registers (`reference.rs`).

use super::modules::{self, Sections};
use gimli::{
    BaseAddresses, CallFrameInstruction, CallFrameInstructionIter, EhFrame, EhFrameHdr, EndianSlice, Expression,
    FrameDescriptionEntry, LittleEndian, UnwindExpression, UnwindSection,
};

pub(super) type Bytes = EndianSlice<'static, LittleEndian>;

/// DWARF numbers of the x86-64 registers that matter here.
pub(super) const RBP: usize = 6;
pub(super) const RSP: usize = 7;
pub(super) const RETURN_ADDRESS: usize = 16;
/// The general registers and the return address column.
pub(super) const REGISTER_COUNT: usize = 17;

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

/// The row that covers `pc`, if any unwind table does.
pub(super) fn row_at(pc: usize) -> Option<Found> {
    let sections = modules::sections_of(pc)?;
    let bases = BaseAddresses::default()
        .set_eh_frame_hdr(sections.header_address as u64)
        .set_eh_frame(sections.frames_address as u64);
    let frames = EhFrame::new(sections.frames, LittleEndian);
    let fde = entry_at(pc, &sections, &frames, &bases)?;
    let row = Interpreter::run(pc, &fde, &frames, &bases)?;
    Some(Found { row, frames })
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
        if usize::from(cie.return_address_register().0) != RETURN_ADDRESS {
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
        Some(interpreter.row)
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
            I::ArgsSize { .. } | I::Nop => {}
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
        assert!(size_of::<Row>() <= 168, "a row is {} bytes", size_of::<Row>());
        assert!(size_of::<Interpreter>() <= 832, "the interpreter is {} bytes", size_of::<Interpreter>());
    }

    #[test]
    fn on_entry_the_return_address_is_on_top() {
        modules::prepare();
        let found = row_at(libc::qsort as *const () as usize).expect("libc has unwind tables");
        assert_eq!(found.row.cfa, Cfa::Register { register: RSP as u8, offset: 8 });
        assert_eq!(found.row.registers[RETURN_ADDRESS], Saved::At(-8));
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
