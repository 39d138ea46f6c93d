//! Without the allocator nothing can be asserted, and the message says what to add.

use std::panic::catch_unwind;

#[test]
fn the_cure_is_told() {
    let panic = catch_unwind(|| leakcheck::assert_no_leaks!(|| vec![1])).expect_err("nothing is recorded here");
    let message = panic.downcast_ref::<String>().expect("a message");
    assert!(message.contains("add `#[global_allocator] static ALLOC"), "{message}");
}
