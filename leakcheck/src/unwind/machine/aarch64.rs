//! AArch64: a call leaves the return address in a register, and the callee saves it anywhere in its frame, with the frame pointer (here
//! BP) right below it as a rule. It may be signed. Instructions take four bytes.

use core::arch::asm;
use core::mem::{offset_of, size_of};

/// Bits of the addresses that memory is given at unless others are asked for.
pub(crate) const ADDRESS_BITS: u32 = 48;
/// Instructions begin at multiples of two to this power.
pub(crate) const INSTRUCTION_ALIGN_LOG2: u32 = 2;

/// DWARF numbers of the registers that matter.
pub(crate) const BP: usize = 29;
pub(crate) const SP: usize = 31;
pub(crate) const RETURN_ADDRESS: usize = 32;
/// The general registers, SP, and PC as the return address column.
pub(crate) const REGISTER_COUNT: usize = 33;
/// The register in which a call leaves the return address.
pub(crate) const LINK: Option<usize> = Some(30);
/// With pointer authentication.
pub(crate) const SIGNS_RETURN_ADDRESSES: bool = true;

/// The code address in a word that holds a return address: that without its signature.
#[inline(always)]
pub(crate) fn code_address(mut word: usize) -> usize {
    // SAFETY: XPACLRI, by its hint number: changes one register, or nothing on processors that do not sign.
    unsafe { asm!("hint #7", inout("x30") word, options(pure, nomem, nostack, preserves_flags)) };
    word
}

/// PC, SP and BP of the function this is called in.
///
/// The declared loss of x30 has the function save its return address before, where its caller is found.
#[inline(always)]
pub(crate) fn registers_here() -> (usize, usize, usize) {
    let (pc, sp, bp): (usize, usize, usize);
    // SAFETY: reads three registers and touches neither memory, stack nor flags.
    unsafe {
        asm!(
            "adr {pc}, .",
            "mov {sp}, sp",
            "mov {bp}, x29",
            pc = out(reg) pc,
            sp = out(reg) sp,
            bp = out(reg) bp,
            lateout("x30") _,
            options(nomem, nostack, preserves_flags),
        );
    }
    (pc, sp, bp)
}

/// PC and all registers that a call preserves, of the function this is called in.
///
/// One that the function itself uses may be overwritten by now, by an output of this very instruction even; but such a one is saved on
/// entry, and the function's unwind row says so.
#[inline(always)]
pub(crate) fn preserved_here() -> (usize, [(usize, usize); 12]) {
    let [pc, sp, x19, x20, x21, x22, x23, x24, x25, x26, x27, x28, x29]: [usize; 13];
    // SAFETY: reads registers and touches neither memory, stack nor flags.
    unsafe {
        asm!(
            "adr {pc}, .",
            "mov {sp}, sp",
            "mov {x29}, x29",
            "mov {x19}, x19",
            pc = out(reg) pc,
            sp = out(reg) sp,
            x29 = out(reg) x29,
            x19 = out(reg) x19,
            out("x20") x20,
            out("x21") x21,
            out("x22") x22,
            out("x23") x23,
            out("x24") x24,
            out("x25") x25,
            out("x26") x26,
            out("x27") x27,
            out("x28") x28,
            lateout("x30") _,
            options(nomem, nostack, preserves_flags),
        );
    }
    let registers = [
        (19, x19),
        (20, x20),
        (21, x21),
        (22, x22),
        (23, x23),
        (24, x24),
        (25, x25),
        (26, x26),
        (27, x27),
        (28, x28),
        (BP, x29),
        (SP, sp),
    ];
    (pc, registers)
}

/// Compilers address frames by BP: Rust those of all functions that call others.
pub(crate) const BP_IS_FREQUENT: bool = true;

/// Whether BP is saved right below the return address; above this bit, the CFA in words.
const SAVES_BP: usize = 1;

/// What a rule says of the saved BP and of the CFA, if there is a way to say it. All are bytes from the rule's base; BP unchanged is BP
/// saved in the place of the return address.
pub(crate) fn placing(cfa: usize, return_offset: usize, saved_offset: usize) -> Option<usize> {
    let saves_bp = match return_offset.checked_sub(saved_offset)? {
        0 => 0,
        8 => SAVES_BP,
        _ => return None,
    };
    (cfa.is_multiple_of(8) && return_offset < cfa).then_some(cfa / 8 << 1 | saves_bp)
}

/// Bytes from the base to the slot of the saved BP.
#[inline(always)]
pub(crate) fn saved_offset(placing: usize, return_offset: usize) -> usize {
    return_offset.wrapping_sub((placing & SAVES_BP) * 8)
}

/// Whether the caller's SP is the slot of the return address plus its size.
pub(crate) const SP_FOLLOWS_SLOT: bool = false;

/// The SP of the caller: the CFA of the frame that was left.
#[inline(always)]
pub(crate) fn caller_sp(placing: usize, base: usize, _slot: usize) -> usize {
    base.wrapping_add(cfa_offset(placing))
}

#[inline(always)]
fn cfa_offset(placing: usize) -> usize {
    (placing & !SAVES_BP) * 4
}

/// How far the caller's SP lies above the slot of the return address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(usize);

impl Span {
    pub(crate) const NONE: Self = Self(0);

    #[inline(always)]
    pub(crate) fn of(placing: usize, return_offset: usize) -> Self {
        Self(cfa_offset(placing).wrapping_sub(return_offset))
    }

    /// What it adds to a hash of where a frame lies.
    #[inline(always)]
    pub(crate) const fn term(self) -> u64 {
        (self.0 as u64).wrapping_mul(0x8ebc_6af0_9c88_c6e3)
    }
}

/// Where the kernel's signal frame keeps the interrupted registers, in bytes above SP in the trampoline.
pub(crate) mod signal_frame {
    use super::{offset_of, size_of};

    /// Of x0; the others, SP and PC follow in the order of their numbers.
    pub(super) const REGISTERS: usize =
        size_of::<libc::siginfo_t>() + offset_of!(libc::ucontext_t, uc_mcontext) + offset_of!(libc::mcontext_t, regs);
    pub(crate) const BP: usize = REGISTERS + 8 * super::BP;
    pub(crate) const SP: usize = REGISTERS + 8 * super::SP;
    pub(crate) const PC: usize = REGISTERS + 8 * super::RETURN_ADDRESS;
}

/// That of the kernel's own module: `mov x8, #139; svc #0`. Unwinders know it by its code since its tables were taken out.
pub(crate) const TRAMPOLINE: Option<super::Trampoline> =
    Some(super::Trampoline { code: 0xd400_0001_d280_1168, registers: signal_frame::REGISTERS });

/// Calls the kernel. Leaves `errno` alone.
///
/// # Safety
/// As the system call says.
pub(crate) unsafe fn system_call(number: libc::c_long, arguments: [usize; 4]) -> isize {
    let result;
    // SAFETY: by this function's contract; the kernel preserves all registers but x0.
    unsafe {
        asm!(
            "svc #0",
            in("x8") number,
            inlateout("x0") arguments[0] => result,
            in("x1") arguments[1],
            in("x2") arguments[2],
            in("x3") arguments[3],
            options(nostack),
        );
    }
    result
}

/// An address in the thread control block, which libc puts at the top of a thread's stack: the end of `struct pthread`, which frames
/// lie below.
pub(crate) fn thread_pointer() -> usize {
    let pointer;
    // SAFETY: reads a register, which libc sets in every thread that it starts.
    unsafe { asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signal_frame_is_the_kernels() {
        // `struct rt_sigframe` and what it is made of, in the kernel's headers.
        assert_eq!((signal_frame::REGISTERS, signal_frame::BP), (312, 544));
        assert_eq!(signal_frame::SP - signal_frame::REGISTERS + 8, offset_of!(libc::mcontext_t, sp));
        assert_eq!(signal_frame::PC - signal_frame::REGISTERS + 8, offset_of!(libc::mcontext_t, pc));
    }

    #[test]
    fn signatures_are_taken_off() {
        let address = 0xaaaa_1234_5678;
        let mut signed = address;
        // SAFETY: PACIA1716 and its inverse by hint numbers: signs x17 with the modifier x16, or does nothing.
        unsafe { asm!("hint #8", inout("x17") signed, in("x16") 0x1000, options(nomem, nostack)) };
        assert_eq!(code_address(signed), address);
        assert_eq!(code_address(address), address);
    }
}
