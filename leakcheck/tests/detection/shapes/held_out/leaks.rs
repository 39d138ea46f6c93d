//! Leaks that no rule was tuned on.

use super::bounds;
use crate::shapes::caches::swapped_on;
use crate::shapes::sessions::{end_some, lifetimes};
use crate::shapes::waves::{arena_on, epochs_on, seasons_on, wandering_on};
use crate::shapes::{BOX, MAP, NODE, PUSH, Part, TEXT, happen};
use crate::world::{Block, Place};
use leakcheck::analysis::Cause;

fn beside(p: &mut Part, site: Place, share: f64) {
    let (ops, size) = (p.ops * share, p.size);
    p.each_step(move |w| {
        let n = happen(w, ops);
        w.leak(site, n, size);
    });
}

/// New words come ever rarer, but never end: n ~ t^0.75.
pub fn heaps_law(p: &mut Part) {
    let (site, ops, size) = (p.guilty(TEXT), p.ops, p.size);
    let mut words = 0.0_f64;
    p.each_step(move |w| {
        let length = w.length();
        let wanted = ops * length * (w.now / length).powf(0.75);
        let new = w.random.poisson((wanted - words).max(0.0));
        words += new as f64;
        w.leak(site, new, size);
        let again = happen(w, ops * 5.0);
        w.churn(site, again, size);
    });
}

/// Entries expire unless they were touched in time; a fifth are touched for ever.
pub fn immortal_entries(p: &mut Part) {
    let (site, ttl) = (p.guilty(MAP), p.moment(0.02, 0.06));
    lifetimes(p, site, move |w| if w.random.chance(0.2) { f64::INFINITY } else { ttl });
}

/// Two hundred vectors behind keys, each pushed to without end.
pub fn many_vectors_double(p: &mut Part) {
    let (site, ops, size) = (p.guilty(PUSH), p.ops * 4.0, p.size);
    p.because(&[Cause::GrowingBuffer, Cause::RetainedCapacity]);
    let mut vectors: Vec<(Block, u64)> = Vec::new();
    p.each_step(move |w| {
        while vectors.len() < 60 {
            vectors.push((w.birth(site, 4 * size), 0));
        }
        for _ in 0..happen(w, ops) {
            let at = w.random.below(vectors.len());
            let (block, used) = &mut vectors[at];
            *used += size;
            if *used > block.size() {
                let larger = block.size() * 2;
                w.resize(block, larger);
            }
        }
    });
}

/// A large table is loaded at the start at the site that leaks afterwards.
pub fn bulk_load_then_leak(p: &mut Part) {
    let (site, ops, size) = (p.guilty(PUSH), p.ops, p.size);
    let n = (ops * p.world.length() * 3.0) as u64;
    let mut loaded = false;
    p.each_step(move |w| {
        if !std::mem::replace(&mut loaded, true) {
            w.leak(site, n, size);
        }
    });
    beside(p, site, 1.0);
}

pub fn thread_stacks(p: &mut Part) {
    let (site, ops) = (p.guilty(BOX), p.ops / 10.0);
    p.each_step(move |w| {
        for _ in 0..happen(w, ops) {
            w.leak(site, 1, 32_768);
            w.leak(site, 2, 48);
        }
    });
}

/// One segment for a number of lines, none ever let go.
pub fn segments_forgotten(p: &mut Part) {
    let (site, ops, size) = (p.guilty(TEXT), p.ops, p.size);
    let mut used = 0;
    p.each_step(move |w| {
        used += happen(w, ops);
        while used >= 24 {
            used -= 24;
            w.leak(site, 1, 24 * size);
        }
    });
}

pub fn under_arena(p: &mut Part) {
    let site = p.guilty(PUSH);
    let mean = p.moment(0.02, 0.06);
    arena_on(p, site, mean);
    beside(p, site, 0.5);
}

pub fn under_epochs(p: &mut Part) {
    let site = p.guilty(BOX);
    epochs_on(p, site);
    beside(p, site, 0.4);
}

pub fn under_swapped_caches(p: &mut Part) {
    let site = p.guilty(MAP);
    swapped_on(p, site);
    beside(p, site, 0.4);
}

pub fn under_seasonal_sessions(p: &mut Part) {
    let site = p.guilty(BOX);
    let period = p.moment(0.1, 0.3);
    seasons_on(p, site, period);
    beside(p, site, 0.3);
}

pub fn under_walk(p: &mut Part) {
    let site = p.guilty(BOX);
    wandering_on(p, site, true);
    beside(p, site, 0.6);
}

/// Begins past the middle.
pub fn late_and_slow(p: &mut Part) {
    let (site, ops, size) = (p.guilty(BOX), p.ops, p.size);
    let begin = p.moment(0.45, 0.55);
    p.each_step(move |w| {
        let n = happen(w, ops);
        if w.now >= begin {
            w.leak(site, n, size);
        } else {
            w.churn(site, n, size);
        }
    });
}

/// Much by day, a tenth by night; a few days in the run.
pub fn day_and_night(p: &mut Part) {
    let (site, ops, size) = (p.guilty(PUSH), p.ops, p.size);
    let (day, phase) = (p.moment(0.15, 0.25), p.world.random.unit());
    p.each_step(move |w| {
        let night = (w.now / day + phase).fract() < 0.4;
        let n = happen(w, if night { ops * 0.1 } else { ops });
        w.leak(site, n, size);
    });
}

/// The value goes, the block that a weak handle holds shrinks and stays.
pub fn weak_keeps_the_head(p: &mut Part) {
    let (site, ops, size) = (p.guilty(BOX), p.ops, p.size);
    let mean = p.moment(0.01, 0.04);
    let mut held: Vec<(f64, Block)> = Vec::new();
    p.each_step(move |w| {
        for _ in 0..happen(w, ops) {
            let until = w.now + w.random.exponential(mean);
            held.push((until, w.birth(site, size * 4)));
        }
        let now = w.now;
        for (until, block) in &mut held {
            if *until <= now {
                w.resize(block, size);
            }
        }
        held.retain(|(until, _)| *until > now);
    });
}

/// A vector that doubles and what is in it, both from one site.
pub fn vector_and_entries(p: &mut Part) {
    let (site, ops, size) = (p.guilty(PUSH), p.ops, p.size);
    let (mut vector, mut len) = (None, 0_u64);
    p.each_step(move |w| {
        let n = happen(w, ops);
        w.leak(site, n, size);
        len += n;
        let vector = vector.get_or_insert_with(|| w.birth(site, 64));
        while len * 16 > vector.size() {
            let larger = vector.size() * 2;
            w.resize(vector, larger);
        }
    });
}

/// A node for several entries; nodes split.
pub fn tree_nodes(p: &mut Part) {
    let (site, ops) = (p.guilty(NODE), p.ops * 2.0);
    p.each_step(move |w| {
        let n = happen(w, ops);
        let split = w.random.binomial(n, 1.0 / 7.0);
        w.leak(site, split, 544);
    });
}

pub fn one_in_ten_stays(p: &mut Part) {
    let (site, short, long) = (p.guilty(PUSH), p.moment(0.005, 0.02), p.moment(0.1, 0.2));
    lifetimes(p, site, move |w| {
        if w.random.chance(0.1) { f64::INFINITY } else { (short * w.random.unit().powf(-0.8)).min(long) }
    });
}

/// Each task has three blocks; one in twenty waits for ever.
pub fn stuck_tasks(p: &mut Part) {
    let (site, ops, mean) = (p.guilty(BOX), p.ops, p.moment(0.01, 0.03));
    let mut held: Vec<(f64, Block)> = Vec::new();
    p.each_step(move |w| {
        for _ in 0..happen(w, ops) {
            let until = if w.random.chance(0.05) { f64::INFINITY } else { w.now + w.random.exponential(mean) };
            for size in [128, 384, 64] {
                held.push((until, w.birth(site, size)));
            }
        }
        end_some(w, &mut held);
    });
}

/// At each reload most of the old bundle goes.
pub fn reload_keeps_some(p: &mut Part) {
    let (site, ops, size) = (p.guilty(TEXT), p.ops, p.size);
    let period = p.moment(1.0 / 25.0, 1.0 / 15.0);
    let (mut next, mut bundle): (f64, Vec<Block>) = (0.0, Vec::new());
    p.each_step(move |w| {
        if w.now >= next {
            next += period;
            bundle.retain(|block| {
                if w.random.chance(0.7) {
                    w.free(*block);
                }
                false
            });
            let n = w.random.poisson(ops * period);
            bundle.extend((0..n).map(|_| w.birth(site, size)));
        }
    });
}

/// One vector that has room for a while, and then not.
pub fn doubles_after_plateau(p: &mut Part) {
    let (site, ops, size) = (p.guilty(PUSH), p.ops, p.size as f64);
    p.because(&[Cause::GrowingBuffer]);
    let begin = p.moment(0.2, 0.35);
    let (mut block, mut used) = (None, 0.0);
    p.each_step(move |w| {
        let n = happen(w, ops) as f64;
        if w.now >= begin {
            used += n * size;
        }
        let block = block.get_or_insert_with(|| w.birth(site, 4 * size as u64));
        while used > block.size() as f64 {
            let larger = block.size() * 2;
            w.resize(block, larger);
        }
    });
}

/// A thousand come and go for each that stays, and some thousands are in use.
pub fn below_large_churn(p: &mut Part) {
    let (site, mean) = (p.guilty(PUSH), p.moment(0.005, 0.02));
    p.ops *= 3.0;
    lifetimes(p, site, move |w| w.random.exponential(mean));
    beside(p, site, 0.15);
}

pub fn under_compaction(p: &mut Part) {
    let site = p.guilty(PUSH);
    bounds::compaction_on(p, site);
    beside(p, site, 0.5);
}

/// Leaks, is level for a fifth of the run, leaks on.
pub fn in_two_phases(p: &mut Part) {
    let (site, ops, size) = (p.guilty(BOX), p.ops, p.size);
    let from = p.moment(0.25, 0.5);
    let until = from + p.moment(0.15, 0.22);
    p.each_step(move |w| {
        let n = happen(w, ops);
        if (from..until).contains(&w.now) {
            w.churn(site, n, size);
        } else {
            w.leak(site, n, size);
        }
    });
}

pub fn under_tall_batches(p: &mut Part) {
    let site = p.guilty(PUSH);
    bounds::batches_on(p, site);
    beside(p, site, 0.5);
}
