//! The catalogue: behaviours of one site (or two) that leak, and that do not but look like it.
//!
//! Times are fractions of the run, amounts are per snapshot interval, so that a kind looks the same at any length. The
//! rate (1, 1/20, 1/200) scales how often the program does what the kind is about.
//!
//! Rules may be tuned on the development set. The held-out set was written before, and is looked at only through its totals.

mod buffers;
mod caches;
mod held_out;
mod queues;
mod sessions;
mod startup;
mod steady;
mod waves;

use crate::world::{Behaviour, Place, World};
use leakcheck::analysis::Cause;

/// One kind of behaviour.
pub struct Kind {
    pub name: &'static str,
    pub leaking: bool,
    pub set: Set,
    pub build: fn(&mut Part),
}

/// What a kind is built with, and what it builds.
pub struct Part<'a> {
    pub world: &'a mut World,
    /// Operations per second.
    pub ops: f64,
    /// Bytes of a block.
    pub size: u64,
    pub behaviours: Vec<Behaviour>,
    /// Sites that leak.
    pub guilty: Vec<Place>,
    /// What makes them grow, any of these.
    pub causes: Vec<Cause>,
}

impl<'a> Part<'a> {
    pub fn new(world: &'a mut World, rate: f64) -> Self {
        let per_interval = world.random.between(100_f64.ln(), 500_f64.ln()).exp();
        let ops = per_interval * rate * 1000.0 / world.plan.every_ms as f64;
        let size = [64, 96, 184, 256, 424, 1024][world.random.below(6)];
        Self { world, ops, size, behaviours: Vec::new(), guilty: Vec::new(), causes: Vec::new() }
    }

    pub fn site(&mut self, container: &str) -> Place {
        let names = ["orders::take", "quotes::price", "users::load", "search::rank", "mail::send", "parse::item"];
        let name = format!("{}{}", names[self.world.random.below(names.len())], self.world.sites());
        self.world.site(&name, container)
    }

    pub fn guilty(&mut self, container: &str) -> Place {
        let site = self.site(container);
        self.guilty.push(site);
        self.causes.extend(match container {
            MAP | NODE => vec![Cause::UnboundedCache],
            RING => vec![Cause::QueueBacklog],
            // Nothing in the simulation holds them.
            _ => vec![Cause::GrowingCollection, Cause::Forgotten],
        });
        site
    }

    /// The shape of the growth tells more than the container.
    pub fn because(&mut self, causes: &[Cause]) {
        self.causes = causes.to_vec();
    }

    pub fn each_step(&mut self, behaviour: impl FnMut(&mut World) + 'static) {
        self.behaviours.push(Box::new(behaviour));
    }

    /// A moment, from a fraction of the run to another.
    pub fn moment(&mut self, low: f64, high: f64) -> f64 {
        self.world.random.between(low, high) * self.world.length()
    }
}

const PUSH: &str = "alloc::vec::Vec<T,A>::push";
const BOX: &str = "alloc::boxed::Box<T>::new";
const MAP: &str = "hashbrown::raw::RawTable<T,A>::reserve_rehash";
const TEXT: &str = "alloc::string::String::push_str";
const NODE: &str = "alloc::collections::btree::node::LeafNode<K,V>::new";
const RING: &str = "alloc::collections::vec_deque::VecDeque<T,A>::grow";

/// How many operations happen in this step at `ops` per second.
fn happen(world: &mut World, ops: f64) -> u64 {
    let mean = ops * world.step;
    world.random.poisson(mean)
}

/// May rules be tuned on it?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    Development,
    HeldOut,
}

macro_rules! kinds {
    ($set:ident, $leaking:literal: $($family:ident::$build:ident),* $(,)?) => {
        &[$(Kind { name: stringify!($build), leaking: $leaking, set: Set::$set, build: $family::$build }),*]
    };
}
pub(crate) use kinds;

const DEVELOPMENT_LEAKING: &[Kind] = kinds!(Development, true:
    steady::linear, steady::linear_large_blocks, steady::linear_mixed_sizes, steady::batches_short, steady::batches_long, steady::one_in_ten_thousand, waves::under_sawtooth_short, waves::under_sawtooth_long, steady::after_plateau, buffers::vec_doubles, buffers::vec_grows_by_half, buffers::log_appends, buffers::many_buffers_grow, caches::table_doubles, steady::every_third_round, steady::accelerating, buffers::retained_capacity, sessions::partial_free_60, sessions::partial_free_95, caches::eviction_too_slow, caches::random_eviction_too_slow, queues::backlog_steady, queues::backlog_noisy, caches::ttl_forgets_some, sessions::listeners, steady::seasonal, steady::among_seven_clean_threads, steady::arena_never_reset, steady::two_sites, steady::load_pauses, steady::bursty, startup::beside_a_step, queues::under_draining_backlog, sessions::under_sessions, steady::decelerating, steady::groups,
    steady::beside_large_blocks, buffers::chunks_double, buffers::replaced_by_larger, buffers::ring_of_a_backlog,
);

const DEVELOPMENT_CLEAN: &[Kind] = kinds!(Development, false:
    caches::lru_fills_early, caches::lru_fills_late, caches::fills_and_stays, caches::ttl_short, caches::ttl_long, startup::warm_up_flat, waves::sawtooth_short, waves::sawtooth_long, waves::random_walk, waves::random_walk_stack, waves::seasonal_short, waves::seasonal_long, startup::pool, buffers::vec_keeps_capacity, buffers::vec_fills_once, caches::interner_saturates, caches::interner_saturates_slowly, waves::arena_reset, waves::epochs, caches::swapped_caches, startup::one_step, startup::two_steps, queues::backlog_drains, startup::lazy_statics, sessions::sessions, sessions::sessions_long, sessions::sessions_heavy_tail, sessions::churn, caches::table_to_bound, buffers::buffer_flushed, waves::log_segments, sessions::load_doubles, startup::load_ends, startup::threads_start, caches::random_eviction, startup::steps_early, startup::two_warm_ups,
    buffers::high_water, waves::teeth_of_any_height, waves::nested_teeth, waves::ramp_then_level, caches::hot_and_cold,
    caches::shards_fill,
);

/// Every kind that leaks, or that does not, of both sets.
pub fn all(leaking: bool) -> Vec<&'static Kind> {
    let (development, held_out) =
        if leaking { (DEVELOPMENT_LEAKING, held_out::LEAKING) } else { (DEVELOPMENT_CLEAN, held_out::CLEAN) };
    development.iter().chain(held_out).collect()
}

/// A kind by its name.
pub fn named(name: &str) -> &'static Kind {
    let kinds = [true, false].into_iter().flat_map(all);
    kinds.into_iter().find(|kind| kind.name == name).unwrap()
}

/// Clean sites beside the one under test: what a running service shows anyway. Their share of `Kind`s is drawn anew for
/// each case, at about a tenth of the rate.
pub fn background(world: &mut World) -> Vec<Behaviour> {
    let mut behaviours = Vec::new();
    for _ in 0..20 + world.random.below(20) {
        let draw = world.random.unit();
        let mut part = Part::new(world, 0.05);
        match draw {
            x if x < 0.35 => sessions::churn(&mut part),
            x if x < 0.55 => startup::warm_up_flat(&mut part),
            x if x < 0.7 => sessions::sessions(&mut part),
            x if x < 0.8 => startup::lazy_at_start(&mut part),
            x if x < 0.9 => caches::lru_fills_early(&mut part),
            _ => startup::pool(&mut part),
        }
        behaviours.append(&mut part.behaviours);
    }
    behaviours
}
