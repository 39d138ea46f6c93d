//! The assertions of `leakcheck::testing`: what passes, what fails, what is said, and whose blocks are judged. The tests
//! run in parallel, so each one also shows that it does not see the others.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use leakcheck::testing::{Bounded, Measured};
use leakcheck::{
    assert_allocations, assert_bounded, assert_bounded_async, assert_live_bytes, assert_no_leaks, assert_no_leaks_async,
};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

#[global_allocator]
static ALLOC: leakcheck::Leakcheck = leakcheck::Leakcheck::system();

/// What an assertion panics with.
fn failure(assertion: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(assertion)).expect_err("the assertion held");
    panic.downcast_ref::<String>().expect("a message").clone()
}

fn short() -> Bounded {
    Bounded::new().budget(Duration::from_millis(300))
}

type Session = Box<[u64; 23]>;

#[inline(never)]
fn session(number: u64) -> Session {
    Box::new(black_box([number; 23]))
}

#[test]
fn a_leak_of_every_call_is_told_with_place_and_unit() {
    let kept = RefCell::new(Vec::with_capacity(1 << 22));
    let message =
        failure(|| assert_bounded!(budget: Duration::from_millis(300); || kept.borrow_mut().push(session(1))));
    assert!(message.contains("+1 block, 184 B per call"), "{message}");
    assert!(message.contains("testing::session"), "{message}");
    assert!(message.contains("leakcheck/tests/testing.rs:"), "{message}");
    assert!(message.contains("cause"), "{message}");
    assert!(message.contains("evidence"), "{message}");
    // What the test is called says nothing of the cause.
    assert!(!message.contains("speaks of"), "{message}");
}

#[test]
fn a_leak_of_every_third_call_is_caught() {
    let (kept, calls) = (RefCell::new(Vec::with_capacity(1 << 22)), Cell::new(0));
    let message = failure(|| {
        short().check(|| {
            calls.set(calls.get() + 1);
            if calls.get() % 3 == 0 {
                kept.borrow_mut().push(session(1));
            }
        });
    });
    assert!(message.contains("+1 block, 184 B in 3 calls"), "{message}");
}

#[test]
fn a_leak_of_slow_calls_is_caught() {
    for every in [1, 3] {
        let (kept, calls) = (RefCell::new(Vec::with_capacity(1000)), Cell::new(0));
        let message = failure(|| {
            assert_bounded!(rounds: 24, calls_per_round: 1, budget: Duration::ZERO; || {
                calls.set(calls.get() + 1);
                if calls.get() % every == 0 {
                    kept.borrow_mut().push(session(1));
                }
            });
        });
        assert!(message.contains("testing::session"), "{message}");
    }
}

#[test]
fn a_reference_cycle_is_caught() {
    struct Node {
        other: RefCell<Option<Rc<Node>>>,
    }
    let message = failure(|| {
        short().check(|| {
            let a = Rc::new(Node { other: RefCell::new(None) });
            let b = Rc::new(Node { other: RefCell::new(Some(Rc::clone(&a))) });
            *a.other.borrow_mut() = Some(b);
        });
    });
    assert!(message.contains("memory is not bounded"), "{message}");
}

#[test]
fn what_is_given_back_is_bounded() {
    assert_bounded!(|| session(1));
    assert_bounded!(|| (0..10).map(session).collect::<Vec<_>>());
    assert_bounded!(rounds: 12, calls_per_round: 3, warm_up: 5; || session(1));
}

#[test]
fn a_cache_that_fills_and_stops_is_bounded() {
    let cache = RefCell::new(HashMap::new());
    let next = Cell::new(0_u64);
    let insert = |limit: u64| {
        next.set(next.get() + 1);
        cache.borrow_mut().insert(next.get() % limit, session(1));
    };
    for limit in [10, 500, 3000] {
        cache.borrow_mut().clear();
        short().check(|| insert(limit));
    }
}

#[test]
fn a_queue_with_a_limit_is_bounded() {
    let queue = RefCell::new(VecDeque::new());
    short().check(|| {
        let mut queue = queue.borrow_mut();
        queue.push_back(session(1));
        if queue.len() > 100 {
            queue.pop_front();
        }
    });
}

#[test]
fn capacity_that_settles_is_bounded() {
    let buffer = RefCell::new(Vec::new());
    let calls = Cell::new(0_usize);
    short().check(|| {
        calls.set(calls.get() + 1);
        let mut buffer = buffer.borrow_mut();
        buffer.clear();
        buffer.extend(std::iter::repeat_n(7_u8, calls.get() * 7919 % 1000));
    });
}

#[test]
fn a_vector_that_grows_without_bound_does_not_pass() {
    let log = RefCell::new(Vec::new());
    let message = failure(|| short().check(|| log.borrow_mut().push(1_u64)));
    let honest = message.contains("memory is not bounded") || message.contains("leakcheck: inconclusive");
    assert!(honest, "{message}");
}

#[test]
fn nothing_left_is_no_leak() {
    thread_local! {
        static LAZY: Vec<u8> = vec![1; 100];
    }
    assert_no_leaks!(|| LAZY.with(Vec::len));
    assert_no_leaks!(|| session(1));
    assert_no_leaks!(|| thread::spawn(|| drop(session(1))).join());
    assert_no_leaks!(|| thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| drop(session(1)));
        }
    }));
}

#[test]
fn what_is_left_is_listed() {
    let kept = RefCell::new(Vec::with_capacity(10));
    let message = failure(|| assert_no_leaks!(|| kept.borrow_mut().extend([session(1), session(2)])));
    assert!(message.starts_with("leakcheck: 2 blocks, 368 B allocated by the second call are left"), "{message}");
    assert!(message.contains("testing::session"), "{message}");
}

#[test]
fn budgets_count_exactly() {
    let kept = assert_live_bytes!(== 184, || session(1));
    assert_live_bytes!(== 0, || drop(session(2)));
    assert_live_bytes!(< 64 * 1024, || vec![session(1), session(2)]);
    assert_allocations!(== 1, || session(1));
    assert_allocations!(== 0, || kept.len());
    assert_allocations!(<= 3, || vec![session(1), session(2)]);
    // A vector that grows stays one block.
    let measured = Measured::of(|| {
        (0..100).fold(Vec::new(), |mut all, n| {
            all.push(n);
            all
        })
    });
    assert_eq!(measured.allocations(), 1);
    assert!(measured.resizes() > 3);
    let message = failure(|| drop(assert_live_bytes!(<= 100, || session(1))));
    assert!(message.starts_with("leakcheck: 1 block, 184 B live, asserted was <= 100"), "{message}");
    let message = failure(|| drop(assert_allocations!(== 2, || session(1))));
    assert!(message.starts_with("leakcheck: 1 block, 184 B allocated, asserted was == 2"), "{message}");
    assert!(message.contains("testing::session"), "{message}");
}

#[test]
fn threads_started_in_the_closure_are_judged() {
    static KEPT: Mutex<Vec<Session>> = Mutex::new(Vec::new());
    KEPT.lock().unwrap().reserve(100_000);
    let options = || Bounded::new().rounds(24).calls_per_round(2).budget(Duration::ZERO);
    let message = failure(|| {
        options().check(|| thread::spawn(|| KEPT.lock().unwrap().push(session(1))).join().unwrap());
    });
    assert!(message.contains("+1 block, 184 B per call"), "{message}");
    let message = failure(|| {
        options().check(|| {
            thread::scope(|scope| drop(scope.spawn(|| KEPT.lock().unwrap().push(session(1)))));
        });
    });
    assert!(message.contains("testing::session"), "{message}");
    // At any depth.
    assert_allocations!(>= 2, || {
        thread::spawn(|| thread::spawn(|| drop((session(1), session(2)))).join().unwrap()).join().unwrap();
    });
    assert_no_leaks!(|| thread::spawn(|| thread::spawn(|| session(1)).join().unwrap()).join().unwrap());
}

#[test]
fn threads_that_come_and_go_are_bounded() {
    let options = || Bounded::new().rounds(24).calls_per_round(2).budget(Duration::from_millis(100));
    options().check(|| thread::spawn(|| drop(session(1))).join().unwrap());
    options().check(|| {
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| drop(session(1)));
            }
        });
    });
}

#[test]
fn a_pool_made_in_the_first_call_is_judged() {
    let (sender, jobs) = mpsc::channel::<mpsc::Sender<()>>();
    let pool = RefCell::new(None);
    let jobs = RefCell::new(Some(jobs));
    let message = failure(|| {
        short().check(|| {
            pool.borrow_mut().get_or_insert_with(|| {
                let jobs = jobs.borrow_mut().take().unwrap();
                thread::spawn(move || {
                    let mut kept = Vec::with_capacity(1 << 21);
                    for done in jobs {
                        kept.push(session(1));
                        done.send(()).unwrap();
                    }
                })
            });
            let (done, wait) = mpsc::channel();
            sender.send(done).unwrap();
            wait.recv().unwrap();
        });
    });
    assert!(message.contains("+1 block, 184 B per call"), "{message}");
    drop(sender);
    pool.take().unwrap().join().unwrap();
}

#[test]
fn a_pool_from_before_is_told_and_not_judged() {
    let (sender, jobs) = mpsc::channel::<mpsc::Sender<()>>();
    let (ready, is_ready) = mpsc::channel();
    let pool = thread::Builder::new().name("pool-of-before".to_owned()).spawn(move || {
        let mut kept = Vec::with_capacity(1 << 21);
        ready.send(()).unwrap();
        for done in jobs {
            kept.push(session(1));
            done.send(()).unwrap();
        }
    });
    is_ready.recv().unwrap();
    let one = || {
        let (done, wait) = mpsc::channel();
        sender.send(done).unwrap();
        wait.recv().unwrap();
    };
    // The pool's own growth is not this assertion's; a leak of the closure's own brings the note.
    let kept = RefCell::new(Vec::with_capacity(1 << 21));
    let message = failure(|| {
        short().check(|| {
            one();
            kept.borrow_mut().push(session(1));
        });
    });
    assert!(message.contains("+1 block, 184 B per call"), "{message}");
    assert!(message.contains("outside of any assertion"), "{message}");
    assert!(message.contains("pool-of-before"), "{message}");
    drop(sender);
    pool.unwrap().join().unwrap();
}

#[test]
fn parallel_assertions_do_not_see_each_other() {
    let clean = || {
        for _ in 0..5 {
            assert_bounded!(rounds: 12, calls_per_round: 5; || {
                thread::scope(|scope| drop(scope.spawn(|| drop(session(1)))));
                thread::spawn(|| drop(session(1))).join().unwrap();
            });
            assert_no_leaks!(|| thread::spawn(|| drop(session(1))).join().unwrap());
        }
    };
    let leaking = || {
        let kept = Arc::new(Mutex::new(Vec::with_capacity(100_000)));
        let message = failure(|| {
            Bounded::new().rounds(24).calls_per_round(3).budget(Duration::ZERO).check(|| {
                let kept = Arc::clone(&kept);
                thread::spawn(move || kept.lock().unwrap().push(session(1))).join().unwrap();
            });
        });
        assert!(message.contains("+1 block, 184 B per call"), "{message}");
    };
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(clean);
            scope.spawn(leaking);
        }
    });
}

fn asserted_in_one_function(kept: &RefCell<Vec<Session>>) {
    assert_no_leaks!(|| {
        assert_allocations!(== 1, || session(1));
        // An inner assertion's blocks are its own.
        kept.borrow_mut().push(Measured::of(|| session(2)).into_value());
    });
}

#[test]
fn assertions_nest_and_repeat() {
    let kept = RefCell::new(Vec::with_capacity(10_000));
    for _ in 0..1000 {
        asserted_in_one_function(&kept);
        assert_eq!(Measured::of(|| session(1)).allocations(), 1);
    }
    for _ in 0..100 {
        assert_bounded!(|| session(1));
    }
}

/// Runs one test of this program in a process of its own, with some of the environment changed; gives what it printed.
fn child(what: &str, environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child_entry", "--exact", "--nocapture"]).env("CHILD", what).envs(environment.iter().copied());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What the child does; a test that does nothing when it is not one.
#[test]
fn child_entry() {
    let Ok(what) = std::env::var("CHILD") else { return };
    match what.as_str() {
        "pool" => eprintln!("{}", failure(|| with_a_pool_of_before(&short()))),
        "pool of all threads" => eprintln!("{}", failure(|| with_a_pool_of_before(&short().all_threads()))),
        "pool beside" => with_a_pool_of_before(&short()),
        "assert" => assert_no_leaks!(|| session(1)),
        "fail" => eprintln!("{}", failure(|| assert_no_leaks!(|| session(1)))),
        other => panic!("unknown child {other}"),
    }
}

fn with_a_pool_of_before(bounded: &Bounded) {
    let (sender, jobs) = mpsc::channel::<mpsc::Sender<()>>();
    let (ready, is_ready) = mpsc::channel();
    let pool = thread::spawn(move || {
        let mut kept = Vec::with_capacity(1 << 21);
        ready.send(()).unwrap();
        for done in jobs {
            kept.push(session(1));
            done.send(()).unwrap();
        }
    });
    is_ready.recv().unwrap();
    bounded.check(|| {
        let (done, wait) = mpsc::channel();
        sender.send(done).unwrap();
        wait.recv().unwrap();
    });
    drop(sender);
    pool.join().unwrap();
}

#[test]
fn a_process_to_itself_has_all_its_threads_judged() {
    for (what, mode) in [("pool", "process-per-test"), ("pool of all threads", "")] {
        let printed = child(what, &[("NEXTEST_EXECUTION_MODE", mode)]);
        assert!(printed.contains("+1 block, 184 B per call"), "{printed}");
    }
    let printed = child("pool beside", &[("NEXTEST_EXECUTION_MODE", "")]);
    assert!(printed.contains("were allocated on threads outside of any assertion"), "{printed}");
}

#[test]
fn the_programs_own_recording_is_used_when_it_is_exact() {
    let folder = std::env::temp_dir().join(format!("leakcheck-testing-{}", std::process::id()));
    let out = folder.to_string_lossy().into_owned();
    child("assert", &[("LEAKCHECK", "exact"), ("LEAKCHECK_OUT", &out)]);
    let printed = child("fail", &[("LEAKCHECK", "sampled"), ("LEAKCHECK_OUT", &out)]);
    assert!(printed.contains("start the tests without LEAKCHECK=sampled"), "{printed}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_scope_in_the_closure_stays_in_the_assertion() {
    assert_allocations!(== 1, || {
        let _scope = leakcheck::scope("inner");
        session(1)
    });
}

#[test]
fn a_panic_in_the_closure_leaves_nothing_behind() {
    for _ in 0..3 {
        let panic = catch_unwind(|| assert_bounded!(|| panic!("as asked"))).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"as asked"));
    }
    assert_no_leaks!(|| session(1));
}

async fn answer() -> Session {
    let answer = session(1);
    tokio::task::yield_now().await;
    answer
}

#[tokio::test]
async fn async_closures_on_one_thread() {
    assert_bounded_async!(async || answer().await).await;
    assert_bounded_async!(rounds: 12, calls_per_round: 3; || async { answer().await }).await;
    assert_no_leaks_async!(async || answer().await).await;
    let measured = Measured::of_async(async || answer().await).await;
    assert_eq!((measured.allocations(), measured.live_bytes()), (1, 184));
}

/// Runs a future that is to panic, on the runtime it is in, and gives the message.
async fn async_failure(assertion: impl Future<Output = ()>) -> String {
    let mut assertion = std::pin::pin!(assertion);
    let caught =
        std::future::poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| assertion.as_mut().poll(context))) {
            Ok(std::task::Poll::Pending) => std::task::Poll::Pending,
            Ok(std::task::Poll::Ready(())) => std::task::Poll::Ready(None),
            Err(panic) => std::task::Poll::Ready(Some(panic.downcast_ref::<String>().expect("a message").clone())),
        });
    caught.await.expect("the assertion held")
}

#[tokio::test]
async fn what_an_async_closure_spawns_on_its_thread_is_judged() {
    let kept = Arc::new(Mutex::new(Vec::with_capacity(1 << 20)));
    let message = async_failure(short().check_async(async || {
        let kept = Arc::clone(&kept);
        let task = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_micros(10)).await;
            kept.lock().unwrap().push(session(1));
        });
        task.await.unwrap();
    }))
    .await;
    assert!(message.contains("+1 block, 184 B per call"), "{message}");
    assert!(message.contains("asserted at leakcheck/tests/testing.rs:"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn async_closures_on_many_threads() {
    let kept = Arc::new(Mutex::new(Vec::with_capacity(1 << 20)));
    // Its own future may be polled anywhere.
    let clean = tokio::spawn(async { short().check_async(async || answer().await).await });
    let in_scope = async || {
        let kept = Arc::clone(&kept);
        let task = async move {
            tokio::task::yield_now().await;
            kept.lock().unwrap().push(session(1));
        };
        tokio::spawn(leakcheck::in_this_scope(task)).await.unwrap();
    };
    let message = async_failure(short().check_async(in_scope)).await;
    assert!(message.contains("+1 block, 184 B per call"), "{message}");
    clean.await.unwrap();
}

#[test]
fn a_runtime_built_in_the_closure_is_judged() {
    let kept = Mutex::new(Vec::with_capacity(10_000));
    let kept: &'static Mutex<Vec<_>> = Box::leak(Box::new(kept));
    let serve = |keeps: bool| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
        runtime.block_on(async {
            let task = tokio::spawn(async move {
                let session = session(1);
                tokio::task::yield_now().await;
                if keeps {
                    kept.lock().unwrap().push(session);
                }
            });
            task.await.unwrap();
        });
    };
    assert_no_leaks!(|| serve(false));
    let message = failure(|| assert_no_leaks!(|| serve(true)));
    assert!(message.contains("1 block, 184 B"), "{message}");
}

#[tokio::test]
async fn a_named_scope_follows_its_future() {
    // Recording runs from the first assertion on.
    assert_no_leaks!(|| session(1));
    let kept = leakcheck::in_scope("follows its future", answer()).await;
    let snapshot = leakcheck::snapshot().unwrap();
    let in_scope = |site: &&leakcheck::model::Site| {
        snapshot.scope_of(site) == Some("follows its future") && site.size.is_some_and(|size| size.largest == 184)
    };
    let live: u64 = snapshot.sites.iter().filter(in_scope).map(|site| site.counters.live().bytes).sum();
    assert_eq!(live, 184);
    drop(kept);
}
