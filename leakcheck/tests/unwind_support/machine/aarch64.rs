//! AArch64.

use super::{Call, Entry, Frame};
use std::arch::{asm, global_asm};
use std::ffi::c_void;

global_asm!(
    // Calls x2(x0, x1) twice, the second time 16 bytes further down. Where the callee aligns its stack, all inner frames lie in the
    // same places both times, and the old return address still lies where it was.
    ".globl call_twice",
    ".hidden call_twice",
    ".type call_twice, %function",
    "call_twice:",
    ".cfi_startproc",
    "stp x29, x30, [sp, #-48]!",
    ".cfi_def_cfa_offset 48",
    ".cfi_offset x29, -48",
    ".cfi_offset x30, -40",
    "stp x0, x1, [sp, #16]",
    "str x2, [sp, #32]",
    "blr x2",
    "ldp x0, x1, [sp, #16]",
    "ldr x2, [sp, #32]",
    "sub sp, sp, #16",
    ".cfi_def_cfa_offset 64",
    "blr x2",
    "add sp, sp, #16",
    ".cfi_def_cfa_offset 48",
    "ldp x29, x30, [sp], #48",
    ".cfi_def_cfa_offset 0",
    ".cfi_restore x29",
    ".cfi_restore x30",
    "ret",
    ".cfi_endproc",
    ".size call_twice, . - call_twice",
    // tgkill(x0, x1, SIGIO), with nothing between it and its caller: its return address is in x30 only.
    ".globl signal_here",
    ".hidden signal_here",
    ".type signal_here, %function",
    "signal_here:",
    ".cfi_startproc",
    "mov x2, #29",
    "mov x8, #131",
    "svc #0",
    "ret",
    ".cfi_endproc",
    ".size signal_here, . - signal_here",
);

/// A function of this name, with its prologue, a call of x0(x1), and its epilogue.
macro_rules! frame {
    ($name:literal, [$($prologue:literal),* $(,)?], [$($epilogue:literal),* $(,)?]) => {
        global_asm!(
            concat!(".globl ", $name),
            concat!(".hidden ", $name),
            concat!(".type ", $name, ", %function"),
            concat!($name, ":"),
            ".cfi_startproc",
            $($prologue,)*
            "mov x9, x0",
            "mov x0, x1",
            "blr x9",
            $($epilogue,)*
            "ret",
            ".cfi_endproc",
            concat!(".size ", $name, ", . - ", $name),
        );
    };
}

// As GCC does: the frame record lies at the bottom.
frame!(
    "record_at_bottom",
    [
        "stp x29, x30, [sp, #-96]!",
        ".cfi_def_cfa_offset 96",
        ".cfi_offset x29, -96",
        ".cfi_offset x30, -88",
        "mov x29, sp",
    ],
    ["ldp x29, x30, [sp], #96", ".cfi_def_cfa_offset 0"]
);
// As LLVM does where the size of a frame is known at run time only.
frame!(
    "addressed_by_x29",
    [
        "stp x29, x30, [sp, #-32]!",
        ".cfi_def_cfa_offset 32",
        ".cfi_offset x29, -32",
        ".cfi_offset x30, -24",
        "mov x29, sp",
        ".cfi_def_cfa x29, 32",
        "sub sp, sp, #80",
    ],
    ["mov sp, x29", ".cfi_def_cfa sp, 32", "ldp x29, x30, [sp], #32", ".cfi_def_cfa_offset 0"]
);
// Without a frame record.
frame!(
    "x29_unchanged",
    ["str x30, [sp, #-16]!", ".cfi_def_cfa_offset 16", ".cfi_offset x30, -16"],
    ["ldr x30, [sp], #16", ".cfi_def_cfa_offset 0"]
);
// x29 is a number to this one, and not saved where a frame record has it.
frame!(
    "x29_is_a_number",
    [
        "stp x30, x29, [sp, #-32]!",
        ".cfi_def_cfa_offset 32",
        ".cfi_offset x30, -32",
        ".cfi_offset x29, -24",
        "mov x29, #7",
    ],
    ["ldp x30, x29, [sp], #32", ".cfi_def_cfa_offset 0"]
);
frame!(
    "addressed_by_x19",
    [
        "stp x19, x30, [sp, #-32]!",
        ".cfi_def_cfa_offset 32",
        ".cfi_offset x19, -32",
        ".cfi_offset x30, -24",
        "mov x19, sp",
        ".cfi_def_cfa x19, 32",
        "sub sp, sp, #96",
    ],
    ["mov sp, x19", ".cfi_def_cfa sp, 32", "ldp x19, x30, [sp], #32", ".cfi_def_cfa_offset 0"]
);
// The CFA is in memory above SP, plus a constant.
frame!(
    "cfa_in_memory",
    [
        "stp x29, x30, [sp, #-16]!",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset x29, -16",
        ".cfi_offset x30, -8",
        "mov x9, sp",
        "sub sp, sp, #96",
        "str x9, [sp, #24]",
        ".cfi_escape 0x0f, 0x05, 0x8f, 0x18, 0x06, 0x23, 0x10", // CFA: the word at sp + 24, plus 16
    ],
    ["ldr x9, [sp, #24]", "mov sp, x9", ".cfi_def_cfa sp, 16", "ldp x29, x30, [sp], #16", ".cfi_def_cfa_offset 0"]
);
// As code that was outlined does: the return address is in a register.
frame!(
    "link_in_x20",
    [
        "stp x29, x20, [sp, #-16]!",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset x29, -16",
        ".cfi_offset x20, -8",
        "mov x20, x30",
        ".cfi_register x30, x20",
    ],
    ["mov x30, x20", ".cfi_register x30, x30", "ldp x29, x20, [sp], #16", ".cfi_def_cfa_offset 0", ".cfi_restore x20"]
);
// The return address is signed, where the processor does that: PACIASP and AUTIASP by their hint numbers.
frame!(
    "signed_frame",
    [
        "hint #25",
        ".cfi_negate_ra_state",
        "stp x29, x30, [sp, #-32]!",
        ".cfi_def_cfa_offset 32",
        ".cfi_offset x29, -32",
        ".cfi_offset x30, -24",
    ],
    ["ldp x29, x30, [sp], #32", ".cfi_def_cfa_offset 0", "hint #29", ".cfi_negate_ra_state"]
);

global_asm!(
    // Calls x0(x1) twice by way of one call instruction, from frames of which the second is 16 bytes further down. What they call has its
    // return address in one place both times, by having frames of two sizes, and the older return addresses still lie where they were.
    ".globl slots_coincide",
    ".hidden slots_coincide",
    ".type slots_coincide, %function",
    "slots_coincide:",
    ".cfi_startproc",
    "stp x29, x30, [sp, #-32]!",
    ".cfi_def_cfa_offset 32",
    ".cfi_offset x29, -32",
    ".cfi_offset x30, -24",
    "stp x0, x1, [sp, #16]",
    "adr x2, 2f",
    "bl 1f",
    "ldp x0, x1, [sp, #16]",
    "sub sp, sp, #16",
    ".cfi_def_cfa_offset 48",
    "adr x2, 3f",
    "bl 1f",
    "add sp, sp, #16",
    ".cfi_def_cfa_offset 32",
    "ldp x29, x30, [sp], #32",
    ".cfi_def_cfa_offset 0",
    "ret",
    ".cfi_endproc",
    "1:",
    ".cfi_startproc",
    "stp x29, x30, [sp, #-64]!",
    ".cfi_def_cfa_offset 64",
    ".cfi_offset x29, -64",
    ".cfi_offset x30, -56",
    "blr x2",
    "ldp x29, x30, [sp], #64",
    ".cfi_def_cfa_offset 0",
    "ret",
    ".cfi_endproc",
    "2:",
    ".cfi_startproc",
    "stp x29, x30, [sp, #-32]!",
    ".cfi_def_cfa_offset 32",
    ".cfi_offset x29, -32",
    ".cfi_offset x30, -24",
    "mov x9, x0",
    "mov x0, x1",
    "blr x9",
    "ldp x29, x30, [sp], #32",
    ".cfi_def_cfa_offset 0",
    "ret",
    ".cfi_endproc",
    "3:",
    ".cfi_startproc",
    "stp x29, x30, [sp, #-16]!",
    ".cfi_def_cfa_offset 16",
    ".cfi_offset x29, -16",
    ".cfi_offset x30, -8",
    "mov x9, x0",
    "mov x0, x1",
    "blr x9",
    "ldp x29, x30, [sp], #16",
    ".cfi_def_cfa_offset 0",
    "ret",
    ".cfi_endproc",
    ".size slots_coincide, . - slots_coincide",
);

unsafe extern "C" {
    /// Calls `callee(a, b)` twice.
    pub(crate) fn call_twice(a: usize, b: usize, callee: *const ());
    /// Sends SIGIO to a thread.
    pub(crate) fn signal_here(process: usize, thread: usize);
    fn record_at_bottom(call: Call, argument: *mut c_void);
    fn addressed_by_x29(call: Call, argument: *mut c_void);
    fn x29_unchanged(call: Call, argument: *mut c_void);
    fn x29_is_a_number(call: Call, argument: *mut c_void);
    fn addressed_by_x19(call: Call, argument: *mut c_void);
    fn cfa_in_memory(call: Call, argument: *mut c_void);
    fn link_in_x20(call: Call, argument: *mut c_void);
    fn signed_frame(call: Call, argument: *mut c_void);
    fn slots_coincide(call: Call, argument: *mut c_void);
}

/// Frames as compilers and hand-written assembly make them. Each calls its first argument with the second.
pub(crate) const FRAMES: &[Frame] = &[
    record_at_bottom,
    addressed_by_x29,
    x29_unchanged,
    x29_is_a_number,
    addressed_by_x19,
    cfa_in_memory,
    link_in_x20,
    signed_frame,
    slots_coincide,
];

/// Calls `enter(argument)` on the stack that ends at `top`.
///
/// # Safety
/// The stack is large enough and aligned to 16 bytes, and `enter` returns.
#[inline(always)]
pub(crate) unsafe fn call_on(top: *mut c_void, enter: Entry, argument: *mut c_void) {
    // SAFETY: by this function's contract; the old stack is restored from a callee-saved register.
    unsafe {
        asm!(
            "mov x20, sp",
            "mov sp, {top}",
            "blr {enter}",
            "mov sp, x20",
            top = in(reg) top,
            enter = in(reg) enter,
            in("x0") argument,
            out("x20") _,
            clobber_abi("C"),
        );
    }
}
