//! Coroutines on stacks of their own, resumed in turn; each allocates a few frames down, and suspends.
//!
//! Parameters: `coroutines`, `pairs` a region. An operation is a resumption with its pair.

use super::slots::Slots;
use super::{Account, Workload, call_tree};
use crate::chance::mixed;
use crate::parameters::Parameters;
use corosensei::{Coroutine, CoroutineResult};
use std::cell::RefCell;
use std::rc::Rc;

/// Gets a way down the call tree, or `None` to return.
type Worker = Coroutine<Option<u64>, (), ()>;

pub(super) struct Coroutines {
    workers: Vec<Worker>,
    slots: Rc<RefCell<Slots>>,
    pairs: u64,
}

impl Coroutines {
    pub(super) fn new(parameters: &Parameters) -> Result<Self, String> {
        let slots = Rc::new(RefCell::new(Slots::new(1024)));
        let worker = |_| {
            let slots = Rc::clone(&slots);
            Coroutine::new(move |suspender, first: Option<u64>| {
                let mut next = first;
                while let Some(way) = next {
                    call_tree::descend(way, 6, &mut || slots.borrow_mut().replace_at(way));
                    next = suspender.suspend(());
                }
            })
        };
        let workers = (0..parameters.number("coroutines", 64)?).map(worker).collect();
        Ok(Self { workers, slots, pairs: parameters.scaled("pairs", 100_000)? })
    }
}

impl Workload for Coroutines {
    fn region(&mut self) -> Result<u64, String> {
        let len = self.workers.len() as u64;
        for pair in 0..self.pairs {
            let number = pair % len;
            let worker = &mut self.workers[number as usize];
            if let CoroutineResult::Return(()) = worker.resume(Some(mixed(number))) {
                return Err("a coroutine ended".into());
            }
        }
        Ok(self.pairs)
    }

    fn account(&self) -> Account {
        self.slots.borrow().account()
    }
}

impl Drop for Coroutines {
    fn drop(&mut self) {
        for worker in self.workers.iter_mut().filter(|worker| worker.started()) {
            worker.resume(None);
        }
    }
}
