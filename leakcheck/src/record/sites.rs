//! The shared tables: stack nodes, sites, and cells (a site in one birth generation).
//!
//! A block's tail holds the number of its cell. Everything here only grows, without locks, except that the collector
//! hands out cells again that nothing refers to any more.

use super::arena::{Arena, Zeroed};
use super::counters::CELLS_MAX;
use super::index::{Found, Index};
use super::trial_words;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

/// Distinct sites that are kept apart; later ones are charged to [`NO_STACK`].
pub(super) const SITES_MAX: u32 = 1 << 20;
const NODES_MAX: u32 = super::index::NUMBERS_MAX;
/// Thread names kept per site.
pub(super) const THREADS_PER_SITE: usize = 4;

/// Node 0: no frame, the root of all stacks.
pub(super) const ROOT: u32 = 0;
/// Cell 0 and site 0: blocks without a stack of their own.
pub(super) const NO_STACK: u32 = 0;

/// One frame of a stack, called from `parent`.
pub(super) struct Node {
    parent: AtomicU32,
    address_low: AtomicU32,
    address_high: AtomicU32,
}

/// A stack in a scope.
pub(super) struct Site {
    hash: AtomicU64,
    /// The newest cell: generation in the high half, cell in the low half.
    newest: AtomicU64,
    node: AtomicU32,
    scope: AtomicU32,
    threads: [AtomicU16; THREADS_PER_SITE],
    /// The next older site of the same trial; 0 is none.
    next_of_trial: AtomicU32,
}

/// A site in one birth generation.
pub(super) struct Cell {
    site: AtomicU32,
    generation: AtomicU32,
}

// SAFETY: atomics only, zero is valid, nothing to drop.
unsafe impl Zeroed for Node {}
// SAFETY: as above.
unsafe impl Zeroed for Site {}
// SAFETY: as above.
unsafe impl Zeroed for Cell {}

static NODES: Arena<Node> = Arena::new(NODES_MAX);
static NODE_INDEX: Index = Index::new();
static SITES: Arena<Site> = Arena::new(SITES_MAX);
static SITE_INDEX: Index = Index::new();
static CELLS: Arena<Cell> = Arena::new(CELLS_MAX);
/// Cells to hand out again: a stack linked through `Cell::generation`; high half counts, against ABA.
static FREE_CELLS: AtomicU64 = AtomicU64::new(0);

/// Fills in entry 0 of each table. Called once, before anything is recorded.
pub(super) fn prepare() -> Option<()> {
    if NODES.len() == 0 {
        NODES.push()?;
        SITES.push()?;
        CELLS.push()?;
    }
    Some(())
}

/// The node for `address` called from `parent`.
pub(super) fn node(parent: u32, address: u64) -> Option<u32> {
    let hash = mix(address ^ (u64::from(parent) << 48) ^ u64::from(parent).rotate_left(17));
    let found = NODE_INDEX.find_or_insert(
        hash,
        |number| NODES.get(number).is_some_and(|node| node.is(parent, address)),
        || {
            let (number, node) = NODES.push()?;
            // Relaxed: published by the index.
            node.parent.store(parent, Ordering::Relaxed);
            node.address_low.store(address as u32, Ordering::Relaxed);
            node.address_high.store((address >> 32) as u32, Ordering::Relaxed);
            Some(number)
        },
    );
    match found {
        Found::Old(number) | Found::New(number) => Some(number),
        Found::Full => None,
    }
}

impl Node {
    fn is(&self, parent: u32, address: u64) -> bool {
        // Relaxed: the index's acquire made the contents visible.
        self.parent.load(Ordering::Relaxed) == parent && self.address() == address
    }

    pub(super) fn address(&self) -> u64 {
        u64::from(self.address_low.load(Ordering::Relaxed)) | u64::from(self.address_high.load(Ordering::Relaxed)) << 32
    }

    pub(super) fn parent(&self) -> u32 {
        self.parent.load(Ordering::Relaxed)
    }
}

/// The site of a stack and scope, whose hash is `hash`; `stack` gives the node and is asked only for a new site.
pub(super) fn site(hash: u64, scope: u32, mut stack: impl FnMut() -> Option<u32>) -> Option<u32> {
    let found = SITE_INDEX.find_or_insert(
        hash,
        // Relaxed: the index's acquire made the contents visible.
        |number| SITES.get(number).is_some_and(|site| site.hash.load(Ordering::Relaxed) == hash),
        || {
            let node = stack()?;
            let (number, site) = SITES.push()?;
            // Relaxed: published by the index.
            site.hash.store(hash, Ordering::Relaxed);
            site.node.store(node, Ordering::Relaxed);
            site.scope.store(scope, Ordering::Relaxed);
            Some(number)
        },
    );
    match found {
        Found::Old(number) => Some(number),
        Found::New(number) => {
            if trial_words::is_trial(scope)
                && let Some(site) = SITES.get(number)
            {
                // Relaxed: published by the list.
                trial_words::add_site(scope, number, |next| site.next_of_trial.store(next, Ordering::Relaxed));
            }
            Some(number)
        }
        Found::Full => None,
    }
}

/// The only cell of a trial's site: its scope says in which round blocks were born. `generation` is what it is shown as.
pub(super) fn only_cell(site_number: u32, generation: u32) -> Option<u32> {
    cell_of(site_number).or_else(|| cell(site_number, generation))
}

/// The newest cell of a site.
pub(super) fn cell_of(site_number: u32) -> Option<u32> {
    // Acquire: as in `cell`.
    let newest = SITES.get(site_number)?.newest.load(Ordering::Acquire) as u32;
    (newest != 0).then_some(newest)
}

/// The sites of the trial at a place, newest first.
pub(super) fn sites_of_trial(place: usize) -> impl Iterator<Item = (u32, &'static Site)> {
    let mut next = trial_words::newest_site(place);
    std::iter::from_fn(move || {
        let number = next;
        let site = if number == 0 { None } else { SITES.get(number) }?;
        // Relaxed: written before the site came onto the list.
        next = site.next_of_trial.load(Ordering::Relaxed);
        Some((number, site))
    })
}

/// The cell of `site` in `generation`, or `None` when no more cells can be had.
pub(super) fn cell(site_number: u32, generation: u32) -> Option<u32> {
    let site = SITES.get(site_number)?;
    let mut spare: Option<u32> = None;
    // Acquire: the cell's contents were filled in before it was stored here.
    let mut newest = site.newest.load(Ordering::Acquire);
    loop {
        let (seen_generation, seen_cell) = ((newest >> 32) as u32, newest as u32);
        if seen_cell != 0 && seen_generation >= generation {
            if let Some(spare) = spare {
                give_back(spare);
            }
            return Some(seen_cell);
        }
        let number = match spare {
            Some(number) => number,
            None => new_cell(site_number, generation)?,
        };
        spare = Some(number);
        let fresh = u64::from(generation) << 32 | u64::from(number);
        // Release: publishes the filled-in cell; acquire on failure: another thread's cell is used.
        match site.newest.compare_exchange(newest, fresh, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Some(number),
            Err(other) => newest = other,
        }
    }
}

fn new_cell(site: u32, generation: u32) -> Option<u32> {
    let (number, cell) = match take_free() {
        Some(number) => (number, CELLS.get(number)?),
        None => CELLS.push()?,
    };
    // Relaxed: published by the store into the site.
    cell.site.store(site, Ordering::Relaxed);
    cell.generation.store(generation, Ordering::Relaxed);
    Some(number)
}

/// Makes a cell available again. No block, no site and no thread may refer to it.
pub(super) fn give_back(number: u32) {
    let Some(cell) = CELLS.get(number) else { return };
    cell.site.store(u32::MAX, Ordering::Relaxed);
    // Relaxed: the compare-and-swap below publishes the link.
    let mut head = FREE_CELLS.load(Ordering::Relaxed);
    loop {
        cell.generation.store(head as u32, Ordering::Relaxed);
        let count = (head >> 32).wrapping_add(1);
        let fresh = count << 32 | u64::from(number);
        match FREE_CELLS.compare_exchange_weak(head, fresh, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return,
            Err(other) => head = other,
        }
    }
}

fn take_free() -> Option<u32> {
    // Acquire: pairs with the release in `give_back`, for the link.
    let mut head = FREE_CELLS.load(Ordering::Acquire);
    loop {
        let number = head as u32;
        if number == 0 {
            return None;
        }
        let next = CELLS.get(number)?.generation.load(Ordering::Relaxed);
        let count = (head >> 32).wrapping_add(1);
        let fresh = count << 32 | u64::from(next);
        match FREE_CELLS.compare_exchange_weak(head, fresh, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Some(number),
            Err(other) => head = other,
        }
    }
}

impl Site {
    #[cfg(feature = "groups")]
    /// The hash it was made with, of its stack in its scope.
    pub(super) fn hash(&self) -> u64 {
        self.hash.load(Ordering::Relaxed)
    }

    pub(super) fn node(&self) -> u32 {
        self.node.load(Ordering::Relaxed)
    }

    pub(super) fn scope(&self) -> u32 {
        self.scope.load(Ordering::Relaxed)
    }

    /// Notes that a thread named by `name` (its number plus one) allocated here.
    pub(super) fn note_thread(&self, name: u16) {
        for slot in &self.threads {
            // Relaxed: a statistic.
            match slot.compare_exchange(0, name, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) if other == name => return,
                Err(_) => {}
            }
        }
    }

    pub(super) fn threads(&self) -> impl Iterator<Item = u16> + '_ {
        self.threads.iter().map(|slot| slot.load(Ordering::Relaxed)).filter(|name| *name != 0)
    }
}

impl Cell {
    pub(super) fn site(&self) -> u32 {
        self.site.load(Ordering::Relaxed)
    }

    pub(super) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Relaxed)
    }
}

pub(super) fn node_at(number: u32) -> Option<&'static Node> {
    NODES.get(number)
}

pub(super) fn site_at(number: u32) -> Option<&'static Site> {
    SITES.get(number)
}

pub(super) fn sites_len() -> u32 {
    SITES.len()
}

pub(super) fn cell_at(number: u32) -> Option<&'static Cell> {
    CELLS.get(number)
}

pub(super) fn cells_len() -> u32 {
    CELLS.len()
}

/// Bytes of all tables here.
pub(super) fn bytes() -> usize {
    NODES.bytes() + SITES.bytes() + CELLS.bytes() + NODE_INDEX.bytes() + SITE_INDEX.bytes()
}

/// MurmurHash3's 64-bit finaliser (Appleby).
pub(super) const fn mix(mut x: u64) -> u64 {
    x ^= x >> 33;
    x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^= x >> 33;
    x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}
