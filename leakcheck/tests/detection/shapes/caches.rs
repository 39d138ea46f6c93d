//! Maps and sets: filled without end, to a bound, for a time to live.

use super::queues::queue;
use super::{MAP, Part, TEXT, happen};
use crate::world::{Block, Place};
use std::collections::VecDeque;

/// A map: its table doubles by a new one for the old, its values are born at another site.
pub fn map_until(p: &mut Part, table: Place, values: Place, bound: u64) {
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

pub fn table_doubles(p: &mut Part) {
    let (table, values) = (p.guilty(MAP), p.guilty(TEXT));
    map_until(p, table, values, u64::MAX);
}

pub fn table_to_bound(p: &mut Part) {
    let (table, values, fill) = (p.site(MAP), p.site(TEXT), p.moment(0.1, 0.4));
    let bound = (p.ops * fill).ceil() as u64;
    map_until(p, table, values, bound);
}

pub fn eviction_too_slow(p: &mut Part) {
    let (site, drained) = (p.guilty(MAP), p.world.random.between(0.3, 0.8));
    queue(p, site, drained, 0.0);
}

pub fn random_eviction_too_slow(p: &mut Part) {
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

pub fn ttl_forgets_some(p: &mut Part) {
    let (site, ops, size) = (p.guilty(MAP), p.ops / 10.0, p.size);
    let ttl = p.moment(0.08, 0.2);
    expiring(p, site, ttl);
    p.each_step(move |w| {
        let n = happen(w, ops);
        w.leak(site, n, size);
    });
}

/// A bounded cache, least recently used out first, full after `fill` seconds.
pub fn lru(p: &mut Part, fill: f64) {
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

pub fn lru_fills_early(p: &mut Part) {
    let fill = p.moment(0.05, 0.2);
    lru(p, fill);
}

pub fn lru_fills_late(p: &mut Part) {
    let fill = p.moment(0.25, 0.45);
    lru(p, fill);
}

/// As many as there are keys; all else are hits.
pub fn fills_and_stays(p: &mut Part) {
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

pub fn expiring(p: &mut Part, site: Place, ttl: f64) {
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

pub fn ttl_short(p: &mut Part) {
    let (site, ttl) = (p.site(MAP), p.moment(0.03, 0.2));
    expiring(p, site, ttl);
}

pub fn ttl_long(p: &mut Part) {
    let (site, ttl) = (p.site(MAP), p.moment(0.25, 0.45));
    expiring(p, site, ttl);
}

/// Each operation interns one of a fixed number of words.
pub fn interner(p: &mut Part, constant: f64) {
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

pub fn interner_saturates(p: &mut Part) {
    let constant = p.moment(0.04, 0.15);
    interner(p, constant);
}

pub fn interner_saturates_slowly(p: &mut Part) {
    let constant = p.moment(0.25, 0.5);
    interner(p, constant);
}

/// Two caches: one fills, the other one goes at once when they change places.
pub fn swapped_caches(p: &mut Part) {
    let site = p.site(MAP);
    swapped_on(p, site);
}

pub fn swapped_on(p: &mut Part, site: Place) {
    let (ops, size) = (p.ops, p.size);
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

/// A full cache, anyone out: lifetimes are exponential.
pub fn random_eviction(p: &mut Part) {
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

/// A third of the entries are hit so often that they never go; the others are.
pub fn hot_and_cold(p: &mut Part) {
    let (site, ops, size) = (p.site(MAP), p.ops, p.size);
    let bound = (ops * p.moment(0.04, 0.15)).ceil().max(3.0);
    let (mut hot, mut cold) = (0.0, VecDeque::new());
    p.each_step(move |w| {
        for _ in 0..happen(w, ops) {
            let block = w.birth(site, size);
            if hot < bound / 3.0 && w.random.chance(0.5) {
                hot += 1.0;
                continue;
            }
            cold.push_back(block);
            if cold.len() as f64 > bound * 2.0 / 3.0 {
                cold.pop_front().into_iter().for_each(|block| w.free(block));
            }
        }
    });
}

/// Sixteen shards, each with a bound of its own, filled at unlike speeds.
pub fn shards_fill(p: &mut Part) {
    let (site, ops, size) = (p.site(MAP), p.ops / 16.0, p.size);
    let mut left: Vec<(f64, f64)> = Vec::new();
    for _ in 0..16 {
        let speed = ops * p.world.random.between(0.5, 2.0);
        let fill = p.moment(0.05, 0.5);
        left.push((speed, speed * fill));
    }
    p.each_step(move |w| {
        for (speed, left) in &mut left {
            let n = happen(w, *speed);
            let new = n.min(left.ceil() as u64);
            *left -= new as f64;
            w.leak(site, new, size);
            w.churn(site, n - new, size);
        }
    });
}
