//! What runs inside an allocation: it must not lock, print, panic, or allocate.

use super::source::SourceFile;

/// The files whose code runs inside the allocator hook. What else they hold (starting up, taking down) keeps to the
/// same rules.
const HOOK: &[&str] = &[
    "leakcheck/src/record/allocator.rs",
    "leakcheck/src/record/arena.rs",
    "leakcheck/src/record/byte_map.rs",
    "leakcheck/src/record/counters.rs",
    "leakcheck/src/record/hook.rs",
    "leakcheck/src/record/index.rs",
    "leakcheck/src/record/memory.rs",
    "leakcheck/src/record/old_threads.rs",
    "leakcheck/src/record/sites.rs",
    "leakcheck/src/record/tail.rs",
    "leakcheck/src/record/thread.rs",
    "leakcheck/src/record/trial_words.rs",
    "leakcheck/src/record/weight.rs",
    "leakcheck/src/unwind/cfi.rs",
    "leakcheck/src/unwind/mod.rs",
    "leakcheck/src/unwind/rules.rs",
    "leakcheck/src/unwind/frames.rs",
    "leakcheck/src/unwind/glance.rs",
    "leakcheck/src/unwind/keep.rs",
    "leakcheck/src/unwind/layouts.rs",
    "leakcheck/src/unwind/machine/aarch64.rs",
    "leakcheck/src/unwind/machine/other.rs",
    "leakcheck/src/unwind/machine/x86_64.rs",
    "leakcheck/src/unwind/slow_step.rs",
    "leakcheck/src/unwind/stack_bounds.rs",
    "leakcheck/src/unwind/unloadable.rs",
    "leakcheck/src/unwind/walk.rs",
];

const FORBIDDEN: &[&str] = &[
    "println!",
    "print!",
    "Mutex",
    "RwLock",
    "Condvar",
    ".lock()",
    "park(",
    "DashMap",
    "HashMap",
    "Vec::",
    "Vec<",
    "vec!",
    "String",
    "format!",
    "to_owned(",
    "Arc::new",
    "panic!",
    "unwrap()",
    "backtrace::resolve",
];

pub(crate) fn check(files: &[SourceFile]) -> Vec<String> {
    let mut problems = Vec::new();
    for path in HOOK {
        let Some(file) = files.iter().find(|file| file.path == *path) else {
            problems.push(format!("{path}: named in tests/tidy/hook.rs and not there"));
            continue;
        };
        let found = FORBIDDEN.iter().filter(|word| file.production_code().contains(**word));
        problems.extend(found.map(|word| format!("{path}: `{word}` in code that runs inside an allocation")));
    }
    problems
}

#[test]
fn a_lock_or_an_allocation_in_the_hook_is_seen() {
    let with = |code: &str| {
        let file = |path: &&str| SourceFile::new(path, if path.ends_with("hook.rs") { code } else { "//! X.\n" });
        check(&HOOK.iter().map(file).collect::<Vec<_>>())
    };
    assert_eq!(with("fn f() {} // Vec::new() in words\n#[cfg(test)]\nmod tests { fn f() { vec![1]; } }"), [""; 0]);
    assert_eq!(with("fn f() { NAMES.lock() }").len(), 1);
    assert_eq!(with("fn f() { let v: Vec<u8> = Vec::new(); }").len(), 2);
    assert_eq!(check(&[]).len(), HOOK.len());
}
