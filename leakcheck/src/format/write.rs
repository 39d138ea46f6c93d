//! Writing snapshot files, so that a kill at any moment leaves only whole ones.

use super::error::Kind;
use super::{Error, FORMAT_MAJOR, FORMAT_MINOR, FORMAT_NAME};
use crate::model::Snapshot;
use serde::Serialize;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

#[derive(Serialize)]
struct Document<'a> {
    format: Version,
    #[serde(flatten)]
    snapshot: &'a Snapshot,
}

#[derive(Serialize)]
struct Version {
    name: &'static str,
    major: u32,
    minor: u32,
}

const fn document(snapshot: &Snapshot) -> Document<'_> {
    Document { format: Version { name: FORMAT_NAME, major: FORMAT_MAJOR, minor: FORMAT_MINOR }, snapshot }
}

/// The text of a snapshot file.
#[must_use]
pub fn to_json(snapshot: &Snapshot) -> String {
    serde_json::to_string(&document(snapshot)).expect("the model has only string keys and finite numbers")
}

/// Writes a snapshot to `path`: to a temporary name beside it, synced, then renamed. An existing file is replaced.
///
/// # Errors
///
/// When the file system refuses. The temporary file is removed and `path` is as it was.
pub fn write(path: &Path, snapshot: &Snapshot) -> Result<(), Error> {
    replace(path, |temporary| create(temporary, snapshot)?.sync_all())
}

/// The same, without waiting for the disk.
pub(super) fn write_unsynced(path: &Path, snapshot: &Snapshot) -> Result<(), Error> {
    replace(path, |temporary| create(temporary, snapshot).map(drop))
}

fn replace(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), Error> {
    let temporary = path.with_extension("json.partial");
    let written = write(&temporary).and_then(|()| fs::rename(&temporary, path));
    written.map_err(|source| {
        // Best effort: the first error is the one to report.
        let _ = fs::remove_file(&temporary);
        Error::new(Kind::Io { doing: "write", source }).at(path)
    })
}

/// Writes a snapshot as one line, as it is in a file.
///
/// # Errors
///
/// When `out` refuses.
pub fn write_to(out: &mut impl Write, snapshot: &Snapshot) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &document(snapshot))?;
    out.write_all(b"\n")
}

fn create(path: &Path, snapshot: &Snapshot) -> io::Result<File> {
    let mut out = BufWriter::new(File::create(path)?);
    write_to(&mut out, snapshot)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)
}
