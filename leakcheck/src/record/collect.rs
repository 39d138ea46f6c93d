//! Sums the counters of all threads into sites, and hands out cells again that nothing refers to any more.
//!
//! The program goes on while this reads. Frees are summed before allocations: a free that was seen implies that its
//! allocation is seen too, so no site ever shows more freed than allocated.

use super::counters::{CHUNK_RECORDS, Counters as Records, Record};
use super::sites::{self, NO_STACK};
use super::thread::{self, SHARED_COUNTERS, ThreadState};
use super::weight::BLOCK_UNITS;
use super::{hook, trial_words};
use crate::model::{Amount, Counters, SizeSummary, Survivors};
use std::sync::atomic::Ordering;

/// The counts of one site at one moment.
#[derive(Debug, Clone)]
pub(super) struct CollectedSite {
    pub(super) number: u32,
    pub(super) counters: Counters,
    pub(super) size: Option<SizeSummary>,
    pub(super) survivors: Vec<Survivors>,
}

/// Counts in the recorder's units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    allocated_units: u64,
    allocated_bytes: u64,
    freed_units: u64,
    freed_bytes: u64,
    resized: u64,
    sizes: Option<SizeSummary>,
}

impl Sum {
    fn add(&mut self, other: &Self) {
        self.allocated_units = self.allocated_units.wrapping_add(other.allocated_units);
        self.allocated_bytes = self.allocated_bytes.wrapping_add(other.allocated_bytes);
        self.freed_units = self.freed_units.wrapping_add(other.freed_units);
        self.freed_bytes = self.freed_bytes.wrapping_add(other.freed_bytes);
        self.resized += other.resized;
        self.add_sizes(other.sizes);
    }

    fn add_sizes(&mut self, other: Option<SizeSummary>) {
        self.sizes = match (self.sizes, other) {
            (Some(a), Some(b)) => {
                Some(SizeSummary { smallest: a.smallest.min(b.smallest), largest: a.largest.max(b.largest) })
            }
            (one, None) | (None, one) => one,
        };
    }

    const fn is_even(&self) -> bool {
        self.allocated_units == self.freed_units && self.allocated_bytes == self.freed_bytes
    }

    fn counters(&self) -> Counters {
        Counters {
            allocated: Amount::new(blocks(self.allocated_units), self.allocated_bytes),
            freed: Amount::new(blocks(self.freed_units), self.freed_bytes),
            resized: self.resized,
        }
    }
}

const fn blocks(units: u64) -> u64 {
    (units + BLOCK_UNITS / 2) / BLOCK_UNITS
}

/// Sums, and what it must remember between times.
#[derive(Debug, Default)]
pub(super) struct Collector {
    /// Counts of cells that were handed out again, by site.
    retired: Vec<Sum>,
    /// Cells that were even last time, with their counts then.
    even: Vec<(u32, Sum)>,
}

impl Collector {
    /// The counts of all sites now. `generation` is the current one; cells of older ones may be handed out again.
    pub(super) fn collect(&mut self, generation: u32) -> Vec<CollectedSite> {
        let cells = sites::cells_len();
        let mut sums = sum_cells(cells);
        self.reuse_cells(&mut sums, generation);
        self.by_site(&sums)
    }

    fn by_site(&self, sums: &[Sum]) -> Vec<CollectedSite> {
        let sites_len = sites::sites_len() as usize;
        let mut totals: Vec<Sum> = self.retired.clone();
        totals.resize(sites_len, Sum::default());
        let mut survivors: Vec<Vec<Survivors>> = vec![Vec::new(); sites_len];
        for (number, sum) in sums.iter().enumerate() {
            let Some(cell) = sites::cell_at(number as u32) else { continue };
            let site = cell.site() as usize;
            let Some(total) = totals.get_mut(site) else { continue };
            total.add(sum);
            let live = sum.counters().live();
            if number as u32 != NO_STACK && !live.is_zero() {
                let one = Survivors { generation: cell.generation(), blocks: live.blocks, bytes: live.bytes };
                survivors[site].push(one);
            }
        }
        let numbered = totals.into_iter().zip(survivors).enumerate();
        let counted = numbered.filter(|(_, (total, _))| total.allocated_units != 0 || total.allocated_bytes != 0);
        counted
            .map(|(number, (total, mut survivors))| {
                survivors.sort_by_key(|one| one.generation);
                CollectedSite { number: number as u32, counters: total.counters(), size: total.sizes, survivors }
            })
            .collect()
    }

    /// Hands out cells again whose blocks are all freed. A cell qualifies when it was even at the previous collection
    /// too, belongs to an older generation, and every thread was seen outside the hook since the generation changed: no
    /// thread can still be about to count for it.
    fn reuse_cells(&mut self, sums: &mut [Sum], generation: u32) {
        let is_candidate = |number: usize, sum: &Sum| {
            let Some(cell) = sites::cell_at(number as u32) else { return false };
            let in_use = number as u32 != NO_STACK && cell.site() != u32::MAX && cell.generation() < generation;
            // A trial's cells are looked at from outside this collector.
            in_use && sum.is_even() && !trial_words::is_trial(hook::scope_of(number as u32))
        };
        let candidates: Vec<(u32, Sum)> = sums
            .iter()
            .enumerate()
            .filter(|(number, sum)| is_candidate(*number, sum))
            .map(|(number, sum)| (number as u32, *sum))
            .collect();
        let earlier = std::mem::replace(&mut self.even, candidates);
        if earlier.is_empty() || !all_threads_seen_idle() {
            return;
        }
        let mut kept = Vec::new();
        let mut earlier = earlier.into_iter().peekable();
        for (number, sum) in std::mem::take(&mut self.even) {
            while earlier.next_if(|(other, _)| *other < number).is_some() {}
            let unchanged = earlier.next_if(|(other, _)| *other == number).is_some_and(|(_, before)| before == sum);
            if unchanged {
                self.retire(number, &sum);
                sums[number as usize] = Sum::default();
            } else {
                kept.push((number, sum));
            }
        }
        self.even = kept;
    }

    fn retire(&mut self, number: u32, sum: &Sum) {
        let Some(cell) = sites::cell_at(number) else { return };
        let site = cell.site() as usize;
        if self.retired.len() <= site {
            self.retired.resize(site + 1, Sum::default());
        }
        self.retired[site].add(sum);
        for records in all_records() {
            let chunk = number as usize / CHUNK_RECORDS;
            if let Some((first, records)) = records.chunk(chunk)
                && let Some(record) = records.get((number - first) as usize)
            {
                record.clear();
            }
        }
        sites::give_back(number);
    }

    /// Bytes the collector holds.
    pub(super) fn bytes(&self) -> usize {
        self.retired.capacity() * size_of::<Sum>() + self.even.capacity() * size_of::<(u32, Sum)>()
    }
}

fn all_records() -> impl Iterator<Item = &'static Records> {
    thread::states().map(|state| &state.counters).chain([&SHARED_COUNTERS])
}

fn sum_cells(cells: u32) -> Vec<Sum> {
    let mut sums = vec![Sum::default(); cells as usize];
    // Acquire on the freed counts: whatever they count was allocated before, and is seen below.
    each_record(&mut sums, add_freed);
    each_record(&mut sums, add_allocated);
    sums
}

fn add_freed(sum: &mut Sum, record: &Record) {
    sum.freed_units = sum.freed_units.wrapping_add(record.freed_units.load(Ordering::Acquire));
    sum.freed_bytes = sum.freed_bytes.wrapping_add(record.freed_bytes.load(Ordering::Acquire));
}

fn add_allocated(sum: &mut Sum, record: &Record) {
    sum.allocated_units = sum.allocated_units.wrapping_add(record.allocated_units.load(Ordering::Relaxed));
    sum.allocated_bytes = sum.allocated_bytes.wrapping_add(record.allocated_bytes.load(Ordering::Relaxed));
    sum.resized += u64::from(record.resized.load(Ordering::Relaxed));
    let size = record.size_range();
    sum.add_sizes(size.map(|(smallest, largest)| SizeSummary { smallest: smallest.into(), largest: largest.into() }));
}

fn each_record(sums: &mut [Sum], mut add: impl FnMut(&mut Sum, &Record)) {
    for records in all_records() {
        for chunk in 0..Records::chunks_for(sums.len() as u32) {
            let Some((first, records)) = records.chunk(chunk) else { continue };
            for (sum, record) in sums[first as usize..].iter_mut().zip(records) {
                add(sum, record);
            }
        }
    }
}

/// The counts of some cells now, none of which is handed out again: those of trials.
pub(super) fn counts_of(cells: &[u32]) -> Vec<(Counters, Option<SizeSummary>)> {
    let mut sums = vec![Sum::default(); cells.len()];
    let mut each = |add: fn(&mut Sum, &Record)| {
        for records in all_records() {
            for (sum, cell) in sums.iter_mut().zip(cells) {
                if let Some(record) = records.existing_record(*cell) {
                    add(sum, record);
                }
            }
        }
    };
    each(add_freed);
    each(add_allocated);
    sums.into_iter().map(|sum| (sum.counters(), sum.sizes)).collect()
}

/// Live blocks of sites outside of all scopes, by site; nothing where there are too many to look at in passing.
pub(super) fn live_outside_scopes() -> Vec<(u32, u64)> {
    const CELLS_LOOKED_AT: u32 = 1 << 18;
    let cells = sites::cells_len();
    if cells > CELLS_LOOKED_AT {
        return Vec::new();
    }
    let mut live: Vec<(u32, u64)> = Vec::new();
    for (number, sum) in sum_cells(cells).iter().enumerate() {
        let Some(cell) = sites::cell_at(number as u32) else { continue };
        let blocks = sum.counters().live().blocks;
        if blocks > 0 && hook::scope_of(number as u32) == 0 {
            live.push((cell.site(), blocks));
        }
    }
    live.sort_unstable();
    live.dedup_by(|next, sum| {
        let same = next.0 == sum.0;
        sum.1 += if same { next.1 } else { 0 };
        same
    });
    live
}

/// Live bytes of all sites, for the timeline.
pub(super) fn live_bytes() -> u64 {
    let chunks = Records::chunks_for(sites::cells_len());
    let total = |field: fn(&Record) -> u64| {
        let mut total = 0_u64;
        for records in all_records() {
            for chunk in 0..chunks {
                let Some((_, records)) = records.chunk(chunk) else { continue };
                total = records.iter().fold(total, |total, record| total.wrapping_add(field(record)));
            }
        }
        total
    };
    // Frees first, as in `sum_cells`. Retired cells are even and add nothing.
    let freed = total(|record| record.freed_bytes.load(Ordering::Acquire));
    let allocated = total(|record| record.allocated_bytes.load(Ordering::Relaxed));
    allocated.saturating_sub(freed)
}

/// Bytes of all counters.
pub(super) fn counter_bytes() -> usize {
    let chunks = Records::chunks_for(sites::cells_len());
    let in_use = |records: &Records| {
        (0..chunks).filter_map(|chunk| records.chunk(chunk)).map(|(_, r)| size_of_val(r)).sum::<usize>()
    };
    all_records().map(in_use).sum()
}

/// Whether every thread was seen outside the hook at some moment after the call began.
fn all_threads_seen_idle() -> bool {
    const LOOKS: usize = 1_000;
    if !membarrier() {
        return false;
    }
    let seen_idle = |state: &ThreadState| {
        (0..LOOKS).any(|_| {
            let idle = state.is_idle();
            if !idle {
                std::thread::yield_now();
            }
            idle
        })
    };
    thread::states().all(seen_idle)
}

/// Makes every running thread of the process pass a full memory barrier, so that plain stores in the hook are seen in
/// order. False where the kernel (before 4.14) or a sandbox does not offer it; cells are then not handed out again.
fn membarrier() -> bool {
    const PRIVATE_EXPEDITED: libc::c_int = 1 << 3;
    const REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;
    let call = |command: libc::c_int| {
        // SAFETY: membarrier only orders memory accesses.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
    };
    call(PRIVATE_EXPEDITED) || (call(REGISTER_PRIVATE_EXPEDITED) && call(PRIVATE_EXPEDITED))
}
