//! Bounded behaviour that no rule was tuned on.

use crate::shapes::sessions::{end_some, lifetimes};
use crate::shapes::{BOX, MAP, PUSH, Part, TEXT, happen};
use crate::world::{Block, Place};
use std::collections::VecDeque;

/// A cache where what was hit since the hand last passed stays for another round.
pub fn second_chance(p: &mut Part) {
    let (site, ops, size) = (p.site(MAP), p.ops, p.size);
    let bound = (ops * p.moment(0.03, 0.12)).ceil().max(2.0) as usize;
    let mut ring: VecDeque<(Block, bool)> = VecDeque::new();
    p.each_step(move |w| {
        for _ in 0..happen(w, ops) {
            // Few are hit often.
            if !ring.is_empty() && w.random.chance(0.5) {
                let at = (w.random.unit().powi(3) * (ring.len() - 1) as f64) as usize;
                ring[at].1 = true;
            }
            if ring.len() >= bound {
                while let Some((block, hit)) = ring.pop_front() {
                    if hit {
                        ring.push_back((block, false));
                    } else {
                        w.free(block);
                        break;
                    }
                }
            }
            ring.push_back((w.birth(site, size), false));
        }
    });
}

pub fn timers_long(p: &mut Part) {
    let (site, low, high) = (p.site(BOX), p.moment(0.02, 0.06), p.moment(0.25, 0.35));
    lifetimes(p, site, move |w| w.random.between(low, high));
}

/// Most end at once, each failure doubles the wait.
pub fn retries(p: &mut Part) {
    let (site, first) = (p.site(BOX), p.moment(0.004, 0.01));
    lifetimes(p, site, move |w| {
        let (mut wait, mut sum) = (first, first);
        while w.random.chance(0.35) && sum < first * 31.0 {
            wait *= 2.0;
            sum += wait;
        }
        sum.min(first * 31.0)
    });
}

/// A bucket for each moment, kept for a while.
pub fn rolling_window(p: &mut Part) {
    let (site, ops, size, kept) = (p.site(PUSH), p.ops, p.size, p.moment(0.15, 0.4));
    let every = kept / 40.0;
    let mut next = 0.0;
    let mut buckets: VecDeque<(f64, Vec<Block>)> = VecDeque::new();
    p.each_step(move |w| {
        while next <= w.now {
            next += every;
            let n = w.random.poisson(ops * every);
            buckets.push_back((w.now, (0..n).map(|_| w.birth(site, size)).collect()));
        }
        while buckets.front().is_some_and(|(born, _)| *born + kept < w.now) {
            buckets.pop_front().into_iter().flat_map(|(_, bucket)| bucket).for_each(|block| w.free(block));
        }
    });
}

/// Tables are flushed when full; every few of them are merged into one, a third as large.
pub fn compaction_on(p: &mut Part, site: Place) {
    let (ops, size) = (p.ops, p.size);
    let (full, merge_at) = ((ops * p.moment(0.01, 0.03)).ceil().max(2.0) as usize, 3 + p.world.random.below(3));
    let (mut table, mut flushed): (Vec<Block>, Vec<Block>) = (Vec::new(), Vec::new());
    let mut runs = 0;
    p.each_step(move |w| {
        for _ in 0..happen(w, ops) {
            table.push(w.birth(site, size));
            if table.len() < full {
                continue;
            }
            for block in table.drain(..) {
                if w.random.chance(0.3) {
                    flushed.push(block);
                } else {
                    w.free(block);
                }
            }
            runs += 1;
            if runs % merge_at == 0 {
                flushed.drain(..).for_each(|block| w.free(block));
            }
        }
    });
}

pub fn compaction(p: &mut Part) {
    let site = p.site(PUSH);
    compaction_on(p, site);
}

/// Collected often; what survived two rounds goes at a rarer one.
pub fn promotion(p: &mut Part) {
    let (site, ops, size, period) = (p.site(BOX), p.ops, p.size, p.moment(0.01, 0.03));
    let (mut next, mut round) = (period, 0);
    let (mut young, mut old): (Vec<Block>, Vec<Block>) = (Vec::new(), Vec::new());
    p.each_step(move |w| {
        for _ in 0..happen(w, ops) {
            young.push(w.birth(site, size));
        }
        if w.now >= next {
            next += period;
            round += 1;
            for block in young.drain(..) {
                if w.random.chance(0.15) { old.push(block) } else { w.free(block) }
            }
            if round % 7 == 0 {
                old.drain(..).for_each(|block| w.free(block));
            }
        }
    });
}

/// Grows, is level, grows, is level, grows, is level.
pub fn three_starts(p: &mut Part) {
    let (site, ops, size) = (p.site(PUSH), p.ops, p.size);
    let (one, two, three) = (p.moment(0.03, 0.1), p.moment(0.2, 0.3), p.moment(0.4, 0.5));
    let length = p.moment(0.03, 0.08);
    p.each_step(move |w| {
        let n = happen(w, ops);
        let starts = [0.0, two, three];
        let grows = w.now < one || starts[1..].iter().any(|start| (*start..start + length).contains(&w.now));
        if grows {
            w.leak(site, n, size);
        } else {
            w.churn(site, n, size);
        }
    });
}

/// Each batch is as large as it is, held for a while, and gone.
pub fn batches_on(p: &mut Part, site: Place) {
    let (ops, size, gap) = (p.ops, p.size, p.moment(0.015, 0.05));
    let (mut next, mut batch): (f64, Vec<Block>) = (0.0, Vec::new());
    p.each_step(move |w| {
        if w.now >= next {
            next = w.now + w.random.exponential(gap) + gap / 4.0;
            batch.drain(..).for_each(|block| w.free(block));
            let height = ops * gap * (1.2 * (w.random.unit() + w.random.unit() + w.random.unit() - 1.5)).exp();
            let n = w.random.poisson(height);
            batch.extend((0..n).map(|_| w.birth(site, size)));
        }
    });
}

pub fn batch_heights(p: &mut Part) {
    let site = p.site(PUSH);
    batches_on(p, site);
}

/// Days within weeks.
pub fn weekly(p: &mut Part) {
    let (site, ops, size) = (p.site(BOX), p.ops, p.size);
    let (week, phase, mean) = (p.moment(0.25, 0.5), p.world.random.unit(), p.moment(0.01, 0.03));
    let mut held: Vec<(f64, Block)> = Vec::new();
    p.each_step(move |w| {
        let turn = std::f64::consts::TAU * (w.now / week + phase);
        let load = (1.0 + 0.6 * turn.sin()) * (1.0 + 0.7 * (7.0 * turn).sin());
        for _ in 0..happen(w, ops * load) {
            let until = w.now + w.random.exponential(mean);
            held.push((until, w.birth(site, size)));
        }
        end_some(w, &mut held);
    });
}

/// Few, of very unlike sizes, for unlike times.
pub fn large_strings(p: &mut Part) {
    let (site, ops, mean) = (p.site(TEXT), p.ops / 8.0, p.moment(0.02, 0.08));
    let mut held: Vec<(f64, Block)> = Vec::new();
    p.each_step(move |w| {
        for _ in 0..happen(w, ops) {
            let until = w.now + w.random.exponential(mean);
            let size = w.random.between(8.0, 19.0).exp2() as u64;
            held.push((until, w.birth(site, size)));
        }
        end_some(w, &mut held);
    });
}

pub fn double_buffer(p: &mut Part) {
    let (site, ops, size) = (p.site(PUSH), p.ops, p.size);
    let mut front: Option<Block> = None;
    p.each_step(move |w| {
        if happen(w, ops) > 0 {
            let sizes = w.random.between(1.0, 3.0) * 100.0 * size as f64;
            if let Some(old) = front.replace(w.birth(site, sizes as u64)) {
                w.free(old);
            }
        }
    });
}

/// Each of many buffers keeps the largest capacity it had; requests are seldom large, never huge.
pub fn many_high_waters(p: &mut Part) {
    let (site, ops) = (p.site(PUSH), p.ops * 2.0);
    let mut blocks: Vec<Block> = Vec::new();
    p.each_step(move |w| {
        while blocks.len() < 32 {
            blocks.push(w.birth(site, 128));
        }
        for _ in 0..happen(w, ops) {
            let at = w.random.below(blocks.len());
            let wanted = (128.0 * w.random.unit().powf(-1.2)).min(16_384.0) as u64;
            while blocks[at].size() < wanted {
                let larger = blocks[at].size() * 2;
                w.resize(&mut blocks[at], larger);
            }
        }
    });
}

/// Chunks for as many objects as were ever live at once, of a number that wanders.
pub fn slab_of_a_walk(p: &mut Part) {
    let (site, ops, size) = (p.site(PUSH), p.ops, p.size);
    let (mean, back) = ((ops * p.moment(0.02, 0.05)).max(16.0), p.moment(0.01, 0.03));
    let (mut level, mut chunks) = (0.0_f64, 0_u64);
    p.each_step(move |w| {
        let noise = w.random.between(-1.0, 1.0) * mean * (w.step / back).sqrt() * 0.4;
        level = (level + (mean - level) * (w.step / back).min(1.0) + noise).max(0.0);
        let wanted = (level / mean * 40.0).ceil() as u64;
        if wanted > chunks {
            w.leak(site, wanted - chunks, size * 16);
            chunks = wanted;
        }
    });
}

/// Thirty threads, each with a few blocks of its own; threads end and others begin.
pub fn thread_locals(p: &mut Part) {
    let (site, mean) = (p.site(BOX), p.moment(0.05, 0.15));
    let mut threads: Vec<(f64, Vec<Block>)> = Vec::new();
    p.each_step(move |w| {
        let now = w.now;
        threads.retain_mut(|(until, blocks)| {
            if *until <= now {
                blocks.drain(..).for_each(|block| w.free(block));
            }
            *until > now
        });
        while threads.len() < 30 {
            let until = now + w.random.exponential(mean);
            threads.push((until, (0..4).map(|_| w.birth(site, 2048)).collect()));
        }
    });
}

/// A set of what was seen, cleared whenever it has so many.
pub fn set_cleared(p: &mut Part) {
    let (table, values, ops, size) = (p.site(MAP), p.site(TEXT), p.ops, p.size);
    let full = (ops * p.moment(0.06, 0.3)).ceil().max(4.0) as usize;
    let (mut block, mut held): (Option<Block>, Vec<Block>) = (None, Vec::new());
    p.each_step(move |w| {
        for _ in 0..happen(w, ops) {
            held.push(w.birth(values, size));
        }
        if held.len() >= full {
            held.drain(..).for_each(|block| w.free(block));
            block.take().into_iter().for_each(|block| w.free(block));
        }
        let wanted = held.len().next_power_of_two() as u64 * 17;
        if block.is_none_or(|block| block.size() < wanted) {
            block.replace(w.birth(table, wanted)).into_iter().for_each(|old| w.free(old));
        }
    });
}

/// A map that inserts and removes: its table is built anew now and then, as large as it was, once twice as large.
pub fn tombstones(p: &mut Part) {
    let (site, ops) = (p.site(MAP), p.ops);
    let (grown, between) = (p.moment(0.1, 0.5), ops * p.moment(0.03, 0.1));
    let (mut block, mut since, mut size): (Option<Block>, f64, u64) = (None, 0.0, 4096);
    p.each_step(move |w| {
        since += happen(w, ops) as f64;
        if w.now >= grown {
            size = 8192;
        }
        if block.is_none() || since >= between {
            since = 0.0;
            if let Some(old) = block.replace(w.birth(site, size)) {
                w.free(old);
            }
        }
    });
}

/// Words of unlike frequency, all of them known some day; nine in ten after a third of the run.
pub fn zipf_vocabulary(p: &mut Part) {
    let (site, ops, size) = (p.site(TEXT), p.ops, p.size);
    let mut unknown: Vec<f64> = Vec::new();
    let mean = p.moment(0.03, 0.08);
    let words = (ops * mean * 3.0).ceil() as usize;
    for _ in 0..words {
        // The mean waiting time of a word is spread over a factor of ten.
        let wait = mean * p.world.random.between(0.3, 3.0);
        unknown.push(p.world.random.exponential(wait));
    }
    unknown.sort_by(f64::total_cmp);
    let mut unknown: VecDeque<f64> = unknown.into();
    p.each_step(move |w| {
        let n = happen(w, ops);
        w.churn(site, n, size);
        while unknown.front().is_some_and(|at| *at <= w.now) {
            unknown.pop_front();
            w.leak(site, 1, size);
        }
    });
}

/// The last so many edits, of any size.
pub fn undo_history(p: &mut Part) {
    let (site, ops) = (p.site(PUSH), p.ops);
    let bound = (ops * p.moment(0.15, 0.4)).ceil().max(2.0) as usize;
    let mut held: VecDeque<Block> = VecDeque::new();
    p.each_step(move |w| {
        for _ in 0..happen(w, ops) {
            let size = w.random.between(4.0, 12.0).exp2() as u64;
            held.push_back(w.birth(site, size));
            if held.len() > bound {
                held.pop_front().into_iter().for_each(|block| w.free(block));
            }
        }
    });
}

/// A new bundle at each reload; the old one goes after a while of grace.
pub fn config_reload(p: &mut Part) {
    let (site, ops, size) = (p.site(TEXT), p.ops, p.size);
    let (period, grace) = (p.moment(0.06, 0.15), p.moment(0.01, 0.04));
    let (mut next, mut bundles): (f64, VecDeque<(f64, Vec<Block>)>) = (0.0, VecDeque::new());
    p.each_step(move |w| {
        if w.now >= next {
            next += period * w.random.between(0.7, 1.3);
            if let Some((until, _)) = bundles.back_mut() {
                *until = w.now + grace;
            }
            let n = w.random.poisson(ops * period);
            bundles.push_back((f64::INFINITY, (0..n).map(|_| w.birth(site, size)).collect()));
        }
        while bundles.front().is_some_and(|(until, _)| *until <= w.now) {
            bundles.pop_front().into_iter().flat_map(|(_, blocks)| blocks).for_each(|block| w.free(block));
        }
    });
}

/// A window that is longer where more is asked for.
pub fn prefetch(p: &mut Part) {
    let (site, period, phase) = (p.site(PUSH), p.moment(0.1, 0.3), p.world.random.unit());
    let mean = p.moment(0.01, 0.04);
    lifetimes(p, site, move |w| mean * (1.2 + (std::f64::consts::TAU * (w.now / period + phase)).sin()));
}

/// Some are loaded in the first two thirds, each of a size of its own.
pub fn plugins(p: &mut Part) {
    let (site, ops, size) = (p.site(BOX), p.ops, p.size);
    let mut at: Vec<f64> = (0..3 + p.world.random.below(3)).map(|_| p.moment(0.0, 0.6)).collect();
    p.each_step(move |w| {
        let churned = happen(w, ops);
        w.churn(site, churned, size);
        let before = at.len();
        at.retain(|at| *at > w.now);
        for _ in at.len()..before {
            let n = (ops * w.length() * w.random.between(0.01, 0.2)).ceil() as u64;
            w.leak(site, n, size);
        }
    });
}

/// Connections for bursts; those idle for long are closed.
pub fn pool_reaped(p: &mut Part) {
    let (site, ops, size, idle) = (p.site(BOX), p.ops, p.size, p.moment(0.03, 0.1));
    let mut free: Vec<(f64, Block)> = Vec::new();
    p.each_step(move |w| {
        let wanted = w.random.poisson((ops * w.step).min(200.0)) as usize;
        while free.len() < wanted {
            free.push((w.now, w.birth(site, size)));
        }
        let now = w.now;
        free.iter_mut().take(wanted).for_each(|(used, _)| *used = now);
        free.retain(|(used, block)| {
            if *used + idle < now {
                w.free(*block);
            }
            *used + idle >= now
        });
    });
}

/// Users come until past the middle, then they go.
pub fn crowd(p: &mut Part) {
    let (site, ops, size) = (p.site(BOX), p.ops, p.size);
    let (peak, mean) = (p.moment(0.45, 0.65), p.moment(0.02, 0.05));
    let mut held: Vec<(f64, Block)> = Vec::new();
    p.each_step(move |w| {
        let height = 1.0 - ((w.now - peak) / w.length()).abs() * 1.5;
        for _ in 0..happen(w, ops * height.max(0.05)) {
            let until = w.now + w.random.exponential(mean);
            held.push((until, w.birth(site, size)));
        }
        end_some(w, &mut held);
    });
}

/// For a while lifetimes are ten times as long: something downstream hangs.
pub fn storm(p: &mut Part) {
    let (site, mean) = (p.site(BOX), p.moment(0.005, 0.015));
    let from = p.moment(0.3, 0.6);
    let until = from + p.moment(0.08, 0.15);
    lifetimes(p, site, move |w| {
        let mean = if (from..until).contains(&w.now) { mean * 10.0 } else { mean };
        w.random.exponential(mean)
    });
}
