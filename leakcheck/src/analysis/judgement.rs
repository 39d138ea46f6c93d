//! What the analysis says: verdict, findings, evidence.

use super::baseline::Baseline;
use super::resident::ResidentGrowth;
use super::resources::ResourceFinding;
use super::suppressions::Suppression;
use crate::model::{Amount, FoldedStack, SiteKey, SizeSummary};
use serde::Serialize;

/// The answer to "does it leak?".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It stays within a bound that was seen.
    Bounded,
    /// The data does not tell yet.
    Inconclusive,
    /// It keeps growing.
    Leaking,
}

/// What makes a site grow, as far as its stack and its growth show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A map or set that is only inserted into.
    UnboundedCache,
    /// One buffer, vector or log that grows.
    GrowingBuffer,
    /// A channel or queue filled faster than it is drained.
    QueueBacklog,
    /// Timers or intervals never cancelled.
    UnclearedTimer,
    /// Listeners, subscribers or callbacks never removed.
    ListenerNeverRemoved,
    /// Tasks that never finish.
    TaskNeverFinished,
    /// Threads that never end or are never joined.
    ThreadNeverJoined,
    /// Reference-counted values that hold each other.
    ReferenceCycle,
    /// Forgotten or leaked on purpose: `mem::forget`, `Box::leak`, `into_raw`.
    Forgotten,
    /// Capacity kept by emptied containers.
    RetainedCapacity,
    /// Single objects kept in a growing collection.
    GrowingCollection,
    /// Not a heap leak: resident memory grows while the heap does not.
    NotAHeapLeak,
    /// The evidence does not tell.
    Unknown,
}

impl Cause {
    /// As reports say it: `unbounded cache`.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::UnboundedCache => "unbounded cache",
            Self::GrowingBuffer => "growing buffer",
            Self::QueueBacklog => "queue filled faster than it is drained",
            Self::UnclearedTimer => "timer never cleared",
            Self::ListenerNeverRemoved => "listener never removed",
            Self::TaskNeverFinished => "task that never finishes",
            Self::ThreadNeverJoined => "thread that never ends",
            Self::ReferenceCycle => "reference cycle",
            Self::Forgotten => "forgotten or leaked on purpose",
            Self::RetainedCapacity => "capacity kept by emptied containers",
            Self::GrowingCollection => "growing collection",
            Self::NotAHeapLeak => "resident memory, not the heap",
            Self::Unknown => "unknown",
        }
    }
}

/// A rate with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rate {
    /// Best estimate.
    pub estimate: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end of the 95 % interval.
    pub high: f64,
}

impl Rate {
    /// A rate per second as one per hour.
    #[must_use]
    pub fn per_hour(self) -> Self {
        let hour = 3600.0;
        Self { estimate: self.estimate * hour, low: self.low * hour, high: self.high * hour }
    }
}

/// Growth per loop turn marked by the program.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PerIteration {
    /// Blocks that stay per turn.
    pub blocks: f64,
    /// Bytes that stay per turn.
    pub bytes: f64,
    /// Half the width of the 95 % interval of both, as a fraction of them.
    pub relative_error: f64,
}

/// When a limit of memory is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TimeToLimit {
    /// The limit, in bytes of resident memory.
    pub limit_bytes: u64,
    /// Best estimate, in milliseconds from the last moment judged on, of time at work.
    pub ms: u64,
    /// The early end of its 95 % interval.
    pub earliest_ms: u64,
    /// The late end; `None` when the interval of the rate includes zero.
    pub latest_ms: Option<u64>,
}

/// What a baseline knows of a site that is not plainly bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nothing was allocated there in the baseline. It counts.
    New,
    /// It leaked there as well, as fast or faster. It does not count for the verdict.
    Known,
    /// It leaked there as well, but slower. It counts.
    Faster,
    /// It stays below a bound that was seen there, and is *bounded* for that.
    Settled,
}

/// One reason behind a verdict.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evidence {
    /// The rule that gave it, as named in `docs/detection.md`.
    pub rule: &'static str,
    /// What it points to.
    pub verdict: Verdict,
    /// Its weight: natural logarithm of the odds it moves towards *leaking*.
    pub log_odds: f64,
    /// One sentence a person can check.
    pub text: String,
}

/// What was found about one site.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Leaking, bounded or inconclusive.
    pub verdict: Verdict,
    /// Probability that the site leaks, 0 to 1.
    pub probability: f64,
    /// Why it grows.
    pub cause: Cause,
    /// The site.
    pub key: SiteKey,
    /// Its folded stack.
    pub stack: FoldedStack,
    /// Its scope.
    pub scope: Option<String>,
    /// Live at the last moment judged.
    pub live: Amount,
    /// Bytes grown over the part of the series that was judged; negative when it shrank.
    pub growth_bytes: i64,
    /// Blocks grown over the part of the series that was judged.
    pub growth_blocks: i64,
    /// Growth in bytes per second.
    pub rate_bytes_per_second: Option<Rate>,
    /// Growth in blocks per second.
    pub rate_blocks_per_second: Option<Rate>,
    /// Growth per loop turn, when the program marks turns.
    pub per_iteration: Option<PerIteration>,
    /// Sizes asked for.
    pub size: Option<SizeSummary>,
    /// Threads that allocated here.
    pub threads: Vec<String>,
    /// Files its stack goes through.
    pub modules: Vec<String>,
    /// The reasons, strongest first.
    pub evidence: Vec<Evidence>,
    /// What to do about it, one or two sentences.
    pub advice: String,
    /// For *inconclusive*: how much longer to run, in milliseconds.
    pub more_ms: Option<u64>,
    /// For *bounded*: when it first stood at nine tenths of the most it ever held, in milliseconds since the recording
    /// began.
    pub settled_ms: Option<u64>,
    /// What the baseline knows of it, when there is one.
    pub standing: Option<Standing>,
    /// The suppression that accepts it, as `leak:pattern`. It does not count for the verdict.
    pub accepted: Option<String>,
}

impl Finding {
    /// Whether it counts for the verdict: it is neither accepted nor known from the baseline.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.accepted.is_none() && self.standing != Some(Standing::Known)
    }
}

/// The verdict over a series.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The worst verdict of all sites that count, and of the kernel's figures; *inconclusive* when the series is too short to
    /// say. Beside recorded sites a figure counts when it leaks.
    pub verdict: Verdict,
    /// Findings worth showing: leaking first by rate, then inconclusive, then the largest bounded ones.
    pub findings: Vec<Finding>,
    /// What a reader must know about the data: losses, too few snapshots.
    pub notes: Vec<String>,
    /// For *inconclusive*: how much longer to run, in milliseconds.
    pub more_ms: Option<u64>,
    /// When the limit of memory is reached, when there is one and something leaks, whether accepted or not.
    pub time_to_limit: Option<TimeToLimit>,
    /// Growth of resident memory that no site explains.
    pub resident: Option<ResidentGrowth>,
    /// What the kernel's figures of the whole process show, the worst first: memory where nothing else is known of it;
    /// descriptors, threads and mappings where they are known.
    pub resources: Vec<ResourceFinding>,
    /// Sites that were judged.
    pub sites_judged: usize,
}

/// What a caller may set.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgeOptions {
    /// Growth below this rate, in bytes per second, is not called a leak.
    pub min_rate_bytes_per_second: f64,
    /// The leading part of the series to ignore; `None` lets the analysis find the warm-up.
    pub warm_up_ms: Option<u64>,
    /// False discovery rate over all sites.
    pub false_discovery_rate: f64,
    /// A limit on the resident memory of the process, in bytes; `None` takes that of its control group, where the
    /// snapshots tell.
    pub limit_bytes: Option<u64>,
    /// A run that is known to be good, to judge against.
    pub baseline: Option<Baseline>,
    /// Leaks that are accepted.
    pub suppressions: Vec<Suppression>,
}

impl Default for JudgeOptions {
    fn default() -> Self {
        Self {
            min_rate_bytes_per_second: 0.0,
            warm_up_ms: None,
            false_discovery_rate: 0.01,
            limit_bytes: None,
            baseline: None,
            suppressions: Vec::new(),
        }
    }
}
