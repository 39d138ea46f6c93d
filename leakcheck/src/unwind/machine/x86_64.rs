//! x86-64: the return address lies right below the CFA, put there by the call.

use core::arch::asm;

/// Bits of the addresses that memory is given at unless others are asked for.
pub(crate) const ADDRESS_BITS: u32 = 47;
/// Instructions begin at multiples of two to this power: anywhere.
pub(crate) const INSTRUCTION_ALIGN_LOG2: u32 = 0;

/// DWARF numbers of the registers that matter.
pub(crate) const BP: usize = 6;
pub(crate) const SP: usize = 7;
pub(crate) const RETURN_ADDRESS: usize = 16;
/// The general registers and the return address column.
pub(crate) const REGISTER_COUNT: usize = 17;
/// A call leaves the return address in no register.
pub(crate) const LINK: Option<usize> = None;
/// Nor does it sign it.
pub(crate) const SIGNS_RETURN_ADDRESSES: bool = false;

/// The code address in a word that holds a return address.
#[inline(always)]
pub(crate) const fn code_address(word: usize) -> usize {
    word
}

/// PC, SP and BP of the function this is called in.
#[inline(always)]
pub(crate) fn registers_here() -> (usize, usize, usize) {
    let (pc, sp, bp): (usize, usize, usize);
    // SAFETY: reads three registers and touches neither memory, stack nor flags.
    unsafe {
        asm!(
            "lea {pc}, [rip]",
            "mov {sp}, rsp",
            "mov {bp}, rbp",
            pc = out(reg) pc,
            sp = out(reg) sp,
            bp = out(reg) bp,
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
pub(crate) fn preserved_here() -> (usize, [(usize, usize); 7]) {
    let [pc, rbx, rbp, rsp, r12, r13, r14, r15]: [usize; 8];
    // SAFETY: reads registers and touches neither memory, stack nor flags.
    unsafe {
        asm!(
            "lea {pc}, [rip]",
            "mov {rsp}, rsp",
            "mov {rbp}, rbp",
            "mov {rbx}, rbx",
            pc = out(reg) pc,
            rsp = out(reg) rsp,
            rbp = out(reg) rbp,
            rbx = out(reg) rbx,
            out("r12") r12,
            out("r13") r13,
            out("r14") r14,
            out("r15") r15,
            options(nomem, nostack, preserves_flags),
        );
    }
    (pc, [(3, rbx), (BP, rbp), (SP, rsp), (12, r12), (13, r13), (14, r14), (15, r15)])
}

/// Compilers address frames by BP where they must, or are told to.
pub(crate) const BP_IS_FREQUENT: bool = false;

/// What a rule says of the saved BP and of the CFA, if there is a way to say it. All are bytes from the rule's base; BP unchanged is BP
/// saved in the place of the return address.
pub(crate) fn placing(cfa: usize, return_offset: usize, saved_offset: usize) -> Option<usize> {
    (saved_offset.is_multiple_of(8) && cfa == return_offset + 8).then_some(saved_offset / 8)
}

/// Bytes from the base to the slot of the saved BP.
#[inline(always)]
pub(crate) fn saved_offset(placing: usize, _return_offset: usize) -> usize {
    placing * 8
}

/// Whether the caller's SP is the slot of the return address plus its size.
pub(crate) const SP_FOLLOWS_SLOT: bool = true;

/// The SP of the caller: the CFA of a frame that was left.
#[inline(always)]
pub(crate) fn caller_sp(_placing: usize, _base: usize, slot: usize) -> usize {
    slot + 8
}

/// How far the caller's SP lies above the slot of the return address: always as far, so there is nothing to keep of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span;

impl Span {
    pub(crate) const NONE: Self = Self;

    #[inline(always)]
    pub(crate) fn of(_placing: usize, _return_offset: usize) -> Self {
        Self
    }

    /// What it adds to a hash of where a frame lies.
    #[inline(always)]
    pub(crate) const fn term(self) -> u64 {
        0
    }
}

/// Where the kernel's signal frame keeps the interrupted registers, in bytes above SP in the trampoline.
pub(crate) mod signal_frame {
    pub(crate) const BP: usize = 120;
    pub(crate) const SP: usize = 160;
    pub(crate) const PC: usize = 168;
}

/// The trampoline is libc's, which has unwind tables.
pub(crate) const TRAMPOLINE: Option<super::Trampoline> = None;

/// Calls the kernel. Leaves `errno` alone.
///
/// # Safety
/// As the system call says.
pub(crate) unsafe fn system_call(number: libc::c_long, arguments: [usize; 4]) -> isize {
    let result;
    // SAFETY: by this function's contract; the kernel clobbers rcx and r11 as declared.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") arguments[3],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// The thread control block, which libc puts at the top of a thread's stack.
pub(crate) fn thread_pointer() -> usize {
    let pointer;
    // SAFETY: the TLS ABI: fs:0 holds the address of the block, in every thread that libc started.
    unsafe { asm!("mov {}, fs:0", out(reg) pointer, options(nostack, preserves_flags, readonly)) };
    pointer
}
