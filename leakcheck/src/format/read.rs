//! Reading snapshot files.

use super::error::Kind;
use super::{Error, FORMAT_MAJOR, FORMAT_NAME};
use crate::model::Snapshot;
use serde::Deserialize;
use std::fs;
use std::path::Path;

#[derive(Deserialize)]
struct Envelope {
    format: Option<Version>,
}

#[derive(Deserialize)]
struct Version {
    name: String,
    major: u32,
}

/// Reads a snapshot file.
///
/// # Errors
///
/// When the file cannot be read, is no snapshot, is damaged, or comes from a newer major version.
pub fn read(path: &Path) -> Result<Snapshot, Error> {
    let bytes = fs::read(path).map_err(|source| Error::new(Kind::Io { doing: "read", source }).at(path))?;
    from_json(&bytes).map_err(|e| e.at(path))
}

/// Reads a snapshot from the text of its file.
///
/// # Errors
///
/// When the text is no snapshot, is damaged, or comes from a newer major version.
pub fn from_json(bytes: &[u8]) -> Result<Snapshot, Error> {
    // The version decides before the rest is looked at: a newer major may differ in anything else.
    let envelope: Envelope = serde_json::from_slice(bytes).map_err(|e| {
        let looks_like_ours = bytes.len() < 4096 || contains(&bytes[..4096], FORMAT_NAME.as_bytes());
        let starts_like_ours = looks_like_ours && contains(bytes, FORMAT_NAME.as_bytes());
        Error::new(if starts_like_ours && !e.is_data() { Kind::Damaged(e) } else { Kind::NotJson(e) })
    })?;
    let version = envelope.format.filter(|v| v.name == FORMAT_NAME).ok_or_else(|| Error::new(Kind::NotASnapshot))?;
    if version.major > FORMAT_MAJOR {
        return Err(Error::new(Kind::NewerMajor { found: version.major }));
    }
    let snapshot: Snapshot = serde_json::from_slice(bytes).map_err(|e| Error::new(Kind::Damaged(e)))?;
    check_references(&snapshot).map_err(|what| Error::new(Kind::Inconsistent(what)))?;
    Ok(snapshot)
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|w| w == needle)
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
