//! What the recorder allocates for itself is not recorded: its threads, their start included, and its snapshots.

use std::hint::black_box;

#[global_allocator]
static ALLOC: leakcheck::Leakcheck = leakcheck::Leakcheck::system();

#[test]
fn a_recording_of_nothing_is_empty() {
    let mut counted = 0;
    for round in 0..200 {
        let recording = leakcheck::Recorder::builder().exact().names(false).start().unwrap();
        // One of our own, so that the test cannot pass by recording nothing at all.
        drop(black_box(Box::new(round)));
        let totals = recording.finish().unwrap().totals;
        counted += 1;
        assert_eq!((totals.allocated.blocks, totals.freed.blocks), (counted, counted), "in round {round}");
    }
}
