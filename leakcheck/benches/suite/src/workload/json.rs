//! A large JSON document is read into a tree of values, and the tree is dropped.
//!
//! Parameters: `bytes` of the document, which is made up from a fixed seed. An operation is a byte of it.

use super::{Account, Workload};
use crate::chance::Chance;
use crate::parameters::Parameters;
use serde_json::Value;
use std::fmt::Write;

pub(super) struct Json {
    document: String,
    records: usize,
}

impl Json {
    pub(super) fn new(parameters: &Parameters) -> Result<Self, String> {
        let bytes = parameters.scaled("bytes", 20_000_000)? as usize;
        let (document, records) = made_up(bytes);
        Ok(Self { document, records })
    }
}

impl Workload for Json {
    fn region(&mut self) -> Result<u64, String> {
        let value: Value = serde_json::from_str(&self.document).map_err(|why| why.to_string())?;
        let records = value.as_array().map_or(0, Vec::len);
        if records != self.records {
            return Err(format!("read {records} records of {}", self.records));
        }
        Ok(self.document.len() as u64)
    }

    fn account(&self) -> Account {
        Account { balanced: true, ..Account::default() }
    }
}

/// A document of records, at least `bytes` long, and the number of records.
fn made_up(bytes: usize) -> (String, usize) {
    let mut chance = Chance::new(17);
    let mut document = String::with_capacity(bytes + 4096);
    document.push('[');
    let mut records = 0;
    while document.len() < bytes {
        if records > 0 {
            document.push(',');
        }
        add_record(&mut document, &mut chance, records);
        records += 1;
    }
    document.push(']');
    (document, records)
}

fn add_record(document: &mut String, chance: &mut Chance, number: usize) {
    let (amount, rate) = (chance.below(1_000_000), chance.below(1000));
    document.push_str("{\"id\":");
    let number = number as u64;
    // Writing to a string cannot fail.
    let _ =
        write!(document, "{number},\"amount\":{amount},\"rate\":{rate}.{},\"active\":{}", amount % 97, rate % 2 == 0);
    document.push_str(",\"name\":\"");
    add_words(document, chance, 2);
    document.push_str("\",\"address\":{\"street\":\"");
    add_words(document, chance, 3);
    let _ = write!(document, "\",\"number\":{},\"city\":\"", rate);
    add_words(document, chance, 1);
    document.push_str("\",\"geo\":{\"lat\":52.5,\"lon\":13.4}},\"tags\":[");
    for tag in 0..chance.below(6) {
        document.push_str(if tag > 0 { ",\"" } else { "\"" });
        add_words(document, chance, 1);
        document.push('"');
    }
    document.push_str("],\"note\":");
    if amount % 3 == 0 {
        document.push_str("null}");
    } else {
        document.push('"');
        let words = 3 + chance.below(12);
        add_words(document, chance, words);
        document.push_str("\\n\"}");
    }
}

fn add_words(document: &mut String, chance: &mut Chance, words: u64) {
    const SYLLABLES: [&str; 16] =
        ["ka", "lo", "mi", "ter", "an", "so", "ra", "vel", "du", "pi", "not", "es", "gar", "um", "fi", "hol"];
    for word in 0..words {
        if word > 0 {
            document.push(' ');
        }
        for _ in 0..2 + chance.below(3) {
            document.push_str(SYLLABLES[chance.below(16) as usize]);
        }
    }
}
