//! What the kernel's figures can bear: memory, descriptors, threads and mappings of the whole process. No site is known of
//! these, and none is named.
//!
//! Memory is judged where the kernel is the only source; a recorded process has its sites for that. The other figures are
//! judged for every process. Fails: on a cache that is filled evenly for the whole time, which no figure of the kernel's can
//! tell from a leak, and on a season longer than twice the run.

use super::judgement::{Rate, Standing, Verdict};
use super::steadiness::{Scale, course};
use super::window::Window;
use crate::model::{Moment, Resident, Series, Source};
use serde::Serialize;

/// With fewer moments than this nothing is said of a figure.
const MOMENTS_WANTED: usize = 20;
/// So sure one can be of memory of which nothing but its size is known.
const MEMORY_PROBABILITY_MAX: f64 = 0.97;
const PROBABILITY_MAX: f64 = 0.995;
/// Longer than so many times the run so far is not foretold.
const LONGER_MAX: f64 = 50.0;

/// A figure of the whole process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Anonymous memory, swapped out or not; the resident set where nothing finer is known. In bytes.
    Memory,
    /// Shared memory, in bytes.
    SharedMemory,
    /// Open file descriptors.
    FileDescriptors,
    /// Threads.
    Threads,
    /// Mappings of the address space.
    Mappings,
}

impl Resource {
    /// All, in the order of reports.
    const ALL: [Self; 5] = [Self::Memory, Self::SharedMemory, Self::FileDescriptors, Self::Threads, Self::Mappings];

    /// As reports say it: `open file descriptors`.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::SharedMemory => "shared memory",
            Self::FileDescriptors => "open file descriptors",
            Self::Threads => "threads",
            Self::Mappings => "memory mappings",
        }
    }

    /// Whether levels and rates are bytes; else they are a number of things.
    #[must_use]
    pub const fn is_bytes(self) -> bool {
        matches!(self, Self::Memory | Self::SharedMemory)
    }

    fn at(self, moment: &Moment) -> Option<u64> {
        let (resident, usage) = (moment.resident.as_ref(), moment.usage.as_ref());
        match self {
            Self::Memory => resident.map(memory),
            Self::SharedMemory => resident?.shared_bytes,
            Self::FileDescriptors => usage?.file_descriptors,
            Self::Threads => resident?.threads,
            Self::Mappings => usage?.mappings,
        }
    }

    const fn limit(self, moment: &Moment) -> Option<u64> {
        match (self, &moment.resident, &moment.usage) {
            (Self::Memory, Some(resident), _) => resident.limit_bytes,
            (Self::FileDescriptors, _, Some(usage)) => usage.file_descriptors_limit,
            _ => None,
        }
    }

    const fn scale(self) -> Scale {
        match self {
            Self::Memory | Self::SharedMemory => Scale { growth_min: 1_048_576.0, share_min: 0.02, rest: 32_768.0 },
            Self::FileDescriptors | Self::Threads => Scale { growth_min: 8.0, share_min: 0.02, rest: 1.0 },
            Self::Mappings => Scale { growth_min: 16.0, share_min: 0.02, rest: 2.0 },
        }
    }

    fn advice(self, pid: u32) -> String {
        match self {
            Self::Memory => {
                "nothing here tells which code holds it, nor a leak from a cache that is still filling. A Rust \
                             program gets sites by `#[global_allocator] static ALLOC: leakcheck::Leakcheck = \
                             leakcheck::Leakcheck::system();` and `leakcheck run`; for another language use its heap \
                             profiler"
                    .to_owned()
            }
            Self::SharedMemory => {
                "look at what is never unmapped or removed: `ls -l /dev/shm`, `ipcs -m`, and memfd in \
                                   /proc/PID/maps"
                    .replace("PID", &pid.to_string())
            }
            Self::FileDescriptors => format!(
                "see of which kind they are with `ls -l /proc/{pid}/fd` (files, sockets, pipes), and close what is no \
                 longer used, also where an error is returned"
            ),
            Self::Threads => format!(
                "see which ones they are with `ps -T -p {pid}`, by name; let them end and join them, or use a pool of \
                 fixed size"
            ),
            Self::Mappings => format!(
                "see what they map in /proc/{pid}/maps; unmap what is no longer used. The kernel refuses more than \
                 vm.max_map_count"
            ),
        }
    }
}

/// What was found about one figure of the process.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceFinding {
    /// Which.
    pub resource: Resource,
    /// Leaking, bounded or inconclusive.
    pub verdict: Verdict,
    /// Probability that it leaks, 0 to 1; at most 0.97 for memory.
    pub probability: f64,
    /// Its level at the end of the warm-up, in bytes or as a number.
    pub first: u64,
    /// Its level at the last moment judged.
    pub last: u64,
    /// Growth per second of time at work.
    pub rate_per_second: Option<Rate>,
    /// For *inconclusive*: how much longer to run, in milliseconds.
    pub more_ms: Option<u64>,
    /// The most there may be, where the kernel says: descriptors of the process, memory of its control group.
    pub limit: Option<u64>,
    /// For *leaking*: milliseconds until that is reached.
    pub limit_ms: Option<u64>,
    /// One sentence.
    pub text: String,
    /// What to do about it.
    pub advice: String,
    /// The suppression that accepts it, as `leak:pattern`. It does not count for the verdict.
    pub accepted: Option<String>,
    /// Known or faster, where it leaks in the baseline as well.
    pub standing: Option<Standing>,
}

impl ResourceFinding {
    /// Whether it counts for the verdict: it is neither accepted nor known from the baseline.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.accepted.is_none() && self.standing != Some(Standing::Known)
    }
}

/// Memory that only the process holds, swapped out or not.
pub(super) fn memory(resident: &Resident) -> u64 {
    match resident.anonymous_bytes {
        Some(anonymous) => anonymous.saturating_add(resident.swap_bytes.unwrap_or(0)),
        None => resident.rss_bytes.saturating_add(resident.swap_bytes.unwrap_or(0)),
    }
}

/// What the process holds at a moment: live blocks where they are recorded, else the kernel's figure.
pub(super) fn held_bytes(source: Source, moment: &Moment) -> u64 {
    match source {
        Source::Recorder => moment.totals.live().bytes,
        Source::Kernel => moment.resident.as_ref().map_or(0, memory),
    }
}

/// Judges each figure that is known. What has too few moments has no finding.
pub(super) fn findings(series: &Series, window: &Window, warm_up: f64) -> Vec<ResourceFinding> {
    let judged = Resource::ALL.into_iter().filter(|one| !one.is_bytes() || series.recording.source == Source::Kernel);
    judged.filter_map(|resource| finding(resource, series, window, warm_up)).collect()
}

fn finding(resource: Resource, series: &Series, window: &Window, warm_up: f64) -> Option<ResourceFinding> {
    /// Fewer than this say nothing.
    const KNOWN_MIN: usize = 5;
    let from = window.place_at(warm_up);
    let known = (from..window.len()).filter_map(|place| {
        let moment = series.moments.get(window.moments[place])?;
        Some((window.seconds[place], resource.at(moment)? as f64))
    });
    let (seconds, values): (Vec<f64>, Vec<f64>) = known.unzip();
    let (first, last) = (*values.first()?, *values.last()?);
    if values.len() < KNOWN_MIN || (resource == Resource::SharedMemory && first == 0.0 && last == 0.0) {
        return None;
    }
    let mut course = course(&seconds, &values, resource.scale());
    if window.len() < MOMENTS_WANTED {
        course.verdict = Verdict::Inconclusive;
        course.probability = course.probability.clamp(0.1, 0.8);
    }
    let most = if resource.is_bytes() { MEMORY_PROBABILITY_MAX } else { PROBABILITY_MAX };
    let span_s = seconds.last()? - seconds.first()?;
    let moment = series.moments.get(*window.moments.last()?)?;
    let limit = resource.limit(moment);
    let rate = course.rate.filter(|rate| rate.estimate > 0.0 && course.verdict == Verdict::Leaking);
    let left = limit.map(|limit| (limit as f64 - last).max(0.0));
    Some(ResourceFinding {
        resource,
        verdict: course.verdict,
        probability: course.probability.min(most),
        first: first as u64,
        last: last as u64,
        rate_per_second: course.rate,
        more_ms: (course.verdict == Verdict::Inconclusive).then(|| more_ms(window)),
        limit,
        limit_ms: left.zip(rate).map(|(left, rate)| (left / rate.estimate * 1000.0) as u64),
        text: text(resource, (first, last), span_s, &course),
        advice: resource.advice(series.process.pid),
        accepted: None,
        standing: None,
    })
}

/// As long again, or until there are moments enough.
fn more_ms(window: &Window) -> u64 {
    let span = window.span();
    let pace = span / window.len().saturating_sub(1).max(1) as f64;
    let moments = (MOMENTS_WANTED + 4).saturating_sub(window.len()) as f64 * pace;
    (span.max(moments).min(LONGER_MAX * span) * 1000.0) as u64
}

fn text(resource: Resource, (first, last): (f64, f64), span_s: f64, course: &super::steadiness::Course) -> String {
    let level = |value: f64| in_words(resource, value);
    let over = span_in_words(span_s);
    let rate = course.rate.map_or_else(String::new, |rate| {
        format!(
            ", {} a second (95 %: {} to {})",
            rate_in_words(resource, rate.estimate),
            rate_in_words(resource, rate.low),
            rate_in_words(resource, rate.high)
        )
    });
    let name = resource.in_words();
    match course.verdict {
        Verdict::Leaking => {
            let back = if course.never_fell_back {
                ", and never fell back"
            } else {
                ", and the floor to which it falls back rises as steadily"
            };
            let caution = match resource {
                Resource::Memory => "; a cache that is still filling would look the same",
                _ => "",
            };
            format!("{name} grew from {} to {} in {over}{rate}{back}{caution}", level(first), level(last))
        }
        Verdict::Inconclusive if last > first => format!(
            "{name} grew from {} to {} in {over}, not so steadily or for so long that it must go on",
            level(first),
            level(last)
        ),
        Verdict::Inconclusive => {
            format!("{name} went from {} to {} in {over}, which does not tell yet", level(first), level(last))
        }
        Verdict::Bounded if first == last => {
            format!("{name}: {} in the end as in the beginning, over {over}", level(last))
        }
        Verdict::Bounded => {
            format!("{name} went from {} to {} in {over}, and did not grow in the end", level(first), level(last))
        }
    }
}

/// `23`, `1.5 MiB`
pub(super) fn in_words(resource: Resource, value: f64) -> String {
    if !resource.is_bytes() {
        return format!("{value:.0}");
    }
    bytes_in_words(value)
}

/// `12.5 MiB`, `700 KiB`
pub(super) fn bytes_in_words(value: f64) -> String {
    const KIB: f64 = 1024.0;
    match value.abs() {
        ..KIB => format!("{value:.0} B"),
        ..1_048_576.0 => format!("{:.1} KiB", value / KIB),
        ..1_073_741_824.0 => format!("{:.1} MiB", value / KIB / KIB),
        _ => format!("{:.2} GiB", value / KIB / KIB / KIB),
    }
}

fn rate_in_words(resource: Resource, rate: f64) -> String {
    match rate.abs() {
        _ if resource.is_bytes() => bytes_in_words(rate),
        0.1.. => format!("{rate:.1}"),
        _ => format!("{rate:.4}"),
    }
}

fn span_in_words(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds:.0} s"),
        ..7200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{JudgeOptions, judge};
    use crate::model::{Losses, made_up_kernel_series};

    #[track_caller]
    fn check(moments: u64, descriptors: impl Fn(u64) -> u64, expected: Verdict, text: &str) {
        let mut series = made_up_kernel_series(7, None, 0, &vec![40 << 20; moments as usize]);
        for (moment, second) in series.moments.iter_mut().zip(0..) {
            moment.losses = Losses::default();
            moment.usage = Some(crate::model::Usage {
                file_descriptors: Some(descriptors(second)),
                file_descriptors_limit: Some(1024),
                ..crate::model::Usage::default()
            });
        }
        let judgement = judge(&series, &JudgeOptions::default());
        let found = judgement.resources.iter().find(|one| one.resource == Resource::FileDescriptors).unwrap();
        assert_eq!((found.verdict, judgement.verdict), (expected, expected), "{judgement:#?}");
        assert!(found.text.contains(text), "{found:#?}");
        assert_eq!(found.limit_ms.is_some(), expected == Verdict::Leaking);
        assert_eq!(found.more_ms.is_some(), expected == Verdict::Inconclusive);
    }

    #[test]
    fn descriptors_are_told_with_numbers_a_person_can_check() {
        let leak =
            "open file descriptors grew from 41 to 142 in 101 s, 1.0 a second (95 %: 1.0 to 1.0), and never fell back";
        check(120, |t| 23 + t, Verdict::Leaking, leak);
        check(12, |t| 23 + t, Verdict::Inconclusive, "open file descriptors grew from 25 to 34");
        check(60, |_| 23, Verdict::Bounded, "open file descriptors: 23 in the end");
        check(60, |t| 23 + u64::from(t > 50) * 40, Verdict::Inconclusive, "grew from 23 to 63");
        check(60, |t| 23 + t / 20, Verdict::Inconclusive, "");
    }
}
