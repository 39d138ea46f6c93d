//! What the kernel says of the memory of this process, and of another one.

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

/// Resident bytes of another process now, 0 when there is none of this id.
#[must_use]
pub fn bytes_of(pid: u32) -> u64 {
    field_of(&format!("/proc/{pid}/status"), "VmRSS:")
}

fn field_bytes(name: &str) -> u64 {
    field_of("/proc/self/status", name)
}

fn field_of(status: &str, name: &str) -> u64 {
    let status = fs::read_to_string(status).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let kib: Option<u64> = line.split_whitespace().next().and_then(|number| number.parse().ok());
    kib.unwrap_or(0) * 1024
}
