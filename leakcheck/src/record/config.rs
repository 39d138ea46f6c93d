//! Options of a recording: one table, each option with a builder method and a twin in the environment.

use super::error::Kind;
use super::{RecordError, Recording};
use crate::model::Mode;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Mean bytes between samples when none are given.
const SAMPLING_INTERVAL: u64 = 512 << 10;

/// Options of a recording.
///
/// | method | in the environment | default | meaning |
/// |---|---|---|---|
/// | [`exact`](Self::exact) | `LEAKCHECK=exact` | yes | record every block |
/// | [`sampled`](Self::sampled) | `LEAKCHECK=sampled` or `sampled:512KiB` | 512 KiB | record about one allocation per so many bytes |
/// | [`out`](Self::out) | `LEAKCHECK_OUT=DIR` | none; `leakcheck-out` from the environment | folder for snapshot files |
/// | [`every`](Self::every) | `LEAKCHECK_EVERY=2s` | 2 s | time between snapshots; 0 takes none but those asked for |
/// | [`timeline`](Self::timeline) | `LEAKCHECK_TIMELINE=250ms` | 250 ms | time between the cheap totals for charts |
/// | [`depth`](Self::depth) | `LEAKCHECK_DEPTH=256` | 256 | frames kept of a stack, 1 to 1024; outer ones are dropped |
/// | [`keep`](Self::keep) | `LEAKCHECK_KEEP=500` | 500 | snapshot files kept; older ones are thinned out evenly |
/// | [`names`](Self::names) | `LEAKCHECK_NAMES=yes` | yes | look names up in the process, where its control group leaves room for that; `no` leaves it to the command |
///
/// A wrong value in the environment is one line on standard error, and the program runs on unrecorded.
///
/// A program that is not asked to record listens on a socket, to be woken by `leakcheck watch --pid`; `LEAKCHECK_SOCKET=off`
/// in the environment leaves that out. See `docs/protocol.md`.
#[derive(Debug, Clone)]
pub struct RecorderBuilder {
    pub(super) mode: Mode,
    pub(super) out: Option<PathBuf>,
    pub(super) every: Duration,
    pub(super) timeline: Duration,
    pub(super) depth: u32,
    pub(super) keep: usize,
    pub(super) names: bool,
    pub(super) allocator_statistics: Option<fn() -> Option<AllocatorStatistics>>,
}

/// What an allocator says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllocatorStatistics {
    /// Bytes it holds from the kernel.
    pub held_bytes: u64,
    /// Bytes of that in blocks that are in use.
    pub used_bytes: u64,
}

impl Default for RecorderBuilder {
    fn default() -> Self {
        Self {
            mode: Mode::Exact,
            out: None,
            every: Duration::from_secs(2),
            timeline: Duration::from_millis(250),
            depth: 256,
            keep: 500,
            names: true,
            allocator_statistics: None,
        }
    }
}

impl RecorderBuilder {
    /// Records every block.
    #[must_use]
    pub fn exact(mut self) -> Self {
        self.mode = Mode::Exact;
        self
    }

    /// Records about one allocation per `interval_bytes`, as a Poisson process on bytes.
    #[must_use]
    pub fn sampled(mut self, interval_bytes: u64) -> Self {
        self.mode = Mode::Sampled { interval_bytes: interval_bytes.max(1) };
        self
    }

    /// Folder for snapshot files, made when it is not there. Without one they are only returned.
    #[must_use]
    pub fn out(mut self, folder: impl Into<PathBuf>) -> Self {
        self.out = Some(folder.into());
        self
    }

    /// Time between snapshots; zero takes none but those asked for.
    #[must_use]
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// Time between the cheap totals that charts are drawn from; zero takes none.
    #[must_use]
    pub fn timeline(mut self, every: Duration) -> Self {
        self.timeline = every;
        self
    }

    /// Frames kept of a stack. Of deeper stacks the outer frames are dropped, and counted as a loss.
    #[must_use]
    pub fn depth(mut self, frames: u32) -> Self {
        self.depth = frames.clamp(1, crate::unwind::DEPTH_MAX);
        self
    }

    /// Snapshot files kept. When there are more, older ones are thinned out evenly; the first and the named stay.
    #[must_use]
    pub fn keep(mut self, files: usize) -> Self {
        self.keep = files.max(2);
        self
    }

    /// Whether names are looked up in the process. Without, the command looks them up where the binary is.
    #[must_use]
    pub fn names(mut self, resolve: bool) -> Self {
        self.names = resolve;
        self
    }

    /// How to ask the program's own allocator what it holds; by default the C library is asked (`mallinfo2`). With it a
    /// report can tell memory that the allocator retains from memory that leaks. Called every few seconds at most, on a
    /// thread of the recorder.
    ///
    /// ```no_run
    /// use leakcheck::{AllocatorStatistics, Recorder};
    /// # mod tikv_jemalloc_ctl {
    /// #     pub mod epoch { pub fn advance() -> Result<u64, ()> { Ok(1) } }
    /// #     pub mod stats {
    /// #         pub mod resident { pub fn read() -> Result<usize, ()> { Ok(1) } }
    /// #         pub mod allocated { pub fn read() -> Result<usize, ()> { Ok(1) } }
    /// #     }
    /// # }
    /// use tikv_jemalloc_ctl::{epoch, stats};
    ///
    /// let recording = Recorder::builder().allocator_statistics(|| {
    ///     epoch::advance().ok()?;
    ///     let (held, used) = (stats::resident::read().ok()?, stats::allocated::read().ok()?);
    ///     Some(AllocatorStatistics { held_bytes: held as u64, used_bytes: used as u64 })
    /// });
    /// ```
    #[must_use]
    pub fn allocator_statistics(mut self, ask: fn() -> Option<AllocatorStatistics>) -> Self {
        self.allocator_statistics = Some(ask);
        self
    }

    /// Begins to record.
    ///
    /// # Errors
    ///
    /// When a recording runs already, the folder cannot be written, [`Leakcheck`](crate::Leakcheck) is not the global
    /// allocator, or stacks cannot be taken on this platform.
    pub fn start(self) -> Result<Recording, RecordError> {
        Recording::begin(self)
    }

    /// The recording that the environment asks for, if any. `variable` looks a variable up.
    pub(super) fn from_environment(variable: impl Fn(&str) -> Option<OsString>) -> Result<Option<Self>, RecordError> {
        let text = |name: &str| variable(name).map(|value| value.to_string_lossy().into_owned());
        let Some(mode) = text("LEAKCHECK") else { return Ok(None) };
        let mut options = match mode.as_str() {
            "" | "off" => return Ok(None),
            "exact" => Self::default().exact(),
            "sampled" => Self::default().sampled(SAMPLING_INTERVAL),
            other => {
                let bytes = other.strip_prefix("sampled:").and_then(parse_bytes).filter(|bytes| *bytes > 0);
                let expected = "exact, sampled, sampled:BYTES (such as sampled:512KiB) or off";
                Self::default().sampled(checked("LEAKCHECK", other, bytes, expected)?)
            }
        };
        options.out = Some(variable("LEAKCHECK_OUT").map_or_else(|| "leakcheck-out".into(), PathBuf::from));
        let span = "a time such as 500ms, 2s or 1m";
        if let Some(value) = text("LEAKCHECK_EVERY") {
            options.every = checked("LEAKCHECK_EVERY", &value, parse_duration(&value), span)?;
        }
        if let Some(value) = text("LEAKCHECK_TIMELINE") {
            options.timeline = checked("LEAKCHECK_TIMELINE", &value, parse_duration(&value), span)?;
        }
        if let Some(value) = text("LEAKCHECK_DEPTH") {
            let range = 1..=crate::unwind::DEPTH_MAX;
            let depth = value.parse().ok().filter(|depth| range.contains(depth));
            options.depth = checked("LEAKCHECK_DEPTH", &value, depth, "a number from 1 to 1024")?;
        }
        if let Some(value) = text("LEAKCHECK_KEEP") {
            let keep = value.parse().ok().filter(|keep| *keep >= 2);
            options.keep = checked("LEAKCHECK_KEEP", &value, keep, "a number of files, 2 or more")?;
        }
        if let Some(value) = text("LEAKCHECK_NAMES") {
            let names = match value.as_str() {
                "yes" => Some(true),
                "no" => Some(false),
                _ => None,
            };
            options.names = checked("LEAKCHECK_NAMES", &value, names, "yes or no")?;
        }
        Ok(Some(options))
    }
}

fn checked<T>(name: &'static str, value: &str, parsed: Option<T>, expected: &'static str) -> Result<T, RecordError> {
    parsed.ok_or_else(|| Kind::Option { name, value: value.to_owned(), expected }.into())
}

/// `500ms`, `2s`, `1.5m`, `1h`, or plain seconds.
fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text);
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let value: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(value * seconds).ok()
}

/// `524288`, `512KiB`, `1MiB`, with or without `iB`.
fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text);
    let shift = match unit {
        "" | "B" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<RecorderBuilder>, String> {
        let variable = |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value));
        RecorderBuilder::from_environment(variable).map_err(|e| e.to_string())
    }

    #[test]
    fn nothing_is_recorded_unless_asked_for() {
        for pairs in [&[][..], &[("LEAKCHECK", "")], &[("LEAKCHECK", "off")], &[("LEAKCHECK_EVERY", "nonsense")]] {
            assert!(read(pairs).unwrap().is_none());
        }
    }

    #[test]
    fn every_option_has_its_twin() {
        let options = read(&[
            ("LEAKCHECK", "sampled:64KiB"),
            ("LEAKCHECK_OUT", "/tmp/x"),
            ("LEAKCHECK_EVERY", "500ms"),
            ("LEAKCHECK_TIMELINE", "0"),
            ("LEAKCHECK_DEPTH", "32"),
            ("LEAKCHECK_KEEP", "9"),
            ("LEAKCHECK_NAMES", "no"),
        ])
        .unwrap()
        .unwrap();
        assert_eq!(options.mode, Mode::Sampled { interval_bytes: 65536 });
        assert_eq!(options.out.as_deref(), Some(std::path::Path::new("/tmp/x")));
        assert_eq!(options.every, Duration::from_millis(500));
        assert_eq!(options.timeline, Duration::ZERO);
        assert_eq!((options.depth, options.keep, options.names), (32, 9, false));
    }

    #[test]
    fn a_wrong_value_names_variable_value_and_cure() {
        for (name, value) in [
            ("LEAKCHECK", "exakt"),
            ("LEAKCHECK", "sampled:0"),
            ("LEAKCHECK", "sampled:12parsecs"),
            ("LEAKCHECK_EVERY", "-1s"),
            ("LEAKCHECK_EVERY", "soon"),
            ("LEAKCHECK_TIMELINE", "1w"),
            ("LEAKCHECK_DEPTH", "0"),
            ("LEAKCHECK_DEPTH", "99999"),
            ("LEAKCHECK_KEEP", "1"),
            ("LEAKCHECK_NAMES", "maybe"),
        ] {
            let mut pairs = vec![(name, value)];
            if name != "LEAKCHECK" {
                pairs.push(("LEAKCHECK", "exact"));
            }
            let message = read(&pairs).unwrap_err();
            assert!(message.starts_with(&format!("{name}={value}: expected ")), "{message}");
        }
    }
}
