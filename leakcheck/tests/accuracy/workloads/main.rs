//! Realistic stacks of all sorts, each walked by the fast unwinder, by framehop and by the `backtrace` crate.
//!
//! Prints one line a workload, `workload name stacks frames taken_over`, then one per explained difference, and last the mistakes; the
//! matrix reads them. Ends with exit code 1 if the fast unwinder is at odds with `backtrace` anywhere, or with its own walk of the
//! whole stack, or with framehop for no known reason.
//!
//! ```text
//! workloads [--short] [--plant]
//! ```

mod call_sites;
mod checking;
mod explanations;
mod frame_shapes;
mod framehop_witness;
mod interrupted;
mod libraries;
mod parsers;
mod switched_stacks;
#[path = "../../unwind_support/mod.rs"]
mod unwind_support;
mod whole_programs;

use checking::Found;
use framehop_witness::DIFFERENCES;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

#[global_allocator]
static ALLOCATOR: checking::Checking = checking::Checking;

type Workload = fn(effort: u32) -> Found;

const WORKLOADS: &[(&str, Workload)] = &[
    ("random call trees", whole_programs::trees),
    (MAIN_THREAD, whole_programs::main_thread),
    ("call sites in turn", call_sites::in_turn),
    ("call sites at random", call_sites::at_random),
    ("one slot, many callers", call_sites::one_slot),
    ("serde_json", parsers::json),
    ("syn", parsers::syn),
    ("collections on threads", whole_programs::collections),
    ("deep recursion", whole_programs::deep_recursion),
    ("panics", whole_programs::panics),
    ("small stacks", whole_programs::small_stacks),
    ("C callbacks", frame_shapes::c_callbacks),
    ("C frames", frame_shapes::c_frames),
    ("C frames of the same sum", frame_shapes::same_sum),
    ("hand-written frames", frame_shapes::by_hand),
    ("vector frames", frame_shapes::vectors),
    ("signals", interrupted::anywhere),
    ("signals, own stack", interrupted::anywhere_on_an_alternate_stack),
    ("signals in the vDSO", interrupted::in_the_kernels_module),
    ("corosensei", switched_stacks::coroutines),
    ("corosensei, one pause", switched_stacks::one_pause),
    ("corosensei, short-lived", switched_stacks::short_lived),
    ("swapcontext", switched_stacks::contexts),
    ("libraries in turn", libraries::in_turn),
    ("one library through another", libraries::one_through_the_other),
];

/// The one that runs on the main thread.
const MAIN_THREAD: &str = "the main thread";

/// Runs a workload on a thread with a large stack, or on this one.
fn run(name: &str, workload: Workload, effort: u32) -> Found {
    if name == MAIN_THREAD {
        return workload(effort);
    }
    let thread = std::thread::Builder::new().stack_size(256 << 20).spawn(move || workload(effort));
    thread.expect("a thread").join().expect("no panic that is not caught")
}

fn main() -> ExitCode {
    let has = |option: &str| std::env::args().any(|argument| argument == option);
    checking::IS_PLANTED.store(has("--plant"), Ordering::Relaxed);
    let effort = if has("--short") { 1 } else { 4 };
    let mut mistakes = Vec::new();
    for &(name, workload) in WORKLOADS {
        let found = run(name, workload, effort);
        println!("workload\t{name}\t{}\t{}\t{}", found.stacks, found.frames, found.taken_over);
        let mut differences = DIFFERENCES.lock().expect("nothing panics while it holds this");
        for ((kind, frame, below), count) in std::mem::take(&mut *differences) {
            match explanations::explain(kind, &frame, &below) {
                Some(reason) => println!("explained\t{name}\t{count}\t{reason}"),
                None => mistakes.push(format!("{name}: {count} times {kind:?} at {frame}, which called {below}")),
            }
        }
        mistakes.extend(found.mistakes.iter().map(|mistake| format!("{name}: {mistake}")));
        if found.stacks == 0 {
            mistakes.push(format!("{name}: no stacks"));
        }
    }
    for mistake in &mistakes {
        println!("mistake\t{mistake}");
    }
    if mistakes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
