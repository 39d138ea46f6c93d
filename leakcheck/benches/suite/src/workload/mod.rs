//! The workloads, one a file: what a program does whose recording we pay for.

mod call_tree;
mod coroutines;
mod deep;
mod dlopen;
mod grow;
mod http;
mod json;
mod live;
mod parser;
mod path;
mod paths;
mod slots;
mod snapshot;
mod steady;
mod threads;

use crate::child::{Facts, Recording};
use crate::parameters::Parameters;

/// Something to do, in regions that take about the same time each.
pub trait Workload {
    /// Does it once and says how many operations that was.
    ///
    /// # Errors
    ///
    /// When it did not come out as it must.
    fn region(&mut self) -> Result<u64, String>;

    /// What all regions so far have allocated and freed, as far as the workload knows.
    fn account(&self) -> Account {
        Account::default()
    }

    /// What else is to be said of it, after the last region and while the recording runs.
    ///
    /// # Errors
    ///
    /// When it did not come out as it must.
    fn finish(&mut self, _recording: &dyn Recording) -> Result<Facts, String> {
        Ok(Facts::new())
    }
}

/// What a workload knows it has allocated and freed since it was prepared. `None` is not known.
#[derive(Debug, Clone, Copy, Default)]
pub struct Account {
    /// Blocks allocated.
    pub allocated_blocks: Option<u64>,
    /// Bytes allocated.
    pub allocated_bytes: Option<u64>,
    /// Blocks freed.
    pub freed_blocks: Option<u64>,
    /// Bytes freed.
    pub freed_bytes: Option<u64>,
    /// Whether a region frees all that it allocates.
    pub balanced: bool,
    /// Blocks that may come on top: what the standard library does in between.
    pub slack_blocks: u64,
    /// Bytes that may come on top.
    pub slack_bytes: u64,
}

impl Account {
    /// The sum of two that go on side by side.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let sum = |one: Option<u64>, two: Option<u64>| Some(one? + two?);
        Self {
            allocated_blocks: sum(self.allocated_blocks, other.allocated_blocks),
            allocated_bytes: sum(self.allocated_bytes, other.allocated_bytes),
            freed_blocks: sum(self.freed_blocks, other.freed_blocks),
            freed_bytes: sum(self.freed_bytes, other.freed_bytes),
            balanced: self.balanced && other.balanced,
            slack_blocks: self.slack_blocks + other.slack_blocks,
            slack_bytes: self.slack_bytes + other.slack_bytes,
        }
    }

    /// What was added since `earlier`.
    #[must_use]
    pub fn since(self, earlier: &Self) -> Self {
        let less = |now: Option<u64>, then: Option<u64>| Some(now? - then?);
        Self {
            allocated_blocks: less(self.allocated_blocks, earlier.allocated_blocks),
            allocated_bytes: less(self.allocated_bytes, earlier.allocated_bytes),
            freed_blocks: less(self.freed_blocks, earlier.freed_blocks),
            freed_bytes: less(self.freed_bytes, earlier.freed_bytes),
            ..self
        }
    }
}

/// The workload of this name, ready to run.
///
/// # Errors
///
/// When there is none, or a parameter is wrong.
pub fn prepare(name: &str, parameters: &Parameters) -> Result<Box<dyn Workload>, String> {
    Ok(match name {
        "coroutines" => Box::new(coroutines::Coroutines::new(parameters)?),
        "deep" => Box::new(deep::Deep::new(parameters)?),
        "dlopen" => Box::new(dlopen::Dlopen::new(parameters)?),
        "grow" => Box::new(grow::Grow::new(parameters)?),
        "http" => Box::new(http::Http::new(parameters)?),
        "json" => Box::new(json::Json::new(parameters)?),
        "live" => Box::new(live::Live::new(parameters)?),
        "load" => Box::new(http::Load::new(parameters)?),
        "parser" => Box::new(parser::Parser::new(parameters)?),
        "path" => Box::new(path::Path::new(parameters)?),
        "paths" => Box::new(paths::Paths::new(parameters)?),
        "snapshot" => Box::new(snapshot::Snapshot::new(parameters)?),
        "steady" => Box::new(steady::Steady::new(parameters)?),
        "threads" => Box::new(threads::Threads::new(parameters)?),
        _ => return Err(format!("there is no workload `{name}`")),
    })
}
