//! From a code address to its unwind rule, by interpreting the call-frame information in memory with gimli.
//!
//! Asked once per code address; the answer is kept in [`rules`](super::rules). Nothing is allocated: the interpreter's
//! state is a few kilobytes on the stack.

use super::modules::{self, Module};
use super::rules::Rule;
use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, EndianSlice, NativeEndian, Operation, Pointer, Register, RegisterRule,
    UnwindContext, UnwindContextStorage, UnwindExpression, UnwindSection, UnwindTableRow, X86_64,
};

type Slice = EndianSlice<'static, NativeEndian>;
type Row = UnwindTableRow<usize, Storage>;

/// Room for the registers that compilers mention (17 at most) and for nested remembered states.
struct Storage;

impl UnwindContextStorage<usize> for Storage {
    type Rules = [(Register, RegisterRule<usize>); 24];
    type Stack = [UnwindTableRow<usize, Self>; 4];
}

/// The rule for a code address; `None` when nothing is known of the module it lies in.
#[cold]
#[inline(never)]
pub(super) fn rule_of(address: u64) -> Option<Rule> {
    let module = modules::module_of(address)?;
    Some(interpret(module, address).unwrap_or(Rule::Unsupported))
}

fn interpret(module: Module, address: u64) -> Option<Rule> {
    let bases = BaseAddresses::default().set_eh_frame_hdr(module.eh_frame_hdr);
    let hdr = EhFrameHdr::from(section(module, module.eh_frame_hdr)?).parse(&bases, 8).ok()?;
    let Pointer::Direct(eh_frame_at) = hdr.eh_frame_ptr() else { return None };
    let bases = bases.set_eh_frame(eh_frame_at);
    let eh_frame = EhFrame::from(section(module, eh_frame_at)?);
    let fde = hdr.table()?.fde_for_address(&eh_frame, &bases, address, EhFrame::cie_from_offset).ok()?;
    if fde.is_signal_trampoline() {
        return Some(Rule::Signal);
    }
    let mut context: UnwindContext<usize, Storage> = UnwindContext::new_in();
    let row = fde.unwind_info_for_address(&eh_frame, &bases, &mut context, address).ok()?;
    compile(row, &eh_frame)
}

/// The bytes of a module from an address on.
fn section(module: Module, start: u64) -> Option<Slice> {
    let len = module.readable_end.checked_sub(start)?;
    // SAFETY: the loader mapped this segment readable up to `readable_end`, and the module stays loaded while its code
    // is on the stack.
    let bytes = unsafe { std::slice::from_raw_parts(start as *const u8, usize::try_from(len).ok()?) };
    Some(EndianSlice::new(bytes, NativeEndian))
}

fn compile(row: &Row, eh_frame: &EhFrame<Slice>) -> Option<Rule> {
    match row.register(X86_64::RA) {
        Some(RegisterRule::Offset(-8)) => {}
        Some(RegisterRule::Undefined) => return Some(Rule::Root),
        _ => return None,
    }
    let saved_bp = match row.register(X86_64::RBP) {
        None | Some(RegisterRule::Undefined | RegisterRule::SameValue) => None,
        Some(RegisterRule::Offset(offset)) => Some(u32::try_from(offset.checked_neg()?).ok()?),
        Some(RegisterRule::Expression(expression)) => {
            return realigned(row, &expression, eh_frame);
        }
        _ => return None,
    };
    let CfaRule::RegisterAndOffset { register, offset } = row.cfa() else { return None };
    let cfa = u32::try_from(*offset).ok()?;
    match (*register, saved_bp) {
        (X86_64::RSP, None) => Some(Rule::Sp { cfa }),
        (X86_64::RSP, Some(bp)) => Some(Rule::SpSavedBp { cfa, bp }),
        (X86_64::RBP, None) => Some(Rule::Bp { cfa }),
        (X86_64::RBP, Some(bp)) => Some(Rule::BpSavedBp { cfa, bp }),
        _ => None,
    }
}

/// GCC's prologue for realigned stacks: CFA = `*(BP + n)`, BP saved at `BP + 0`.
fn realigned(row: &Row, saved_bp: &UnwindExpression<usize>, eh_frame: &EhFrame<Slice>) -> Option<Rule> {
    let CfaRule::Expression(cfa) = row.cfa() else { return None };
    let (offset, derefs) = bp_expression(cfa, eh_frame)?;
    let saved_at_bp = bp_expression(saved_bp, eh_frame)? == (0, false);
    (derefs && saved_at_bp).then_some(())?;
    Some(Rule::Realigned { cfa_at: u32::try_from(offset.checked_neg()?).ok()? })
}

/// An expression of the form `BP + offset`, with a dereference behind it or not.
fn bp_expression(expression: &UnwindExpression<usize>, eh_frame: &EhFrame<Slice>) -> Option<(i64, bool)> {
    let expression = expression.get(eh_frame).ok()?;
    let encoding = gimli::Encoding { address_size: 8, format: gimli::Format::Dwarf32, version: 4 };
    let mut operations = expression.operations(encoding);
    let Some(Operation::RegisterOffset { register: X86_64::RBP, offset, .. }) = operations.next().ok()? else {
        return None;
    };
    match operations.next().ok()? {
        None => Some((offset, false)),
        Some(Operation::Deref { .. }) if operations.next().ok()?.is_none() => Some((offset, true)),
        Some(_) => None,
    }
}
