//! Unwinding: return addresses of the calling thread, nothing else.
//!
//! Called from inside an allocator hook on every recorded allocation, so a walk never allocates, locks, parks or panics, and costs
//! little where little of the stack changed. On Linux with glibc, x86-64 and AArch64 (`machine`): unwind tables compiled into one word per code address
//! (`cfi`, `rules`), walked only as far as the stack differs from this thread's previous walk (`walk`). Elsewhere: the
//! `backtrace` crate (`portable`).
//!
//! Deliberately not here: names, files, lines, modules' paths, sites, counters of blocks. Addresses in, addresses out.

mod frames;
mod machine;
mod self_test;

#[cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod cfi;
#[cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod glance;
#[cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod keep;
#[cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod layouts;
#[cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod modules;
#[cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod reference;
#[cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod rules;
#[cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod slow_step;
#[cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod stack_bounds;
#[cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod unloadable;
#[cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod walk;

// Compiled for tests everywhere, so that it cannot rot.
#[cfg(any(
    test,
    not(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))
))]
#[cfg_attr(test, allow(dead_code, unreachable_pub, reason = "only its tests use it where it is not chosen"))]
mod portable;

#[cfg(not(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64"))))]
use portable as walk;

pub use frames::{End, Frame, Frames, Glanced, Walk, Way};
pub(crate) use machine::ADDRESS_BITS;
pub use self_test::Unsupported;
pub use walk::{DEPTH_MAX, Registers, Unwinder, refresh_modules, rules_compiled};
pub(crate) use walk::{note_permanent_modules, top_of_thread};

/// What one thread's walks met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Walks by their [`End`], in the order of [`End::ALL`].
    pub ends: [u64; End::COUNT],
    /// Frames that no compiled rule served: signal frames, foreign stacks, rare unwind rows, and the end of each whole walk.
    pub slow_steps: u64,
}

/// Finds modules and stack limits, and proves on a known stack that walks are right. Once, before the first walk, outside the hook:
/// it takes the loader's lock.
///
/// # Errors
/// Says why stacks of this program cannot be walked.
pub fn prepare() -> Result<(), Unsupported> {
    walk::prepare();
    self_test::run()
}
