//! Cases, their outcomes, and the table of both.

use crate::shapes::{self, Kind, Part};
use crate::world::{Place, Plan, Run, World, run, series};
use leakcheck::analysis::{JudgeOptions, Judgement, Verdict, judge};
use leakcheck::model::{Mode, Snapshot};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How fast a leak is against the fastest, and how much else happens.
pub const RATES: [f64; 3] = [1.0, 1.0 / 20.0, 1.0 / 200.0];
pub const LENGTHS: [usize; 5] = [8, 15, 30, 60, 200];
/// Blocks are 64 to 1024 bytes, so that between one in 33 and one in 3 is recorded.
pub const MODES: [Mode; 2] = [Mode::Exact, Mode::Sampled { interval_bytes: 2048 }];

/// One run of one kind.
#[derive(Clone, Copy)]
pub struct Case {
    pub kind: &'static Kind,
    pub rate: usize,
    pub mode: usize,
    pub length: usize,
    pub seed: u64,
}

/// A simulated run with its right answer.
pub struct Simulated {
    pub snapshots: Vec<Snapshot>,
    pub guilty: Vec<String>,
    /// How often the leak left a trace in the records after the first fifth of the run.
    pub traces: u64,
}

/// With fewer traces nobody can tell a leak from a few blocks that stay: such cases do not count.
pub const TRACES_MIN: u64 = 10;

/// What was said of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// A guilty site is said to leak.
    pub found: bool,
    /// No guilty site is said to leak, and it is said to be bounded.
    pub missed_bounded: bool,
    /// A site that does not leak is said to.
    pub accused: bool,
    /// The leak left too few traces to be seen.
    pub unseen: bool,
}

impl Case {
    /// The seed of the simulation: different for each case, the same in each run.
    fn mixed_seed(&self) -> u64 {
        let name = self.kind.name.bytes().fold(7_u64, |hash, byte| hash.wrapping_mul(131).wrapping_add(byte.into()));
        [self.rate, self.mode, self.length]
            .iter()
            .fold(name ^ self.seed, |hash, &part| hash.wrapping_mul(1_000_003).wrapping_add(part as u64))
    }

    pub fn simulate(&self) -> Simulated {
        let mut random = crate::world::Random::new(self.mixed_seed());
        let plan = Plan {
            snapshots: LENGTHS[self.length],
            every_ms: [500, 2000, 60_000][random.below(3)],
            jitter: [0.0, 0.1, 0.5][random.below(3)],
            mode: MODES[self.mode],
            iterations: random.chance(0.5),
            steps: 6,
        };
        let mut world = World::new(plan, random.next());
        let mut behaviours = shapes::background(&mut world);
        let mut part = Part::new(&mut world, RATES[self.rate]);
        (self.kind.build)(&mut part);
        let (mut own, guilty) = (part.behaviours, part.guilty);
        behaviours.append(&mut own);
        let (exit, dropped) = (random.chance(0.8), random.chance(0.5));
        let kept: &[Place] = if dropped { &[] } else { &guilty };
        let Run { snapshots, traces } = run(&mut world, &mut behaviours, exit, kept);
        let traces = guilty.iter().filter_map(|site| traces.get(*site)).copied().max().unwrap_or(0);
        let guilty = guilty.into_iter().map(|site| world.name(site).to_owned()).collect();
        Simulated { snapshots, guilty, traces }
    }

    pub fn outcome(&self) -> Outcome {
        let simulated = self.simulate();
        let judgement = judge(&series(&simulated.snapshots), &JudgeOptions::default());
        let mut outcome = Outcome::of(&judgement, &simulated.guilty);
        if self.kind.leaking && simulated.traces < TRACES_MIN {
            outcome = Outcome { found: false, missed_bounded: false, unseen: true, ..outcome };
        }
        let wrong = outcome.accused || outcome.missed_bounded;
        if wrong && std::env::var_os("LEAKCHECK_CORPUS_VERBOSE").is_some() {
            eprintln!("{}", self.explain(&judgement, &simulated));
        }
        outcome
    }

    fn explain(&self, judgement: &Judgement, simulated: &Simulated) -> String {
        let mut text = format!(
            "{} rate {} {} {} snapshots seed {}: {:?}; guilty {:?}\n",
            self.kind.name,
            RATE_NAMES[self.rate],
            MODE_NAMES[self.mode],
            LENGTHS[self.length],
            self.seed,
            judgement.verdict,
            simulated.guilty,
        );
        let _ = writeln!(text, "  traces {}", simulated.traces);
        for finding in judgement.findings.iter().take(4) {
            let name = finding.stack.frames.first().map_or("?", |frame| &frame.function.name);
            let _ = writeln!(text, "  {:?} {:.3} {name} live {:?}", finding.verdict, finding.probability, finding.live);
            for evidence in &finding.evidence {
                let _ = writeln!(text, "    {:+.1} {}: {}", evidence.log_odds, evidence.rule, evidence.text);
            }
        }
        text
    }
}

impl Outcome {
    pub fn of(judgement: &Judgement, guilty: &[String]) -> Self {
        let is_guilty = |finding: &&leakcheck::analysis::Finding| {
            finding.stack.frames.iter().any(|frame| guilty.contains(&frame.function.name))
        };
        let of_guilty = || judgement.findings.iter().filter(is_guilty);
        let found = of_guilty().any(|finding| finding.verdict == Verdict::Leaking);
        let open = of_guilty().any(|finding| finding.verdict == Verdict::Inconclusive);
        // With no finding for it the site is bounded, unless the whole series says too little.
        let said_bounded = judgement.verdict == Verdict::Bounded
            || !open && (of_guilty().count() > 0 || judgement.verdict == Verdict::Leaking);
        let accused =
            judgement.findings.iter().any(|finding| finding.verdict == Verdict::Leaking && !is_guilty(&finding));
        Self { found, missed_bounded: !guilty.is_empty() && !found && said_bounded, accused, unseen: false }
    }
}

/// How often each outcome came.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Cases that count.
    pub cases: usize,
    /// Leaks that left too few traces.
    pub unseen: usize,
    pub found: usize,
    pub missed_bounded: usize,
    pub accused: usize,
}

impl Tally {
    fn add(&mut self, outcome: Outcome) {
        self.cases += usize::from(!outcome.unseen);
        self.unseen += usize::from(outcome.unseen);
        self.found += usize::from(outcome.found);
        self.missed_bounded += usize::from(outcome.missed_bounded);
        self.accused += usize::from(outcome.accused);
    }

    fn merge(&mut self, other: Self) {
        self.cases += other.cases;
        self.unseen += other.unseen;
        self.found += other.found;
        self.missed_bounded += other.missed_bounded;
        self.accused += other.accused;
    }

    pub fn found_share(&self) -> f64 {
        self.found as f64 / self.cases.max(1) as f64
    }
}

const RATE_NAMES: [&str; 3] = ["1", "1/20", "1/200"];
const MODE_NAMES: [&str; 2] = ["exact", "sampled"];

/// Tallies by kind, rate, mode and length.
#[derive(Default)]
pub struct Table {
    cells: BTreeMap<(&'static str, usize, usize, usize), Tally>,
}

impl Table {
    /// Runs every kind at every rate in the given modes and lengths with `seeds` seeds, on two threads.
    pub fn of(kinds: &[&'static Kind], modes: &[usize], lengths: &[usize], seeds: u64) -> Self {
        let mut cases = Vec::new();
        for &kind in kinds {
            for &mode in modes {
                for &length in lengths {
                    for rate in 0..RATES.len() {
                        cases.extend((0..seeds).map(|seed| Case { kind, rate, mode, length, seed }));
                    }
                }
            }
        }
        let (next, table) = (AtomicUsize::new(0), Mutex::new(Self::default()));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                // Each takes the next case that nobody has.
                scope.spawn(|| {
                    while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let outcome = case.outcome();
                        let cell = (case.kind.name, case.rate, case.mode, case.length);
                        table.lock().unwrap().cells.entry(cell).or_default().add(outcome);
                    }
                });
            }
        });
        table.into_inner().unwrap()
    }

    /// The sum of the cells that are wanted: by kind, rate, mode, length.
    pub fn sum(&self, wanted: impl Fn(&str, usize, usize, usize) -> bool) -> Tally {
        let mut sum = Tally::default();
        for ((kind, rate, mode, length), tally) in &self.cells {
            if wanted(kind, *rate, *mode, *length) {
                sum.merge(*tally);
            }
        }
        sum
    }

    /// Rows are kinds; columns are modes, then rates, then lengths. For a leaking kind a cell is the percentage found;
    /// `!n` says that n of the cases were called bounded, `+n` that an innocent site was accused in n. For a clean kind
    /// it is the number of false alarms; `-` where no case left enough traces.
    pub fn print(&self, kinds: &[&'static Kind], modes: &[usize], lengths: &[usize]) -> String {
        let mut text = String::new();
        for &mode in modes {
            let _ = write!(text, "\n{:<26}", MODE_NAMES[mode]);
            for rate in RATE_NAMES {
                for &length in lengths {
                    let _ = write!(text, "{:>11}", format!("{rate}·{}", LENGTHS[length]));
                }
            }
            text.push('\n');
            let leaking = kinds.first().is_some_and(|kind| kind.leaking);
            let rows = kinds.iter().map(|kind| Some(kind.name)).chain([None]);
            for row in rows {
                let _ = write!(text, "{:<26}", row.unwrap_or("ALL"));
                for rate in 0..RATES.len() {
                    for &length in lengths {
                        let cell =
                            self.sum(|k, r, m, l| row.is_none_or(|row| row == k) && (r, m, l) == (rate, mode, length));
                        let _ = write!(text, "{:>11}", cell.text(leaking));
                    }
                }
                text.push('\n');
            }
        }
        text
    }

    /// The kinds with their wrong answers.
    pub fn wrong(&self) -> String {
        let mut text = String::new();
        for ((kind, rate, mode, length), tally) in &self.cells {
            if tally.accused + tally.missed_bounded > 0 {
                let _ = writeln!(
                    text,
                    "{kind} rate {} {} {} snapshots: {} cases, {} accuse a clean site, {} call the leak bounded",
                    RATE_NAMES[*rate],
                    MODE_NAMES[*mode],
                    LENGTHS[*length],
                    tally.cases,
                    tally.accused,
                    tally.missed_bounded
                );
            }
        }
        text
    }
}

impl Tally {
    fn text(&self, leaking: bool) -> String {
        if self.cases == 0 {
            return "-".into();
        }
        if !leaking {
            return if self.accused == 0 { "·".into() } else { format!("{}/{}", self.accused, self.cases) };
        }
        let mut text = format!("{:.0}", 100.0 * self.found_share());
        if self.missed_bounded > 0 {
            let _ = write!(text, "!{}", self.missed_bounded);
        }
        if self.accused > 0 {
            let _ = write!(text, "+{}", self.accused);
        }
        text
    }
}
