//! What the kernel says of this process's memory.

use std::fs;

/// Resident bytes now.
#[must_use]
pub fn now_bytes() -> u64 {
    field_bytes("VmRSS:")
}

/// The highest resident bytes so far.
#[must_use]
pub fn peak_bytes() -> u64 {
    field_bytes("VmHWM:")
}

fn field_bytes(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let kib: Option<u64> = line.split_whitespace().next().and_then(|number| number.parse().ok());
    kib.unwrap_or(0) * 1024
}
