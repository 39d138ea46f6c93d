//! Large blocks: a vector that grows, and zeroed vectors of which little is touched.
//!
//! Parameters: `kind` (`push`: a vector is pushed to `bytes`, an operation is a push; `zeroed`: vectors of 64 MiB are
//! made, touched once in a mebibyte and dropped, an operation is such a vector). A recorder that asks for fresh memory
//! in place of zeroed has all of it resident: with `check=yes` that is an error.

use super::{Account, Workload};
use crate::child::{Facts, Recording};
use crate::parameters::Parameters;
use crate::resident;
use std::hint::black_box;

const ZEROED_BYTES: usize = 64 << 20;
const TOUCHED_EVERY: usize = 1 << 20;
/// What a zeroed vector may have resident, a few pages each touch.
const RESIDENT_BYTES_MAX: u64 = 4 << 20;

pub(super) struct Grow {
    zeroed: bool,
    operations: u64,
    checked: bool,
    allocated_blocks: u64,
    allocated_bytes: u64,
}

impl Grow {
    pub(super) fn new(parameters: &Parameters) -> Result<Self, String> {
        let zeroed = match parameters.text("kind", "push") {
            "push" => false,
            "zeroed" => true,
            kind => return Err(format!("kind={kind}: expected push or zeroed")),
        };
        let operations =
            if zeroed { parameters.scaled("vectors", 100)? } else { parameters.number("bytes", 256 << 20)? / 8 };
        let checked = parameters.text("check", "no") == "yes";
        Ok(Self { zeroed, operations, checked, allocated_blocks: 0, allocated_bytes: 0 })
    }
}

impl Workload for Grow {
    fn region(&mut self) -> Result<u64, String> {
        if self.zeroed {
            for _ in 0..self.operations {
                black_box(touched());
            }
            self.allocated_blocks += self.operations;
            self.allocated_bytes += self.operations * ZEROED_BYTES as u64;
        } else {
            let mut numbers = Vec::new();
            for number in 0..self.operations {
                numbers.push(number);
            }
            // Each growth adds its bytes to the one block.
            self.allocated_blocks += 1;
            self.allocated_bytes += numbers.capacity() as u64 * 8;
            black_box(&numbers);
        }
        Ok(self.operations)
    }

    fn account(&self) -> Account {
        Account {
            allocated_blocks: Some(self.allocated_blocks),
            allocated_bytes: Some(self.allocated_bytes),
            freed_blocks: Some(self.allocated_blocks),
            freed_bytes: Some(self.allocated_bytes),
            balanced: true,
            ..Account::default()
        }
    }

    fn finish(&mut self, _: &dyn Recording) -> Result<Facts, String> {
        if !self.zeroed {
            return Ok(Facts::new());
        }
        let before = resident::now_bytes();
        let vector = black_box(touched());
        let resident_bytes = resident::now_bytes().saturating_sub(before);
        drop(vector);
        if self.checked && resident_bytes > RESIDENT_BYTES_MAX {
            return Err(format!("a zeroed vector has {resident_bytes} bytes resident that nobody has touched"));
        }
        Ok(vec![("resident_mib_of_64_zeroed".into(), resident_bytes as f64 / f64::from(1 << 20))])
    }
}

/// A zeroed vector, touched here and there.
fn touched() -> Vec<u8> {
    let mut vector = vec![0_u8; ZEROED_BYTES];
    vector.iter_mut().step_by(TOUCHED_EVERY).for_each(|byte| *byte = 1);
    vector
}
