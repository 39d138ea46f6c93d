//! From the looks of a trial to a series whose clock counts calls, and to the verdict of the analysis on it.

use crate::analysis::{self, Finding, JudgeOptions, Judgement, Verdict};
use crate::model::{
    Amount, Counters, FoldedFrame, FoldedStack, Generation, Origin, Series, SiteKey, SiteSeries, Snapshot, Survivors,
};
use crate::record::{Trial, Watched};

/// Elapsed milliseconds of a call: rates per second are rates per call.
const MS_PER_CALL: u64 = 1000;

/// One look: its number is its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// Calls made before it.
    pub(super) calls: u64,
    /// All blocks of the trial.
    pub(super) totals: Counters,
}

/// A judgement with what it was reached from.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) judgement: Judgement,
    sites: Vec<Growth>,
}

/// How a site has grown, counted.
#[derive(Debug)]
struct Growth {
    key: SiteKey,
    /// Blocks and bytes of a call, over the later two thirds of the run.
    per_call: (f64, f64),
    /// Whether it holds more at the end than at any time in the second quarter of the run.
    holds_more: bool,
}

impl Judged {
    /// Whether a site that is not decided holds more than it did in the second quarter of the run.
    pub(super) fn open_holds_more(&self) -> bool {
        let mut open =
            self.judgement.findings.iter().filter(|finding| finding.verdict == Verdict::Inconclusive).peekable();
        open.peek().is_none() || open.any(|finding| self.growth_of(finding).is_some_and(|growth| growth.holds_more))
    }

    /// Whether any site holds more than it did in the second quarter of the run.
    pub(super) fn holds_more(&self) -> bool {
        self.sites.iter().any(|growth| growth.holds_more)
    }

    /// Blocks and bytes that stay of a call.
    pub(super) fn per_call(&self, finding: &Finding) -> (f64, f64) {
        self.growth_of(finding).map_or((0.0, 0.0), |growth| growth.per_call)
    }

    fn growth_of(&self, finding: &Finding) -> Option<&Growth> {
        self.sites.iter().find(|growth| growth.key == finding.key)
    }
}

/// Judges what was seen so far, at looks about `spacing` calls apart.
pub(super) fn judge(trial: &Trial, seen: &[Seen], spacing: u32) -> Judged {
    let looks = evenly(seen, u64::from(spacing));
    let series = trial.tell(|snapshot, watched| series(snapshot, watched, seen, &looks));
    let mut series = series.expect("there is a look before anything is judged");
    series.sites.retain(|site| !is_list_of_threads(&site.stack));
    let test = TestNames::of(&series);
    series.sites.iter_mut().for_each(|site| test.hide(&mut site.stack));
    let mut judgement = analysis::judge(&series, &JudgeOptions::default());
    judgement.findings.iter_mut().for_each(|finding| test.show(&mut finding.stack));
    Judged { judgement, sites: series.sites.iter().map(|site| growth(&series, site)).collect() }
}

fn growth(series: &Series, site: &SiteSeries) -> Growth {
    let live: Vec<Amount> = site.live(series.moments.len()).collect();
    let (third, last) = (live.len() / 3, live.len() - 1);
    let calls = (series.moments[last].iterations - series.moments[third].iterations).max(1) as f64;
    let of_call = |of: fn(&Amount) -> u64| (of(&live[last]) as f64 - of(&live[third]) as f64) / calls;
    // A block that doubles when it is full has done so once in the later half.
    let before = &live[live.len() / 4..(live.len() * 9 / 20).max(live.len() / 4 + 1)];
    let more = |of: fn(&Amount) -> u64| before.iter().all(|amount| of(amount) < of(&live[last]));
    let (blocks, bytes) = (|amount: &Amount| amount.blocks, |amount: &Amount| amount.bytes);
    Growth { key: site.key, per_call: (of_call(blocks), of_call(bytes)), holds_more: more(blocks) || more(bytes) }
}

/// The names of functions that assert. A test is called after what it looks for, a leak or a cache, and that says nothing
/// of what its closures do: while it is judged, it has no name.
#[derive(Debug)]
struct TestNames(Vec<String>);

/// Stands for such a name.
const HIDDEN: &str = "test";

impl TestNames {
    /// The functions whose closures the assertion calls, and the test that the thread is named after.
    fn of(series: &Series) -> Self {
        let own = std::thread::current().name().filter(|name| *name != "main").map(|name| format!("::{name}"));
        let mut names: Vec<String> = own.into_iter().collect();
        for site in &series.sites {
            let frames = &site.stack.frames;
            let called = frames.iter().position(is_own).and_then(|place| frames.get(place.checked_sub(1)?));
            let test =
                called.and_then(|frame| frame.function.name.split_once(CLOSURE)).map(|(test, _)| test.to_owned());
            names.extend(test.filter(|test| !names.contains(test)));
        }
        Self(names)
    }

    /// Also leaves out the frames of the assertion and of what called it.
    fn hide(&self, stack: &mut FoldedStack) {
        let inner = stack.frames.iter().position(is_own).unwrap_or(stack.frames.len());
        stack.frames.truncate(inner);
        for name in stack.frames.iter_mut().map(|frame| &mut frame.function.name) {
            for (number, test) in self.0.iter().enumerate() {
                *name = name.replace(&format!("{test}{CLOSURE}"), &format!("{HIDDEN}{number}{CLOSURE}"));
            }
        }
    }

    fn show(&self, stack: &mut FoldedStack) {
        for name in stack.frames.iter_mut().map(|frame| &mut frame.function.name) {
            for (number, test) in self.0.iter().enumerate() {
                *name = name.replace(&format!("{HIDDEN}{number}{CLOSURE}"), &format!("{test}{CLOSURE}"));
            }
        }
    }
}

/// `::{{closure}}` in legacy names, `::{closure#0}` in v0 names.
const CLOSURE: &str = "::{";

/// Whether blocks are of the list that the standard library keeps of all threads of the process, for its message about
/// overflowing stacks. A thread's start may make the list grow that its end does not make shrink.
pub(super) fn is_list_of_threads(stack: &FoldedStack) -> bool {
    let is_plumbing = |frame: &FoldedFrame| frame.origin == Origin::Plumbing;
    let is_list = |frame: &FoldedFrame| frame.function.name.contains("::stack_overflow::");
    stack.frames.iter().all(is_plumbing) && stack.frames.iter().any(is_list)
}

/// Whether a frame is the assertion's.
pub(super) fn is_own(frame: &FoldedFrame) -> bool {
    frame.function.name.trim_start_matches('<').starts_with("leakcheck::testing::")
}

/// Looks at least `spacing` calls apart, the last one among them.
fn evenly(seen: &[Seen], spacing: u64) -> Vec<usize> {
    let mut looks: Vec<usize> = Vec::new();
    for (look, one) in seen.iter().enumerate() {
        if looks.last().is_none_or(|last| one.calls - seen[*last].calls >= spacing) {
            looks.push(look);
        }
    }
    if let Some(last) = looks.last_mut()
        && *last + 1 < seen.len()
    {
        *last = seen.len() - 1;
    }
    looks
}

/// The series of some looks. A birth round belongs to the generation that began with the last of these looks before it;
/// round `n` follows look `n - 1`.
fn series(snapshot: &mut Snapshot, watched: &[&Watched], seen: &[Seen], looks: &[usize]) -> Option<Series> {
    let generation_of = |round: u32| looks.partition_point(|look| *look < round as usize) as u32;
    let started = |look: &usize| seen[*look].calls * MS_PER_CALL;
    let begun = std::iter::once(0).chain(looks.iter().map(started)).enumerate();
    let generations: Vec<Generation> =
        begun.map(|(number, ms)| Generation { number: number as u32, started_elapsed_ms: ms }).collect();
    let mut series: Option<Series> = None;
    for (sequence, look) in looks.iter().enumerate() {
        snapshot.sequence = sequence as u64;
        snapshot.elapsed_ms = started(look);
        snapshot.iterations = seen[*look].calls;
        snapshot.totals = seen[*look].totals;
        // The one that this look begins has no blocks in it yet.
        snapshot.generations = generations[..=sequence].to_vec();
        for (site, one) in snapshot.sites.iter_mut().zip(watched) {
            site.counters = one.at(*look);
            let live = site.counters.live();
            let survivors = Survivors { generation: generation_of(one.round), blocks: live.blocks, bytes: live.bytes };
            site.survivors = if live.is_zero() { Vec::new() } else { vec![survivors] };
        }
        match &mut series {
            Some(series) => series.push(snapshot),
            None => series = Some(Series::new(snapshot)),
        }
    }
    series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_as_far_apart_as_those_of_the_last_phase() {
        let seen = |calls: &[u64]| -> Vec<Seen> {
            calls.iter().map(|calls| Seen { calls: *calls, totals: Counters::default() }).collect()
        };
        let check = |calls: &[u64], spacing, looks: &[usize]| assert_eq!(evenly(&seen(calls), spacing), looks);
        check(&[16, 47, 78, 109], 31, &[0, 1, 2, 3]);
        // Three rounds of 31 calls, then three of 60.
        check(&[16, 47, 78, 109, 169, 229, 289], 60, &[0, 2, 4, 5, 6]);
        // The last look is always there.
        check(&[16, 47, 78, 100], 31, &[0, 1, 3]);
    }

    #[test]
    fn names_of_tests_are_hidden_and_shown_in_either_form() {
        let names = TestNames(vec!["app::caches_leak".to_owned()]);
        for name in ["app::caches_leak::{{closure}}", "app::caches_leak::{closure#0}", "app::other::{{closure}}"] {
            let function = crate::model::Function { name: name.to_owned(), file: None, line: None };
            let frames = vec![FoldedFrame { function, origin: Origin::Program }];
            let mut stack = FoldedStack { frames, plumbing: Vec::new() };
            names.hide(&mut stack);
            assert!(!stack.frames[0].function.name.contains("leak"), "{stack:?}");
            names.show(&mut stack);
            assert_eq!(stack.frames[0].function.name, name);
        }
    }

    #[test]
    fn the_list_of_all_threads_is_known_by_its_stack() {
        let stack = |frames: &[(&str, Origin)]| FoldedStack {
            frames: frames
                .iter()
                .map(|(name, origin)| FoldedFrame {
                    function: crate::model::Function { name: (*name).to_owned(), file: None, line: None },
                    origin: *origin,
                })
                .collect(),
            plumbing: Vec::new(),
        };
        let list = "std::sys::pal::unix::stack_overflow::thread_info::set_current_info";
        assert!(is_list_of_threads(&stack(&[(list, Origin::Plumbing), ("std::thread_start", Origin::Plumbing)])));
        assert!(!is_list_of_threads(&stack(&[(list, Origin::Plumbing), ("app::one", Origin::Program)])));
        assert!(!is_list_of_threads(&stack(&[("std::thread::spawn", Origin::Plumbing)])));
    }

    #[test]
    fn the_name_of_a_test_is_hidden_and_shown_again() {
        let frame = |name: &str| FoldedFrame {
            function: crate::model::Function { name: name.to_owned(), file: None, line: None },
            origin: Origin::Program,
        };
        let names = TestNames(vec!["app::tests::no_leak_in_cache".to_owned()]);
        let inner = "app::tests::no_leak_in_cache::{{closure}}::{{closure}}";
        let frames =
            ["app::push", inner, "leakcheck::testing::bounded::Bounded::check", "app::tests::no_leak_in_cache"];
        let mut stack = FoldedStack { frames: frames.map(frame).to_vec(), plumbing: Vec::new() };
        names.hide(&mut stack);
        assert_eq!(stack.frames, ["app::push", "test0::{{closure}}::{{closure}}"].map(frame));
        names.show(&mut stack);
        assert_eq!(stack.frames, ["app::push", inner].map(frame));
    }
}
