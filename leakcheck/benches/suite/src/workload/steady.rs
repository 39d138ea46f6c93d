//! A program that is there to be watched: thousands of mappings, and a little work at a steady pace.
//!
//! Parameters: `mappings` of two pages each, touched, every other one not writable so that the kernel keeps them apart;
//! `turns` of work a region; `pace_us` from one turn to the next; `sites` that allocate. A turn maps 16 pages, writes to
//! each and unmaps them, for which it waits whenever somebody reads the mappings of this process, and replaces a block of
//! one of the sites. An operation is a turn; the facts are how long one takes.

use super::{Workload, call_tree};
use crate::chance::mixed;
use crate::child::{Facts, Recording};
use crate::parameters::Parameters;
use std::ptr;
use std::thread;
use std::time::{Duration, Instant};

const PAGE: usize = 4096;
/// Pages that a turn maps.
const PAGES: usize = 16;
/// Blocks that are live.
const BLOCKS: usize = 1000;

pub(super) struct Steady {
    turns: u64,
    pace: Duration,
    sites: u64,
    blocks: Vec<Vec<u8>>,
    done: u64,
    regions: usize,
    took_ns: Vec<u64>,
    /// Turns of regions before the last one that ended as warm-up.
    warm_up: usize,
}

impl Steady {
    pub(super) fn new(parameters: &Parameters) -> Result<Self, String> {
        for number in 0..parameters.number("mappings", 10_000)? {
            keep_mapped(number % 2 == 0)?;
        }
        Ok(Self {
            turns: parameters.scaled("turns", 1000)?,
            pace: Duration::from_micros(parameters.number("pace_us", 1000)?),
            sites: parameters.number("sites", 200)?.max(1),
            blocks: vec![Vec::new(); BLOCKS],
            done: 0,
            regions: 0,
            took_ns: Vec::new(),
            warm_up: parameters.number("warmups", 1)? as usize,
        })
    }

    fn turn(&mut self) -> Result<(), String> {
        let memory = map(PAGES * PAGE, libc::PROT_READ | libc::PROT_WRITE)?;
        for page in 0..PAGES {
            // SAFETY: the mapping is ours, writable, and has so many pages.
            unsafe { memory.add(page * PAGE).write_volatile(1) };
        }
        // SAFETY: it was mapped above with this length, and nothing points into it any more.
        unsafe { libc::munmap(memory.cast(), PAGES * PAGE) };
        self.done += 1;
        let place = (self.done % BLOCKS as u64) as usize;
        let block = &mut self.blocks[place];
        call_tree::descend(mixed(self.done % self.sites), 8, &mut || *block = vec![1; 64]);
        Ok(())
    }
}

impl Workload for Steady {
    fn region(&mut self) -> Result<u64, String> {
        let began = Instant::now();
        let measured = self.regions >= self.warm_up;
        for turn in 0..self.turns {
            thread::sleep((self.pace * turn as u32).saturating_sub(began.elapsed()));
            let now = Instant::now();
            self.turn()?;
            if measured {
                self.took_ns.push(now.elapsed().as_nanos() as u64);
            }
        }
        self.regions += 1;
        Ok(self.turns)
    }

    fn finish(&mut self, _: &dyn Recording) -> Result<Facts, String> {
        self.took_ns.sort_unstable();
        let at = |part: f64| {
            let place = ((self.took_ns.len() as f64 * part) as usize).min(self.took_ns.len().saturating_sub(1));
            self.took_ns.get(place).copied().unwrap_or(0) as f64 / 1000.0
        };
        Ok(vec![("p50_us".into(), at(0.5)), ("p99_us".into(), at(0.99)), ("longest_us".into(), at(1.0))])
    }
}

/// Maps two pages for good and touches them.
fn keep_mapped(writable: bool) -> Result<(), String> {
    let memory = map(2 * PAGE, if writable { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ })?;
    for page in 0..2 {
        // SAFETY: the mapping is ours and has two pages, which are readable, and writable where they are written to.
        unsafe {
            let byte = memory.add(page * PAGE);
            if writable { byte.write_volatile(1) } else { _ = byte.read_volatile() }
        }
    }
    Ok(())
}

fn map(bytes: usize, protection: libc::c_int) -> Result<*mut u8, String> {
    // SAFETY: a new mapping at a place that the kernel chooses touches nothing that is there.
    let memory =
        unsafe { libc::mmap(ptr::null_mut(), bytes, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
    if memory == libc::MAP_FAILED {
        return Err(format!("failed to map memory: {}", std::io::Error::last_os_error()));
    }
    Ok(memory.cast())
}
