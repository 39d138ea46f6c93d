//! What is there once and stays: warm-up, pools, steps.

use super::{BOX, MAP, PUSH, Part, happen};
use std::collections::VecDeque;

pub fn beside_a_step(p: &mut Part) {
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

pub fn warm_up_flat(p: &mut Part) {
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

/// Objects are handed out again; there are as many as were ever in use at once.
pub fn pool(p: &mut Part) {
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

pub fn steps(p: &mut Part, at: Vec<f64>) {
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

pub fn one_step(p: &mut Part) {
    let at = p.moment(0.3, 0.9);
    steps(p, vec![at]);
}

pub fn two_steps(p: &mut Part) {
    let at = vec![p.moment(0.15, 0.4), p.moment(0.5, 0.85)];
    steps(p, at);
}

/// Indexes built one after the other while it starts.
pub fn steps_early(p: &mut Part) {
    let at = (0..5).map(|_| p.moment(0.0, 0.35)).collect::<Vec<f64>>();
    let mut sorted = at;
    sorted.sort_by(f64::total_cmp);
    steps(p, sorted);
}

/// A few blocks once, each when first needed.
pub fn lazy_statics(p: &mut Part) {
    let (site, mean) = (p.site(BOX), p.moment(0.05, 0.12));
    let mut left: Vec<f64> = (0..12).map(|_| p.world.random.exponential(mean)).collect();
    p.each_step(move |w| {
        let before = left.len();
        left.retain(|at| *at > w.now);
        let (n, size) = ((before - left.len()) as u64, 64 << w.random.below(6));
        w.leak(site, n, size);
    });
}

/// A cache fills while there is load; then there is none, and nothing changes.
pub fn load_ends(p: &mut Part) {
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
pub fn threads_start(p: &mut Part) {
    let site = p.site(BOX);
    let mut at: Vec<f64> = (0..8).map(|_| p.moment(0.0, 0.33)).collect();
    p.each_step(move |w| {
        let before = at.len();
        at.retain(|at| *at > w.now);
        let n = 5 * (before - at.len()) as u64;
        w.leak(site, n, 8192);
    });
}

/// All in the first moments.
pub fn lazy_at_start(p: &mut Part) {
    let (site, n, size) = (p.site(BOX), 1 + p.world.random.below(30) as u64, p.size);
    let mut done = false;
    p.each_step(move |w| {
        if !std::mem::replace(&mut done, true) {
            w.leak(site, n, size);
        }
    });
}

/// Level, then more of everything, then level again.
pub fn two_warm_ups(p: &mut Part) {
    let (site, ops, size) = (p.site(PUSH), p.ops, p.size);
    let (first, second) = (p.moment(0.03, 0.1), p.moment(0.25, 0.45));
    let until = second + p.moment(0.05, 0.15);
    p.each_step(move |w| {
        let n = happen(w, ops);
        if w.now < first || (second..until).contains(&w.now) {
            w.leak(site, n, size);
        } else {
            w.churn(site, n, size);
        }
    });
}
