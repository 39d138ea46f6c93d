//! The recorder in exact mode against a ledger kept beside it: each block's stack by the `backtrace` crate at the same allocation,
//! and per stack the blocks and bytes allocated, freed and resized. All of it must be the same, to the block.
//!
//! Prints `workload`, `stacks` and `mistake` lines as the other program does. `--plant` falsifies one entry of the ledger.

mod ledger;
mod programs;

use leakcheck::model::{Counters, Snapshot};
use leakcheck::{Leakcheck, Recorder};
use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: ledger::Ledger = ledger::Ledger { inner: Leakcheck::system() };

/// Frames between a block's birth in the recorder and the ledger's caller, at most: depends on what is inlined.
const INNER_MAX: usize = 8;

fn main() -> ExitCode {
    let has = |option: &str| std::env::args().any(|argument| argument == option);
    ledger::prepare(has("--plant"));
    let recording = Recorder::builder().exact().depth(1024).every(Duration::from_millis(20)).names(false).start();
    let recording = recording.expect("the recorder is the global allocator's inner one");
    ledger::open();
    programs::run_all(if has("--short") { 1 } else { 6 });
    ledger::close();
    let snapshot = recording.finish().expect("the last snapshot needs no file");
    let mistakes = compare(&ledger::entries(), &snapshot);
    for mistake in mistakes.iter().take(20) {
        println!("mistake\tthe recorder: {mistake}");
    }
    if mistakes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Everything in which the recorder differs from the ledger.
fn compare(ledger: &HashMap<Vec<usize>, ledger::Entry>, snapshot: &Snapshot) -> Vec<String> {
    let mut mistakes = Vec::new();
    let biases = biases();
    let mut found: HashMap<&[usize], Counters> = HashMap::new();
    let Some(watched) = return_into_watched(ledger) else {
        return vec!["the ledger's stacks have no frame in common".to_owned()];
    };
    let mut ended_in_main = 0;
    for site in &snapshot.sites {
        let address = |frame: &leakcheck::model::Frame| {
            let path = frame.module.map(|module| snapshot.modules[module.index()].path.as_str());
            let bias = path.and_then(|path| biases.get(path)).copied().unwrap_or_default();
            bias.wrapping_add(frame.offset as usize)
        };
        let stack: Vec<usize> = snapshot.frames_of(site).map(address).collect();
        if stack.last().is_some_and(|outermost| is_main_without_table(*outermost)) {
            ended_in_main += site.counters.allocated.blocks + site.counters.resized;
        }
        let entry = (1..=INNER_MAX.min(stack.len())).find_map(|inner| ledger.get_key_value(&stack[inner..]));
        match entry {
            Some((key, _)) => {
                let counters = found.entry(key).or_default();
                *counters = counters.plus(site.counters);
            }
            None if stack.contains(&watched) => {
                mistakes.push(format!("a stack that the ledger has not: {stack:x?} with {:?}", site.counters));
            }
            None => {}
        }
    }
    let losses = snapshot.losses;
    if losses.blocks_without_stack + losses.sites_over_limit + losses.out_of_memory_blocks > 0
        || losses.stacks_truncated > ended_in_main
    {
        mistakes.push(format!("it lost something, with {ended_in_main} stacks that end in `main`: {losses:?}"));
    }
    if losses.stacks_truncated > 0 {
        println!("explained\tthe recorder\t{}\t{MAIN_REASON}", losses.stacks_truncated);
    }
    for (stack, entry) in ledger {
        match found.get(stack.as_slice()) {
            None => mistakes.push(format!("no site for the stack {stack:x?} of {entry:?}")),
            Some(counters) if ledger::Entry::from(*counters) != *entry => {
                mistakes.push(format!("{counters:?} instead of {entry:?} for the stack {stack:x?}"));
            }
            Some(_) => {}
        }
    }
    let (blocks, frames) = ledger.iter().fold((0, 0), |(blocks, frames), (stack, entry)| {
        (blocks + entry.allocated_blocks, frames + entry.allocated_blocks * stack.len() as u64)
    });
    println!("workload\tthe recorder\t{blocks}\t{frames}\t0");
    println!("stacks\tthe recorder\t{}\t{} generations", ledger.len(), snapshot.generations.len());
    mistakes
}

/// The return address by which all watched programs are left.
fn return_into_watched(ledger: &HashMap<Vec<usize>, ledger::Entry>) -> Option<usize> {
    let mut candidates = ledger.keys().next()?.iter().filter(|address| programs::is_near_watched(**address));
    candidates.find(|address| ledger.keys().all(|stack| stack.contains(address))).copied()
}

const MAIN_REASON: &str = "the recorder's stacks end at `main`, which the compiler gives no unwind table where panics abort; so do backtrace's";

/// Whether a return address lies in the program's `main`, where that has no unwind table.
fn is_main_without_table(address: usize) -> bool {
    let mut is_main = false;
    backtrace::resolve(std::ptr::with_exposed_provenance_mut(address.wrapping_sub(1)), |symbol| {
        is_main |= symbol.name().is_some_and(|name| name.as_bytes() == b"main");
    });
    is_main && cfg!(panic = "abort")
}

/// Where each module lies, by its path as the recorder writes it.
fn biases() -> HashMap<String, usize> {
    unsafe extern "C" fn note(info: *mut libc::dl_phdr_info, _: usize, list: *mut std::ffi::c_void) -> std::ffi::c_int {
        // SAFETY: the loader passes a valid `info` whose name is a string, and `list` is the map below.
        let (info, list) = unsafe { (&*info, &mut *list.cast::<HashMap<String, usize>>()) };
        // SAFETY: as above.
        let name = unsafe { std::ffi::CStr::from_ptr(info.dlpi_name) }.to_string_lossy().into_owned();
        let own = || std::env::current_exe().unwrap_or_default().to_string_lossy().into_owned();
        list.entry(if name.is_empty() { own() } else { name }).or_insert(info.dlpi_addr as usize);
        0
    }
    let mut list = HashMap::new();
    // SAFETY: the callback has the right type and the map outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(note), (&raw mut list).cast()) };
    list
}
