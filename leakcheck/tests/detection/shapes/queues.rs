//! First in, first out: drained too slowly, or worked off.

use super::{BOX, Part, happen};
use crate::world::{Block, Place};
use std::collections::VecDeque;

/// Oldest out first, but fewer out than in.
pub fn queue(p: &mut Part, site: Place, drained: f64, noise: f64) {
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

pub fn backlog_steady(p: &mut Part) {
    let site = p.guilty(BOX);
    queue(p, site, 0.7, 0.1);
}

pub fn backlog_noisy(p: &mut Part) {
    let (site, drained) = (p.guilty(BOX), p.world.random.between(0.5, 0.8));
    queue(p, site, drained, 0.9);
}

pub fn under_draining_backlog(p: &mut Part) {
    let (site, ops, size) = (p.guilty(BOX), p.ops, p.size);
    drain(p, site);
    p.each_step(move |w| {
        let n = happen(w, ops);
        w.leak(site, n, size);
    });
}

/// A crowd of blocks from the beginning is worked off; new ones are done at once.
pub fn drain(p: &mut Part, site: Place) {
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

pub fn backlog_drains(p: &mut Part) {
    let site = p.site(BOX);
    drain(p, site);
}
