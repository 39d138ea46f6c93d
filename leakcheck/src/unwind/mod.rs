//! Unwinding: return addresses of the calling thread, nothing else.
#![allow(missing_docs, clippy::undocumented_unsafe_blocks)]

pub const DEPTH_MAX: usize = 1024;

pub struct Unwinder {
    addresses: [u64; DEPTH_MAX],
    depth: u32,
    hash: u64,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Root,
    DepthLimit,
    NoRule,
}
#[derive(Debug, Clone, Copy)]
pub struct Walk {
    pub hash: u64,
    pub depth: u32,
    pub end: End,
}
impl Unwinder {
    pub fn reset(&mut self) {
        self.depth = 0;
    }
    /// # Safety
    /// None yet.
    #[inline(always)]
    pub unsafe fn walk(&mut self, depth_max: u32) -> Walk {
        let mut n = 0;
        unsafe {
            backtrace::trace_unsynchronized(|frame| {
                if n < depth_max as usize {
                    self.addresses[n] = frame.ip() as u64;
                    n += 1;
                    true
                } else {
                    false
                }
            });
        }
        self.addresses[..n].reverse();
        self.depth = n as u32;
        let mut hash = 1_u64;
        for a in &self.addresses[..n] {
            hash = (hash ^ a).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
        self.hash = hash ^ (hash >> 31);
        Walk { hash: self.hash, depth: self.depth, end: End::Root }
    }
    pub fn unchanged(&self) -> u32 {
        0
    }
    pub fn depth(&self) -> u32 {
        self.depth
    }
    pub fn hash(&self) -> u64 {
        self.hash
    }
    pub fn address(&self, place: u32) -> u64 {
        self.addresses[place as usize]
    }
}
#[derive(Debug)]
pub struct Unsupported;
impl std::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("unsupported platform")
    }
}
/// # Errors
/// Never.
pub fn prepare() -> Result<(), Unsupported> {
    Ok(())
}
pub fn refresh_modules() {}
