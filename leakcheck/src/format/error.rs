//! Why a snapshot file could not be read or written.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A snapshot file could not be read or written. The message names the file and what to do.
#[derive(Debug)]
pub struct Error {
    path: Option<PathBuf>,
    kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Io { doing: &'static str, source: io::Error },
    NotJson(serde_json::Error),
    NotASnapshot,
    NewerMajor { found: u32 },
    Damaged(serde_json::Error),
    Inconsistent(String),
}

impl Error {
    pub(super) fn new(kind: Kind) -> Self {
        Self { path: None, kind }
    }

    pub(super) fn at(mut self, path: &Path) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    /// Whether the file system refused: not found, no permission, disk full.
    #[must_use]
    pub const fn is_io(&self) -> bool {
        matches!(self.kind, Kind::Io { .. })
    }

    /// Whether there is no such file.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(&self.kind, Kind::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether the input is something else than a snapshot.
    #[must_use]
    pub const fn is_foreign(&self) -> bool {
        matches!(self.kind, Kind::NotASnapshot | Kind::NotJson(_))
    }

    /// Whether a newer leakcheck wrote the file.
    #[must_use]
    pub const fn is_newer(&self) -> bool {
        matches!(self.kind, Kind::NewerMajor { .. })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doing = match &self.kind {
            Kind::Io { doing, .. } => doing,
            _ => "read",
        };
        match &self.path {
            Some(path) => write!(f, "{doing} {}: ", path.display())?,
            None => write!(f, "{doing} a snapshot: ")?,
        }
        match &self.kind {
            Kind::Io { source, .. } => write!(f, "{source}"),
            Kind::NotJson(e) => write!(f, "not a leakcheck snapshot (not JSON: {e})"),
            Kind::NotASnapshot => {
                write!(f, "not a leakcheck snapshot (expected \"format\": {{\"name\": \"{}\", …}})", super::FORMAT_NAME)
            }
            Kind::NewerMajor { found } => write!(
                f,
                "written in format {found}.x by a newer leakcheck; this one reads up to {}.x: update leakcheck",
                super::FORMAT_MAJOR
            ),
            Kind::Damaged(e) => write!(f, "the snapshot is damaged or cut short ({e}); take it again or leave it out"),
            Kind::Inconsistent(what) => {
                write!(f, "the snapshot contradicts itself ({what}); take it again or leave it out")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            Kind::Io { source, .. } => Some(source),
            Kind::NotJson(e) | Kind::Damaged(e) => Some(e),
            Kind::NotASnapshot | Kind::NewerMajor { .. } | Kind::Inconsistent(_) => None,
        }
    }
}
