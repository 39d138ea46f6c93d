//! All processes that are watched: those named at first, and those that come later.

use super::sequences::Sequences;
use super::target::{Event, Met, Plan, Target};
use crate::error::Error;
use crate::input::{NamePattern, Unwatchable, children_of, processes_named, successor_of};
use crate::render::Judged;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// Ended processes that stay in the report; of those before, the files stay.
const ENDED_MAX: usize = 64;
/// Time between looks for new processes.
const SEARCH_PAUSE: Duration = Duration::from_secs(1);
/// A search is made again after this many times what it took.
const SEARCH_PAUSE_TIMES: u32 = 200;
/// Processes watched at one time.
const RUNNING_MAX: usize = 1000;

/// Which processes are meant.
#[derive(Debug)]
pub(super) struct Meant {
    pub(super) pids: Vec<u32>,
    pub(super) names: Vec<NamePattern>,
    pub(super) children: bool,
}

/// The processes.
pub(super) struct Roster {
    meant: Meant,
    pub(super) targets: Vec<Target>,
    pub(super) ended_before: u64,
    /// Not looked at again: it could not be opened, and that was told.
    refused: HashSet<u32>,
    next_search: Instant,
    over_limit: bool,
}

impl Roster {
    /// Opens what was asked for by pid; each must be there.
    pub(super) fn open(meant: Meant, plan: &Plan, events: &mut Vec<Event>) -> Result<Self, Error> {
        let mut pids = meant.pids.clone();
        pids.sort_unstable();
        pids.dedup();
        let targets = pids.into_iter().map(|pid| {
            let met = Met::by_pid(pid).map_err(|why| why.of(pid))?;
            Target::open(met, plan, events)
        });
        let targets = targets.collect::<Result<_, Error>>()?;
        let mut roster = Self {
            meant,
            targets,
            ended_before: 0,
            refused: HashSet::new(),
            next_search: Instant::now(),
            over_limit: false,
        };
        roster.search(plan, events);
        Ok(roster)
    }

    /// Samples those for which it is time; whether any was.
    pub(super) fn look(&mut self, plan: &Plan, sequences: &mut Sequences, events: &mut Vec<Event>) -> bool {
        let mut looked = false;
        for target in &mut self.targets {
            looked |= target.look(plan, sequences, events);
        }
        if Instant::now() >= self.next_search {
            self.search(plan, events);
        }
        looked
    }

    /// When the next sample or search is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let can_find =
            self.meant.children || !self.meant.names.is_empty() || self.running().count() < self.targets.len();
        let search = can_find.then_some(self.next_search);
        self.running().map(|target| target.next_sample).chain(search).min()
    }

    /// Finds new processes: of a name, descendants, and those that took the place of one that ended.
    fn search(&mut self, plan: &Plan, events: &mut Vec<Event>) {
        let began = Instant::now();
        let mut found: Vec<u32> = self.meant.names.iter().flat_map(processes_named).collect();
        if self.meant.children {
            let mut roots: Vec<u32> = self.running().map(|target| target.process.pid).collect();
            roots.extend(&found);
            found.extend(children_of(&roots));
        }
        let successors = self.successors();
        found.extend(successors.iter().map(|(pid, _)| pid));
        found.sort_unstable();
        found.dedup();
        // What is not there any more may come again as another process.
        self.refused.retain(|pid| found.binary_search(pid).is_ok());
        for pid in found {
            let is_known = self.running().any(|target| target.process.pid == pid) || self.refused.contains(&pid);
            if is_known {
                continue;
            }
            if self.running().count() >= RUNNING_MAX {
                if !std::mem::replace(&mut self.over_limit, true) {
                    events.push(format!("{RUNNING_MAX} processes are watched, and no more"));
                }
                break;
            }
            let program = successors.iter().find(|(successor, _)| *successor == pid).map(|(_, program)| program);
            let met = match Met::by_pid(pid) {
                Ok(met) => met,
                Err(why) => {
                    self.refused.insert(pid);
                    // One that was gone as soon as it came is no news.
                    if matches!(why, Unwatchable::Forbidden) {
                        events.push(format!("failed to {}", why.of(pid).chain()));
                    }
                    continue;
                }
            };
            match Target::open(met, plan, events) {
                // The same interpreter with another script is no successor.
                Ok(target) if program.is_some_and(|program| *program != target.process.executable) => {
                    self.refused.insert(pid);
                }
                Ok(target) => {
                    events.push(format!("{} is watched", target.name()));
                    self.targets.push(target);
                }
                Err(error) => {
                    self.refused.insert(pid);
                    events.push(format!("failed to {}", error.chain()));
                }
            }
        }
        self.drop_long_ended();
        self.next_search = began + SEARCH_PAUSE.max(began.elapsed() * SEARCH_PAUSE_TIMES);
    }

    /// Of processes named by pid that ended: the one that their parent started in their place.
    fn successors(&self) -> Vec<(u32, String)> {
        let ended = self.targets.iter().filter(|target| !target.is_running());
        let without = ended.filter(|ended| {
            let follows = |other: &&Target| {
                other.executable == ended.executable
                    && other.process.parent_pid == ended.process.parent_pid
                    && other.started_ticks() > ended.seen_ticks
            };
            !self.targets.iter().any(|other| follows(&other))
        });
        without
            .filter_map(|ended| {
                let found = successor_of(ended.process.parent_pid?, ended.executable.as_ref()?, ended.seen_ticks)?;
                Some((found, ended.process.executable.clone()))
            })
            .collect()
    }

    /// Takes a snapshot of each.
    pub(super) fn snapshot(&mut self, plan: &Plan, sequences: &mut Sequences, events: &mut Vec<Event>) {
        for target in self.targets.iter_mut().filter(|target| target.is_running()) {
            target.snapshot(plan, None, sequences, events);
        }
    }

    fn drop_long_ended(&mut self) {
        let mut too_many = self.targets.iter().filter(|target| !target.is_running()).count().saturating_sub(ENDED_MAX);
        let ended_before = &mut self.ended_before;
        self.targets.retain(|target| {
            let goes = too_many > 0 && !target.is_running();
            if goes {
                too_many -= 1;
                *ended_before += 1;
            }
            !goes
        });
    }

    pub(super) fn running(&self) -> impl Iterator<Item = &Target> {
        self.targets.iter().filter(|target| target.is_running())
    }

    /// Whether nothing is left to watch and nothing can come.
    pub(super) fn is_over(&self) -> bool {
        self.meant.names.is_empty() && self.running().next().is_none()
    }

    /// Whether all have a verdict.
    pub(super) fn has_verdicts(&self) -> bool {
        self.running().next().is_some() && self.running().all(Target::has_verdict)
    }

    /// Judges those of which there is something new; whether any was.
    pub(super) fn judge(&mut self, plan: &Plan, last: bool) -> bool {
        let mut judged = false;
        for target in &mut self.targets {
            judged |= target.judge(plan, last);
        }
        judged
    }

    /// Lends the judged series of all to `work`.
    pub(super) fn with_judged<T>(&mut self, work: impl FnOnce(Vec<Judged>) -> (Vec<Judged>, T)) -> T {
        let all: Vec<Vec<Judged>> = self.targets.iter_mut().map(Target::take_judged).collect();
        let counts: Vec<usize> = all.iter().map(Vec::len).collect();
        let (judged, result) = work(all.into_iter().flatten().collect());
        let mut judged = judged.into_iter();
        for (target, count) in self.targets.iter_mut().zip(counts) {
            target.put_back(judged.by_ref().take(count).collect());
        }
        result
    }
}
