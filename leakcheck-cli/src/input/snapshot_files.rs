//! Snapshot files: one by one, from folders, and by glob patterns.
//!
//! What a file is, is decided by its content. Names matter in one place only: a folder may hold other files too, and a
//! file there that is named like a snapshot but cannot be read is an error, not something to skip.

use super::symbols::Symbols;
use crate::error::Error;
use leakcheck::format::{self, Header};
use leakcheck::model::{Series, Snapshot};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Series read from files.
pub(crate) struct Loaded {
    /// One per recorded process, in order of their beginnings; never empty.
    pub(crate) series: Vec<Series>,
    /// What was left out and why, for the user.
    pub(crate) notes: Vec<String>,
}

/// Reads one snapshot.
pub(crate) fn load_snapshot(path: &Path) -> Result<Snapshot, Error> {
    if path.is_dir() {
        return Err(Error::new(format!("read {}: it is a folder; name one snapshot file in it", path.display())));
    }
    let mut snapshot = format::read(path)?;
    Symbols::default().fill_in(&mut snapshot);
    Ok(snapshot)
}

/// Reads the series in folders, files and glob patterns. Only one snapshot is held at a time.
pub(crate) fn load_series(arguments: &[PathBuf]) -> Result<Loaded, Error> {
    let mut notes = Vec::new();
    let mut files: Vec<(Header, PathBuf)> = Vec::new();
    for path in expand(arguments, &mut notes)? {
        match format::read_header(&path) {
            Ok(header) => files.push((header, path)),
            // A recorder that still runs thins out its older files.
            Err(e) if e.is_not_found() && !arguments.contains(&path) => {}
            Err(e) => return Err(Error::from(e)),
        }
    }
    files.sort_by_key(|(header, _)| (header.recording.started_unix_ms, header.process.pid, header.sequence));
    let mut series: Vec<Series> = Vec::new();
    let mut symbols = Symbols::default();
    for (_, path) in files {
        let mut snapshot = match format::read(&path) {
            Err(e) if e.is_not_found() => continue,
            other => other?,
        };
        symbols.fill_in(&mut snapshot);
        match series.iter_mut().rev().find(|series| series.accepts(&snapshot)) {
            None => series.push(Series::new(&snapshot)),
            Some(series) if series.moments.last().is_some_and(|last| last.sequence == snapshot.sequence) => {
                notes.push(format!("left out {}: snapshot {} was read already", path.display(), snapshot.sequence));
            }
            Some(series) => series.push(&snapshot),
        }
    }
    if series.is_empty() {
        return Err(Error::new("read any snapshot: all files have gone meanwhile"));
    }
    Ok(Loaded { series, notes })
}

/// The snapshot files of a folder, sorted by name.
pub(crate) fn snapshot_files_in(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    Ok(look_through(folder)?.snapshots)
}

/// The header of the newest snapshot among `files`; best effort, for progress only.
pub(crate) fn latest_header(files: &[PathBuf]) -> Option<Header> {
    let newest = files.iter().max_by_key(|path| fs::metadata(path).and_then(|data| data.modified()).ok())?;
    format::read_header(newest).ok()
}

/// The files that arguments stand for, each once, in order.
fn expand(arguments: &[PathBuf], notes: &mut Vec<String>) -> Result<Vec<PathBuf>, Error> {
    let mut files: Vec<PathBuf> = Vec::new();
    for argument in arguments {
        if argument.is_dir() {
            files.extend(folder(argument, notes)?);
        } else if argument.exists() || !is_pattern(argument) {
            files.push(argument.clone());
        } else {
            files.extend(pattern(argument, notes)?);
        }
    }
    let mut seen = std::collections::HashSet::new();
    files.retain(|file| seen.insert(fs::canonicalize(file).unwrap_or_else(|_| file.clone())));
    Ok(files)
}

fn is_pattern(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.contains(['*', '?', '[']))
}

fn pattern(argument: &Path, notes: &mut Vec<String>) -> Result<Vec<PathBuf>, Error> {
    let shown = argument.display();
    let matches = glob::glob(&argument.to_string_lossy())
        .map_err(|e| Error::because(format!("understand the pattern {shown}"), e))?;
    let mut files = Vec::new();
    for found in matches {
        let path = found.map_err(|e| Error::because(format!("look through {shown}"), e))?;
        if path.is_dir() {
            files.extend(folder(&path, notes)?);
        } else if !is_unfinished(&path) {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Error::new(format!("read {shown}: no file matches this pattern")));
    }
    Ok(files)
}

fn folder(path: &Path, notes: &mut Vec<String>) -> Result<Vec<PathBuf>, Error> {
    let found = look_through(path)?;
    let shown = path.display();
    for other in &found.others {
        if other.extension().is_some_and(|extension| extension == "json") {
            notes.push(format!("left out {}: not a leakcheck snapshot", other.display()));
        }
    }
    if !found.snapshots.is_empty() {
        return Ok(found.snapshots);
    }
    for below in &found.folders {
        if look_through(below).is_ok_and(|below| !below.snapshots.is_empty()) {
            let cure = below.display();
            return Err(Error::new(format!(
                "read {shown}: there are no snapshots in this folder itself, but in folders below it; name one of \
                 them, such as {cure}"
            )));
        }
    }
    Err(Error::new(format!(
        "read {shown}: there are no snapshots in this folder; record some with `leakcheck run --out {shown} -- PROGRAM`"
    )))
}

#[derive(Default)]
struct Folder {
    snapshots: Vec<PathBuf>,
    others: Vec<PathBuf>,
    folders: Vec<PathBuf>,
}

fn look_through(folder: &Path) -> Result<Folder, Error> {
    let refused = |e| Error::because(format!("read the folder {}", folder.display()), e);
    let mut found = Folder::default();
    for entry in fs::read_dir(folder).map_err(refused)? {
        let path = entry.map_err(refused)?.path();
        if is_hidden(&path) || is_unfinished(&path) {
            continue;
        }
        if path.is_dir() {
            found.folders.push(path);
        } else if is_named_like_a_snapshot(&path) || starts_like_a_snapshot(&path) {
            found.snapshots.push(path);
        } else {
            found.others.push(path);
        }
    }
    for list in [&mut found.snapshots, &mut found.others, &mut found.folders] {
        list.sort();
    }
    Ok(found)
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Written to at this moment, or left behind by a process that was killed while writing.
fn is_unfinished(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "partial")
}

/// `leakcheck-<pid>-<sequence>.json`
fn is_named_like_a_snapshot(path: &Path) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    path.file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.strip_prefix("leakcheck-")?.strip_suffix(".json")?.split_once('-'))
        .is_some_and(|(pid, sequence)| number(pid) && number(sequence))
}

fn starts_like_a_snapshot(path: &Path) -> bool {
    let mut start = Vec::new();
    // Special files could block for ever.
    path.is_file()
        && File::open(path)
            .and_then(|file| file.take(format::SNIFF_BYTES as u64).read_to_end(&mut start))
            .is_ok_and(|_| format::is_snapshot(&start))
}
