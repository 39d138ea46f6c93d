//! Judging against a run that is known to be good. A leak it had as well is known, a bound it showed is a bound, and what
//! it never allocated is new. Does not decide whether two series are of one program: that is for whoever names them.

use super::judge::{Assessment, assess};
use super::judgement::{Evidence, Finding, JudgeOptions, Rate, Standing, Verdict};
use super::resources::Resource;
use crate::model::{FoldedStack, Series, SiteKey, SiteSeries};
use std::collections::HashMap;

/// A site stays within a bound up to this factor: runs differ a little, and sampled ones more.
const TOLERANCE: f64 = 1.1;

/// What one or several runs showed of each site.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Baseline {
    sites: Vec<Before>,
    by_key: HashMap<SiteKey, usize>,
    /// Figures of the kernel that leaked, with the fastest rate.
    resources: HashMap<Resource, Rate>,
    /// Series that say nothing.
    too_short: usize,
}

/// One site in the baseline. Of several runs the one counts that says more: the higher bound, the faster leak.
#[derive(Debug, Clone, PartialEq)]
struct Before {
    key: SiteKey,
    lines: Vec<Option<u32>>,
    /// The most that was live after the warm-up, where it was judged bounded.
    bound_bytes: Option<u64>,
    /// How fast it leaked, where it was judged leaking.
    speed: Option<Speed>,
}

/// How fast a site grows.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Speed {
    per_s: Rate,
    per_turn: Option<Rate>,
    /// One block of the largest size more or less, as a fraction of both: the table of a map, or a buffer, comes in
    /// steps, and how many a run sees hangs on its length.
    step: f64,
}

impl Baseline {
    /// The baseline that some series make, judged as `options` say; suppressions and another baseline play no part.
    #[must_use]
    pub fn of(series: &[&Series], options: &JudgeOptions) -> Self {
        let mut baseline = Self::default();
        for one in series {
            baseline.add(one, options);
        }
        baseline
    }

    fn add(&mut self, series: &Series, options: &JudgeOptions) {
        let assessment = assess(series, options);
        if assessment.too_short_ms.is_some() {
            self.too_short += 1;
            return;
        }
        for one in assessment.resources.iter().filter(|one| one.verdict == Verdict::Leaking) {
            let Some(rate) = one.rate_per_second else { continue };
            let known = self.resources.entry(one.resource).or_insert(rate);
            if rate.high > known.high {
                *known = rate;
            }
        }
        let findings: HashMap<SiteKey, &Finding> = assessment.findings.iter().map(|one| (one.key, one)).collect();
        let from = assessment.window.place_at(assessment.warm_up);
        for site in &series.sites {
            let finding = findings.get(&site.key).copied();
            let before = Before {
                key: site.key,
                lines: lines_of(&site.stack),
                bound_bytes: finding
                    .is_none_or(|finding| finding.verdict == Verdict::Bounded)
                    .then(|| most_live(site, series, &assessment.window.moments[from..])),
                speed: finding
                    .filter(|finding| finding.verdict == Verdict::Leaking)
                    .and_then(|finding| Speed::of(finding, assessment.judged_s())),
            };
            self.keep(before);
        }
    }

    fn keep(&mut self, before: Before) {
        let Some(place) = self.by_key.get(&before.key) else {
            self.by_key.insert(before.key, self.sites.len());
            self.sites.push(before);
            return;
        };
        let known = &mut self.sites[*place];
        known.bound_bytes = known.bound_bytes.max(before.bound_bytes);
        let faster =
            |speed: &Speed| known.speed.is_none_or(|known| speed.highest(speed.per_s) > known.highest(known.per_s));
        known.speed = before.speed.filter(faster).or(known.speed);
    }

    /// Says of each finding that is not bounded what the baseline knows of it, and takes it out of the verdict where that
    /// settles it.
    pub(super) fn compare(&self, series: &Series, assessment: &mut Assessment) {
        match (self.too_short, self.sites.is_empty() && self.resources.is_empty()) {
            (0, _) => {}
            (_, true) => {
                assessment.notes.push("the baseline is too short to judge; nothing is known from it".to_owned())
            }
            (n, false) => assessment.notes.push(format!("{n} recordings of the baseline are too short to judge")),
        }
        for one in assessment.resources.iter_mut().filter(|one| one.verdict == Verdict::Leaking) {
            let known = self.resources.get(&one.resource).zip(one.rate_per_second);
            one.standing = known
                .map(|(known, now)| if now.low <= known.high * TOLERANCE { Standing::Known } else { Standing::Faster });
        }
        if self.sites.is_empty() {
            return;
        }
        let partners = self.partners(series);
        let most: HashMap<SiteKey, u64> =
            series.sites.iter().map(|site| (site.key, most_live(site, series, &assessment.window.moments))).collect();
        let judged_s = assessment.judged_s();
        for finding in assessment.findings.iter_mut().filter(|finding| finding.verdict != Verdict::Bounded) {
            let before = partners.get(&finding.key).map(|place| &self.sites[*place]);
            judge_against(finding, before, most.get(&finding.key).copied().unwrap_or(u64::MAX), judged_s);
        }
    }

    /// The place of each site of `series` in the baseline. By the whole key first; those of other builds, whose lines
    /// differ, by functions alone, and where these have several sites, in order of their lines.
    fn partners(&self, series: &Series) -> HashMap<SiteKey, usize> {
        let mut partners: HashMap<SiteKey, usize> = HashMap::new();
        let mut taken = vec![false; self.sites.len()];
        let mut others: Vec<&SiteSeries> = Vec::new();
        for site in &series.sites {
            match self.by_key.get(&site.key) {
                Some(place) => {
                    taken[*place] = true;
                    partners.insert(site.key, *place);
                }
                None => others.push(site),
            }
        }
        let mut left: HashMap<u64, Vec<usize>> = HashMap::new();
        for place in (0..self.sites.len()).filter(|place| !taken[*place]) {
            left.entry(self.sites[place].key.code).or_default().push(place);
        }
        for places in left.values_mut() {
            places.sort_by(|a, b| self.sites[*b].lines.cmp(&self.sites[*a].lines));
        }
        others.sort_by_cached_key(|site| lines_of(&site.stack));
        for site in others {
            if let Some(place) = left.get_mut(&site.key.code).and_then(Vec::pop) {
                partners.insert(site.key, place);
            }
        }
        partners
    }
}

impl Speed {
    /// Of a site that was judged for so many seconds.
    fn of(finding: &Finding, judged_s: f64) -> Option<Self> {
        let per_s = finding.rate_bytes_per_second?;
        let per_turn = finding.per_iteration.map(|turn| Rate {
            estimate: turn.bytes,
            low: turn.bytes * (1.0 - turn.relative_error),
            high: turn.bytes * (1.0 + turn.relative_error),
        });
        let largest = finding.size.map_or(0.0, |size| size.largest as f64);
        let step = largest / (judged_s * per_s.estimate.abs()).max(1e-9);
        Some(Self { per_s, per_turn, step })
    }

    fn lowest(&self, rate: Rate) -> f64 {
        rate.low - self.step * rate.estimate.abs()
    }

    fn highest(&self, rate: Rate) -> f64 {
        rate.high + self.step * rate.estimate.abs()
    }
}

fn lines_of(stack: &FoldedStack) -> Vec<Option<u32>> {
    stack.frames.iter().map(|frame| frame.function.line).collect()
}

/// The most that was live at any of some moments, in order.
fn most_live(site: &SiteSeries, series: &Series, moments: &[usize]) -> u64 {
    let mut wanted = moments.iter().copied().peekable();
    let live = site.live(series.moments.len()).enumerate();
    let judged = live.filter(|(moment, _)| wanted.next_if_eq(moment).is_some());
    judged.map(|(_, live)| live.bytes).max().unwrap_or(0)
}

/// One finding with what the baseline has of its site, and the most that is live there now.
fn judge_against(finding: &mut Finding, before: Option<&Before>, most_bytes: u64, judged_s: f64) {
    let (standing, text) = match before {
        None => (Standing::New, "it is new: in the baseline nothing was allocated here".to_owned()),
        Some(before) => {
            let bound = before.bound_bytes.filter(|bound| most_bytes as f64 <= *bound as f64 * TOLERANCE);
            match (bound, before.speed) {
                (Some(bound), _) => {
                    (Standing::Settled, format!("stays below the {} at which it settled in the baseline", size(bound)))
                }
                (None, Some(speed)) => against_speed(Speed::of(finding, judged_s), speed),
                (None, None) => return,
            }
        }
    };
    if standing == Standing::Settled {
        finding.verdict = Verdict::Bounded;
        finding.more_ms = None;
    }
    let verdict = match standing {
        Standing::Settled => Verdict::Bounded,
        Standing::New | Standing::Known => Verdict::Inconclusive,
        Standing::Faster => Verdict::Leaking,
    };
    finding.standing = Some(standing);
    finding.evidence.insert(0, Evidence { rule: "baseline", verdict, log_odds: 0.0, text });
}

/// A site that leaked before is known unless it leaks faster beyond both intervals, and by more than a step of each run.
/// Where both runs mark their turns it is growth per turn that is compared: load may differ.
fn against_speed(now: Option<Speed>, before: Speed) -> (Standing, String) {
    let Some(speed) = now else {
        return (Standing::Known, format!("it leaked in the baseline as well: {}", range(before.per_s, "per second")));
    };
    let (now, then, unit) = match (speed.per_turn, before.per_turn) {
        (Some(now), Some(then)) => (now, then, "per loop turn"),
        _ => (speed.per_s, before.per_s, "per second"),
    };
    if speed.lowest(now) > before.highest(then) {
        let times = now.estimate / then.estimate.max(f64::MIN_POSITIVE);
        let text = format!("it grows {times:.1} times as fast as in the baseline: there {}", range(then, unit));
        (Standing::Faster, text)
    } else {
        (Standing::Known, format!("it leaked in the baseline as well, and not slower: {}", range(then, unit)))
    }
}

fn range(rate: Rate, unit: &str) -> String {
    /// Below so many bytes a second a rate is told by the hour, so that it does not read as nothing.
    const SLOW: f64 = 16.0;
    let (rate, unit) =
        if unit == "per second" && rate.estimate < SLOW { (rate.per_hour(), "per hour") } else { (rate, unit) };
    let bytes = |rate: f64| size(rate.max(0.0).round() as u64);
    format!("{} {unit} (95 %: {} to {})", bytes(rate.estimate), bytes(rate.low), bytes(rate.high))
}

fn size(bytes: u64) -> String {
    const UNITS: [(u32, &str); 3] = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    match UNITS.iter().find(|(shift, _)| bytes >> shift > 0) {
        Some((shift, unit)) => format!("{:.1} {unit}", bytes as f64 / f64::from(1_u32 << shift)),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{Cause, PerIteration};
    use crate::model::{Amount, FoldedStack, SizeSummary};

    const MIB: u64 = 1 << 20;
    const JUDGED_S: f64 = 10.0;

    fn rate(estimate: f64) -> Rate {
        Rate { estimate, low: estimate * 0.9, high: estimate * 1.1 }
    }

    fn key(lines: u64) -> SiteKey {
        SiteKey { code: 1, lines }
    }

    fn finding(bytes_per_s: f64, per_turn: Option<f64>) -> Finding {
        Finding {
            verdict: Verdict::Leaking,
            probability: 0.99,
            cause: Cause::Unknown,
            key: key(1),
            stack: FoldedStack::default(),
            scope: None,
            live: Amount::default(),
            growth_bytes: 0,
            growth_blocks: 0,
            rate_bytes_per_second: Some(rate(bytes_per_s)),
            rate_blocks_per_second: None,
            per_iteration: per_turn.map(|bytes| PerIteration { blocks: 1.0, bytes, relative_error: 0.1 }),
            size: None,
            threads: Vec::new(),
            modules: Vec::new(),
            evidence: Vec::new(),
            advice: String::new(),
            more_ms: Some(1),
            settled_ms: None,
            standing: None,
            accepted: None,
        }
    }

    fn bounded(bytes: u64) -> Before {
        Before { key: key(1), lines: Vec::new(), bound_bytes: Some(bytes), speed: None }
    }

    fn leaking(bytes_per_s: f64, per_turn: Option<f64>) -> Before {
        let speed = Speed::of(&finding(bytes_per_s, per_turn), JUDGED_S);
        Before { key: key(1), lines: Vec::new(), bound_bytes: None, speed }
    }

    #[track_caller]
    fn check(now: Finding, most_bytes: u64, before: Option<&Before>, standing: Option<Standing>, says: &str) {
        let mut finding = now;
        judge_against(&mut finding, before, most_bytes, JUDGED_S);
        assert_eq!(finding.standing, standing);
        let text = finding.evidence.first().map_or("", |one| one.text.as_str());
        assert!(text.contains(says), "{text}");
        let settled = standing == Some(Standing::Settled);
        assert_eq!(finding.verdict, if settled { Verdict::Bounded } else { Verdict::Leaking });
        assert_eq!(finding.counts(), standing != Some(Standing::Known));
    }

    #[test]
    fn what_the_baseline_knows_is_said() {
        let (now, known) = (|| finding(1000.0, None), Some(Standing::Known));
        check(now(), MIB, None, Some(Standing::New), "it is new");
        check(
            now(),
            42 * MIB,
            Some(&bounded(41 * MIB)),
            Some(Standing::Settled),
            "below the 41.0 MiB at which it settled",
        );
        check(now(), 46 * MIB, Some(&bounded(41 * MIB)), None, "");
        check(
            now(),
            MIB,
            Some(&leaking(1000.0, None)),
            known,
            "not slower: 1000 B per second (95 %: 900 B to 1.1 KiB)",
        );
        check(now(), MIB, Some(&leaking(5000.0, None)), known, "not slower");
        check(now(), MIB, Some(&leaking(850.0, None)), known, "not slower");
        check(now(), MIB, Some(&leaking(250.0, None)), Some(Standing::Faster), "4.0 times as fast as in the baseline");
        check(now(), MIB, Some(&leaking(0.5, None)), Some(Standing::Faster), "there 1.8 KiB per hour");
        // Twice the load, the same growth per turn.
        check(finding(1000.0, Some(8.0)), MIB, Some(&leaking(400.0, Some(8.0))), known, "8 B per loop turn");
        check(finding(1000.0, Some(8.0)), MIB, Some(&leaking(400.0, None)), Some(Standing::Faster), "per second");
        // A table of 8 KB that doubled once more in one run than in the other is worth 0.8 KB a second.
        let stepped = || Finding { size: Some(SizeSummary { smallest: 16, largest: 8000 }), ..now() };
        check(stepped(), MIB, Some(&leaking(250.0, None)), known, "not slower");
        check(stepped(), MIB, Some(&leaking(50.0, None)), Some(Standing::Faster), "20.0 times");
        let shrinking =
            Finding { rate_bytes_per_second: Some(Rate { estimate: -9.0, low: -10.0, high: -8.0 }), ..stepped() };
        check(shrinking, MIB, Some(&leaking(50.0, None)), known, "not slower");
        let neither = Before { bound_bytes: None, ..bounded(0) };
        check(now(), MIB, Some(&neither), None, "");
    }

    #[test]
    fn of_several_runs_the_one_that_says_more_counts() {
        let mut baseline = Baseline::default();
        for before in [bounded(3 * MIB), bounded(5 * MIB), bounded(4 * MIB), leaking(10.0, None), leaking(7.0, None)] {
            baseline.keep(before);
        }
        let [one] = baseline.sites.as_slice() else { panic!("one site") };
        assert_eq!(one.bound_bytes, Some(5 * MIB));
        assert_eq!(one.speed.map(|speed| speed.per_s), Some(rate(10.0)));
    }
}
