//! Unwinding: the return addresses of the calling thread, nothing else.
//!
//! Called from inside the allocator hook, so it never allocates, locks, parks or panics, and reads only memory that is
//! known to be stack. It knows no names and no model.
//!
//! On x86-64 Linux, `walk` reads the call-frame information that compilers put into every program (no frame pointers
//! needed), compiles it to small rules once per code address (`cfi`, `rules`), and walks only the frames that
//! changed since the thread's previous walk. Elsewhere `portable` asks the `backtrace` crate for every frame.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod cfi;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod modules;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod portable;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod rules;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod stack;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod walk;

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub use portable::{Unwinder, prepare, refresh_modules};
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub use walk::{Unwinder, prepare, refresh_modules};

use std::fmt;

/// Frames a walk can return at most; of deeper stacks the outer frames are dropped.
pub const DEPTH_MAX: usize = 1024;

/// What a walk found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walk {
    /// Hash of the return addresses: equal for equal stacks, whatever was walked before.
    pub hash: u64,
    /// Number of frames.
    pub depth: u32,
    /// Why the walk ended.
    pub end: End,
}

/// Why a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum End {
    /// At the outermost frame of the thread.
    Root,
    /// At the depth limit.
    DepthLimit,
    /// At code without unwind information, or with a kind of it that is not supported.
    NoRule,
    /// At a frame that does not lie in the stack.
    BadStack,
}

/// Why stacks cannot be taken in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsupported {
    /// The self-test's stack did not lead back to where it began.
    SelfTest,
    /// The list of loaded modules could not be kept.
    OutOfMemory,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SelfTest => {
                "the program was built without unwind tables (-C force-unwind-tables=no?); build it with them"
            }
            Self::OutOfMemory => "the kernel gives no memory for the list of modules",
        })
    }
}

/// Adds a return address to the running hash of a stack, outermost frame first: the folded 128-bit product (as in
/// wyhash, Wang Yi).
#[inline(always)]
pub(crate) fn extend_hash(hash: u64, return_address: u64) -> u64 {
    let product = u128::from(hash ^ return_address) * 0x9e37_79b9_7f4a_7c15;
    (product as u64) ^ ((product >> 64) as u64)
}

/// The hash of an empty stack.
pub(crate) const EMPTY_HASH: u64 = 0x2d35_8dcc_aa6c_78a5;
