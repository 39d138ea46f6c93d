//! The programs that are watched. Each runs until it is killed, or its parent is gone.

use std::collections::{HashMap, VecDeque};
use std::hint::black_box;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

/// Time between two turns of work.
const TURN: Duration = Duration::from_millis(2);

/// What grows without bound.
static KEPT: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

pub(crate) fn run(program: &str) {
    // SAFETY: the child is to go with the test that started it.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    let (name, detail) = program.split_once(':').unwrap_or((program, ""));
    match name {
        "leak" => work(1, u64::MAX),
        "leak fast" => work(4, u64::MAX),
        "clean" => work(0, u64::MAX),
        "exec" => {
            work(1, 2000);
            panic!("{}", Command::new("sleep").arg("600").exec());
        }
        "short" => work(1, 1500),
        "brief" => work(1, 3000),
        "prefork" => prefork(detail),
        "descriptors" => descriptors(),
        other => panic!("no program {other}"),
    }
}

/// Serves so many turns: a cache with a bound, and of `leaks` in each turn a session that is never dropped.
fn work(leaks: u64, turns: u64) {
    let mut pages: HashMap<u64, Vec<u8>> = HashMap::new();
    let mut order: VecDeque<u64> = VecDeque::new();
    for turn in 0..turns {
        serve_page(&mut pages, &mut order, turn * 7 % 101);
        for _ in 0..leaks {
            keep_session(turn);
        }
        thread::sleep(TURN);
    }
}

#[inline(never)]
fn serve_page(pages: &mut HashMap<u64, Vec<u8>>, order: &mut VecDeque<u64>, page: u64) {
    if pages.insert(page, black_box(vec![1; 2000])).is_none() {
        order.push_back(page);
    }
    if order.len() > 60
        && let Some(oldest) = order.pop_front()
    {
        pages.remove(&oldest);
    }
}

#[inline(never)]
fn keep_session(turn: u64) {
    KEPT.lock().unwrap().push(black_box(vec![turn as u8; 3000]));
}

/// A master without threads, and four workers that it forks. `detail`: which of them leak (`one`, `all`, `none`), and after
/// how many turns a leaking one is ended and forked anew (`one,2000`).
fn prefork(detail: &str) {
    let (which, turns) = detail.split_once(',').unwrap_or((detail, "18446744073709551615"));
    let turns: u64 = turns.parse().expect("a number of turns");
    let leaks = |worker: usize| match which {
        "one" => worker == 2,
        "all" => true,
        _ => false,
    };
    let fork = |worker: usize| {
        // SAFETY: the master has no threads but the recorder's, which the child does without.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: as in `run`.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            if leaks(worker) {
                work(1, turns);
            } else {
                work(0, u64::MAX);
            }
            std::process::exit(0);
        }
        pid
    };
    let mut workers: Vec<libc::pid_t> = (0..4).map(fork).collect();
    loop {
        // SAFETY: null is allowed for the status.
        let ended = unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) };
        if let Some(place) = workers.iter().position(|pid| *pid == ended) {
            workers[place] = fork(place);
        }
    }
}

/// Opens files and forgets to close them.
fn descriptors() {
    loop {
        std::mem::forget(std::fs::File::open("/dev/null").unwrap());
        thread::sleep(Duration::from_millis(50));
    }
}
