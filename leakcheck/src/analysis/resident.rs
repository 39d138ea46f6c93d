//! Resident memory that climbs while the heap does not: which part of it grows, and what helps. Not a leak of a site.
//!
//! The kernel's figures, the allocator's statistics and the recorded heap split resident memory into parts. Parts overlap a
//! little (an allocator may hold pages that are not resident), so what is left over is never less than nothing. Compared are
//! the middle of the judged time and its end. Fails: on a step in the later half, which is told as growth; where several parts
//! grow alike, none is named.

use super::judgement::Cause;
use super::window::Window;
use crate::model::{Moment, Series};
use serde::Serialize;

/// Growth below this is not worth a word.
const GROWTH_MIN_BYTES: u64 = 4 << 20;
/// The part that is named makes up at least this share of the growth that the heap does not explain.
const SHARE_MIN: f64 = 0.4;

/// A part of resident memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ResidentPart {
    /// Live blocks of recorded sites.
    Live,
    /// What the recorder itself holds.
    Recorder,
    /// Held by the allocator, used by no block: fragmentation and free lists.
    AllocatorRetention,
    /// In use by blocks of the allocator that no recorded site made: C code's, or from before the recording.
    UnrecordedBlocks,
    /// Stacks of threads.
    ThreadStacks,
    /// Pages of mapped files.
    MappedFiles,
    /// Shared memory.
    SharedMemory,
    /// Anonymous memory besides: `mmap` by hand, another allocator's, another runtime's heap.
    OtherMappings,
}

impl ResidentPart {
    /// What it is, and what to do when it grows.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Live => ("live blocks", "see the sites that grow"),
            Self::Recorder => ("the recorder's own tables", "record sampled, or fewer frames (LEAKCHECK_DEPTH)"),
            Self::AllocatorRetention => (
                "memory that the allocator holds but no block uses (fragmentation, free lists)",
                "fewer arenas (MALLOC_ARENA_MAX=2), malloc_trim(0) after a peak, or another allocator such as jemalloc or \
                 mimalloc",
            ),
            Self::UnrecordedBlocks => (
                "blocks of the C library's malloc that no recorded site made",
                "a library written in C or C++ may leak: look at it with its own tools, or at what the program never \
                 hands back to it",
            ),
            Self::ThreadStacks => (
                "stacks of threads",
                "threads are started and never end, or recurse deeply: look at the number of threads and join them",
            ),
            Self::MappedFiles => (
                "pages of mapped files",
                "they are the page cache's and given back when memory is short; unmap what is no longer read",
            ),
            Self::SharedMemory => ("shared memory", "look at what is never unmapped in /dev/shm, memfd or shmget"),
            Self::OtherMappings => (
                "anonymous memory outside the recorded heap (mmap by hand, another allocator or runtime)",
                "look at the mappings in /proc/PID/smaps, and at allocators that the program brings along",
            ),
        }
    }
}

/// One part, when the later half of the judged time began and at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PartGrowth {
    /// Which.
    pub part: ResidentPart,
    /// Bytes at the middle of the judged time.
    pub before_bytes: u64,
    /// Bytes at its end.
    pub after_bytes: u64,
}

impl PartGrowth {
    const fn growth(self) -> u64 {
        self.after_bytes.saturating_sub(self.before_bytes)
    }
}

/// Growth of resident memory that the heap does not explain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResidentGrowth {
    /// Always [`Cause::NotAHeapLeak`].
    pub cause: Cause,
    /// Growth of resident memory in the later half of the judged time.
    pub growth_bytes: u64,
    /// Growth of live blocks in the same time.
    pub live_growth_bytes: u64,
    /// How long that was, in milliseconds.
    pub span_ms: u64,
    /// The parts that are known, in a fixed order.
    pub parts: Vec<PartGrowth>,
    /// The one that grows; `None` when the figures do not tell.
    pub growing: Option<ResidentPart>,
    /// One sentence.
    pub text: String,
    /// What to do.
    pub advice: String,
}

pub(super) fn growth(series: &Series, window: &Window) -> Option<ResidentGrowth> {
    let middle = window.moments.get(window.len() / 2)?;
    between(&series.moments[*middle], &series.moments[*window.moments.last()?])
}

fn between(then: &Moment, now: &Moment) -> Option<ResidentGrowth> {
    let (before, after) = (then.resident?, now.resident?);
    let growth_bytes = after.rss_bytes.saturating_sub(before.rss_bytes);
    let live_growth_bytes = now.totals.live().bytes.saturating_sub(then.totals.live().bytes);
    if growth_bytes < GROWTH_MIN_BYTES || live_growth_bytes.saturating_mul(2) >= growth_bytes {
        return None;
    }
    let parts: Vec<PartGrowth> = parts(then)
        .into_iter()
        .zip(parts(now))
        .filter_map(|((part, before), (_, after))| {
            Some(PartGrowth { part, before_bytes: before?, after_bytes: after? })
        })
        .collect();
    let largest = parts.iter().filter(|one| one.part != ResidentPart::Live).max_by_key(|one| one.growth());
    let unexplained = (growth_bytes - live_growth_bytes) as f64;
    let growing = largest.filter(|one| one.growth() as f64 >= SHARE_MIN * unexplained).map(|one| one.part);
    let (name, advice) = growing.map_or(
        (
            "no one part alone",
            "look at /proc/PID/smaps, and give the recorder the allocator's figures \
             (RecorderBuilder::allocator_statistics)",
        ),
        ResidentPart::words,
    );
    let text = format!(
        "resident memory grew by {:.1} MiB in the later half while live blocks grew by {:.1} MiB: not a leak of yours; \
         it is {name}",
        mib(growth_bytes),
        mib(live_growth_bytes)
    );
    Some(ResidentGrowth {
        cause: Cause::NotAHeapLeak,
        growth_bytes,
        live_growth_bytes,
        span_ms: now.elapsed_ms.saturating_sub(then.elapsed_ms),
        parts,
        growing,
        text,
        advice: advice.to_owned(),
    })
}

/// The parts of one moment; `None` for what is not known.
fn parts(moment: &Moment) -> [(ResidentPart, Option<u64>); 8] {
    let resident = moment.resident.unwrap_or_default();
    let (live, recorder) = (moment.totals.live().bytes, moment.recorder_bytes);
    let used = resident.allocator_used_bytes;
    let retention = resident.allocator_held_bytes.zip(used).map(|(held, used)| held.saturating_sub(used));
    let unrecorded = used.map(|used| used.saturating_sub(live));
    let stacks = resident.thread_stack_bytes.map(|threads| threads.saturating_add(resident.stack_bytes.unwrap_or(0)));
    let known = [Some(live), Some(recorder), retention, unrecorded, stacks];
    let known = known.into_iter().flatten().fold(0, u64::saturating_add);
    let other = resident.anonymous_bytes.map(|anonymous| anonymous.saturating_sub(known));
    [
        (ResidentPart::Live, Some(live)),
        (ResidentPart::Recorder, Some(recorder)),
        (ResidentPart::AllocatorRetention, retention),
        (ResidentPart::UnrecordedBlocks, unrecorded),
        (ResidentPart::ThreadStacks, stacks),
        (ResidentPart::MappedFiles, resident.file_bytes),
        (ResidentPart::SharedMemory, resident.shared_bytes),
        (ResidentPart::OtherMappings, other),
    ]
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Amount, Counters, Losses, Reason, Resident};

    const MIB: u64 = 1 << 20;

    fn resident(rss: u64) -> Resident {
        Resident {
            rss_bytes: rss,
            anonymous_bytes: Some(rss - 10 * MIB),
            file_bytes: Some(10 * MIB),
            shared_bytes: Some(0),
            stack_bytes: Some(132 << 10),
            thread_stack_bytes: Some(MIB),
            allocator_held_bytes: Some(24 * MIB),
            allocator_used_bytes: Some(21 * MIB),
            ..Resident::default()
        }
    }

    /// What is said of a program that holds 20 MiB of live blocks all the time, and whose resident memory at the end is
    /// `after`.
    fn check(after: Resident, live_after: u64, expected: Option<Option<ResidentPart>>) {
        let moment = |elapsed_ms, live, resident| Moment {
            sequence: 0,
            reason: Reason::Periodic,
            label: None,
            taken_unix_ms: 0,
            elapsed_ms,
            iterations: 0,
            totals: Counters { allocated: Amount::new(20, live), ..Counters::default() },
            resident: Some(resident),
            usage: None,
            losses: Losses::default(),
            recorder_bytes: MIB,
        };
        let found = between(&moment(0, 20 * MIB, resident(50 * MIB)), &moment(9000, live_after, after));
        assert_eq!(found.as_ref().map(|found| found.growing), expected, "{found:?}");
    }

    #[test]
    fn the_part_that_grows_is_named() {
        let more = |change: fn(&mut Resident)| {
            let mut after = resident(150 * MIB);
            change(&mut after);
            after
        };
        check(resident(50 * MIB), 20 * MIB, None);
        check(resident(53 * MIB), 20 * MIB, None);
        // The heap explains it.
        check(resident(150 * MIB), 100 * MIB, None);
        check(resident(150 * MIB), 20 * MIB, Some(Some(ResidentPart::OtherMappings)));
        let held = more(|r| r.allocator_held_bytes = Some(120 * MIB));
        check(held, 20 * MIB, Some(Some(ResidentPart::AllocatorRetention)));
        let used = more(|r| (r.allocator_held_bytes, r.allocator_used_bytes) = (Some(124 * MIB), Some(121 * MIB)));
        check(used, 20 * MIB, Some(Some(ResidentPart::UnrecordedBlocks)));
        check(more(|r| r.thread_stack_bytes = Some(101 * MIB)), 20 * MIB, Some(Some(ResidentPart::ThreadStacks)));
        let files = more(|r| (r.anonymous_bytes, r.file_bytes) = (Some(40 * MIB), Some(110 * MIB)));
        check(files, 20 * MIB, Some(Some(ResidentPart::MappedFiles)));
        // A system that tells nothing but the whole.
        check(Resident { rss_bytes: 150 * MIB, ..Resident::default() }, 20 * MIB, Some(None));
    }
}
