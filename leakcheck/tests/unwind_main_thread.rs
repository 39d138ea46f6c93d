//! The unwinder on the main thread and without a test harness, so that it also runs where panics abort.

mod unwind_support;

use leakcheck::unwind::{DEPTH_MAX, End};

fn main() {
    for (seed, depth_max) in [(1, 5), (2, 30), (3, 60)] {
        let mut tree = unwind_support::tree(seed, depth_max, 1_500, 3);
        tree.grow();
        let checker = tree.checker.finish(1_500);
        let counters = checker.kept.counters();
        assert_eq!(counters.ends.iter().sum::<u64>(), checker.checks);
        assert_eq!(counters.ends[End::Root as usize] + counters.ends[End::DepthLimit as usize], checker.checks);
    }
    let mut tree = unwind_support::tree(4, 300, 500, 3);
    tree.checker.depth_max = DEPTH_MAX;
    tree.grow();
    tree.checker.finish(500);
    println!("the main thread's walks match");
}
