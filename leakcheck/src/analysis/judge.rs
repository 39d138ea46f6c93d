//! Combines the rules into one probability per site, and the sites into a verdict.

use super::cause;
use super::entries;
use super::judgement::{Evidence, Finding, JudgeOptions, Judgement, PerIteration, Rate, TimeToLimit, Verdict};
use super::notes;
use super::resident;
use super::resources::{self, Resource, ResourceFinding};
use super::rules::{Looks, RULES};
use super::siblings::{self, Relative};
use super::statistics::theil_sen;
use super::suppressions;
use super::view::View;
use super::window::Window;
use crate::model::{Amount, Series, SiteSeries, Source};

/// Fewer judged moments than this say nothing about a rate.
const MOMENTS_MIN: usize = 6;
/// The prior log odds that a site with live blocks leaks: about 3 in 100.
pub(super) const PRIOR: f64 = -3.5;
/// The same in a run so short that warm-up, seasons and waves cannot be told from growth.
const PRIOR_SHORT: f64 = -5.0;
const MOMENTS_SHORT: usize = 10;
/// Called leaking from this probability on.
const LEAKING: f64 = 0.95;
/// Open from this probability on.
const OPEN: f64 = 0.05;
/// Open from this probability on when blocks of all ages survive.
const POSSIBLE: f64 = 0.03;
/// Log odds of a level that cannot be chance.
const RAISED: f64 = 4.0;
/// Log odds of the floor below which its rise has ended.
const ENDED: f64 = -1.5;
/// Log odds of the survivors below which all blocks go for certain.
const GONE: f64 = -4.0;
/// Survivors beyond the warm-up with which a steady leak is found in 19 of 20 runs (`docs/detection.md`, power).
const SURVIVORS_WANTED: f64 = 50.0;
/// Longer than so many times the run so far is not foretold.
const LONGER_MAX: f64 = 50.0;
/// Bounded sites shown.
const BOUNDED_SHOWN: usize = 5;
/// The leading part that is warm-up unless the caller says otherwise, as a fraction of the span.
const WARM_UP: f64 = 0.15;

/// Judges a series: which sites leak, which are bounded, and for which the data is too thin.
#[must_use]
pub fn judge(series: &Series, options: &JudgeOptions) -> Judgement {
    let mut assessment = assess(series, options);
    if let Some(baseline) = &options.baseline {
        baseline.compare(series, &mut assessment);
    }
    suppressions::accept(&options.suppressions, &mut assessment.findings);
    suppressions::accept_resources(&options.suppressions, &mut assessment.resources);
    assessment.conclude(series, options)
}

/// A series with a finding for each site that was looked at, before anything is known beside it.
pub(super) struct Assessment {
    pub(super) window: Window,
    /// The leading part that is ignored, as a fraction of the span.
    pub(super) warm_up: f64,
    /// When the series is too short to judge: how much longer to run, in milliseconds.
    pub(super) too_short_ms: Option<u64>,
    /// In no order. Sites that cannot have grown have none and are bounded.
    pub(super) findings: Vec<Finding>,
    /// What the kernel's figures show.
    pub(super) resources: Vec<ResourceFinding>,
    pub(super) notes: Vec<String>,
}

/// Looks at each site by all rules.
pub(super) fn assess(series: &Series, options: &JudgeOptions) -> Assessment {
    let window = Window::of(series);
    let warm_up = warm_up(&window, options);
    let mut notes = notes::of(series);
    if window.len() < MOMENTS_MIN {
        notes.insert(0, format!("{} snapshots can be judged; at least {MOMENTS_MIN} are needed", window.len()));
        let too_short_ms = Some(time_for_more(series, &window));
        return Assessment { window, warm_up, too_short_ms, findings: Vec::new(), resources: Vec::new(), notes };
    }
    let looks = Looks::new(&window, warm_up);
    let mut judged: Vec<Judged<'_>> = series
        .sites
        .iter()
        .filter(|site| may_grow(site, &window, looks.warm_up()))
        .map(|site| Judged::of(View::new(series, &window, site, &looks), options))
        .collect();
    control_false_discoveries(&mut judged, options);
    for (place, entries) in entries::of_buffers(series, &window, &judged) {
        judged[place].settle_by_entries(entries);
    }
    let findings = siblings::settle(judged.into_iter().map(|one| one.finding(series)).collect());
    let resources = resources::findings(series, &window, warm_up);
    Assessment { window, warm_up, too_short_ms: None, findings, resources, notes }
}

impl Assessment {
    /// Seconds of time at work that were judged.
    pub(super) fn judged_s(&self) -> f64 {
        self.window.span() * (1.0 - self.warm_up)
    }

    /// The verdict over all findings that count.
    fn conclude(self, series: &Series, options: &JudgeOptions) -> Judgement {
        let Self { window, findings, mut resources, notes, too_short_ms, .. } = self;
        let kernel_only = series.recording.source == Source::Kernel;
        let counting = || findings.iter().filter(|finding| finding.counts());
        // Beside recorded sites a figure must be sure: that it may grow is told, and does not unsettle what sites show.
        let figures = || {
            let sure = |one: &&ResourceFinding| kernel_only || one.verdict == Verdict::Leaking;
            resources.iter().filter(|one| one.counts()).filter(sure)
        };
        let worst = counting().map(|one| one.verdict).chain(figures().map(|one| one.verdict)).max();
        let verdict = match (too_short_ms, worst) {
            (Some(_), _) => Verdict::Inconclusive,
            // A process of which nothing is known may do anything.
            (None, None) if kernel_only => Verdict::Inconclusive,
            (None, worst) => worst.unwrap_or(Verdict::Bounded),
        };
        let more = || counting().filter_map(|one| one.more_ms).chain(figures().filter_map(|one| one.more_ms)).max();
        let more_ms = match verdict {
            Verdict::Inconclusive => too_short_ms.or_else(more),
            Verdict::Leaking | Verdict::Bounded => None,
        };
        let time_to_limit =
            time_to_limit(series, &window, &rates_of_memory(&findings, &resources), options.limit_bytes);
        resources.sort_by_key(|one| std::cmp::Reverse(one.verdict));
        Judgement {
            verdict,
            notes,
            more_ms,
            time_to_limit,
            resident: if kernel_only { None } else { resident::growth(series, &window) },
            sites_judged: if too_short_ms.is_some() { 0 } else { series.sites.len() },
            findings: worth_showing(findings),
            resources,
        }
    }
}

/// The rates in bytes at which memory leaks.
fn rates_of_memory(findings: &[Finding], resources: &[ResourceFinding]) -> Vec<Rate> {
    let sites =
        findings.iter().filter(|one| one.verdict == Verdict::Leaking).filter_map(|one| one.rate_bytes_per_second);
    let memory = resources.iter().filter(|one| one.resource == Resource::Memory && one.verdict == Verdict::Leaking);
    sites.chain(memory.filter_map(|one| one.rate_per_second)).collect()
}

fn warm_up(window: &Window, options: &JudgeOptions) -> f64 {
    match options.warm_up_ms {
        None => WARM_UP,
        Some(ms) => {
            let first = window.seconds.first().copied().unwrap_or(0.0);
            ((ms as f64 / 1000.0 - first) / window.span().max(1e-9)).clamp(0.0, 0.7)
        }
    }
}

/// Time for enough snapshots, at the pace they came so far.
fn time_for_more(series: &Series, window: &Window) -> u64 {
    let pace_ms = match window.len() {
        0 | 1 => (series.recording.every_ms as f64).max(1000.0),
        n => window.span() * 1000.0 / (n - 1) as f64,
    };
    (pace_ms * (2 * MOMENTS_MIN).saturating_sub(window.len()) as f64) as u64
}

/// A cheap look that spares most sites the rules: nothing live, nothing changed, or no block from the judged time that is
/// not among the youngest, and no more live than there was before.
fn may_grow(site: &SiteSeries, window: &Window, warm_up: f64) -> bool {
    let (Some(first), Some(last)) = (window.moments.first(), window.moments.last()) else { return false };
    let now = site.at(*last);
    if now.live().is_zero() || site.points.last().is_none_or(|point| point.moment as usize <= *first) {
        return false;
    }
    // A block that doubles may be at rest for half the run.
    let middle = window.moments[window.place_before(0.4)];
    if site.at(middle) == now {
        return false;
    }
    let is_old = |generation: u32| {
        let found = window.generations.binary_search_by_key(&generation, |one| one.generation);
        found.is_ok_and(|place| window.generations[place].end > warm_up && window.generations[place].end <= 0.8)
    };
    let from = window.moments[window.place_at(warm_up)];
    let early = site.points.iter().filter(|point| (from..=middle).contains(&(point.moment as usize)));
    let (mut blocks, mut bytes) = (site.at(from).live().blocks, site.at(from).live().bytes);
    for live in early.map(|point| point.counters.live()) {
        (blocks, bytes) = (blocks.max(live.blocks), bytes.max(live.bytes));
    }
    let grew = now.live().blocks > blocks || now.live().bytes > bytes;
    grew || site.survivors_at(*last).iter().any(|one| is_old(one.generation))
}

/// A site with what the rules say of it.
pub(super) struct Judged<'a> {
    pub(super) view: View<'a>,
    evidence: Vec<Evidence>,
    probability: f64,
    pub(super) verdict: Verdict,
    rate: Growth,
    more_ms: Option<u64>,
}

/// How fast the site grows.
#[derive(Debug, Clone, Copy, Default)]
struct Growth {
    bytes_per_s: Option<Rate>,
    blocks_per_s: Option<Rate>,
    per_turn: Option<PerIteration>,
}

impl<'a> Judged<'a> {
    fn of(view: View<'a>, options: &JudgeOptions) -> Self {
        let mut evidence: Vec<Evidence> = RULES.iter().filter_map(|rule| rule(&view)).collect();
        evidence.sort_by(|a, b| b.log_odds.abs().total_cmp(&a.log_odds.abs()));
        let prior = if is_short(view.window) { PRIOR_SHORT } else { PRIOR };
        let log_odds = prior + evidence.iter().map(|one| one.log_odds).sum::<f64>();
        let probability = 1.0 / (1.0 + (-log_odds).exp());
        let rate = growth(&view);
        // Whatever the rules say, a leak has a rate.
        let grows = rate.bytes_per_s.is_some_and(|rate| rate.estimate > 0.0);
        let verdict = if probability >= LEAKING && grows {
            Verdict::Leaking
        } else if is_open(&view, probability, &evidence) {
            Verdict::Inconclusive
        } else {
            Verdict::Bounded
        };
        let more_ms = (verdict == Verdict::Inconclusive).then(|| more_time(&view, &rate, options));
        let mut view = view;
        view.compact();
        Self { view, evidence, probability, verdict, rate, more_ms }
    }

    /// A buffer is as bounded as what it holds.
    fn settle_by_entries(&mut self, entries: f64) {
        self.verdict = Verdict::Bounded;
        self.more_ms = None;
        self.probability = self.probability.min(OPEN);
        let text = format!("it is the buffer or table of entries that are bounded, {entries:.0} of them now");
        self.evidence.insert(0, Evidence { rule: "entries", verdict: Verdict::Bounded, log_odds: -3.0, text });
    }

    fn finding(self, series: &Series) -> Relative {
        let window = self.view.window;
        let Self { view, mut evidence, probability, verdict, rate, more_ms } = self;
        let from = window.place_at(view.warm_up);
        let (bytes, blocks) = (&view.bytes, &view.blocks);
        let growth = |values: &[f64]| (view.last(values) - values.get(from).copied().unwrap_or(0.0)) as i64;
        let last = window.moments.last().copied().unwrap_or(0);
        let counters = view.site.at(last);
        let freed_share = counters.freed.blocks as f64 / (counters.allocated.blocks as f64).max(1.0);
        let grows_itself = view.profile.is_some_and(|profile| profile.of_bytes);
        let shape = match (view.is_few_blocks(), grows_itself) {
            (true, _) => cause::Shape::OneBlockGrows,
            (false, true) => cause::Shape::BlocksGrow,
            (false, false) => cause::Shape::MoreBlocks,
        };
        let circumstances = cause::Circumstances { freed_share, resized: counters.resized > 0 };
        let explained = cause::explain(&view.site.stack, shape, circumstances, view.site.size);
        evidence.push(Evidence {
            rule: "cause",
            verdict: Verdict::Inconclusive,
            log_odds: 0.0,
            text: explained.evidence,
        });
        let finding = Finding {
            verdict,
            probability,
            cause: explained.cause,
            key: view.site.key,
            stack: view.site.stack.clone(),
            scope: view.site.scope.clone(),
            live: Amount::new(view.last(blocks) as u64, view.last(bytes) as u64),
            growth_bytes: growth(bytes),
            growth_blocks: growth(blocks),
            rate_bytes_per_second: rate.bytes_per_s,
            rate_blocks_per_second: rate.blocks_per_s,
            per_iteration: rate.per_turn,
            size: view.site.size,
            threads: view.site.threads.clone(),
            modules: modules_of(view.site, series),
            evidence,
            advice: explained.advice,
            more_ms,
            settled_ms: (verdict == Verdict::Bounded).then(|| settled(&view)).flatten(),
            standing: None,
            accepted: None,
        };
        Relative::new(finding, shape, freed_share)
    }
}

fn modules_of(site: &SiteSeries, series: &Series) -> Vec<String> {
    site.modules.iter().filter_map(|id| series.modules.get(id.index()).cloned()).collect()
}

/// When a bounded site first stood at nine tenths of the most it ever held, in milliseconds since the recording began.
fn settled(view: &View<'_>) -> Option<u64> {
    let most = view.bytes.iter().copied().fold(0.0, f64::max);
    let place = view.bytes.iter().position(|bytes| *bytes >= 0.9 * most)?;
    view.window.clock_ms(place)
}

/// When a limit of memory, the caller's or the control group's, is reached at the rate of all leaks together, with the ends
/// of its 95 % interval.
fn time_to_limit(series: &Series, window: &Window, rates: &[Rate], callers: Option<u64>) -> Option<TimeToLimit> {
    let moment = series.moments.get(*window.moments.last()?)?;
    let limit_bytes = callers.or(moment.resident.and_then(|resident| resident.limit_bytes))?;
    let held = moment.resident.map_or(moment.totals.live().bytes, |resident| resident.rss_bytes);
    let left = limit_bytes.saturating_sub(held) as f64;
    let sum: f64 = rates.iter().map(|rate| rate.estimate).sum();
    // Errors of different sites are independent.
    let above = rates.iter().map(|rate| (rate.high - rate.estimate).powi(2)).sum::<f64>().sqrt();
    let below = rates.iter().map(|rate| (rate.estimate - rate.low).powi(2)).sum::<f64>().sqrt();
    let ms = |rate: f64| (left / rate * 1000.0) as u64;
    (sum > 0.0).then(|| TimeToLimit {
        limit_bytes,
        ms: ms(sum),
        earliest_ms: ms(sum + above),
        latest_ms: (sum > below).then(|| ms(sum - below)),
    })
}

/// Whether there are so few moments, and birth generations, that warm-up, seasons and waves cannot be told from growth.
/// Snapshots may be missing; the generations are there all the same.
fn is_short(window: &Window) -> bool {
    window.len().max(window.generations.len()) < MOMENTS_SHORT
}

/// Whether a site that is not called leaking may still turn out to be one: it is not unlikely to; or it is a block that
/// grows in steps, and the next one is not long overdue; or it stands far above where it was, and still rises; or blocks
/// of all ages survive; or the run is short and it has grown.
fn is_open(view: &View<'_>, probability: f64, evidence: &[Evidence]) -> bool {
    let doubling = evidence.iter().find(|one| one.rule == "doubling");
    if probability >= OPEN || doubling.is_some_and(|one| one.log_odds > -1.0) {
        return true;
    }
    let survivors = view.persistence.map_or(0.0, |found| found.log_odds);
    let all_ages =
        probability >= POSSIBLE && view.persistence.is_some_and(|found| !found.is_thin() && found.log_odds > 0.5);
    let Some(floor) = view.profile else { return all_ages };
    let raised = floor.comes_and_goes() && floor.beyond_turnover > RAISED && floor.log_odds > 0.0;
    let grown = is_short(view.window) && floor.is_more_than_few(view) && floor.log_odds > ENDED;
    all_ages || (raised || grown) && survivors > GONE || !floor.comes_and_goes() && has_hardly_rested(view)
}

/// Whether blocks that stay came one after the other, and none has come for so short a time that it may be chance: of `k`
/// moments at which there were more, all lie in the part of the time before the last of them with probability part^k.
fn has_hardly_rested(view: &View<'_>) -> bool {
    const RISES_MIN: usize = 4;
    const CHANCE: f64 = 0.02;
    let from = view.window.place_at(view.warm_up);
    let floor = View::floor(&view.blocks);
    let rises = || (from + 1..floor.len()).filter(|place| floor[*place] > floor[place - 1]);
    let (Some(last), count) = (rises().next_back(), rises().count()) else { return false };
    let seconds = |place: usize| view.window.seconds[place] - view.window.seconds[from];
    let part = seconds(last) / seconds(floor.len() - 1).max(1e-9);
    count >= RISES_MIN && part.powi(count as i32) > CHANCE
}

/// How much longer to run until a leak at this rate would be found with 95 % power: until [`SURVIVORS_WANTED`] survivors
/// beyond the warm-up have been recorded, times their dispersion. The rate is the caller's least one, else the site's own.
fn more_time(view: &View<'_>, rate: &Growth, options: &JudgeOptions) -> u64 {
    let span = view.window.span();
    let (blocks, bytes) = (view.last(&view.blocks), view.last(&view.bytes));
    let own = rate.blocks_per_s.map_or(0.0, |rate| rate.estimate);
    let least = options.min_rate_bytes_per_second / (bytes / blocks.max(1.0)).max(1.0);
    let per_s = if least > 0.0 { least } else { own } * view.recorded_share;
    let dispersion = view.persistence.map_or(1.0, |found| found.dispersion);
    let wanted = SURVIVORS_WANTED * dispersion / (1.0 - view.warm_up);
    let whole = if per_s > 0.0 && !view.is_few_blocks() { wanted / per_s } else { 2.0 * span };
    ((whole - span).clamp(0.5 * span, LONGER_MAX * span) * 1000.0) as u64
}

/// Growth rates: by the survivors where many blocks come, by the slope of bytes where a few blocks grow.
fn growth(view: &View<'_>) -> Growth {
    let span = view.window.span().max(1e-9);
    let from = view.window.place_at(view.warm_up);
    let slope = |values: &[f64]| {
        let slope = theil_sen(&view.window.seconds[from..], &values[from..])?;
        let (whole, rise) = (span * (1.0 - view.warm_up), view.last(values) - values[from]);
        if slope.estimate <= 0.0 && rise > 0.0 {
            // A few large steps: most pairs of moments see none.
            let estimate = rise / whole.max(1e-9);
            return Some(Rate { estimate, low: 0.0, high: 2.0 * estimate });
        }
        Some(Rate { estimate: slope.estimate, low: slope.low, high: slope.high })
    };
    let found = view.persistence.filter(|found| found.density() > 0.0 && found.log_odds > 0.0 && !view.is_few_blocks());
    let Some(found) = found else {
        return Growth { bytes_per_s: slope(&view.bytes), blocks_per_s: slope(&view.blocks), per_turn: None };
    };
    let survivors = ((found.older.survivors + found.newer.survivors) * view.recorded_share).max(1.0);
    let relative = 1.96 * (found.dispersion / survivors).sqrt();
    let rate = |density: f64| {
        let estimate = density / span;
        Rate { estimate, low: (estimate * (1.0 - relative)).max(0.0), high: estimate * (1.0 + relative) }
    };
    let turns = view.window.iterations.last().copied().unwrap_or(0.0) - view.window.iterations[from];
    let turns_per_s = turns / (span * (1.0 - view.warm_up));
    let per_turn = (turns >= 20.0).then(|| PerIteration {
        blocks: found.density() / span / turns_per_s,
        bytes: found.density_bytes() / span / turns_per_s,
        relative_error: relative,
    });
    Growth { bytes_per_s: Some(rate(found.density_bytes())), blocks_per_s: Some(rate(found.density())), per_turn }
}

/// Keeps the expected share of false findings among all that are called leaking under the caller's limit: the largest
/// set, taken by falling probability, whose mean probability of being wrong is within it (a Bayesian false discovery
/// rate: Newton et al. 2004). Growth below the caller's least rate is never called a leak.
fn control_false_discoveries(judged: &mut [Judged<'_>], options: &JudgeOptions) {
    for one in judged.iter_mut().filter(|one| one.verdict == Verdict::Leaking) {
        let rate = one.rate.bytes_per_s.map_or(0.0, |rate| rate.high);
        if rate < options.min_rate_bytes_per_second {
            one.verdict = Verdict::Bounded;
        }
    }
    let mut leaking: Vec<usize> =
        (0..judged.len()).filter(|place| judged[*place].verdict == Verdict::Leaking).collect();
    leaking.sort_by(|a, b| judged[*b].probability.total_cmp(&judged[*a].probability));
    let mut wrong = 0.0;
    for (rank, place) in leaking.into_iter().enumerate() {
        wrong += 1.0 - judged[place].probability;
        if wrong / (rank + 1) as f64 > options.false_discovery_rate.max(1.0 - LEAKING) {
            judged[place].verdict = Verdict::Inconclusive;
            judged[place].more_ms = Some((judged[place].view.window.span() * 500.0) as u64);
        }
    }
}

/// Leaking by falling rate, then open ones by falling probability, then a few of the largest bounded ones.
fn worth_showing(mut findings: Vec<Finding>) -> Vec<Finding> {
    let rate = |finding: &Finding| finding.rate_bytes_per_second.map_or(0.0, |rate| rate.estimate);
    findings.sort_by(|a, b| {
        let within = match a.verdict {
            Verdict::Leaking => rate(b).total_cmp(&rate(a)),
            Verdict::Inconclusive => b.probability.total_cmp(&a.probability),
            Verdict::Bounded => b.live.bytes.cmp(&a.live.bytes),
        };
        b.verdict.cmp(&a.verdict).then(within).then(a.key.cmp(&b.key))
    });
    let mut bounded = 0;
    findings.retain(|finding| {
        bounded += usize::from(finding.verdict == Verdict::Bounded);
        // What the baseline settled would have been called open or leaking, and is told.
        finding.verdict != Verdict::Bounded || finding.standing.is_some() || bounded <= BOUNDED_SHOWN
    });
    findings
}
