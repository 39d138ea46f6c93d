//! The macros: thin, so that messages and types come from functions.

/// Asserts that a closure's memory stays within a bound however often it is called.
///
/// ```
/// # #[global_allocator]
/// # static ALLOC: leakcheck::Leakcheck = leakcheck::Leakcheck::system();
/// # fn one_request() -> Vec<u8> { vec![0; 64] }
/// # fn main() {
/// leakcheck::assert_bounded!(|| one_request());
/// // What is not said follows from the time that calls take.
/// leakcheck::assert_bounded!(rounds: 32, calls_per_round: 7, warm_up: 100; || one_request());
/// # }
/// ```
///
/// [`Bounded`](crate::testing::Bounded) says how it is decided, and has the options as methods; each of them may stand
/// before the closure. [`testing`](crate::testing) says whose blocks are judged.
///
/// # Panics
///
/// When the memory is not bounded, or that remains open.
///
/// ```should_panic
/// # #[global_allocator]
/// # static ALLOC: leakcheck::Leakcheck = leakcheck::Leakcheck::system();
/// # fn main() {
/// let mut requests = Vec::new();
/// leakcheck::assert_bounded!(|| requests.push(Box::new(42)));
/// # }
/// ```
#[macro_export]
macro_rules! assert_bounded {
    ($($option:ident: $value:expr),+ $(,)?; $call:expr $(,)?) => {
        $crate::testing::Bounded::new()$(.$option($value))+.check($call)
    };
    ($call:expr $(,)?) => {
        $crate::testing::Bounded::new().check($call)
    };
}

/// [`assert_bounded!`] for an async closure, or one that returns a future: `assert_bounded_async!(async || …).await`.
///
/// ```
/// # #[global_allocator]
/// # static ALLOC: leakcheck::Leakcheck = leakcheck::Leakcheck::system();
/// # async fn one_request() -> Vec<u8> { vec![0; 64] }
/// # fn main() {
/// # let future = async {
/// leakcheck::assert_bounded_async!(async || one_request().await).await;
/// # };
/// # let mut context = std::task::Context::from_waker(std::task::Waker::noop());
/// # assert!(std::pin::pin!(future).as_mut().poll(&mut context).is_ready());
/// # }
/// ```
///
/// # Panics
///
/// As [`assert_bounded!`] does, when it is awaited.
#[macro_export]
macro_rules! assert_bounded_async {
    ($($option:ident: $value:expr),+ $(,)?; $call:expr $(,)?) => {
        $crate::testing::Bounded::new()$(.$option($value))+.check_async($call)
    };
    ($call:expr $(,)?) => {
        $crate::testing::Bounded::new().check_async($call)
    };
}

/// Asserts that nothing a closure allocates is live after it returned and its value was dropped.
///
/// It is called twice: what the first call leaves behind, such as lazily made statics, is not looked at.
///
/// ```
/// # #[global_allocator]
/// # static ALLOC: leakcheck::Leakcheck = leakcheck::Leakcheck::system();
/// # fn main() {
/// leakcheck::assert_no_leaks!(|| vec![0; 64]);
/// # }
/// ```
///
/// # Panics
///
/// When something is left, with its sites, blocks, bytes and stacks.
///
/// ```should_panic
/// # #[global_allocator]
/// # static ALLOC: leakcheck::Leakcheck = leakcheck::Leakcheck::system();
/// # fn main() {
/// leakcheck::assert_no_leaks!(|| std::mem::forget(vec![0; 64]));
/// # }
/// ```
#[macro_export]
macro_rules! assert_no_leaks {
    ($call:expr $(,)?) => {
        $crate::testing::check_no_leaks($call)
    };
}

/// [`assert_no_leaks!`] for an async closure, or one that returns a future: `assert_no_leaks_async!(async || …).await`.
#[macro_export]
macro_rules! assert_no_leaks_async {
    ($call:expr $(,)?) => {
        $crate::testing::check_no_leaks_async($call)
    };
}

/// Asserts how many bytes are live when a closure has returned, of the blocks allocated in it; gives its value.
///
/// The value is live at that moment, and so is whatever it put elsewhere. The count is exact, in bytes as asked for. The
/// peak in between is not known: counters are per thread, and nobody adds them up at each allocation.
///
/// ```
/// # #[global_allocator]
/// # static ALLOC: leakcheck::Leakcheck = leakcheck::Leakcheck::system();
/// # fn index() -> Vec<u8> { vec![0; 1000] }
/// # fn main() {
/// let index = leakcheck::assert_live_bytes!(< 64 * 1024, || index());
/// # assert_eq!(index.len(), 1000);
/// leakcheck::assert_live_bytes!(== 0, || drop(index.clone()));
/// # }
/// ```
///
/// # Panics
///
/// When it is not so.
#[macro_export]
macro_rules! assert_live_bytes {
    ($comparison:tt $limit:expr, $call:expr $(,)?) => {{
        let measured = $crate::testing::Measured::of($call);
        let limit: u64 = $limit;
        if !(measured.live_bytes() $comparison limit) {
            ::std::panic!("{}", measured.failure_of_live_bytes(&::std::format!("{} {limit}", ::std::stringify!($comparison))));
        }
        measured.into_value()
    }};
}

/// Asserts how many blocks a closure allocates; gives its value.
///
/// The count is exact. A block that `realloc` lets grow is still the same block, so a vector that grows is one.
///
/// ```
/// # #[global_allocator]
/// # static ALLOC: leakcheck::Leakcheck = leakcheck::Leakcheck::system();
/// # fn main() {
/// leakcheck::assert_allocations!(<= 1, || "forty-two".to_owned());
/// leakcheck::assert_allocations!(== 0, || 42);
/// # }
/// ```
///
/// # Panics
///
/// When it is not so.
#[macro_export]
macro_rules! assert_allocations {
    ($comparison:tt $limit:expr, $call:expr $(,)?) => {{
        let measured = $crate::testing::Measured::of($call);
        let limit: u64 = $limit;
        if !(measured.allocations() $comparison limit) {
            ::std::panic!("{}", measured.failure_of_allocations(&::std::format!("{} {limit}", ::std::stringify!($comparison))));
        }
        measured.into_value()
    }};
}
