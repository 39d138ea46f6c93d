//! What a program says of its own allocator stands in the snapshots, and what is wrong with it does no harm.

use leakcheck::{AllocatorStatistics, Recorder};
use std::time::Duration;

#[global_allocator]
static ALLOC: leakcheck::Leakcheck = leakcheck::Leakcheck::system();

#[test]
fn the_programs_own_figures_are_taken() {
    let held_and_used = |ask: fn() -> Option<AllocatorStatistics>| {
        let recording = Recorder::builder().every(Duration::ZERO).allocator_statistics(ask).start().unwrap();
        let snapshot = recording.finish().unwrap();
        let resident = snapshot.resident.unwrap();
        assert!(resident.thread_stack_bytes.is_some());
        (resident.allocator_held_bytes, resident.allocator_used_bytes)
    };
    let own = || Some(AllocatorStatistics { held_bytes: 70_000, used_bytes: 30_000 });
    assert_eq!(held_and_used(own), (Some(70_000), Some(30_000)));
    assert_eq!(held_and_used(|| None), (None, None));
    assert_eq!(held_and_used(|| panic!("it cannot be asked")), (None, None));
    // Without its word the C library is asked.
    let recording = Recorder::builder().every(Duration::ZERO).start().unwrap();
    let resident = recording.finish().unwrap().resident.unwrap();
    assert!(cfg!(not(target_env = "gnu")) || resident.allocator_held_bytes > Some(0), "{resident:?}");
}
