//! Many live blocks: a large collection is filled, and then entries are taken out and others put in.
//!
//! Parameters: `kind` (`map`: a hash map of boxed bytes; `tree`: a B-tree of strings; `blocks`: a vector of boxed bytes
//! of one `size`, which never change), `entries`, `churn` operations a region.

use super::{Account, Workload};
use crate::chance::Chance;
use crate::child::{Facts, Recording};
use crate::parameters::Parameters;
use crate::resident;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::hint::black_box;

pub(super) struct Live {
    entries: Entries,
    /// Number of the oldest entry, and of the next to come.
    numbers: std::ops::Range<u64>,
    churn: u64,
    chance: Chance,
    /// Resident bytes that filling it took.
    filled_bytes: u64,
    allocated_bytes: u64,
    freed_bytes: u64,
    churned: u64,
}

enum Entries {
    /// The hasher has fixed keys, so that every run does the same.
    Map(HashMap<u64, Box<[u8]>, BuildHasherDefault<DefaultHasher>>),
    Tree(BTreeMap<u64, String>),
    Blocks(Vec<Box<[u8]>>, usize),
}

impl Live {
    pub(super) fn new(parameters: &Parameters) -> Result<Self, String> {
        let entries = parameters.number("entries", 2_000_000)?;
        let mut live = Self {
            entries: match parameters.text("kind", "map") {
                "map" => {
                    Entries::Map(HashMap::with_capacity_and_hasher(entries as usize, BuildHasherDefault::default()))
                }
                "tree" => Entries::Tree(BTreeMap::new()),
                "blocks" => {
                    let size = parameters.number("size", 64)? as usize;
                    Entries::Blocks(touched_vector(entries as usize), size)
                }
                kind => return Err(format!("kind={kind}: expected map, tree or blocks")),
            },
            numbers: 0..0,
            churn: parameters.scaled("churn", 200_000)?,
            chance: Chance::new(13),
            filled_bytes: 0,
            allocated_bytes: 0,
            freed_bytes: 0,
            churned: 0,
        };
        let before = resident::now_bytes();
        for _ in 0..entries {
            live.insert();
        }
        live.filled_bytes = resident::now_bytes().saturating_sub(before);
        Ok(live)
    }

    fn insert(&mut self) {
        let (number, size) = (self.numbers.end, self.chance.small_size());
        match &mut self.entries {
            Entries::Map(map) => {
                map.insert(number, boxed(size, number));
            }
            Entries::Tree(tree) => {
                let mut text = String::with_capacity(size);
                text.extend(std::iter::repeat_n('x', size));
                tree.insert(number, text);
            }
            Entries::Blocks(blocks, size) => blocks.push(boxed(*size, number)),
        }
        self.allocated_bytes += size as u64;
        self.numbers.end += 1;
    }

    /// Takes the oldest entry out.
    fn remove(&mut self) -> Result<(), String> {
        let number = self.numbers.start;
        let freed = match &mut self.entries {
            Entries::Map(map) => map.remove(&number).filter(|block| block[0] == number as u8).map(|block| block.len()),
            Entries::Tree(tree) => tree.remove(&number).map(|text| text.len()),
            Entries::Blocks(..) => None,
        };
        self.freed_bytes += freed.ok_or("an entry is not as it was put in")? as u64;
        self.numbers.start += 1;
        Ok(())
    }
}

fn boxed(size: usize, number: u64) -> Box<[u8]> {
    vec![number as u8; size].into_boxed_slice()
}

/// An empty vector whose memory is resident.
fn touched_vector(capacity: usize) -> Vec<Box<[u8]>> {
    let mut vector: Vec<Box<[u8]>> = Vec::with_capacity(capacity);
    vector.resize_with(capacity, Box::default);
    black_box(&vector);
    vector.clear();
    vector
}

impl Workload for Live {
    fn region(&mut self) -> Result<u64, String> {
        if let Entries::Blocks(blocks, _) = &self.entries {
            return Ok(black_box(blocks).len() as u64);
        }
        for _ in 0..self.churn {
            self.remove()?;
            self.insert();
        }
        self.churned += self.churn;
        Ok(self.churn)
    }

    fn account(&self) -> Account {
        let exact = matches!(self.entries, Entries::Map(_));
        Account {
            allocated_blocks: exact.then_some(self.churned),
            allocated_bytes: exact.then_some(self.allocated_bytes),
            freed_blocks: exact.then_some(self.churned),
            freed_bytes: exact.then_some(self.freed_bytes),
            ..Account::default()
        }
    }

    fn finish(&mut self, _: &dyn Recording) -> Result<Facts, String> {
        let entries = self.numbers.end - self.numbers.start;
        Ok(vec![("resident_bytes_per_entry".into(), self.filled_bytes as f64 / entries as f64)])
    }
}
