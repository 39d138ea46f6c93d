//! Few or many blocks that grow in place, and those that keep what they have grown to.

use super::{PUSH, Part, RING, TEXT, happen};
use crate::world::{Block, Place, World};
use leakcheck::analysis::Cause;

/// One block that is resized by a factor when full.
pub fn grows_by(p: &mut Part, factor: f64) {
    let (site, ops, size) = (p.guilty(PUSH), p.ops, p.size as f64);
    p.because(&[Cause::GrowingBuffer]);
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

pub fn vec_doubles(p: &mut Part) {
    grows_by(p, 2.0);
}

pub fn vec_grows_by_half(p: &mut Part) {
    grows_by(p, 1.5);
}

/// Resized for each line.
pub fn log_appends(p: &mut Part) {
    let (site, ops, size) = (p.guilty(TEXT), p.ops, p.size);
    p.because(&[Cause::GrowingBuffer]);
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
pub fn many_buffers_grow(p: &mut Part) {
    forty_buffers(p, |w, _, block, larger| w.resize(block, larger));
}

/// Forty buffers, one of which `grow` makes larger at each operation.
fn forty_buffers(p: &mut Part, grow: impl Fn(&mut World, Place, &mut Block, u64) + 'static) {
    let (site, ops, size) = (p.guilty(TEXT), p.ops, p.size);
    p.because(&[Cause::GrowingBuffer, Cause::RetainedCapacity]);
    let mut blocks: Vec<Block> = Vec::new();
    p.each_step(move |w| {
        while blocks.len() < 40 {
            blocks.push(w.birth(site, 256));
        }
        for _ in 0..happen(w, ops) {
            let at = w.random.below(blocks.len());
            let larger = blocks[at].size() + size;
            grow(w, site, &mut blocks[at], larger);
        }
    });
}

/// Vectors are filled, emptied and kept with their capacity, more of them all the time.
pub fn retained_capacity(p: &mut Part) {
    let (site, ops) = (p.guilty(PUSH), p.ops / 2.0);
    p.because(&[Cause::GrowingCollection, Cause::RetainedCapacity]);
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

/// Vectors that are cleared and filled again, to random lengths: each keeps the largest capacity it had.
pub fn vec_keeps_capacity(p: &mut Part) {
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

pub fn vec_fills_once(p: &mut Part) {
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

/// A buffer grows to its limit, is written out and shrunk.
pub fn buffer_flushed(p: &mut Part) {
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

/// Chunks of an arena, each twice as large as the one before, all kept.
pub fn chunks_double(p: &mut Part) {
    let (site, ops, size) = (p.guilty(PUSH), p.ops, p.size);
    let (mut room, mut next) = (0, size * 4);
    p.each_step(move |w| {
        let mut wanted = happen(w, ops) * size;
        while wanted > room {
            wanted -= room;
            room = next;
            w.birth(site, next);
            next *= 2;
        }
        room -= wanted;
    });
}

/// As many blocks as in the beginning; each is replaced by a larger one now and then.
pub fn replaced_by_larger(p: &mut Part) {
    forty_buffers(p, |w, site, block, larger| {
        let larger = w.birth(site, larger);
        w.free(std::mem::replace(block, larger));
    });
}

/// A ring that holds what is waiting, and more is waiting all the time.
pub fn ring_of_a_backlog(p: &mut Part) {
    let (site, ops, size) = (p.guilty(RING), p.ops, p.size as f64);
    let (mut block, mut waiting) = (None, 0.0_f64);
    p.each_step(move |w| {
        let (come, gone) = (happen(w, ops) as f64, happen(w, ops * 0.7) as f64);
        waiting = (waiting + come - gone).max(0.0);
        let block = block.get_or_insert_with(|| w.birth(site, 4 * size as u64));
        while waiting * size > block.size() as f64 {
            let larger = block.size() * 2;
            w.resize(block, larger);
        }
    });
}

/// One buffer as large as the largest message so far; messages are of any size, large ones rare.
pub fn high_water(p: &mut Part) {
    let (site, ops, size) = (p.site(PUSH), p.ops, p.size);
    let mut block = None;
    p.each_step(move |w| {
        let block = block.get_or_insert_with(|| w.birth(site, 64));
        for _ in 0..happen(w, ops) {
            let wanted = (w.random.exponential(4.0) * size as f64) as u64;
            while block.size() < wanted {
                let larger = block.size() * 2;
                w.resize(block, larger);
            }
        }
    });
}
