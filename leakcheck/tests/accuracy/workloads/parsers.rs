//! Recursive parsers of other people, checked where they allocate and where they call back.

use crate::checking::{Found, check_here, with_checked_allocations};
use crate::unwind_support::Random;
use serde_json::Value;
use std::hint::black_box;

/// A document of random shape.
fn document(random: &mut Random, depth: u32) -> Value {
    match random.below(if depth == 0 { 3 } else { 5 }) {
        0 => Value::from(random.below(1 << 40)),
        1 => Value::from(format!("text {} \"quoted\"\n", random.below(1000))),
        2 => Value::Null,
        3 => (0..random.below(6)).map(|_| document(random, depth - 1)).collect(),
        _ => (0..random.below(6)).map(|n| (format!("key {n}"), document(random, depth - 1))).collect(),
    }
}

/// Reads, compares and writes random documents.
pub(crate) fn json(effort: u32) -> Found {
    let mut random = Random::new(3);
    let texts: Vec<String> =
        (0..4).map(|_| Value::Array((0..20).map(|_| document(&mut random, 6)).collect()).to_string()).collect();
    with_checked_allocations(7, || {
        for _ in 0..effort {
            for text in &texts {
                let value: Value = serde_json::from_str(text).expect("written by the same crate");
                let pretty = serde_json::to_string_pretty(&value).expect("a value can be written");
                assert_eq!(serde_json::from_str::<Value>(&pretty).expect("as above"), value);
                check_here();
            }
        }
    })
}

/// Parses this package's own source.
pub(crate) fn syn(effort: u32) -> Found {
    const SOURCES: [&str; 3] =
        [include_str!("parsers.rs"), include_str!("checking.rs"), include_str!("../../unwind_support/mod.rs")];
    with_checked_allocations(if effort == 1 { 67 } else { 23 }, || {
        for source in SOURCES {
            let file = syn::parse_file(source).expect("this compiles");
            black_box(file);
        }
    })
}
