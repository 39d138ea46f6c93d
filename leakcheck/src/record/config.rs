//! Options of a recording.

use crate::model::Mode;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Options of a recording, each with its twin in the environment.
#[derive(Debug, Clone)]
pub struct RecorderBuilder {
    pub(super) mode: Mode,
    pub(super) every: Duration,
    pub(super) out: Option<PathBuf>,
}

impl Default for RecorderBuilder {
    fn default() -> Self {
        Self { mode: Mode::Exact, every: Duration::from_secs(2), out: None }
    }
}

impl RecorderBuilder {
    /// Records every block (the default).
    #[must_use]
    pub fn exact(mut self) -> Self {
        self.mode = Mode::Exact;
        self
    }

    /// Records about one allocation per `interval_bytes`.
    #[must_use]
    pub fn sampled(mut self, interval_bytes: u64) -> Self {
        self.mode = Mode::Sampled { interval_bytes };
        self
    }

    /// Time between snapshots; zero takes none but those asked for.
    #[must_use]
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// Folder for snapshot files; without one they are only returned.
    #[must_use]
    pub fn out(mut self, folder: impl Into<PathBuf>) -> Self {
        self.out = Some(folder.into());
        self
    }

    /// Begins to record.
    ///
    /// # Errors
    ///
    /// When a recording runs already, the folder cannot be written, or the platform is not supported.
    pub fn start(self) -> Result<super::Recording, RecordError> {
        super::Recording::begin(self)
    }
}

/// Why a recording did not start, or a snapshot was not taken.
#[derive(Debug)]
pub struct RecordError {
    pub(super) text: String,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for RecordError {}
