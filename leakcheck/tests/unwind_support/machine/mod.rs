//! What the unwinder's tests have in assembly, one file a machine, with the same names in each.

use std::ffi::c_void;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
#[allow(unused_imports, reason = "each test program uses its part")]
pub(crate) use aarch64::*;
#[cfg(target_arch = "x86_64")]
#[allow(unused_imports, reason = "each test program uses its part")]
pub(crate) use x86_64::*;

/// What a [`Frame`] calls.
pub(crate) type Call = extern "C" fn(*mut c_void);

/// A function that calls its first argument with the second.
pub(crate) type Frame = unsafe extern "C" fn(Call, *mut c_void);

/// Where a stack of its own begins.
pub(crate) type Entry = extern "C" fn(*mut c_void);
