//! From a raw stack to the one a person wants to read: allocator and standard-library plumbing folded away, recursion
//! folded, names free of what changes from build to build. The folded stack gives the [`SiteKey`].

use super::plain_name::without_generics;
use super::{Function, SiteKey};

/// A stack as reports show it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FoldedStack {
    /// The frames that remain, leaf first: the program's own and its dependencies'; the standard library's where there
    /// are no others.
    pub frames: Vec<FoldedFrame>,
    /// Names of the plumbing folded away at the leaf, leaf first: which container or allocator call stands behind the
    /// allocation (`hashbrown::raw::RawTable::reserve_rehash`, `alloc::vec::Vec::push`, …).
    pub plumbing: Vec<String>,
}

/// One frame of a [`FoldedStack`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoldedFrame {
    /// The function with its place.
    pub function: Function,
    /// Whose code it is.
    pub origin: Origin,
}

/// Whose code a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The program's.
    Program,
    /// A package the program depends on.
    Dependency,
    /// The standard library's, the C library's start-up code or an allocator's.
    Plumbing,
}

impl FoldedStack {
    /// The frame to name first: the innermost one of the program's own code, else of a dependency.
    #[must_use]
    pub fn title(&self) -> Option<&FoldedFrame> {
        self.frames.iter().find(|f| f.origin == Origin::Program).or_else(|| self.frames.first())
    }

    /// The key of this stack in `scope`.
    #[must_use]
    pub fn key(&self, scope: Option<&str>) -> SiteKey {
        let mut code = Fnv::new();
        let mut lines = Fnv::new();
        for frame in &self.frames {
            let name = normal_name(&frame.function.name);
            code.text(&name);
            lines.text(&name);
            lines.text(short_path(frame.function.file.as_deref().unwrap_or("")));
            lines.text(&frame.function.line.unwrap_or(0).to_string());
        }
        for hash in [&mut code, &mut lines] {
            hash.text(scope.unwrap_or(""));
        }
        SiteKey { code: code.finish(), lines: lines.finish() }
    }
}

/// Folds a stack of functions, leaf first, inlined ones included. A stack of nothing but plumbing keeps the standard
/// library's frames: they are all there is to tell it by.
#[must_use]
pub fn fold<'a>(functions: impl IntoIterator<Item = &'a Function>) -> FoldedStack {
    let mut folded = FoldedStack::default();
    let mut plumbing: Vec<&Function> = Vec::new();
    for function in functions {
        let origin = origin_of(function);
        if origin == Origin::Plumbing {
            if folded.frames.is_empty() {
                plumbing.push(function);
            }
            continue;
        }
        folded.frames.push(FoldedFrame { function: function.clone(), origin });
        drop_repeat(&mut folded.frames);
    }
    if folded.frames.is_empty() {
        // `std` says most; what stands behind it in `alloc` and `core` is the same for everyone.
        let in_std = |function: &&&Function| crate_of(&function.name) == "std";
        let any_std = plumbing.iter().any(|function| in_std(&function));
        let telling = plumbing.iter().filter(|function| {
            let named = !is_allocator_or_startup(&function.name);
            named && if any_std { in_std(function) } else { !is_mute(&function.name) }
        });
        for function in telling {
            folded.frames.push(FoldedFrame { function: (*function).clone(), origin: Origin::Plumbing });
            drop_repeat(&mut folded.frames);
        }
    }
    folded.plumbing = plumbing.into_iter().map(|function| function.name.clone()).collect();
    folded
}

/// Removes the last repetition when the frames end in the same cycle twice (cycles of up to eight functions).
fn drop_repeat(frames: &mut Vec<FoldedFrame>) {
    const CYCLE_MAX: usize = 8;
    let len = frames.len();
    for cycle in 1..=CYCLE_MAX.min(len / 2) {
        let (earlier, last) = (&frames[len - 2 * cycle..len - cycle], &frames[len - cycle..]);
        if earlier.iter().zip(last).all(|(a, b)| a.function.name == b.function.name) {
            frames.truncate(len - cycle);
            return;
        }
    }
}

fn origin_of(function: &Function) -> Origin {
    if is_allocator_or_startup(&function.name) {
        return Origin::Plumbing;
    }
    if let Some(file) = &function.file {
        if is_standard_library_path(file) {
            return Origin::Plumbing;
        }
        if ["/registry/src/", "/git/checkouts/", "/vendor/"].iter().any(|part| file.contains(part)) {
            return Origin::Dependency;
        }
        // Libraries of the system are compiled with the paths of whoever built the package.
        return if file.starts_with("./") || file.contains("/sysdeps/") { Origin::Plumbing } else { Origin::Program };
    }
    match crate_of(&function.name) {
        "std" | "core" | "alloc" | "__rustc" => Origin::Plumbing,
        _ => Origin::Program,
    }
}

/// Whether a function behind an allocation says no more than that something was allocated.
pub(crate) fn is_mute(name: &str) -> bool {
    const MUTE: &[&str] =
        &["alloc::alloc::", "<alloc::alloc::", "alloc::raw_vec", "<alloc::raw_vec", "core::", "<core::"];
    is_allocator_or_startup(name) || MUTE.iter().any(|mute| name.starts_with(mute))
}

fn is_standard_library_path(file: &str) -> bool {
    file.starts_with("/rustc/") || file.contains("/rustlib/src/rust/library/") || file.contains("/rust/deps/")
}

fn is_allocator_or_startup(name: &str) -> bool {
    const EXACT: &[&str] = &[
        "malloc",
        "calloc",
        "realloc",
        "reallocarray",
        "posix_memalign",
        "aligned_alloc",
        "memalign",
        "strdup",
        "_start",
        "__libc_start_main",
        "__libc_start_call_main",
        "__libc_start_main_impl",
        "main",
        "start_thread",
        "clone",
        "clone3",
        "__clone3",
        "__clone",
    ];
    const PREFIXES: &[&str] = &[
        "__rust_alloc",
        "__rust_realloc",
        "__rg_",
        "__rdl_",
        "__rustc::",
        "__libc_start_main@",
        "tracking_allocator::",
        "<tracking_allocator::",
        "<leakcheck::Leakcheck",
        "leakcheck::record::",
        "<leakcheck::record::",
        "leakcheck::unwind::",
        "<leakcheck::unwind::",
        "__rust_begin_short_backtrace",
        "__rust_try",
    ];
    EXACT.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The crate a demangled Rust path belongs to: of `<a::B as c::D>::e` that of the implementing type `a::B`.
fn crate_of(name: &str) -> &str {
    let path = name.trim_start_matches(['<', '&', '*', '(', '[']);
    let path = path.strip_prefix("mut ").or_else(|| path.strip_prefix("dyn ")).unwrap_or(path);
    let end = path.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(path.len());
    &path[..end]
}

/// A name without what differs between builds of the same source: hash suffix, closure and impl numbers, generic
/// arguments, and the suffixes compilers put on split or cloned functions.
pub(crate) fn normal_name(name: &str) -> String {
    let name = without_generics(strip_hash(strip_compiler_suffix(name)));
    let mut out = String::with_capacity(name.len());
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '#' => while chars.next_if(char::is_ascii_digit).is_some() {},
            _ => out.push(c),
        }
    }
    out.replace("{{", "{").replace("}}", "}")
}

fn strip_hash(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((path, hash)) if hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => path,
        _ => name,
    }
}

fn strip_compiler_suffix(name: &str) -> &str {
    [".llvm.", ".cold", ".part.", ".isra.", ".constprop.", ".lto_priv."]
        .iter()
        .filter_map(|suffix| name.find(suffix))
        .min()
        .map_or(name, |end| &name[..end])
}

/// The last two components, which do not depend on where the source was checked out.
fn short_path(file: &str) -> &str {
    let mut slashes = file.char_indices().rev().filter(|(_, c)| *c == '/');
    match (slashes.next(), slashes.next()) {
        (Some(_), Some((second, _))) => &file[second + 1..],
        _ => file,
    }
}

/// FNV-1a, 64 bit (Fowler, Noll, Vo): written into files, so it must never change.
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn text(&mut self, text: &str) {
        for byte in text.bytes().chain([0]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    const fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str, file: &str) -> Function {
        Function { name: name.into(), file: (!file.is_empty()).then(|| file.into()), line: Some(7) }
    }

    fn check(input: &[(&str, &str)], frames: &[&str], plumbing: usize) {
        let functions: Vec<_> = input.iter().map(|(n, f)| function(n, f)).collect();
        let folded = fold(&functions);
        let names: Vec<_> = folded.frames.iter().map(|f| f.function.name.as_str()).collect();
        assert_eq!(names, frames);
        assert_eq!(folded.plumbing.len(), plumbing);
    }

    #[test]
    fn plumbing_goes_and_the_program_stays() {
        check(
            &[
                ("__rustc::__rust_alloc", ""),
                ("alloc::raw_vec::RawVecInner<A>::finish_grow", "/rustc/abc/library/alloc/src/raw_vec/mod.rs"),
                ("alloc::vec::Vec<T,A>::push", "/rustc/abc/library/alloc/src/vec/mod.rs"),
                ("shop::basket::add", "src/basket.rs"),
                ("core::ops::function::FnOnce::call_once", ""),
                ("shop::main", "src/main.rs"),
                ("std::rt::lang_start", ""),
                ("main", ""),
            ],
            &["shop::basket::add", "shop::main"],
            3,
        );
    }

    #[test]
    fn a_stack_of_plumbing_alone_keeps_the_library() {
        check(
            &[
                ("__rustc::__rust_alloc", ""),
                ("alloc::collections::btree::map::BTreeMap<K,V>::insert", "/rustc/abc/library/alloc/src/btree.rs"),
                ("std::thread::spawnhook::run", "/rustc/abc/library/std/src/thread/spawnhook.rs"),
                ("start_thread", "./nptl/pthread_create.c"),
            ],
            &["std::thread::spawnhook::run"],
            4,
        );
        check(
            &[
                ("alloc::alloc::alloc", "/rustc/abc/library/alloc/src/alloc.rs"),
                ("alloc::vec::Vec<T>::push", "/rustc/abc/library/alloc/src/vec/mod.rs"),
                ("_start", ""),
            ],
            &["alloc::vec::Vec<T>::push"],
            3,
        );
    }

    #[test]
    fn recursion_of_any_short_cycle_folds_to_one_turn() {
        let turn = [("p::expr", "src/p.rs"), ("p::term", "src/p.rs")];
        for turns in [1, 2, 3, 50] {
            let mut input = vec![("p::leaf", "src/p.rs")];
            for _ in 0..turns {
                input.extend(turn);
            }
            input.push(("p::main", "src/p.rs"));
            check(&input, &["p::leaf", "p::expr", "p::term", "p::main"], 0);
        }
    }

    #[test]
    fn names_lose_what_a_rebuild_changes() {
        for (name, normal) in [
            ("a::b::h0123456789abcdef", "a::b"),
            ("a::b::{{closure}}", "a::b::{closure}"),
            ("a::b::{closure#12}", "a::b::{closure}"),
            ("a::Cache<K, fn(u8) -> V>::insert", "a::Cache::insert"),
            ("a::parse::<u8>", "a::parse"),
            ("<a::X<T> as b::Y<U>>::z", "<a::X as b::Y>::z"),
            ("grow.llvm.8812", "grow"),
            ("grow.part.0", "grow"),
        ] {
            assert_eq!(normal_name(name), normal);
        }
    }

    #[test]
    fn code_key_ignores_lines_and_checkout_place() {
        let at = |file: &str, line| {
            fold(&[Function { name: "a::b".into(), file: Some(file.into()), line: Some(line) }]).key(None)
        };
        assert_eq!(at("/home/x/p/src/a.rs", 3), at("/tmp/p/src/a.rs", 3));
        assert_eq!(at("src/a.rs", 3).code, at("src/a.rs", 4).code);
        assert_ne!(at("src/a.rs", 3).lines, at("src/a.rs", 4).lines);
        let key = at("src/a.rs", 3);
        assert_eq!(key.to_string().parse(), Ok(key));
    }
}
