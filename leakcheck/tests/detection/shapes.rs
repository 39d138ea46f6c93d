//! The catalogue: behaviours of one site (or two) that leak, and that do not but look like it.
//!
//! Times are fractions of the run, amounts are per snapshot interval, so that a kind looks the same at any length. The
//! rate (1, 1/20, 1/200) scales how often the program does what the kind is about.

use crate::world::{Behaviour, Block, Place, World};
use std::collections::VecDeque;

/// One kind of behaviour.
pub struct Kind {
    pub name: &'static str,
    pub leaking: bool,
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
}

impl<'a> Part<'a> {
    pub fn new(world: &'a mut World, rate: f64) -> Self {
        let per_interval = world.random.between(100_f64.ln(), 500_f64.ln()).exp();
        let ops = per_interval * rate * 1000.0 / world.plan.every_ms as f64;
        let size = [64, 96, 184, 256, 424, 1024][world.random.below(6)];
        Self { world, ops, size, behaviours: Vec::new(), guilty: Vec::new() }
    }

    fn site(&mut self, container: &str) -> Place {
        let names = ["orders::take", "quotes::price", "users::load", "search::rank", "mail::send", "parse::item"];
        let name = format!("{}{}", names[self.world.random.below(names.len())], self.world.sites());
        self.world.site(&name, container)
    }

    fn guilty(&mut self, container: &str) -> Place {
        let site = self.site(container);
        self.guilty.push(site);
        site
    }

    fn each_step(&mut self, behaviour: impl FnMut(&mut World) + 'static) {
        self.behaviours.push(Box::new(behaviour));
    }

    /// A moment, from a fraction of the run to another.
    fn moment(&mut self, low: f64, high: f64) -> f64 {
        self.world.random.between(low, high) * self.world.length()
    }
}

const PUSH: &str = "alloc::vec::Vec<T,A>::push";
const BOX: &str = "alloc::boxed::Box<T>::new";
const MAP: &str = "hashbrown::raw::RawTable<T,A>::reserve_rehash";
const TEXT: &str = "alloc::string::String::push_str";

/// How many operations happen in this step at `ops` per second.
fn happen(world: &mut World, ops: f64) -> u64 {
    let mean = ops * world.step;
    world.random.poisson(mean)
}

macro_rules! kinds {
    ($leaking:literal: $($build:ident),* $(,)?) => {
        &[$(Kind { name: stringify!($build), leaking: $leaking, build: $build }),*]
    };
}

pub const LEAKING: &[Kind] = kinds!(true:
    linear, linear_large_blocks, linear_mixed_sizes, batches_short, batches_long, one_in_ten_thousand,
    under_sawtooth_short, under_sawtooth_long, after_plateau, vec_doubles, vec_grows_by_half, log_appends,
    many_buffers_grow, table_doubles, every_third_round, accelerating, retained_capacity, partial_free_60,
    partial_free_95, eviction_too_slow, random_eviction_too_slow, backlog_steady, backlog_noisy, ttl_forgets_some,
    listeners, seasonal, among_seven_clean_threads, arena_never_reset, two_sites, load_pauses, bursty, beside_a_step,
    under_draining_backlog, under_sessions,
);

pub const CLEAN: &[Kind] = kinds!(false:
    lru_fills_early, lru_fills_late, fills_and_stays, ttl_short, ttl_long, warm_up_flat, sawtooth_short,
    sawtooth_long, random_walk, random_walk_stack, seasonal_short, seasonal_long, pool, vec_keeps_capacity,
    vec_fills_once, interner_saturates, interner_saturates_slowly, arena_reset, epochs, swapped_caches, one_step,
    two_steps, backlog_drains, lazy_statics, sessions, sessions_long, sessions_heavy_tail, churn, table_to_bound,
    buffer_flushed, log_segments, load_doubles, load_ends, threads_start, random_eviction, steps_early,
);

// Leaking.

fn linear(p: &mut Part) {
    let (site, ops, size) = (p.guilty(BOX), p.ops, p.size);
    p.each_step(move |w| {
        let n = happen(w, ops);
        w.leak(site, n, size);
    });
}

fn linear_large_blocks(p: &mut Part) {
    let (site, ops) = (p.guilty(PUSH), p.ops);
    p.each_step(move |w| {
        let n = happen(w, ops);
        w.leak(site, n, 65_536);
    });
}

fn linear_mixed_sizes(p: &mut Part) {
    let (site, ops) = (p.guilty(TEXT), p.ops / 4.0);
    p.each_step(move |w| {
        for size in [24, 150, 700, 5000] {
            let n = happen(w, ops);
            w.leak(site, n, size);
        }
    });
}

fn batches(p: &mut Part, period: f64) {
    let (site, ops, size) = (p.guilty(PUSH), p.ops, p.size);
    let mut next = period * p.world.random.unit();
    p.each_step(move |w| {
        if w.now >= next {
            next += period;
            let n = w.random.poisson(ops * period);
            w.leak(site, n, size);
        }
    });
}

fn batches_short(p: &mut Part) {
    let period = p.world.random.between(0.7, 2.5) * p.world.plan.every_ms as f64 / 1000.0;
    batches(p, period);
}

fn batches_long(p: &mut Part) {
    let period = p.moment(1.0 / 16.0, 1.0 / 10.0);
    batches(p, period);
}

/// 32 bytes every 10,000 operations; the rest is freed at once.
fn one_in_ten_thousand(p: &mut Part) {
    let (site, leaks) = (p.guilty(BOX), p.ops / 10.0);
    p.each_step(move |w| {
        let n = happen(w, leaks * 10_000.0);
        w.churn(site, n, 32);
        let n = w.random.binomial(n, 1e-4);
        w.leak(site, n, 32);
    });
}

/// Fills to about 50 MB and lets all go.
fn sawtooth(p: &mut Part, site: Place, period: f64) {
    let mut start = -period * p.world.random.unit();
    let peak = p.world.random.between(300.0, 800.0);
    let mut held: Vec<Block> = Vec::new();
    p.each_step(move |w| {
        if w.now - start >= period {
            start = w.now;
            held.drain(..).for_each(|block| w.free(block));
        }
        while (held.len() as f64) < peak * (w.now - start) / period {
            held.push(w.birth(site, 65_536));
        }
    });
}

fn under_sawtooth(p: &mut Part, period: f64) {
    let (site, ops, size) = (p.guilty(PUSH), p.ops, p.size);
    sawtooth(p, site, period);
    p.each_step(move |w| {
        let n = happen(w, ops);
        w.leak(site, n, size);
    });
}

fn under_sawtooth_short(p: &mut Part) {
    let period = p.moment(0.04, 0.1);
    under_sawtooth(p, period);
}

fn under_sawtooth_long(p: &mut Part) {
    let period = p.moment(0.15, 0.3);
    under_sawtooth(p, period);
}

fn after_plateau(p: &mut Part) {
    let (site, ops, size) = (p.guilty(BOX), p.ops, p.size);
    let (begin, ready) = (p.moment(0.3, 0.5), p.moment(0.02, 0.08));
    let kept = (ops * ready).ceil() as u64;
    let mut filled = 0;
    p.each_step(move |w| {
        let n = happen(w, ops);
        if w.now >= begin {
            w.leak(site, n, size);
        } else if filled < kept {
            w.leak(site, n, size);
            filled += n;
        } else {
            w.churn(site, n, size);
        }
    });
}

/// One block that is resized by a factor when full.
fn grows_by(p: &mut Part, factor: f64) {
    let (site, ops, size) = (p.guilty(PUSH), p.ops, p.size as f64);
    let (mut block, mut used) = (None, 0.0);
    p.each_step(move |w| {
        used += happen(w, ops) as f64 * size;
        let block = block.get_or_insert_with(|| w.birth(site, 4 * size as u64));
        while used > block.size() as f64 {
            let larger = (block.size() as f64 * factor) as u64;
            w.resize(block, larger);
        }
    });
}

fn vec_doubles(p: &mut Part) {
    grows_by(p, 2.0);
}

fn vec_grows_by_half(p: &mut Part) {
    grows_by(p, 1.5);
}

/// Resized for each line.
fn log_appends(p: &mut Part) {
    let (site, ops, size) = (p.guilty(TEXT), p.ops, p.size);
    let mut block = None;
    p.each_step(move |w| {
        let n = happen(w, ops);
        let block = block.get_or_insert_with(|| w.birth(site, 64));
        if n > 0 {
            let larger = block.size() + n * size;
            w.resize(block, larger);
        }
    });
}

/// As many blocks as in the beginning, each longer and longer.
fn many_buffers_grow(p: &mut Part) {
    let (site, ops, size) = (p.guilty(TEXT), p.ops, p.size);
    let mut blocks: Vec<Block> = Vec::new();
    p.each_step(move |w| {
        while blocks.len() < 40 {
            blocks.push(w.birth(site, 256));
        }
        for _ in 0..happen(w, ops) {
            let at = w.random.below(blocks.len());
            let larger = blocks[at].size() + size;
            w.resize(&mut blocks[at], larger);
        }
    });
}

/// A map: its table doubles by a new one for the old, its values are born at another site.
fn map_until(p: &mut Part, table: Place, values: Place, bound: u64) {
    let (ops, size) = (p.ops, p.size);
    let (mut block, mut capacity, mut len) = (None, 4_u64, 0_u64);
    p.each_step(move |w| {
        let n = happen(w, ops);
        let new = n.min(bound - len);
        w.leak(values, new, size);
        w.churn(values, n - new, size);
        len += new;
        if block.is_none() {
            block = Some(w.birth(table, capacity * 17));
        }
        while len > capacity * 7 / 8 {
            capacity *= 2;
            let larger = w.birth(table, capacity * 17);
            if let Some(old) = block.replace(larger) {
                w.free(old);
            }
        }
    });
}

fn table_doubles(p: &mut Part) {
    let (table, values) = (p.guilty(MAP), p.guilty(TEXT));
    map_until(p, table, values, u64::MAX);
}

fn every_third_round(p: &mut Part) {
    let (site, ops, size) = (p.guilty(BOX), p.ops, p.size);
    let round = p.moment(1.0 / 30.0, 1.0 / 18.0);
    p.each_step(move |w| {
        let n = happen(w, ops);
        if (w.now / round) as u64 % 3 == 2 {
            w.leak(site, n, size);
        } else {
            w.churn(site, n, size);
        }
    });
}

fn accelerating(p: &mut Part) {
    let (site, ops, size) = (p.guilty(PUSH), p.ops, p.size);
    p.each_step(move |w| {
        let now = 2.0 * w.now / w.length();
        let n = happen(w, ops * now);
        w.leak(site, n, size);
    });
}

/// Vectors are filled, emptied and kept with their capacity, more of them all the time.
fn retained_capacity(p: &mut Part) {
    let (site, ops) = (p.guilty(PUSH), p.ops / 2.0);
    p.each_step(move |w| {
        for _ in 0..happen(w, ops) {
            let mut block = w.birth(site, 128);
            for _ in 0..w.random.below(5) {
                let larger = block.size() * 2;
                w.resize(&mut block, larger);
            }
        }
    });
}

/// Blocks are freed after a while, but for a share.
fn partial_free(p: &mut Part, freed: f64) {
    let (site, ops, size) = (p.guilty(BOX), p.ops, p.size);
    let lifetime = p.moment(0.005, 0.05);
    let mut held: VecDeque<(f64, Block)> = VecDeque::new();
    p.each_step(move |w| {
        for _ in 0..happen(w, ops) {
            if w.random.chance(freed) {
                let until = w.now + lifetime;
                held.push_back((until, w.birth(site, size)));
            } else {
                w.leak(site, 1, size);
            }
        }
        while held.front().is_some_and(|(until, _)| *until <= w.now) {
            held.pop_front().into_iter().for_each(|(_, block)| w.free(block));
        }
    });
}

fn partial_free_60(p: &mut Part) {
    partial_free(p, 0.6);
}

fn partial_free_95(p: &mut Part) {
    partial_free(p, 0.95);
}

/// Oldest out first, but fewer out than in.
fn queue(p: &mut Part, site: Place, drained: f64, noise: f64) {
    let (ops, size) = (p.ops, p.size);
    let stall = p.world.plan.every_ms as f64 / 1000.0;
    let mut held: VecDeque<Block> = VecDeque::new();
    let (mut speed, mut until, mut credit) = (1.0, 0.0, 0.0);
    p.each_step(move |w| {
        for _ in 0..happen(w, ops) {
            held.push_back(w.birth(site, size));
        }
        if w.now >= until {
            until = w.now + w.random.exponential(stall);
            speed = w.random.between(1.0 - noise, 1.0 + noise);
        }
        credit = f64::min(credit + ops * drained * speed * w.step, held.len() as f64);
        while credit >= 1.0 {
            credit -= 1.0;
            held.pop_front().into_iter().for_each(|block| w.free(block));
        }
    });
}

fn eviction_too_slow(p: &mut Part) {
    let (site, drained) = (p.guilty(MAP), p.world.random.between(0.3, 0.8));
    queue(p, site, drained, 0.0);
}

fn random_eviction_too_slow(p: &mut Part) {
    let (site, ops, size) = (p.guilty(MAP), p.ops, p.size);
    let evicted = p.world.random.between(0.3, 0.7);
    let mut held: Vec<Block> = Vec::new();
    p.each_step(move |w| {
        for _ in 0..happen(w, ops) {
            held.push(w.birth(site, size));
            if w.random.chance(evicted) {
                let block = held.swap_remove(w.random.below(held.len()));
                w.free(block);
            }
        }
    });
}

fn backlog_steady(p: &mut Part) {
    let site = p.guilty(BOX);
    queue(p, site, 0.7, 0.1);
}

fn backlog_noisy(p: &mut Part) {
    let (site, drained) = (p.guilty(BOX), p.world.random.between(0.5, 0.8));
    queue(p, site, drained, 0.9);
}

fn ttl_forgets_some(p: &mut Part) {
    let (site, ops, size) = (p.guilty(MAP), p.ops / 10.0, p.size);
    let ttl = p.moment(0.08, 0.2);
    expiring(p, site, ttl);
    p.each_step(move |w| {
        let n = happen(w, ops);
        w.leak(site, n, size);
    });
}

/// Each session registers two and removes one when it ends.
fn listeners(p: &mut Part) {
    let (site, ops, size) = (p.guilty(PUSH), p.ops / 2.0, p.size);
    let mean = p.moment(0.01, 0.05);
    let mut held: Vec<(f64, Block)> = Vec::new();
    p.each_step(move |w| {
        for _ in 0..happen(w, ops) {
            w.leak(site, 1, size);
            let until = w.now + w.random.exponential(mean);
            held.push((until, w.birth(site, size)));
        }
        end_some(w, &mut held);
    });
}

fn seasonal(p: &mut Part) {
    let (site, ops, size) = (p.guilty(BOX), p.ops, p.size);
    let (period, phase) = (p.moment(0.08, 0.3), p.world.random.unit());
    p.each_step(move |w| {
        let season = 1.0 + 0.8 * (std::f64::consts::TAU * (w.now / period + phase)).sin();
        let n = happen(w, ops * season);
        w.churn(site, 3 * n, size);
        w.leak(site, n, size);
    });
}

fn among_seven_clean_threads(p: &mut Part) {
    let (site, ops, size) = (p.guilty(BOX), p.ops / 8.0, p.size);
    let lifetime = p.moment(0.005, 0.03);
    let mut held: VecDeque<(f64, Block)> = VecDeque::new();
    p.each_step(move |w| {
        let n = happen(w, ops);
        w.leak(site, n, size);
        for _ in 0..happen(w, ops * 7.0) {
            let until = w.now + lifetime;
            held.push_back((until, w.birth(site, size)));
        }
        while held.front().is_some_and(|(until, _)| *until <= w.now) {
            held.pop_front().into_iter().for_each(|(_, block)| w.free(block));
        }
    });
}

/// A bump arena takes a new chunk when the last one is full.
fn arena_never_reset(p: &mut Part) {
    let (site, ops, size) = (p.guilty("bumpalo::Bump::new_chunk"), p.ops, p.size);
    let chunk = size * 8;
    let mut used = 0;
    p.each_step(move |w| {
        used += happen(w, ops) * size;
        while used >= chunk {
            used -= chunk;
            w.leak(site, 1, chunk);
        }
    });
}

fn two_sites(p: &mut Part) {
    linear(p);
    partial_free_60(p);
}

/// The load stops for a while in the middle.
fn load_pauses(p: &mut Part) {
    let (site, ops, size) = (p.guilty(BOX), p.ops, p.size);
    let from = p.moment(0.3, 0.5);
    let until = from + p.moment(0.08, 0.2);
    p.each_step(move |w| {
        let n = happen(w, ops);
        if !(from..until).contains(&w.now) {
            w.leak(site, n, size);
        }
    });
}

fn bursty(p: &mut Part) {
    let (site, ops, size) = (p.guilty(PUSH), p.ops / 4.0, p.size);
    let gap = p.world.plan.every_ms as f64 / 1000.0;
    let (mut next, mut strength) = (0.0, 1.0);
    p.each_step(move |w| {
        if w.now >= next {
            next = w.now + w.random.exponential(gap);
            // Pareto, cut at 20.
            strength = w.random.unit().powf(-0.7).min(20.0);
        }
        let n = happen(w, ops * strength);
        w.leak(site, n, size);
    });
}

fn beside_a_step(p: &mut Part) {
    let (site, ops, size) = (p.guilty(PUSH), p.ops, p.size);
    let at = p.moment(0.2, 0.8);
    let mut stepped = false;
    let n_step = (ops * p.world.length() * 0.5).ceil() as u64;
    p.each_step(move |w| {
        let n = happen(w, ops);
        w.leak(site, n, size);
        if w.now >= at && !stepped {
            stepped = true;
            w.leak(site, n_step, size);
        }
    });
}

fn under_draining_backlog(p: &mut Part) {
    let (site, ops, size) = (p.guilty(BOX), p.ops, p.size);
    drain(p, site);
    p.each_step(move |w| {
        let n = happen(w, ops);
        w.leak(site, n, size);
    });
}

fn under_sessions(p: &mut Part) {
    let (site, ops, size) = (p.guilty(BOX), p.ops, p.size);
    let mean = p.moment(0.04, 0.1);
    lifetimes(p, site, move |w| w.random.exponential(mean));
    p.each_step(move |w| {
        let n = happen(w, ops * 0.5);
        w.leak(site, n, size);
    });
}

// Clean.

/// A bounded cache, least recently used out first, full after `fill` seconds.
fn lru(p: &mut Part, fill: f64) {
    let (site, ops, size) = (p.site(MAP), p.ops, p.size);
    let bound = (ops * fill).ceil().max(1.0) as usize;
    let mut held: VecDeque<Block> = VecDeque::new();
    p.each_step(move |w| {
        for _ in 0..happen(w, ops) {
            // Some lookups hit and move an entry to the young end.
            if held.len() > 2 && w.random.chance(0.3) {
                let at = w.random.below(held.len());
                held.remove(at).into_iter().for_each(|block| held.push_back(block));
                continue;
            }
            held.push_back(w.birth(site, size));
            if held.len() > bound {
                held.pop_front().into_iter().for_each(|block| w.free(block));
            }
        }
    });
}

fn lru_fills_early(p: &mut Part) {
    let fill = p.moment(0.05, 0.2);
    lru(p, fill);
}

fn lru_fills_late(p: &mut Part) {
    let fill = p.moment(0.25, 0.45);
    lru(p, fill);
}

/// As many as there are keys; all else are hits.
fn fills_and_stays(p: &mut Part) {
    let (site, ops, size) = (p.site(MAP), p.ops, p.size);
    let fill = p.moment(0.1, 0.7);
    let mut left = (ops * fill).ceil() as u64;
    p.each_step(move |w| {
        let n = happen(w, ops);
        let new = n.min(left);
        left -= new;
        w.leak(site, new, size);
        w.churn(site, n - new, size);
    });
}

fn expiring(p: &mut Part, site: Place, ttl: f64) {
    let (ops, size) = (p.ops, p.size);
    let mut held: VecDeque<(f64, Block)> = VecDeque::new();
    p.each_step(move |w| {
        for _ in 0..happen(w, ops) {
            let until = w.now + ttl;
            held.push_back((until, w.birth(site, size)));
        }
        while held.front().is_some_and(|(until, _)| *until <= w.now) {
            held.pop_front().into_iter().for_each(|(_, block)| w.free(block));
        }
    });
}

fn ttl_short(p: &mut Part) {
    let (site, ttl) = (p.site(MAP), p.moment(0.03, 0.2));
    expiring(p, site, ttl);
}

fn ttl_long(p: &mut Part) {
    let (site, ttl) = (p.site(MAP), p.moment(0.25, 0.45));
    expiring(p, site, ttl);
}

fn warm_up_flat(p: &mut Part) {
    let (site, ops, size) = (p.site(PUSH), p.ops, p.size);
    let ready = p.moment(0.02, 0.3);
    p.each_step(move |w| {
        let n = happen(w, ops);
        if w.now < ready {
            w.leak(site, n, size);
        } else {
            w.churn(site, n, size);
        }
    });
}

fn sawtooth_short(p: &mut Part) {
    let (site, period) = (p.site(PUSH), p.moment(0.03, 0.15));
    sawtooth(p, site, period);
}

fn sawtooth_long(p: &mut Part) {
    let (site, period) = (p.site(PUSH), p.moment(0.2, 0.45));
    sawtooth(p, site, period);
}

/// A number of live blocks that wanders around a mean.
fn wandering(p: &mut Part, oldest_first: bool) {
    let (site, ops, size) = (p.site(BOX), p.ops, p.size);
    let interval = p.world.plan.every_ms as f64 / 1000.0;
    let (mean, back) = ((ops * interval).max(4.0), p.moment(0.03, 0.1));
    let mut held: VecDeque<Block> = VecDeque::new();
    let mut wanted = mean;
    p.each_step(move |w| {
        let noise = w.random.between(-1.0, 1.0) * mean * (w.step / back).sqrt() * 0.6;
        wanted = (wanted + (mean - wanted) * w.step / back + noise).max(0.0);
        let n = happen(w, ops);
        w.churn(site, n, size);
        while (held.len() as f64) < wanted {
            held.push_back(w.birth(site, size));
        }
        while held.len() as f64 > wanted + 1.0 {
            let block = if oldest_first { held.pop_front() } else { held.pop_back() };
            block.into_iter().for_each(|block| w.free(block));
        }
    });
}

fn random_walk(p: &mut Part) {
    wandering(p, true);
}

fn random_walk_stack(p: &mut Part) {
    wandering(p, false);
}

fn seasons(p: &mut Part, period: f64) {
    let (site, ops, size) = (p.site(BOX), p.ops, p.size);
    let (phase, lifetime) = (p.world.random.unit(), p.moment(0.01, 0.05));
    let mut held: Vec<(f64, Block)> = Vec::new();
    p.each_step(move |w| {
        let season = 1.0 + 0.9 * (std::f64::consts::TAU * (w.now / period + phase)).sin();
        for _ in 0..happen(w, ops * season) {
            let until = w.now + w.random.exponential(lifetime);
            held.push((until, w.birth(site, size)));
        }
        end_some(w, &mut held);
    });
}

fn seasonal_short(p: &mut Part) {
    let period = p.moment(0.08, 0.3);
    seasons(p, period);
}

fn seasonal_long(p: &mut Part) {
    let period = p.moment(0.4, 1.0);
    seasons(p, period);
}

/// Objects are handed out again; there are as many as were ever in use at once.
fn pool(p: &mut Part) {
    let (site, ops, size) = (p.site(BOX), p.ops, p.size);
    let interval = p.world.plan.every_ms as f64 / 1000.0;
    let mut most = 0;
    p.each_step(move |w| {
        let in_use = w.random.poisson(ops * interval * 0.2);
        if in_use > most {
            w.leak(site, in_use - most, size);
            most = in_use;
        }
    });
}

/// Vectors that are cleared and filled again, to random lengths: each keeps the largest capacity it had.
fn vec_keeps_capacity(p: &mut Part) {
    let (site, ops) = (p.site(PUSH), p.ops);
    let mut blocks: Vec<Block> = Vec::new();
    p.each_step(move |w| {
        while blocks.len() < 16 {
            blocks.push(w.birth(site, 64));
        }
        for _ in 0..happen(w, ops) {
            let at = w.random.below(blocks.len());
            let wanted = (w.random.between(4.0, 14.0)).exp2() as u64;
            while blocks[at].size() < wanted {
                let larger = blocks[at].size() * 2;
                w.resize(&mut blocks[at], larger);
            }
        }
    });
}

fn vec_fills_once(p: &mut Part) {
    let (site, ops, size) = (p.site(PUSH), p.ops, p.size as f64);
    let until = p.moment(0.1, 0.4);
    let (mut block, mut used) = (None, 0.0);
    p.each_step(move |w| {
        let n = happen(w, ops) as f64;
        if w.now < until {
            used += n * size;
        }
        let block = block.get_or_insert_with(|| w.birth(site, 4 * size as u64));
        while used > block.size() as f64 {
            let larger = block.size() * 2;
            w.resize(block, larger);
        }
    });
}

/// Each operation interns one of a fixed number of words.
fn interner(p: &mut Part, constant: f64) {
    let (site, ops, size) = (p.site(TEXT), p.ops, p.size);
    let words = (ops * constant).max(1.0);
    let mut known = 0.0;
    p.each_step(move |w| {
        let n = happen(w, ops);
        let new = w.random.binomial(n, (1.0 - known / words).max(0.0));
        known += new as f64;
        w.leak(site, new, size);
        w.churn(site, n - new, size);
    });
}

fn interner_saturates(p: &mut Part) {
    let constant = p.moment(0.04, 0.15);
    interner(p, constant);
}

fn interner_saturates_slowly(p: &mut Part) {
    let constant = p.moment(0.25, 0.5);
    interner(p, constant);
}

/// A bump arena: chunks are taken for each request and all given back.
fn arena_reset(p: &mut Part) {
    let (site, ops, size) = (p.site("bumpalo::Bump::new_chunk"), p.ops, p.size);
    let mean = p.moment(0.01, 0.08);
    let (mut next, mut held) = (0.0, Vec::new());
    p.each_step(move |w| {
        if w.now >= next {
            next = w.now + w.random.exponential(mean);
            held.drain(..).for_each(|block| w.free(block));
        }
        for _ in 0..happen(w, ops / 4.0) {
            held.push(w.birth(site, size * 8));
        }
    });
}

/// What is retired goes two epochs later; the length of epochs varies.
fn epochs(p: &mut Part) {
    let (site, ops, size) = (p.site(BOX), p.ops, p.size);
    let mean = p.moment(0.01, 0.05);
    let mut next = 0.0;
    let mut bags: VecDeque<Vec<Block>> = VecDeque::from([Vec::new()]);
    p.each_step(move |w| {
        if w.now >= next {
            next = w.now + mean * 0.3 + w.random.exponential(mean * 0.7);
            bags.push_back(Vec::new());
            if bags.len() > 3 {
                bags.pop_front().into_iter().flatten().for_each(|block| w.free(block));
            }
        }
        for _ in 0..happen(w, ops) {
            let block = w.birth(site, size);
            bags.back_mut().into_iter().for_each(|bag| bag.push(block));
        }
    });
}

/// Two caches: one fills, the other one goes at once when they change places.
fn swapped_caches(p: &mut Part) {
    let (site, ops, size) = (p.site(MAP), p.ops, p.size);
    let period = p.moment(0.06, 0.2);
    let mut next = period;
    let (mut young, mut old): (Vec<Block>, Vec<Block>) = (Vec::new(), Vec::new());
    p.each_step(move |w| {
        if w.now >= next {
            next += period;
            old.drain(..).for_each(|block| w.free(block));
            std::mem::swap(&mut young, &mut old);
        }
        for _ in 0..happen(w, ops) {
            young.push(w.birth(site, size));
        }
    });
}

fn steps(p: &mut Part, at: Vec<f64>) {
    let (site, ops, size) = (p.site(PUSH), p.ops, p.size);
    let n = (ops * p.world.length() * 0.3).ceil() as u64;
    let mut at: VecDeque<f64> = at.into();
    p.each_step(move |w| {
        let churned = happen(w, ops);
        w.churn(site, churned, size);
        if at.front().is_some_and(|at| *at <= w.now) {
            at.pop_front();
            w.leak(site, n, size);
        }
    });
}

fn one_step(p: &mut Part) {
    let at = p.moment(0.3, 0.9);
    steps(p, vec![at]);
}

fn two_steps(p: &mut Part) {
    let at = vec![p.moment(0.15, 0.4), p.moment(0.5, 0.85)];
    steps(p, at);
}

/// Indexes built one after the other while it starts.
fn steps_early(p: &mut Part) {
    let at = (0..5).map(|_| p.moment(0.0, 0.35)).collect::<Vec<f64>>();
    let mut sorted = at;
    sorted.sort_by(f64::total_cmp);
    steps(p, sorted);
}

/// A crowd of blocks from the beginning is worked off; new ones are done at once.
fn drain(p: &mut Part, site: Place) {
    let (ops, size) = (p.ops, p.size);
    let (until, begin) = (p.moment(0.2, 0.5), p.moment(0.02, 0.1));
    let crowd = (ops * begin * 3.0).ceil();
    let mut held: VecDeque<Block> = VecDeque::new();
    let mut born = 0.0;
    p.each_step(move |w| {
        while born < crowd * (w.now / begin).min(1.0) {
            born += 1.0;
            held.push_back(w.birth(site, size));
        }
        let n = happen(w, ops);
        w.churn(site, n, size);
        while w.now > begin && held.len() as f64 > crowd * (1.0 - (w.now - begin) / (until - begin)) {
            match held.pop_front() {
                Some(block) => w.free(block),
                None => break,
            }
        }
    });
}

fn backlog_drains(p: &mut Part) {
    let site = p.site(BOX);
    drain(p, site);
}

/// A few blocks once, each when first needed.
fn lazy_statics(p: &mut Part) {
    let (site, mean) = (p.site(BOX), p.moment(0.05, 0.12));
    let mut left: Vec<f64> = (0..12).map(|_| p.world.random.exponential(mean)).collect();
    p.each_step(move |w| {
        let before = left.len();
        left.retain(|at| *at > w.now);
        let (n, size) = ((before - left.len()) as u64, 64 << w.random.below(6));
        w.leak(site, n, size);
    });
}

fn end_some(w: &mut World, held: &mut Vec<(f64, Block)>) {
    let now = w.now;
    held.retain(|(until, block)| {
        if *until <= now {
            w.free(*block);
        }
        *until > now
    });
}

fn lifetimes(p: &mut Part, site: Place, mut lifetime: impl FnMut(&mut World) -> f64 + 'static) {
    let (ops, size) = (p.ops, p.size);
    let mut held: Vec<(f64, Block)> = Vec::new();
    p.each_step(move |w| {
        for _ in 0..happen(w, ops) {
            let until = w.now + lifetime(w);
            held.push((until, w.birth(site, size)));
        }
        end_some(w, &mut held);
    });
}

fn sessions(p: &mut Part) {
    let (site, mean) = (p.site(BOX), p.moment(0.02, 0.08));
    lifetimes(p, site, move |w| w.random.exponential(mean));
}

fn sessions_long(p: &mut Part) {
    let (site, mean) = (p.site(BOX), p.moment(0.1, 0.2));
    lifetimes(p, site, move |w| w.random.exponential(mean));
}

/// Most end soon, some last for up to a third of the run.
fn sessions_heavy_tail(p: &mut Part) {
    let (site, shortest, longest) = (p.site(BOX), p.moment(0.005, 0.02), p.moment(0.2, 0.35));
    lifetimes(p, site, move |w| (shortest * w.random.unit().powf(-1.0 / 1.5)).min(longest));
}

fn churn(p: &mut Part) {
    let (site, ops, size) = (p.site(TEXT), p.ops * 20.0, p.size);
    let mut held: Vec<Block> = Vec::new();
    p.each_step(move |w| {
        let n = happen(w, ops);
        w.churn(site, n, size);
        held.drain(..).for_each(|block| w.free(block));
        for _ in 0..w.random.below(8) {
            held.push(w.birth(site, size));
        }
    });
}

fn table_to_bound(p: &mut Part) {
    let (table, values, fill) = (p.site(MAP), p.site(TEXT), p.moment(0.1, 0.4));
    let bound = (p.ops * fill).ceil() as u64;
    map_until(p, table, values, bound);
}

/// A buffer grows to its limit, is written out and shrunk.
fn buffer_flushed(p: &mut Part) {
    let (site, ops, size) = (p.site(PUSH), p.ops, p.size);
    let limit = (ops * p.moment(0.03, 0.2)).max(4.0) as u64 * size;
    let mut block = None;
    p.each_step(move |w| {
        let n = happen(w, ops);
        let block = block.get_or_insert_with(|| w.birth(site, 64));
        let larger = if block.size() + n * size > limit { 64 } else { block.size() + n * size };
        w.resize(block, larger);
    });
}

/// The last five segments are kept; each is one large block and many small ones.
fn log_segments(p: &mut Part) {
    let (site, ops, size) = (p.site(PUSH), p.ops, p.size);
    let period = p.moment(0.02, 0.07);
    let mut next = 0.0;
    let mut segments: VecDeque<Vec<Block>> = VecDeque::new();
    p.each_step(move |w| {
        if w.now >= next {
            next += period;
            segments.push_back(vec![w.birth(site, size * 100)]);
            if segments.len() > 5 {
                segments.pop_front().into_iter().flatten().for_each(|block| w.free(block));
            }
        }
        for _ in 0..happen(w, ops) {
            let block = w.birth(site, size);
            segments.back_mut().into_iter().for_each(|segment| segment.push(block));
        }
    });
}

/// Twice as many users from some moment on.
fn load_doubles(p: &mut Part) {
    let (site, ops, size) = (p.site(BOX), p.ops, p.size);
    let (at, mean) = (p.moment(0.3, 0.6), p.moment(0.01, 0.05));
    let mut held: Vec<(f64, Block)> = Vec::new();
    p.each_step(move |w| {
        for _ in 0..happen(w, if w.now >= at { ops * 2.0 } else { ops }) {
            let until = w.now + w.random.exponential(mean);
            held.push((until, w.birth(site, size)));
        }
        end_some(w, &mut held);
    });
}

/// A cache fills while there is load; then there is none, and nothing changes.
fn load_ends(p: &mut Part) {
    let (site, ops, size) = (p.site(MAP), p.ops, p.size);
    let at = p.moment(0.3, 0.5);
    p.each_step(move |w| {
        if w.now < at {
            let n = happen(w, ops);
            w.leak(site, n, size);
        }
    });
}

/// Eight threads start in the first third; each has buffers of its own.
fn threads_start(p: &mut Part) {
    let site = p.site(BOX);
    let mut at: Vec<f64> = (0..8).map(|_| p.moment(0.0, 0.33)).collect();
    p.each_step(move |w| {
        let before = at.len();
        at.retain(|at| *at > w.now);
        let n = 5 * (before - at.len()) as u64;
        w.leak(site, n, 8192);
    });
}

/// A full cache, anyone out: lifetimes are exponential.
fn random_eviction(p: &mut Part) {
    let (site, ops, size) = (p.site(MAP), p.ops, p.size);
    let bound = (ops * p.moment(0.04, 0.12)).ceil().max(1.0) as usize;
    let mut held: Vec<Block> = Vec::new();
    p.each_step(move |w| {
        for _ in 0..happen(w, ops) {
            held.push(w.birth(site, size));
            if held.len() > bound {
                let block = held.swap_remove(w.random.below(held.len()));
                w.free(block);
            }
        }
    });
}

/// Clean sites beside the one under test: what a running service shows anyway. Their share of `Kind`s is drawn anew for
/// each case, at about a tenth of the rate.
pub fn background(world: &mut World) -> Vec<Behaviour> {
    let mut behaviours = Vec::new();
    for _ in 0..20 + world.random.below(20) {
        let draw = world.random.unit();
        let mut part = Part::new(world, 0.05);
        match draw {
            x if x < 0.35 => churn(&mut part),
            x if x < 0.55 => warm_up_flat(&mut part),
            x if x < 0.7 => sessions(&mut part),
            x if x < 0.8 => lazy_at_start(&mut part),
            x if x < 0.9 => lru_fills_early(&mut part),
            _ => pool(&mut part),
        }
        behaviours.append(&mut part.behaviours);
    }
    behaviours
}

/// All in the first moments.
fn lazy_at_start(p: &mut Part) {
    let (site, n, size) = (p.site(BOX), 1 + p.world.random.below(30) as u64, p.size);
    let mut done = false;
    p.each_step(move |w| {
        if !std::mem::replace(&mut done, true) {
            w.leak(site, n, size);
        }
    });
}
