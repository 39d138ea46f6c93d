//! Memory that comes and goes: teeth, epochs, seasons, walks.

use super::sessions::end_some;
use super::{BOX, PUSH, Part, happen};
use crate::world::{Block, Place};
use std::collections::VecDeque;

/// Fills to about 50 MB and lets all go.
pub fn sawtooth(p: &mut Part, site: Place, period: f64) {
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

pub fn under_sawtooth(p: &mut Part, period: f64) {
    let (site, ops, size) = (p.guilty(PUSH), p.ops, p.size);
    sawtooth(p, site, period);
    p.each_step(move |w| {
        let n = happen(w, ops);
        w.leak(site, n, size);
    });
}

pub fn under_sawtooth_short(p: &mut Part) {
    let period = p.moment(0.04, 0.1);
    under_sawtooth(p, period);
}

pub fn under_sawtooth_long(p: &mut Part) {
    let period = p.moment(0.15, 0.3);
    under_sawtooth(p, period);
}

pub fn sawtooth_short(p: &mut Part) {
    let (site, period) = (p.site(PUSH), p.moment(0.03, 0.15));
    sawtooth(p, site, period);
}

pub fn sawtooth_long(p: &mut Part) {
    let (site, period) = (p.site(PUSH), p.moment(0.2, 0.45));
    sawtooth(p, site, period);
}

/// A number of live blocks that wanders around a mean.
pub fn wandering_on(p: &mut Part, site: Place, oldest_first: bool) {
    let (ops, size) = (p.ops, p.size);
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

pub fn random_walk(p: &mut Part) {
    let site = p.site(BOX);
    wandering_on(p, site, true);
}

pub fn random_walk_stack(p: &mut Part) {
    let site = p.site(BOX);
    wandering_on(p, site, false);
}

pub fn seasons_on(p: &mut Part, site: Place, period: f64) {
    let (ops, size) = (p.ops, p.size);
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

pub fn seasonal_short(p: &mut Part) {
    let (site, period) = (p.site(BOX), p.moment(0.08, 0.3));
    seasons_on(p, site, period);
}

pub fn seasonal_long(p: &mut Part) {
    let (site, period) = (p.site(BOX), p.moment(0.4, 1.0));
    seasons_on(p, site, period);
}

/// A bump arena: chunks are taken for each request and all given back.
pub fn arena_reset(p: &mut Part) {
    let site = p.site("bumpalo::Bump::new_chunk");
    let mean = p.moment(0.01, 0.08);
    arena_on(p, site, mean);
}

pub fn arena_on(p: &mut Part, site: Place, mean: f64) {
    let (ops, size) = (p.ops, p.size);
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
pub fn epochs(p: &mut Part) {
    let site = p.site(BOX);
    epochs_on(p, site);
}

pub fn epochs_on(p: &mut Part, site: Place) {
    let (ops, size) = (p.ops, p.size);
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

/// The last five segments are kept; each is one large block and many small ones.
pub fn log_segments(p: &mut Part) {
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

/// Teeth of a height that is drawn for each.
pub fn teeth_of_any_height(p: &mut Part) {
    let (site, ops, size, period) = (p.site(PUSH), p.ops, p.size, p.moment(0.03, 0.1));
    let (mut next, mut speed, mut held) = (0.0, 1.0, Vec::new());
    p.each_step(move |w| {
        if w.now >= next {
            next = w.now + period * w.random.between(0.5, 1.5);
            speed = w.random.between(0.2, 2.0);
            held.drain(..).for_each(|block| w.free(block));
        }
        for _ in 0..happen(w, ops * speed) {
            held.push(w.birth(site, size));
        }
    });
}

/// Teeth on the slope of larger teeth.
pub fn nested_teeth(p: &mut Part) {
    let (site, ops, size, period) = (p.site(PUSH), p.ops, p.size, p.moment(0.02, 0.04));
    let (mut next, mut turn): (f64, u32) = (0.0, 0);
    let (mut small, mut large): (Vec<Block>, Vec<Block>) = (Vec::new(), Vec::new());
    p.each_step(move |w| {
        if w.now >= next {
            next += period;
            turn += 1;
            small.drain(..).for_each(|block| w.free(block));
            if turn.is_multiple_of(6) {
                large.drain(..).for_each(|block| w.free(block));
            }
        }
        for _ in 0..happen(w, ops) {
            let block = w.birth(site, size);
            if w.random.chance(0.3) { large.push(block) } else { small.push(block) }
        }
    });
}

/// Load rises for the first half and is level then.
pub fn ramp_then_level(p: &mut Part) {
    let (site, ops, size) = (p.site(BOX), p.ops, p.size);
    let (ramp, mean) = (p.moment(0.3, 0.55), p.moment(0.01, 0.05));
    let mut held: Vec<(f64, Block)> = Vec::new();
    p.each_step(move |w| {
        for _ in 0..happen(w, ops * (w.now / ramp).min(1.0)) {
            let until = w.now + w.random.exponential(mean);
            held.push((until, w.birth(site, size)));
        }
        end_some(w, &mut held);
    });
}
