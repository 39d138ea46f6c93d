//! Blocks with lifetimes of their own.

use super::{BOX, PUSH, Part, TEXT, happen};
use crate::world::{Block, Place, World};
use std::collections::VecDeque;

/// Blocks are freed after a while, but for a share.
pub fn partial_free(p: &mut Part, freed: f64) {
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

pub fn partial_free_60(p: &mut Part) {
    partial_free(p, 0.6);
}

pub fn partial_free_95(p: &mut Part) {
    partial_free(p, 0.95);
}

/// Each session registers two and removes one when it ends.
pub fn listeners(p: &mut Part) {
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

pub fn under_sessions(p: &mut Part) {
    let (site, ops, size) = (p.guilty(BOX), p.ops, p.size);
    let mean = p.moment(0.04, 0.1);
    lifetimes(p, site, move |w| w.random.exponential(mean));
    p.each_step(move |w| {
        let n = happen(w, ops * 0.5);
        w.leak(site, n, size);
    });
}

pub fn end_some(w: &mut World, held: &mut Vec<(f64, Block)>) {
    let now = w.now;
    held.retain(|(until, block)| {
        if *until <= now {
            w.free(*block);
        }
        *until > now
    });
}

pub fn lifetimes(p: &mut Part, site: Place, mut lifetime: impl FnMut(&mut World) -> f64 + 'static) {
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

pub fn sessions(p: &mut Part) {
    let (site, mean) = (p.site(BOX), p.moment(0.02, 0.08));
    lifetimes(p, site, move |w| w.random.exponential(mean));
}

pub fn sessions_long(p: &mut Part) {
    let (site, mean) = (p.site(BOX), p.moment(0.1, 0.2));
    lifetimes(p, site, move |w| w.random.exponential(mean));
}

/// Most end soon, some last for up to a third of the run.
pub fn sessions_heavy_tail(p: &mut Part) {
    let (site, shortest, longest) = (p.site(BOX), p.moment(0.005, 0.02), p.moment(0.2, 0.35));
    lifetimes(p, site, move |w| (shortest * w.random.unit().powf(-1.0 / 1.5)).min(longest));
}

pub fn churn(p: &mut Part) {
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

/// Twice as many users from some moment on.
pub fn load_doubles(p: &mut Part) {
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
