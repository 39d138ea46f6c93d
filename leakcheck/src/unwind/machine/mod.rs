//! What differs from machine to machine: registers, where a frame's words lie, the kernel's signal frame, system calls.
//!
//! One file a machine, with the same names in each; `other` is for those where the `backtrace` crate walks, and so has only what is
//! asked there, too. Deliberately not here: the walk, which is one for all.

#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "aarch64"))]
mod aarch64;
#[cfg(not(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod other;
#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
mod x86_64;

#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "aarch64"))]
pub(crate) use aarch64::*;
#[cfg(not(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64"))))]
pub(crate) use other::*;
#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
pub(crate) use x86_64::*;

/// The kernel's signal trampoline, where no unwind table covers it.
#[cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
#[derive(Clone, Copy)]
pub(crate) struct Trampoline {
    /// Its instructions.
    pub(crate) code: usize,
    /// Bytes above SP to the interrupted registers, which lie in the order of their numbers.
    pub(crate) registers: usize,
}
