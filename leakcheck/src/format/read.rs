//! Reading snapshot files.

use super::error::Kind;
use super::{Error, FORMAT_MAJOR, FORMAT_NAME};
use crate::model::{Counters, Process, Recording, Snapshot};
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer as _};
use serde_json::error::Category;
use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Seek};
use std::path::Path;

/// How much of a file [`is_snapshot`] needs to see.
pub const SNIFF_BYTES: usize = 4096;

#[derive(Deserialize)]
struct Version {
    name: String,
    major: u32,
}

/// What a snapshot says before its sites: enough to sort files into series without keeping them.
#[derive(Debug, Clone, PartialEq)]
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
    check_version(first_of_format(&mut serde_json::Deserializer::from_slice(bytes)), bytes)?;
    let snapshot: Snapshot = serde_json::from_slice(bytes).map_err(|e| Error::new(Kind::Damaged(e)))?;
    check_references(&snapshot).map_err(|what| Error::new(Kind::Inconsistent(what)))?;
    Ok(snapshot)
}

/// Reads the header of a snapshot file. No more is read than that takes, so a file that was cut short later on is found
/// by [`read`] only.
///
/// # Errors
///
/// When the file cannot be read, is no snapshot, is damaged in its beginning, or comes from a newer major version.
pub fn read_header(path: &Path) -> Result<Header, Error> {
    let io = |source| Error::new(Kind::Io { doing: "read", source }).at(path);
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let start = file.fill_buf().map_err(io)?.to_vec();
    let mut found = PartialHeader::default();
    let version = first_of_format(&mut serde_json::Deserializer::from_reader(&mut file));
    check_version(version, &start).map_err(|e| e.at(path))?;
    file.rewind().map_err(io)?;
    let scanned = serde_json::Deserializer::from_reader(&mut file).deserialize_map(&mut found);
    match (found.whole(), scanned) {
        (Some(header), _) => Ok(header),
        (None, Err(e)) => Err(Error::new(Kind::Damaged(e)).at(path)),
        (None, Ok(())) => {
            let missing = serde_json::Error::missing_field("process, recording, sequence, elapsed_ms or totals");
            Err(Error::new(Kind::Damaged(missing)).at(path))
        }
    }
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
fn check_version(version: Result<Option<Version>, serde_json::Error>, start: &[u8]) -> Result<(), Error> {
    let version = version.map_err(|e| {
        Error::new(match (is_snapshot(start), e.classify()) {
            (true, _) => Kind::Damaged(e),
            (false, Category::Data) => Kind::NotASnapshot,
            (false, _) => Kind::NotJson(e),
        })
    })?;
    let version = version.filter(|v| v.name == FORMAT_NAME).ok_or_else(|| Error::new(Kind::NotASnapshot))?;
    if version.major > FORMAT_MAJOR {
        return Err(Error::new(Kind::NewerMajor { found: version.major }));
    }
    Ok(())
}

/// The field `format`, and nothing that stands after it is looked at: in our files it stands first.
fn first_of_format<'de, R: serde_json::de::Read<'de>>(
    json: &mut serde_json::Deserializer<R>,
) -> Result<Option<Version>, serde_json::Error> {
    struct Search<'a>(&'a mut Option<Option<Version>>);
    impl<'de> Visitor<'de> for Search<'_> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a snapshot")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some(key) = map.next_key::<String>()? {
                if key == "format" {
                    *self.0 = Some(map.next_value()?);
                    return Err(enough());
                }
                map.next_value::<IgnoredAny>()?;
            }
            Ok(())
        }
    }
    let mut found = None;
    let ended = json.deserialize_map(Search(&mut found));
    match found {
        Some(version) => Ok(version),
        None => ended.map(|()| None),
    }
}

/// Ends a search that has found what it looked for; never shown.
fn enough<E: serde::de::Error>() -> E {
    E::custom("enough was read")
}

#[derive(Default)]
struct PartialHeader {
    process: Option<Process>,
    recording: Option<Recording>,
    sequence: Option<u64>,
    elapsed_ms: Option<u64>,
    totals: Option<Counters>,
}

impl PartialHeader {
    fn is_whole(&self) -> bool {
        let Self { process, recording, sequence, elapsed_ms, totals } = self;
        process.is_some() && recording.is_some() && sequence.is_some() && elapsed_ms.is_some() && totals.is_some()
    }

    fn whole(self) -> Option<Header> {
        Some(Header {
            process: self.process?,
            recording: self.recording?,
            sequence: self.sequence?,
            elapsed_ms: self.elapsed_ms?,
            totals: self.totals?,
        })
    }
}

impl<'de> Visitor<'de> for &mut PartialHeader {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a snapshot")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "process" => self.process = Some(map.next_value()?),
                "recording" => self.recording = Some(map.next_value()?),
                "sequence" => self.sequence = Some(map.next_value()?),
                "elapsed_ms" => self.elapsed_ms = Some(map.next_value()?),
                "totals" => self.totals = Some(map.next_value()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            if self.is_whole() {
                return Err(enough());
            }
        }
        Ok(())
    }
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
