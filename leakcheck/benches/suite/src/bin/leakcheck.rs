//! The workloads under leakcheck, in the mode that the first argument names.

use leakcheck::{Leakcheck, Recorder};
use leakcheck_suite::child::{self, Facts, Recording, Totals, Unrecorded};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[global_allocator]
static ALLOC: Leakcheck = Leakcheck::system();

fn main() -> ExitCode {
    child::main(begin)
}

fn begin(mode: &str) -> Result<Box<dyn Recording>, String> {
    let quiet = Recorder::builder().every(Duration::ZERO).names(false);
    let folder = std::env::temp_dir().join(format!("leakcheck-suite-{}", std::process::id()));
    let (options, folder) = match mode {
        "dormant" => return Ok(Box::new(Unrecorded)),
        "exact" => (quiet.exact(), None),
        "sampled" => (quiet.sampled(512 << 10), None),
        // As a user would run it, but for the shorter interval.
        "snapshots" => (Recorder::builder().exact().every(Duration::from_secs(1)).out(&folder), Some(folder)),
        "asked" => (quiet.exact().names(true).out(&folder), Some(folder)),
        "asked-nameless" => (quiet.exact().out(&folder), Some(folder)),
        _ => return Err(format!("there is no mode `{mode}`")),
    };
    let recording = options.start().map_err(|why| why.to_string())?;
    Ok(Box::new(Recorded { recording, exact: mode == "exact", folder }))
}

struct Recorded {
    recording: leakcheck::Recording,
    exact: bool,
    /// Where snapshots go; removed at the end.
    folder: Option<PathBuf>,
}

impl Recording for Recorded {
    fn totals(&self) -> Option<Totals> {
        let totals = leakcheck::snapshot().ok().filter(|_| self.exact)?.totals;
        Some(Totals {
            allocated_blocks: totals.allocated.blocks,
            allocated_bytes: totals.allocated.bytes,
            freed_blocks: totals.freed.blocks,
            freed_bytes: totals.freed.bytes,
        })
    }

    fn take_snapshot(&self) -> Option<fn() -> bool> {
        Some(|| leakcheck::snapshot().is_ok())
    }

    fn finish(self: Box<Self>) -> Facts {
        let Ok(snapshot) = self.recording.finish() else { return Facts::new() };
        if let Some(folder) = self.folder {
            // What stays behind is in the folder for temporary files.
            let _ = std::fs::remove_dir_all(folder);
        }
        let mut facts = vec![
            ("sites".to_owned(), snapshot.sites.len() as f64),
            ("recorder_bytes".to_owned(), snapshot.recorder_bytes as f64),
        ];
        let losses = snapshot.losses.named().into_iter().filter(|(_, count)| *count > 0);
        facts.extend(losses.map(|(name, count)| (format!("lost: {name}"), count as f64)));
        facts
    }
}
