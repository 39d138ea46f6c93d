//! Blocks that come and stay, in every rhythm a program has.

use super::sessions::partial_free_60;
use super::{BOX, PUSH, Part, TEXT, happen};
use crate::world::Block;
use std::collections::VecDeque;

pub fn linear(p: &mut Part) {
    let (site, ops, size) = (p.guilty(BOX), p.ops, p.size);
    p.each_step(move |w| {
        let n = happen(w, ops);
        w.leak(site, n, size);
    });
}

pub fn linear_large_blocks(p: &mut Part) {
    let (site, ops) = (p.guilty(PUSH), p.ops);
    p.each_step(move |w| {
        let n = happen(w, ops);
        w.leak(site, n, 65_536);
    });
}

pub fn linear_mixed_sizes(p: &mut Part) {
    let (site, ops) = (p.guilty(TEXT), p.ops / 4.0);
    p.each_step(move |w| {
        for size in [24, 150, 700, 5000] {
            let n = happen(w, ops);
            w.leak(site, n, size);
        }
    });
}

pub fn batches(p: &mut Part, period: f64) {
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

pub fn batches_short(p: &mut Part) {
    let period = p.world.random.between(0.7, 2.5) * p.world.plan.every_ms as f64 / 1000.0;
    batches(p, period);
}

pub fn batches_long(p: &mut Part) {
    let period = p.moment(1.0 / 16.0, 1.0 / 10.0);
    batches(p, period);
}

/// 32 bytes every 10,000 operations; the rest is freed at once.
pub fn one_in_ten_thousand(p: &mut Part) {
    let (site, leaks) = (p.guilty(BOX), p.ops / 10.0);
    p.each_step(move |w| {
        let n = happen(w, leaks * 10_000.0);
        w.churn(site, n, 32);
        let n = w.random.binomial(n, 1e-4);
        w.leak(site, n, 32);
    });
}

pub fn after_plateau(p: &mut Part) {
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

pub fn every_third_round(p: &mut Part) {
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

pub fn accelerating(p: &mut Part) {
    let (site, ops, size) = (p.guilty(PUSH), p.ops, p.size);
    p.each_step(move |w| {
        let now = 2.0 * w.now / w.length();
        let n = happen(w, ops * now);
        w.leak(site, n, size);
    });
}

/// A bump arena takes a new chunk when the last one is full.
pub fn arena_never_reset(p: &mut Part) {
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

pub fn two_sites(p: &mut Part) {
    linear(p);
    partial_free_60(p);
}

/// The load stops for a while in the middle.
pub fn load_pauses(p: &mut Part) {
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

pub fn bursty(p: &mut Part) {
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

pub fn seasonal(p: &mut Part) {
    let (site, ops, size) = (p.guilty(BOX), p.ops, p.size);
    let (period, phase) = (p.moment(0.08, 0.3), p.world.random.unit());
    p.each_step(move |w| {
        let season = 1.0 + 0.8 * (std::f64::consts::TAU * (w.now / period + phase)).sin();
        let n = happen(w, ops * season);
        w.churn(site, 3 * n, size);
        w.leak(site, n, size);
    });
}

pub fn among_seven_clean_threads(p: &mut Part) {
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

/// The rate falls to a third over the run.
pub fn decelerating(p: &mut Part) {
    let (site, ops, size) = (p.guilty(PUSH), p.ops, p.size);
    p.each_step(move |w| {
        let now = ops * (1.0 - 2.0 / 3.0 * w.now / w.length());
        let n = happen(w, now);
        w.leak(site, n, size);
    });
}

/// Each failure leaves a few blocks of unlike sizes behind.
pub fn groups(p: &mut Part) {
    let (site, ops) = (p.guilty(BOX), p.ops / 5.0);
    p.each_step(move |w| {
        for _ in 0..happen(w, ops) {
            for size in [48, 512, 24, 2048] {
                w.leak(site, 1, size);
            }
        }
    });
}

/// Some large blocks are there from the start, among them the leak.
pub fn beside_large_blocks(p: &mut Part) {
    let (site, ops, size) = (p.guilty(PUSH), p.ops, p.size);
    let mut ready = false;
    p.each_step(move |w| {
        if !std::mem::replace(&mut ready, true) {
            w.leak(site, 20, 1 << 20);
        }
        let n = happen(w, ops);
        w.leak(site, n, size);
    });
}
