//! Resident memory of a process and its children from `/proc`, for programs that have no recorder.
//!
//! Samples become snapshots without sites: what they say of the heap is nothing, and nothing is made of it.

use super::processes::{recording_from_outside, resident_of_status};
use crate::units;
use leakcheck::model::{Process, Reason, Resident, Series, Snapshot};
use procfs::process::Process as ProcProcess;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// More are thinned out, so that memory stays bounded however long the program runs.
const SAMPLES_MAX: usize = 4096;

/// The first sample is for programs that end at once.
const SECOND_AFTER: Duration = Duration::from_millis(50);

/// Collects samples of a process.
pub(crate) struct ProcessSampler {
    pid: u32,
    executable: String,
    started: Instant,
    started_unix_ms: u64,
    every: Duration,
    samples: Vec<(u64, Resident)>,
}

impl ProcessSampler {
    /// A sampler of the process `pid`, shown as `executable`.
    pub(crate) fn new(pid: u32, executable: String, every: Duration) -> Self {
        Self { pid, executable, started: Instant::now(), started_unix_ms: unix_ms_now(), every, samples: Vec::new() }
    }

    /// Takes a sample when the last one is old enough. A process that has gone gives none.
    pub(crate) fn sample_when_due(&mut self) {
        let elapsed_ms = units::whole_ms(self.started.elapsed());
        let due = match self.samples.as_slice() {
            [] => 0,
            [(first, _)] => first + units::whole_ms(self.every.min(SECOND_AFTER)),
            [.., (last, _)] => last + units::whole_ms(self.every),
        };
        if elapsed_ms < due {
            return;
        }
        if let Some(resident) = resident_of_tree(self.pid) {
            self.keep(elapsed_ms, resident);
        }
    }

    /// Keeps a sample. When there are too many, every second one goes, and from then on fewer are taken.
    fn keep(&mut self, elapsed_ms: u64, resident: Resident) {
        self.samples.push((elapsed_ms, resident));
        if self.samples.len() > SAMPLES_MAX {
            let mut place = 0_usize;
            self.samples.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            self.every *= 2;
        }
    }

    /// Resident memory at the last sample.
    pub(crate) fn latest(&self) -> Option<&Resident> {
        self.samples.last().map(|(_, resident)| resident)
    }

    /// The samples as a series without sites; nothing when the program was too quick for one.
    pub(crate) fn into_series(mut self) -> Option<Series> {
        if self.samples.len() > 2 {
            // The first shows a program that has hardly been loaded, and would read as growth.
            self.samples.remove(0);
        }
        if self.samples.is_empty() {
            return None;
        }
        let process = Process {
            pid: self.pid,
            started_unix_ms: self.started_unix_ms,
            executable: self.executable.clone(),
            build_id: None,
            host: String::new(),
            parent_pid: None,
        };
        let recording = recording_from_outside(self.started_unix_ms, units::whole_ms(self.every));
        // The last one may show a program that is being taken down.
        let last = self.samples.len() as u64 - 1;
        let mut snapshots = self.samples.iter().zip(0..).map(|((elapsed_ms, resident), sequence)| Snapshot {
            sequence,
            reason: if sequence == last && sequence > 0 { Reason::Exit } else { Reason::Periodic },
            taken_unix_ms: self.started_unix_ms + elapsed_ms,
            elapsed_ms: *elapsed_ms,
            resident: Some(*resident),
            ..Snapshot::empty(process.clone(), recording.clone())
        });
        let mut series = Series::new(&snapshots.next()?);
        for snapshot in snapshots {
            series.push(&snapshot);
        }
        Some(series)
    }
}

/// The sum over a process and all that descend from it.
fn resident_of_tree(root: u32) -> Option<Resident> {
    /// A program that forks without end must not keep us busy.
    const PROCESSES_MAX: usize = 256;
    let mut sum: Option<Resident> = None;
    let mut waiting = vec![root];
    let mut seen = 0;
    while let Some(pid) = waiting.pop() {
        seen += 1;
        if seen > PROCESSES_MAX {
            break;
        }
        let Some(process) = i32::try_from(pid).ok().and_then(|pid| ProcProcess::new(pid).ok()) else { continue };
        let Ok(status) = process.status() else { continue };
        if status.vmrss.is_none() {
            // A zombie, or a thread of the kernel.
            continue;
        }
        let own = resident_of_status(&status);
        sum = Some(sum.map_or(own, |sum| add(sum, own)));
        let tasks = process.tasks().into_iter().flatten().flatten();
        waiting.extend(tasks.filter_map(|task| task.children().ok()).flatten());
    }
    sum
}

fn add(a: Resident, b: Resident) -> Resident {
    let both = |a: Option<u64>, b: Option<u64>| a.zip(b).map(|(a, b)| a + b).or(a).or(b);
    Resident {
        rss_bytes: a.rss_bytes + b.rss_bytes,
        anonymous_bytes: both(a.anonymous_bytes, b.anonymous_bytes),
        file_bytes: both(a.file_bytes, b.file_bytes),
        shared_bytes: both(a.shared_bytes, b.shared_bytes),
        swap_bytes: both(a.swap_bytes, b.swap_bytes),
        virtual_bytes: both(a.virtual_bytes, b.virtual_bytes),
        stack_bytes: both(a.stack_bytes, b.stack_bytes),
        // Peaks at different moments do not add up.
        peak_rss_bytes: None,
        thread_stack_bytes: None,
        allocator_held_bytes: None,
        allocator_used_bytes: None,
        limit_bytes: None,
        threads: both(a.threads, b.threads),
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn unix_ms_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, units::whole_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use leakcheck::model::Counters;

    #[test]
    fn our_own_memory_is_seen_and_names_no_site() {
        let mut sampler = ProcessSampler::new(std::process::id(), "me".to_owned(), Duration::ZERO);
        for _ in 0..3 {
            sampler.sample_when_due();
        }
        let series = sampler.into_series().expect("this process is there");
        assert_eq!(series.moments.len(), 2, "the first is left out");
        assert!(series.sites.is_empty());
        for moment in &series.moments {
            assert!(moment.resident.expect("sampled").rss_bytes > 100 << 10);
            assert_eq!(moment.totals, Counters::default());
        }
    }

    #[test]
    fn samples_stay_few_however_long_it_runs() {
        let mut sampler = ProcessSampler::new(std::process::id(), "me".to_owned(), Duration::from_millis(10));
        for elapsed_ms in 0..3 * SAMPLES_MAX as u64 {
            sampler.keep(elapsed_ms, Resident::default());
        }
        assert!((SAMPLES_MAX / 2..=SAMPLES_MAX).contains(&sampler.samples.len()), "{}", sampler.samples.len());
        assert_eq!(sampler.samples[0].0, 0);
        assert!(sampler.every > Duration::from_millis(10));
    }

    #[test]
    fn a_process_that_has_gone_gives_nothing() {
        let mut sampler = ProcessSampler::new(u32::MAX, "gone".to_owned(), Duration::ZERO);
        sampler.sample_when_due();
        assert!(sampler.latest().is_none());
        assert!(sampler.into_series().is_none());
    }
}
