//! Reading snapshot files.

use super::error::Kind;
use super::{Error, FORMAT_MAJOR, FORMAT_NAME};
use crate::model::{Counters, Process, Recording, Resident, Snapshot};
use serde::Deserialize;
use std::fs;
use std::path::Path;

/// How much of a file [`is_snapshot`] needs to see.
pub const SNIFF_BYTES: usize = 4096;

#[derive(Deserialize)]
struct Envelope {
    format: Option<Version>,
}

#[derive(Deserialize)]
struct Version {
    name: String,
    major: u32,
}

/// What a snapshot says before its sites: enough to sort files into series without keeping them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Header {
    /// The process it was taken of.
    pub process: Process,
    /// How it was recorded.
    pub recording: Recording,
    /// Number of the snapshot in its recording.
    pub sequence: u64,
    /// Milliseconds since the recording began.
    pub elapsed_ms: u64,
    /// The sum of all sites.
    pub totals: Counters,
    /// What the kernel says of the process's memory.
    #[serde(default)]
    pub resident: Option<Resident>,
}

/// Reads a snapshot file.
///
/// # Errors
///
/// When the file cannot be read, is no snapshot, is damaged, or comes from a newer major version.
pub fn read(path: &Path) -> Result<Snapshot, Error> {
    from_json(&bytes_of(path)?).map_err(|e| e.at(path))
}

/// Reads a snapshot from the text of its file.
///
/// # Errors
///
/// When the text is no snapshot, is damaged, or comes from a newer major version.
pub fn from_json(bytes: &[u8]) -> Result<Snapshot, Error> {
    check_version(bytes)?;
    let snapshot: Snapshot = serde_json::from_slice(bytes).map_err(|e| Error::new(Kind::Damaged(e)))?;
    check_references(&snapshot).map_err(|what| Error::new(Kind::Inconsistent(what)))?;
    Ok(snapshot)
}

/// Reads the header of a snapshot file. The whole file is looked through, so one that was cut short is found here.
///
/// # Errors
///
/// When the file cannot be read, is no snapshot, is damaged, or comes from a newer major version. References between
/// its tables are checked by [`read`] only.
pub fn read_header(path: &Path) -> Result<Header, Error> {
    let bytes = bytes_of(path)?;
    let header = || {
        check_version(&bytes)?;
        serde_json::from_slice(&bytes).map_err(|e| Error::new(Kind::Damaged(e)))
    };
    header().map_err(|e: Error| e.at(path))
}

/// Whether a file that starts with these bytes (the first [`SNIFF_BYTES`] are enough) claims to be a snapshot of any
/// version, whole or not.
#[must_use]
pub fn is_snapshot(start: &[u8]) -> bool {
    let start = &start[..start.len().min(SNIFF_BYTES)];
    start.windows(FORMAT_NAME.len()).any(|window| window == FORMAT_NAME.as_bytes())
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::new(Kind::Io { doing: "read", source }).at(path))
}

/// The version decides before the rest is looked at: a newer major may differ in anything else.
fn check_version(bytes: &[u8]) -> Result<(), Error> {
    let envelope: Envelope = serde_json::from_slice(bytes).map_err(|e| {
        Error::new(if is_snapshot(bytes) {
            Kind::Damaged(e)
        } else if e.is_data() {
            Kind::NotASnapshot
        } else {
            Kind::NotJson(e)
        })
    })?;
    let version = envelope.format.filter(|v| v.name == FORMAT_NAME).ok_or_else(|| Error::new(Kind::NotASnapshot))?;
    if version.major > FORMAT_MAJOR {
        return Err(Error::new(Kind::NewerMajor { found: version.major }));
    }
    Ok(())
}

/// Every number that refers to a table must lie inside it, and parents must stand before their children.
fn check_references(s: &Snapshot) -> Result<(), String> {
    for (place, frame) in s.frames.iter().enumerate() {
        if frame.module.is_some_and(|m| m.index() >= s.modules.len()) {
            return Err(format!("frame {place} names a module that is not there"));
        }
    }
    for (place, node) in s.stacks.iter().enumerate() {
        if node.frame.index() >= s.frames.len() {
            return Err(format!("stack {place} names a frame that is not there"));
        }
        if node.parent.is_some_and(|p| p.index() >= place) {
            return Err(format!("stack {place} stands before its caller"));
        }
    }
    for site in &s.sites {
        let id = site.id.0;
        if site.stack.is_some_and(|x| x.index() >= s.stacks.len()) {
            return Err(format!("site {id} names a stack that is not there"));
        }
        if site.scope.is_some_and(|x| x.index() >= s.scopes.len()) {
            return Err(format!("site {id} names a scope that is not there"));
        }
        if site.threads.iter().any(|x| x.index() >= s.threads.len()) {
            return Err(format!("site {id} names a thread that is not there"));
        }
    }
    Ok(())
}
