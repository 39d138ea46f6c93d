//! Why a recording did not start, or a snapshot was not taken.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// A recording did not start, or a snapshot was not taken. The message names what to do.
#[derive(Debug)]
pub struct RecordError {
    kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Option { name: &'static str, value: String, expected: &'static str },
    Folder { path: PathBuf, source: io::Error },
    NotTheGlobalAllocator,
    AlreadyRunning,
    NotRunning,
    NotExact,
    EndedMeanwhile,
    NoRoom(u64),
    TooManyTrials,
    Forked,
    OutOfMemory,
    Unwinder(String),
    Thread(io::Error),
    NotWritten(String),
    Ended,
}

impl From<Kind> for RecordError {
    fn from(kind: Kind) -> Self {
        Self { kind }
    }
}

impl RecordError {
    /// Whether a recording runs already.
    #[must_use]
    pub const fn is_already_running(&self) -> bool {
        matches!(self.kind, Kind::AlreadyRunning)
    }

    /// Whether no recording runs.
    #[must_use]
    pub const fn is_not_running(&self) -> bool {
        matches!(self.kind, Kind::NotRunning | Kind::Forked | Kind::Ended)
    }

    /// Whether the snapshot folder or file cannot be written.
    #[must_use]
    pub const fn is_io(&self) -> bool {
        matches!(self.kind, Kind::Folder { .. } | Kind::NotWritten(_))
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Option { name, value, expected } => write!(f, "{name}={value}: expected {expected}"),
            Kind::Folder { path, source } => {
                write!(f, "cannot write snapshots to {}: {source}; choose another folder", path.display())
            }
            Kind::NotTheGlobalAllocator => f.write_str(
                "leakcheck is not the global allocator of this program; add `#[global_allocator] static ALLOC: \
                 leakcheck::Leakcheck = leakcheck::Leakcheck::system();`",
            ),
            Kind::AlreadyRunning => f.write_str(
                "a recording runs already (started here before, or by LEAKCHECK in the environment); end that one first",
            ),
            Kind::NotRunning => {
                f.write_str("no recording runs; start one with Recorder::builder().start() or LEAKCHECK=exact")
            }
            Kind::NotExact => f.write_str(
                "the recording that runs samples, and assertions count every block; start the tests without LEAKCHECK=sampled, \
                 or end the sampled recording first",
            ),
            Kind::EndedMeanwhile => f.write_str(
                "the recording ended while the assertion ran; keep it running until all tests have ended, or start none",
            ),
            Kind::NoRoom(blocks) => write!(
                f,
                "the recorder had no room for {blocks} blocks, so growth might not be seen; have fewer assertions in one \
                 process"
            ),
            Kind::TooManyTrials => f.write_str("too many leak assertions run at one time (16,384)"),
            Kind::Forked => f.write_str("this process is a forked child, which is not recorded; start the program anew"),
            Kind::OutOfMemory => f.write_str("the kernel gives no memory for the recorder's tables"),
            Kind::Unwinder(why) => write!(f, "stacks cannot be taken here: {why}"),
            Kind::Thread(source) => write!(f, "cannot start the recorder's threads: {source}"),
            Kind::NotWritten(why) => f.write_str(why),
            Kind::Ended => f.write_str("the recording ended before the snapshot was taken"),
        }
    }
}

impl std::error::Error for RecordError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            Kind::Folder { source, .. } | Kind::Thread(source) => Some(source),
            _ => None,
        }
    }
}
