//! x86-64, in the Intel notation.

use super::{Call, Entry, Frame};
use std::arch::{asm, global_asm};
use std::ffi::c_void;

global_asm!(
    // Calls rdx(rdi, rsi) twice, the second time 16 bytes further down. Where the callee aligns its stack, all inner frames lie in the
    // same places both times, and the old return address still lies where it was.
    ".globl call_twice",
    ".hidden call_twice",
    ".type call_twice, @function",
    "call_twice:",
    ".cfi_startproc",
    "sub rsp, 88",
    ".cfi_adjust_cfa_offset 88",
    "mov [rsp + 64], rdi",
    "mov [rsp + 72], rsi",
    "mov [rsp + 80], rdx",
    "call rdx",
    "mov rdi, [rsp + 64]",
    "mov rsi, [rsp + 72]",
    "mov rdx, [rsp + 80]",
    "sub rsp, 16",
    ".cfi_adjust_cfa_offset 16",
    "call rdx",
    "add rsp, 104",
    ".cfi_adjust_cfa_offset -104",
    "ret",
    ".cfi_endproc",
    ".size call_twice, . - call_twice",
);

global_asm!(
    // tgkill(rdi, rsi, SIGIO), with nothing between it and its caller.
    ".globl signal_here",
    ".hidden signal_here",
    ".type signal_here, @function",
    "signal_here:",
    ".cfi_startproc",
    "mov edx, 29",
    "mov eax, 234",
    "syscall",
    "ret",
    ".cfi_endproc",
    ".size signal_here, . - signal_here",
);

global_asm!(
    // GCC's realigned stack: the CFA is in memory.
    ".globl realigned_frame",
    ".hidden realigned_frame",
    ".type realigned_frame, @function",
    "realigned_frame:",
    ".cfi_startproc",
    "lea r10, [rsp + 8]",
    ".cfi_def_cfa r10, 0",
    "and rsp, -64",
    "push qword ptr [r10 - 8]",
    "push rbp",
    "mov rbp, rsp",
    ".cfi_escape 0x10, 0x06, 0x02, 0x76, 0x00", // rbp: at the address rbp + 0
    "push r10",
    ".cfi_escape 0x0f, 0x03, 0x76, 0x78, 0x06", // CFA: the word at rbp - 8
    "sub rsp, 104",
    "mov rax, rdi",
    "mov rdi, rsi",
    "call rax",
    "add rsp, 104",
    "pop r10",
    ".cfi_def_cfa r10, 0",
    "pop rbp",
    "lea rsp, [r10 - 8]",
    ".cfi_def_cfa rsp, 8",
    "ret",
    ".cfi_endproc",
    ".size realigned_frame, . - realigned_frame",
    // As the loader's lazy binding does: the frame is addressed by RBX.
    ".globl rbx_frame",
    ".hidden rbx_frame",
    ".type rbx_frame, @function",
    "rbx_frame:",
    ".cfi_startproc",
    "push rbx",
    ".cfi_adjust_cfa_offset 8",
    ".cfi_rel_offset rbx, 0",
    "mov rbx, rsp",
    ".cfi_def_cfa_register rbx",
    "and rsp, -64",
    "mov rax, rdi",
    "mov rdi, rsi",
    "call rax",
    "mov rsp, rbx",
    ".cfi_def_cfa_register rsp",
    "pop rbx",
    ".cfi_adjust_cfa_offset -8",
    ".cfi_restore rbx",
    "ret",
    ".cfi_endproc",
    ".size rbx_frame, . - rbx_frame",
    // As cryptographic assembly does: the CFA is in memory above SP, plus a constant.
    ".globl sp_memory_frame",
    ".hidden sp_memory_frame",
    ".type sp_memory_frame, @function",
    "sp_memory_frame:",
    ".cfi_startproc",
    "mov rax, rsp",
    "sub rsp, 88",
    "and rsp, -32",
    "mov [rsp + 24], rax",
    ".cfi_escape 0x0f, 0x05, 0x77, 0x18, 0x06, 0x23, 0x08", // CFA: the word at rsp + 24, plus 8
    "mov rax, rdi",
    "mov rdi, rsi",
    "call rax",
    "mov rsp, [rsp + 24]",
    ".cfi_def_cfa rsp, 8",
    "ret",
    ".cfi_endproc",
    ".size sp_memory_frame, . - sp_memory_frame",
);

unsafe extern "C" {
    /// Calls `callee(a, b)` twice.
    pub(crate) fn call_twice(a: usize, b: usize, callee: *const ());
    /// Sends SIGIO to a thread.
    pub(crate) fn signal_here(process: usize, thread: usize);
    fn realigned_frame(call: Call, argument: *mut c_void);
    fn rbx_frame(call: Call, argument: *mut c_void);
    fn sp_memory_frame(call: Call, argument: *mut c_void);
}

/// Frames as GCC and hand-written assembly make them. Each calls its first argument with the second.
pub(crate) const FRAMES: &[Frame] = &[realigned_frame, rbx_frame, sp_memory_frame];

/// Calls `enter(argument)` on the stack that ends at `top`.
///
/// # Safety
/// The stack is large enough and aligned to 16 bytes, and `enter` returns.
#[inline(always)]
pub(crate) unsafe fn call_on(top: *mut c_void, enter: Entry, argument: *mut c_void) {
    // SAFETY: by this function's contract; the old stack is restored from a callee-saved register.
    unsafe {
        asm!(
            "mov r12, rsp",
            "mov rsp, {top}",
            "call {enter}",
            "mov rsp, r12",
            top = in(reg) top,
            enter = in(reg) enter,
            in("rdi") argument,
            out("r12") _,
            clobber_abi("C"),
        );
    }
}
