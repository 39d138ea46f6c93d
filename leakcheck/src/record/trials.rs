//! Trials: the blocks of one assertion of a test, apart from all others, looked at again and again while it runs.
//!
//! A trial has a scope of its own (`trial_words`), which threads started in it inherit. A look adds up the counters of
//! that scope's sites alone, and looks no names up; only what a report shows gets names. Does not judge.

use super::assemble::Assembler;
use super::collect::{self, CollectedSite};
use super::error::Kind;
use super::thread::{self, ThreadState};
use super::{RecordError, RecorderBuilder, hook, kernel, old_threads, recording, sites, thread_names, trial_words};
use crate::model::{Amount, Counters, Mode, Process, Recording, SizeSummary, Snapshot, Source};
use std::panic::Location;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Scopes with blocks of earlier trials that are left alone, for one place in the source; then one is used again.
const LEFT_ALONE_MAX: usize = 8;

static PLACES: Mutex<Vec<Place>> = Mutex::new(Vec::new());
static NAMES: Mutex<Option<Assembler>> = Mutex::new(None);

struct Place {
    location: &'static Location<'static>,
    taken: bool,
}

/// One run of an assertion.
#[derive(Debug)]
pub(crate) struct Trial {
    place: usize,
    round: u32,
    looks: usize,
    has_all_threads: bool,
    watched: Vec<Watched>,
    lost_before: u64,
    outside_before: Vec<(u32, u64)>,
}

/// A stack in one round.
#[derive(Debug)]
pub(crate) struct Watched {
    site: u32,
    cell: u32,
    /// The round its blocks were born in.
    pub(crate) round: u32,
    before: Counters,
    size: Option<SizeSummary>,
    /// Counts since the trial began, at the looks where they changed.
    points: Vec<(usize, Counters)>,
}

impl Watched {
    /// The counts at a look.
    pub(crate) fn at(&self, look: usize) -> Counters {
        let after = self.points.partition_point(|(at, _)| *at <= look);
        after.checked_sub(1).map_or_else(Counters::default, |place| self.points[place].1)
    }

    fn last(&self) -> Counters {
        self.points.last().map_or_else(Counters::default, |(_, counters)| *counters)
    }

    fn was_ever_live(&self) -> bool {
        self.points.iter().any(|(_, counters)| !counters.live().is_zero())
    }
}

/// Blocks on threads that no scope covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outside {
    pub(crate) blocks: u64,
    pub(crate) threads: Vec<String>,
}

impl Trial {
    /// Begins one, and a recording where none runs.
    ///
    /// # Errors
    ///
    /// When the recording cannot begin, or is not exact.
    pub(crate) fn begin(location: &'static Location<'static>, all_threads: bool) -> Result<Self, RecordError> {
        thread::internally(|| {
            make_sure_of_a_recording()?;
            old_threads::note();
            let place = take_place(location).ok_or(Kind::TooManyTrials)?;
            let mut trial = Self {
                place,
                round: 0,
                looks: 0,
                has_all_threads: false,
                watched: Vec::new(),
                lost_before: lost(),
                outside_before: Vec::new(),
            };
            trial.find_sites();
            let watched: Vec<u32> = trial.watched.iter().map(|one| one.cell).collect();
            for (one, (counters, _)) in trial.watched.iter_mut().zip(collect::counts_of(&watched)) {
                one.before = counters;
            }
            let word = trial_words::word(place, 0);
            trial_words::set_running(place, word);
            if all_threads && trial_words::set_everywhere(0, word) {
                trial.has_all_threads = true;
                thread::states().filter(|state| state.is_taken()).for_each(|state| move_scope(state, 0, word));
            }
            Ok(trial)
        })
    }

    /// Has [`outside`](Self::outside) compare with now.
    pub(crate) fn watch_outside(&mut self) {
        self.outside_before = collect::live_outside_scopes();
    }

    /// Puts the calling thread in the trial until the guard is dropped.
    pub(crate) fn enter(&self) -> Inside {
        Inside::of(self.word())
    }

    fn word(&self) -> u32 {
        trial_words::word(self.place, self.round)
    }

    /// From here on blocks are born in another round, which is returned.
    pub(crate) fn next_round(&mut self) -> u32 {
        let before = self.word();
        self.round = (self.round + 1).min(trial_words::ROUNDS_MAX - 1);
        let word = self.word();
        trial_words::set_running(self.place, word);
        if self.has_all_threads {
            trial_words::set_everywhere(before, word);
        }
        self.states().for_each(|(state, scope)| move_scope(state, scope, word));
        self.round
    }

    /// Threads in the trial besides the calling one.
    pub(crate) fn others_inside(&self) -> usize {
        let own = thread::state_of_caller();
        self.states().filter(|(state, _)| own.is_none_or(|own| !std::ptr::eq(own, *state))).count()
    }

    /// Threads in the trial, each with the scope by which it was found to be.
    fn states(&self) -> impl Iterator<Item = (&'static ThreadState, u32)> + use<> {
        let place = self.place;
        let is_inside = move |scope: u32| trial_words::is_trial(scope) && trial_words::place_of(scope) == place;
        let taken = thread::states().filter(|state| state.is_taken()).map(|state| (state, state.scope()));
        taken.filter(move |(_, scope)| is_inside(*scope))
    }

    /// Waits for threads that were started in the trial and are about to end: the standard library's scoped threads are
    /// done before they have ended.
    pub(crate) fn settle(&self) {
        const PATIENCE: Duration = Duration::from_millis(100);
        const PAUSE: Duration = Duration::from_micros(200);
        let mut waited = Duration::ZERO;
        while !self.has_all_threads && self.others_inside() > 0 && waited < PATIENCE {
            std::thread::sleep(PAUSE);
            waited += PAUSE;
        }
    }

    /// Takes the counters now, and returns their sum since the trial began.
    pub(crate) fn look(&mut self) -> Counters {
        thread::internally(|| {
            self.find_sites();
            let cells: Vec<u32> = self.watched.iter().map(|one| one.cell).collect();
            let mut sum = Counters::default();
            for (one, (counters, size)) in self.watched.iter_mut().zip(collect::counts_of(&cells)) {
                let now = counters.since(one.before);
                if now != one.last() {
                    one.points.push((self.looks, now));
                }
                one.size = size;
                sum = sum.plus(now);
            }
            self.looks += 1;
            sum
        })
    }

    /// Watches the sites that have come since the last time. Those of before are kept in their order.
    fn find_sites(&mut self) {
        let known = self.watched.last().map_or(0, |newest| newest.site);
        let mut new: Vec<Watched> = Vec::new();
        for (number, site) in sites::sites_of_trial(self.place) {
            if number == known {
                break;
            }
            let Some(cell) = sites::cell_of(number) else {
                // Another thread is about to give it one: what came after it is looked for again next time.
                new.clear();
                continue;
            };
            let round = trial_words::round_of(site.scope());
            let before = Counters::default();
            new.push(Watched { site: number, cell, round, before, size: None, points: Vec::new() });
        }
        self.watched.extend(new.into_iter().rev());
    }

    /// How much more is live than at an earlier look, of sites that have more.
    pub(crate) fn grown_since(&self, look: usize) -> Amount {
        let grown = |one: &Watched| one.last().live().minus(one.at(look).live());
        self.watched.iter().map(grown).fold(Amount::default(), Amount::plus)
    }

    /// Whether all blocks since the trial began were recorded.
    ///
    /// # Errors
    ///
    /// When the recording has ended, or blocks were lost, of the whole process.
    pub(crate) fn is_complete(&self) -> Result<(), RecordError> {
        let lost = lost() - self.lost_before;
        if !hook::is_exact() {
            return Err(Kind::EndedMeanwhile.into());
        }
        if lost > 0 { Err(Kind::NoRoom(lost).into()) } else { Ok(()) }
    }

    /// How many more blocks are live outside all scopes than when the trial began, and whose they are.
    pub(crate) fn outside(&self) -> Option<Outside> {
        thread::internally(|| {
            let mut outside = Outside { blocks: 0, threads: Vec::new() };
            for (site, blocks) in collect::live_outside_scopes() {
                let before = self.outside_before.binary_search_by_key(&site, |one| one.0);
                let before = before.map_or(0, |place| self.outside_before[place].1);
                let grown = blocks.saturating_sub(before);
                if grown > 0 && site != sites::NO_STACK {
                    outside.blocks += grown;
                    let names = sites::site_at(site).into_iter().flat_map(sites::Site::threads);
                    outside.threads.extend(names.filter_map(thread_names::name_of));
                }
            }
            outside.threads.sort();
            outside.threads.dedup();
            (outside.blocks > 0).then_some(outside)
        })
    }

    /// The round that is under way.
    pub(crate) const fn round(&self) -> u32 {
        self.round
    }

    /// What is live, at the last look, of the blocks born in a round.
    pub(crate) fn live_in(&self, round: u32) -> Amount {
        let born = self.watched.iter().filter(|one| one.round == round);
        born.map(|one| one.last().live()).fold(Amount::default(), Amount::plus)
    }

    /// Hands over a snapshot of the last look, with names, and for each site in it what was watched of it. Only stacks
    /// that had live blocks at some look are in it.
    pub(crate) fn tell<T>(&self, work: impl FnOnce(&mut Snapshot, &[&Watched]) -> T) -> T {
        let node = |one: &Watched| sites::site_at(one.site).map(sites::Site::node);
        thread::internally(|| {
            let mut nodes: Vec<_> = self.watched.iter().filter(|one| one.was_ever_live()).filter_map(node).collect();
            nodes.sort_unstable();
            nodes.dedup();
            let is_shown = |one: &&Watched| node(one).is_some_and(|node| nodes.binary_search(&node).is_ok());
            Self::tell_of(self.watched.iter().filter(is_shown).collect(), work)
        })
    }

    /// The same of all sites that have allocated.
    pub(crate) fn tell_all<T>(&self, work: impl FnOnce(&mut Snapshot, &[&Watched]) -> T) -> T {
        thread::internally(|| {
            let has_allocated = |one: &&Watched| !one.last().allocated.is_zero();
            Self::tell_of(self.watched.iter().filter(has_allocated).collect(), work)
        })
    }

    fn tell_of<T>(shown: Vec<&Watched>, work: impl FnOnce(&mut Snapshot, &[&Watched]) -> T) -> T {
        let collected = shown.iter().map(|one| CollectedSite {
            number: one.site,
            counters: one.last(),
            size: one.size,
            survivors: Vec::new(),
        });
        let mut snapshot = empty_snapshot();
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        let assembler = names.get_or_insert_with(Assembler::default);
        assembler.fill(&mut snapshot, collected.collect(), || true);
        let told = work(&mut snapshot, &shown);
        assembler.take_back(snapshot);
        told
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        trial_words::set_running(self.place, 0);
        if self.has_all_threads {
            trial_words::set_everywhere(self.word(), 0);
        }
        self.states().for_each(|(state, scope)| move_scope(state, scope, 0));
        thread::internally(|| {
            let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
            places[self.place].taken = false;
            self.watched = Vec::new();
            self.outside_before = Vec::new();
        });
    }
}

/// Takes its thread out of the trial when dropped, on whichever thread that happens.
pub(crate) struct Inside {
    before: Option<(&'static ThreadState, u32)>,
    place: usize,
}

impl Drop for Inside {
    fn drop(&mut self) {
        let Some((state, before)) = self.before else { return };
        let scope = state.scope();
        if trial_words::is_trial(scope) && trial_words::place_of(scope) == self.place {
            // The trial that the thread was in may have gone on to another round, or have ended.
            let before = if trial_words::is_trial(before) { trial_words::running(before).unwrap_or(0) } else { before };
            move_scope(state, scope, before);
        }
    }
}

impl Inside {
    /// Puts the calling thread in the trial that `word` belongs to.
    pub(super) fn of(word: u32) -> Self {
        // Relaxed: this thread's own.
        let before = thread::state_of_caller().map(|state| (state, state.scope.swap(word, Ordering::Relaxed)));
        Self { before, place: trial_words::place_of(word) }
    }

    /// Whether it is the calling thread that is in the trial, and in no other one since.
    pub(crate) fn is_here(&self) -> bool {
        let (Some((state, _)), Some(own)) = (self.before, thread::state_of_caller()) else { return false };
        let scope = own.scope();
        std::ptr::eq(state, own) && trial_words::is_trial(scope) && trial_words::place_of(scope) == self.place
    }
}

/// Runs code of an assertion: what it allocates is not the program's.
pub(crate) fn aside<T>(work: impl FnOnce() -> T) -> T {
    thread::internally(work)
}

/// The name a trial's scope has in snapshots.
pub(super) fn name_of(word: u32) -> Option<String> {
    let places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
    places.get(trial_words::place_of(word)).map(|place| place.location.to_string())
}

/// Moves a thread from one scope to another, unless it has left it meanwhile.
fn move_scope(state: &ThreadState, from: u32, to: u32) {
    // Relaxed: the thread may see it late, as if the round had changed later.
    let _ = state.scope.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
}

fn make_sure_of_a_recording() -> Result<(), RecordError> {
    recording::end_lease();
    if !recording::is_running() {
        let options = RecorderBuilder::default().exact().every(Duration::ZERO).timeline(Duration::ZERO).names(false);
        match options.start() {
            Ok(recording) => recording.until_exit(),
            // Another test was first.
            Err(error) if error.is_already_running() => {}
            Err(error) => return Err(error),
        }
    }
    if hook::is_exact() { Ok(()) } else { Err(Kind::NotExact.into()) }
}

/// A scope for an assertion at `location`: one it had before, if no block is left in it, or else a new one.
fn take_place(location: &'static Location<'static>) -> Option<usize> {
    let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut own: Vec<usize> = Vec::new();
    for (number, place) in places.iter().enumerate().filter(|(_, place)| !place.taken) {
        if place.location == location {
            own.push(number);
        }
    }
    let is_empty = |place: &usize| collect::counts_of(&cells(*place)).iter().all(|(counts, _)| counts.live().is_zero());
    let mut chosen = own.iter().copied().find(is_empty);
    if chosen.is_none() && own.len() < LEFT_ALONE_MAX && places.len() < trial_words::TRIALS_MAX as usize {
        places.push(Place { location, taken: false });
        chosen = Some(places.len() - 1);
    }
    let chosen = chosen.or_else(|| own.first().copied()).or_else(|| places.iter().position(|place| !place.taken))?;
    places[chosen] = Place { location, taken: true };
    Some(chosen)
}

fn cells(place: usize) -> Vec<u32> {
    let mut cells: Vec<u32> = sites::sites_of_trial(place).filter_map(|(site, _)| sites::cell_of(site)).collect();
    cells.reverse();
    cells
}

fn lost() -> u64 {
    [&hook::LOST.sites_over_limit, &hook::LOST.generations_over_limit, &hook::LOST.out_of_memory_blocks]
        .iter()
        .map(|counter| counter.load(Ordering::Relaxed))
        .sum()
}

fn empty_snapshot() -> Snapshot {
    let process = Process {
        pid: std::process::id(),
        started_unix_ms: 0,
        executable: String::new(),
        build_id: None,
        host: String::new(),
        parent_pid: None,
    };
    let recording = Recording {
        leakcheck_version: env!("CARGO_PKG_VERSION").to_owned(),
        mode: Mode::Exact,
        started_unix_ms: kernel::unix_ms(),
        every_ms: 0,
        source: Source::Recorder,
        predating_bytes: None,
    };
    Snapshot::empty(process, recording)
}
