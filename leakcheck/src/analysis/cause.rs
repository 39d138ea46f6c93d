//! Cause: what makes a site grow, guessed from the names in its stack and the shape of its growth.
//!
//! A table of clues, each a word or a path with a weight for one cause. Clues are looked for in what stands behind the
//! allocation (the container, in the plumbing at the leaf), in the libraries called, and in the names the program's own
//! functions have. The cause with the largest sum wins; where nothing speaks, the shape alone decides.

use super::judgement::Cause;
use crate::model::{FoldedStack, Origin, SizeSummary, is_mute, normal_name};

/// How the live memory of the site grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// More blocks.
    MoreBlocks,
    /// A few blocks that get larger.
    OneBlockGrows,
    /// The same blocks, many of them, get larger.
    BlocksGrow,
}

/// A cause with its reason and what to do about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// The cause.
    pub cause: Cause,
    /// One sentence: which names gave it away.
    pub evidence: String,
    /// One or two sentences: what to do.
    pub advice: String,
}

/// Where a clue is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A part of a path among what was folded away at the leaf, or anywhere in a library's function.
    Library,
    /// A whole word in a name of the program's own.
    Program,
}

struct Clue {
    text: &'static str,
    place: Place,
    cause: Cause,
    weight: u32,
}

const fn library(text: &'static str, cause: Cause, weight: u32) -> Clue {
    Clue { text, place: Place::Library, cause, weight }
}

const fn program(text: &'static str, cause: Cause, weight: u32) -> Clue {
    Clue { text, place: Place::Program, cause, weight }
}

use Cause::{
    Forgotten, GrowingBuffer, GrowingCollection, ListenerNeverRemoved, QueueBacklog, ReferenceCycle, RetainedCapacity,
    TaskNeverFinished, ThreadNeverJoined, UnboundedCache, UnclearedTimer,
};

/// The clues. Several words of one cause in one stack add up; each counts once.
const CLUES: &[Clue] = &[
    // Maps and sets: the table, or the node the value goes into.
    library("hashbrown::", UnboundedCache, 6),
    library("HashMap::", UnboundedCache, 6),
    library("HashSet::", UnboundedCache, 6),
    library("BTreeMap::", UnboundedCache, 6),
    library("BTreeSet::", UnboundedCache, 6),
    library("btree::", UnboundedCache, 6),
    library("dashmap::", UnboundedCache, 6),
    library("indexmap::", UnboundedCache, 6),
    library("scc::", UnboundedCache, 6),
    library("papaya::", UnboundedCache, 6),
    library("moka::", UnboundedCache, 6),
    library("slotmap::", UnboundedCache, 4),
    library("slab::", GrowingCollection, 4),
    library("lru::", UnboundedCache, 6),
    library("quick_cache::", UnboundedCache, 6),
    library("cached::", UnboundedCache, 6),
    library("im::", UnboundedCache, 4),
    library("string_interner::", UnboundedCache, 6),
    library("lasso::", UnboundedCache, 6),
    program("cache", UnboundedCache, 4),
    program("cached", UnboundedCache, 4),
    program("memo", UnboundedCache, 4),
    program("memoize", UnboundedCache, 4),
    program("remember", UnboundedCache, 3),
    program("lookup", UnboundedCache, 3),
    program("look_up", UnboundedCache, 3),
    program("resolve", UnboundedCache, 2),
    program("intern", UnboundedCache, 3),
    program("seen", UnboundedCache, 3),
    program("dedup", UnboundedCache, 4),
    program("deduplicate", UnboundedCache, 4),
    program("deduplicator", UnboundedCache, 4),
    program("index", UnboundedCache, 1),
    // Channels and queues.
    library("VecDeque", QueueBacklog, 7),
    library("mpsc::", QueueBacklog, 8),
    library("mpmc::", QueueBacklog, 8),
    library("crossbeam_channel::", QueueBacklog, 8),
    library("crossbeam_queue::", QueueBacklog, 8),
    library("flume::", QueueBacklog, 8),
    library("kanal::", QueueBacklog, 8),
    library("async_channel::", QueueBacklog, 8),
    library("SegQueue", QueueBacklog, 8),
    library("futures_channel::", QueueBacklog, 8),
    library("ArrayQueue", QueueBacklog, 6),
    library("BinaryHeap", QueueBacklog, 5),
    library("linked_list::LinkedList", QueueBacklog, 5),
    program("queue", QueueBacklog, 4),
    program("enqueue", QueueBacklog, 5),
    program("backlog", QueueBacklog, 5),
    program("send", QueueBacklog, 3),
    program("emit", QueueBacklog, 3),
    program("publish", QueueBacklog, 3),
    program("produce", QueueBacklog, 3),
    program("producer", QueueBacklog, 3),
    program("outbox", QueueBacklog, 4),
    program("inbox", QueueBacklog, 4),
    program("intake", QueueBacklog, 4),
    program("pending", QueueBacklog, 3),
    program("submit_job", QueueBacklog, 3),
    // Timers.
    library("tokio::time::", UnclearedTimer, 9),
    library("async_io::Timer", UnclearedTimer, 9),
    library("futures_timer::", UnclearedTimer, 9),
    library("tokio_util::time::", UnclearedTimer, 9),
    library("gloo_timers::", UnclearedTimer, 9),
    program("timer", UnclearedTimer, 6),
    program("timers", UnclearedTimer, 6),
    program("interval", UnclearedTimer, 6),
    program("timeout", UnclearedTimer, 5),
    program("heartbeat", UnclearedTimer, 6),
    program("schedule", UnclearedTimer, 4),
    program("ticker", UnclearedTimer, 5),
    program("keep_alive", UnclearedTimer, 5),
    program("keepalive", UnclearedTimer, 5),
    program("refresh", UnclearedTimer, 3),
    program("poll_every", UnclearedTimer, 4),
    // Listeners.
    library("broadcast::", ListenerNeverRemoved, 9),
    library("watch::", ListenerNeverRemoved, 6),
    library("event_listener::", ListenerNeverRemoved, 6),
    library("async_broadcast::", ListenerNeverRemoved, 9),
    library("tokio::sync::notify::", ListenerNeverRemoved, 6),
    library("signal_hook", ListenerNeverRemoved, 5),
    program("listener", ListenerNeverRemoved, 6),
    program("listeners", ListenerNeverRemoved, 6),
    program("listen", ListenerNeverRemoved, 3),
    program("subscribe", ListenerNeverRemoved, 7),
    program("subscriber", ListenerNeverRemoved, 6),
    program("subscribers", ListenerNeverRemoved, 6),
    program("subscription", ListenerNeverRemoved, 6),
    program("observer", ListenerNeverRemoved, 6),
    program("observers", ListenerNeverRemoved, 6),
    program("observe", ListenerNeverRemoved, 5),
    program("callback", ListenerNeverRemoved, 5),
    program("callbacks", ListenerNeverRemoved, 5),
    program("handler", ListenerNeverRemoved, 3),
    program("handlers", ListenerNeverRemoved, 4),
    program("on", ListenerNeverRemoved, 4),
    program("hook", ListenerNeverRemoved, 3),
    program("watcher", ListenerNeverRemoved, 4),
    program("alert", ListenerNeverRemoved, 3),
    program("register", ListenerNeverRemoved, 4),
    // Tasks and threads.
    library("tokio::task::", TaskNeverFinished, 5),
    library("tokio::runtime::task::", TaskNeverFinished, 5),
    library("async_task::", TaskNeverFinished, 6),
    library("async_std::task::", TaskNeverFinished, 6),
    library("smol::", TaskNeverFinished, 4),
    library("futures_util::stream::futures_unordered::", TaskNeverFinished, 8),
    library("JoinSet", TaskNeverFinished, 7),
    library("rayon::", TaskNeverFinished, 4),
    program("spawn", TaskNeverFinished, 3),
    program("task", TaskNeverFinished, 3),
    library("std::thread::", ThreadNeverJoined, 8),
    library("std::sys::thread", ThreadNeverJoined, 8),
    library("std::sys::pal::unix::thread", ThreadNeverJoined, 8),
    library("pthread_create", ThreadNeverJoined, 8),
    program("thread", ThreadNeverJoined, 4),
    program("watchdog", ThreadNeverJoined, 3),
    program("worker_thread", ThreadNeverJoined, 4),
    // Forgotten, or leaked on purpose.
    library("::leak", Forgotten, 10),
    library("mem::forget", Forgotten, 10),
    library("into_raw", Forgotten, 8),
    library("ManuallyDrop", Forgotten, 4),
    library("CString::into_raw", Forgotten, 8),
    library("CString::", Forgotten, 3),
    library("strdup", Forgotten, 5),
    program("leak", Forgotten, 6),
    program("forget", Forgotten, 6),
    program("into_raw", Forgotten, 6),
    program("ffi", Forgotten, 4),
    program("dma", Forgotten, 3),
    program("static_str", Forgotten, 4),
    // Values that point at each other.
    library("alloc::rc::Rc", ReferenceCycle, 2),
    library("alloc::sync::Arc", ReferenceCycle, 2),
    program("node", ReferenceCycle, 4),
    program("parent", ReferenceCycle, 5),
    program("child", ReferenceCycle, 4),
    program("children", ReferenceCycle, 4),
    program("graph", ReferenceCycle, 4),
    program("tree", ReferenceCycle, 3),
    program("link", ReferenceCycle, 3),
    program("cycle", ReferenceCycle, 6),
    program("document", ReferenceCycle, 3),
    program("weak", ReferenceCycle, 5),
    // Logs and buffers.
    library("bytes::bytes_mut::", GrowingBuffer, 6),
    program("log", GrowingBuffer, 4),
    program("journal", GrowingBuffer, 5),
    program("transcript", GrowingBuffer, 5),
    program("buffer", GrowingBuffer, 4),
    program("trace", GrowingBuffer, 3),
    // Capacity.
    program("scratch", RetainedCapacity, 6),
    program("pool", RetainedCapacity, 4),
    program("reuse", RetainedCapacity, 5),
    program("recycle", RetainedCapacity, 5),
    program("capacity", RetainedCapacity, 5),
    // Collections of things that happened.
    program("history", GrowingCollection, 2),
    program("audit", GrowingCollection, 5),
    program("record", GrowingCollection, 2),
    program("append", GrowingCollection, 4),
    program("collect", GrowingCollection, 3),
    program("push", GrowingCollection, 4),
];

/// How many of the program's own frames, from the innermost, have a say.
const PROGRAM_FRAMES: usize = 3;
/// How many library frames at the leaf have a say: what is called, not what calls the program.
const LIBRARY_FRAMES: usize = 14;
/// A sum below this is no more than a coincidence of names.
const SUM_MIN: u32 = 3;

/// Parts of names behind the growth of something that holds values in one buffer or table.
const BUFFERS: &[&str] = &[
    "grow_one",
    "grow_amortized",
    "grow_exact",
    "finish_grow",
    "reserve_rehash",
    "reserve",
    "VecDeque",
    "hashbrown::",
    "dashmap::",
    "indexmap::",
];
/// The same where values are held in many nodes or chunks.
const NODES: &[&str] =
    &["btree::", "mpsc::", "mpmc::", "linked_list::", "lru::LruEntry", "crossbeam", "SegQueue", "skiplist"];

/// Whether what is allocated here holds values, and grows with their number: the buffer of a vector, the table of a map,
/// the nodes of a tree.
pub(super) fn is_holder(stack: &FoldedStack) -> bool {
    names_at_the_leaf(stack).any(|name| BUFFERS.iter().chain(NODES).any(|part| name.contains(part)))
}

/// Whether it is a node or chunk of something that holds values in many.
pub(super) fn is_node(stack: &FoldedStack) -> bool {
    names_at_the_leaf(stack).any(|name| NODES.iter().any(|part| name.contains(part)))
}

/// Plumbing and libraries between the allocation and the program.
fn names_at_the_leaf(stack: &FoldedStack) -> impl Iterator<Item = &str> {
    let libraries = stack.frames.iter().take_while(|frame| frame.origin != Origin::Program);
    stack.plumbing.iter().map(String::as_str).chain(libraries.map(|frame| frame.function.name.as_str()))
}

/// What else the program does, as far as it tells about a site.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Circumstances {
    /// The share of its blocks that was freed, 0 to 1.
    pub freed_share: f64,
    /// Whether it was resized in place.
    pub resized: bool,
}

/// Says what makes a site grow.
#[must_use]
pub fn explain(
    stack: &FoldedStack,
    shape: Shape,
    circumstances: Circumstances,
    size: Option<SizeSummary>,
) -> Explained {
    let Circumstances { freed_share, resized } = circumstances;
    let (cause, clues) = winner(stack, shape, freed_share);
    let container = stack.plumbing.iter().map(|name| normal_name(name)).find(|name| !is_mute(name));
    let shape_text = match shape {
        Shape::MoreBlocks => "more and more blocks",
        Shape::OneBlockGrows if resized => "one block that is resized again and again",
        Shape::OneBlockGrows => "one block that is replaced by ever larger ones",
        Shape::BlocksGrow => "the same blocks, ever larger",
    };
    let allocated_by = container.map_or_else(String::new, |name| format!(", allocated by {name}"));
    let named = if clues.is_empty() { String::new() } else { format!("; its stack speaks of {}", clues.join(", ")) };
    let sizes = size
        .filter(|size| size.smallest == size.largest)
        .map_or_else(String::new, |size| format!(" of {} bytes each", size.largest));
    let blocks = if shape == Shape::MoreBlocks { sizes } else { String::new() };
    Explained {
        cause,
        evidence: format!("{shape_text}{blocks}{allocated_by}{named}"),
        advice: advice(cause).to_owned(),
    }
}

/// The cause with the largest sum, and the words that spoke for it.
fn winner(stack: &FoldedStack, shape: Shape, freed_share: f64) -> (Cause, Vec<&'static str>) {
    let texts = Texts::of(stack);
    let mut sums: Vec<(Cause, u32, Vec<&'static str>)> = Vec::new();
    // A map in a value that was parsed is part of the value.
    let parsed = texts.libraries.iter().any(|name| name.contains("serde"));
    for clue in CLUES {
        if parsed && clue.place == Place::Library && clue.cause == UnboundedCache {
            continue;
        }
        let found = match clue.place {
            Place::Library => texts.libraries.iter().any(|name| name.contains(clue.text)),
            Place::Program => texts.words.iter().any(|words| has_words(words, clue.text)),
        };
        if !found {
            continue;
        }
        match sums.iter_mut().find(|(cause, ..)| *cause == clue.cause) {
            // Paths of one library say the same thing: the heaviest counts. Words of the program add up.
            Some((_, sum, clues)) => {
                *sum = if clue.place == Place::Library { (*sum).max(clue.weight) } else { *sum + clue.weight };
                clues.push(clue.text);
            }
            None => sums.push((clue.cause, clue.weight, vec![clue.text])),
        }
    }
    let fits = |cause: Cause| match shape {
        // A growing table is a map's; a growing vector a buffer or what the names say it holds.
        Shape::OneBlockGrows => !matches!(cause, ReferenceCycle | TaskNeverFinished | ThreadNeverJoined | Forgotten),
        // Or the tables of a map in parts.
        Shape::BlocksGrow => matches!(cause, RetainedCapacity | GrowingBuffer | UnboundedCache),
        Shape::MoreBlocks => !matches!(cause, RetainedCapacity | GrowingBuffer),
    };
    // What is freed most of the time is not forgotten, and in no cycle.
    let often_freed = |cause: Cause| freed_share > 0.8 && matches!(cause, Forgotten | ReferenceCycle);
    sums.retain(|(cause, sum, _)| fits(*cause) && !often_freed(*cause) && *sum >= SUM_MIN);
    let best = sums.into_iter().reduce(|best, next| if next.1 > best.1 { next } else { best });
    match (best, shape) {
        (Some((cause, _, clues)), _) => (cause, clues),
        (None, Shape::OneBlockGrows) => (GrowingBuffer, Vec::new()),
        // What is pushed one by one stays in them.
        (None, Shape::BlocksGrow) if texts.libraries.iter().any(|name| name.contains("::grow_one")) => {
            (GrowingCollection, Vec::new())
        }
        (None, Shape::BlocksGrow) => (RetainedCapacity, Vec::new()),
        (None, Shape::MoreBlocks) => (GrowingCollection, Vec::new()),
    }
}

struct Texts {
    /// Normalised paths of plumbing and libraries at the leaf.
    libraries: Vec<String>,
    /// The words of each of the program's innermost functions.
    words: Vec<Vec<String>>,
}

impl Texts {
    fn of(stack: &FoldedStack) -> Self {
        let mut libraries: Vec<String> = stack.plumbing.iter().map(|name| normal_name(name)).collect();
        let mut words = Vec::new();
        for frame in &stack.frames {
            let name = normal_name(&frame.function.name);
            if frame.origin == Origin::Program {
                words.push(words_of(&name));
                if words.len() == PROGRAM_FRAMES {
                    break;
                }
            } else if words.is_empty() && libraries.len() < stack.plumbing.len() + LIBRARY_FRAMES {
                libraries.push(name);
            }
        }
        Self { libraries, words }
    }
}

/// The words of a path, split at punctuation and capitals: `a::keep_alive::JobQueue` has keep, alive, job, queue. The
/// crate's own name says nothing of the function.
fn words_of(name: &str) -> Vec<String> {
    let path = name.split_once("::").map_or(name, |(_, rest)| rest);
    let mut words: Vec<String> = Vec::new();
    let mut fresh = true;
    let mut after_lower = false;
    for c in path.chars() {
        if !c.is_alphanumeric() {
            fresh = true;
            continue;
        }
        if fresh || (c.is_uppercase() && after_lower) {
            words.push(String::new());
        }
        fresh = false;
        after_lower = c.is_lowercase() || c.is_numeric();
        if let Some(word) = words.last_mut() {
            word.extend(c.to_lowercase());
        }
    }
    words
}

/// Whether the words of a clue, joined by underscores, stand in a row.
fn has_words(words: &[String], clue: &str) -> bool {
    let wanted: Vec<&str> = clue.split('_').collect();
    words.windows(wanted.len()).any(|row| row.iter().zip(&wanted).all(|(word, wanted)| word == wanted))
}

pub(super) const fn advice(cause: Cause) -> &'static str {
    match cause {
        UnboundedCache => "bound it: an LRU or time-to-live cache, or remove entries when what they belong to ends",
        GrowingBuffer => "write it out and clear it in time, or cap its length; clear alone keeps the capacity",
        QueueBacklog => {
            "the consumer does not keep up: bound the channel so that producers wait or drop, and measure its length"
        }
        UnclearedTimer => "keep the timer's handle with what it serves, and abort it when that ends",
        ListenerNeverRemoved => {
            "return a guard from the subscription whose drop removes it, or prune dead ones on send"
        }
        TaskNeverFinished => {
            "find what the task waits for; give it a cancellation token, a timeout, or abort its handle"
        }
        ThreadNeverJoined => "give the thread a way to stop and join it, or serve its work from a pool",
        ReferenceCycle => {
            "break the cycle: one direction should be Weak; and let go of Weak handles, they keep the memory"
        }
        Forgotten => "drop what was forgotten or leaked, or make sure it happens a bounded number of times",
        RetainedCapacity => "call shrink_to after large uses, or do not put oversized buffers back",
        GrowingCollection => "remove entries when they are done with, or cap the collection",
        Cause::NotAHeapLeak => "the heap does not grow; look at the allocator, mapped files and thread stacks",
        Cause::Unknown => "look at who holds what is allocated here",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Function, fold};

    /// Frames leaf first; those with `~` before them are a dependency's.
    fn stack(frames: &[&str]) -> FoldedStack {
        let functions: Vec<Function> = frames
            .iter()
            .map(|name| {
                let (name, file) = match name.strip_prefix('~') {
                    Some(name) => (name, "/home/x/.cargo/registry/src/index/tokio-1.54.1/src/x.rs"),
                    None if ["std::", "core::", "alloc::", "hashbrown::", "__rust", "<alloc"]
                        .iter()
                        .any(|p| name.starts_with(p)) =>
                    {
                        (*name, "/rustc/abc/library/x.rs")
                    }
                    None => (*name, "src/main.rs"),
                };
                Function { name: name.into(), file: Some(file.into()), line: Some(1) }
            })
            .collect();
        fold(&functions)
    }

    fn check(frames: &[&str], shape: Shape, cause: Cause) {
        let circumstances = Circumstances { freed_share: 0.0, resized: true };
        let explained = explain(&stack(frames), shape, circumstances, None);
        assert_eq!(explained.cause, cause, "{frames:?}: {}", explained.evidence);
        assert!(!explained.advice.is_empty());
    }

    #[test]
    fn containers_and_libraries_speak() {
        use Shape::{BlocksGrow, MoreBlocks, OneBlockGrows};
        for (frames, shape, cause) in [
            (
                &[
                    "hashbrown::raw::RawTable<T,A>::reserve_rehash",
                    "std::collections::hash::map::HashMap<K,V,S>::insert",
                    "shop::put",
                ][..],
                OneBlockGrows,
                UnboundedCache,
            ),
            (&["alloc::collections::btree::node::LeafNode<K,V>::new", "shop::put"], MoreBlocks, UnboundedCache),
            (&["alloc::collections::vec_deque::VecDeque<T,A>::grow", "shop::put"], OneBlockGrows, QueueBacklog),
            (
                &[
                    "alloc::boxed::Box<T>::new",
                    "std::sync::mpmc::list::Channel<T>::send",
                    "std::sync::mpsc::Sender<T>::send",
                    "shop::put",
                ],
                MoreBlocks,
                QueueBacklog,
            ),
            (
                &["alloc::boxed::Box<T>::new", "~tokio::sync::mpsc::block::Block<T>::new", "shop::put"],
                MoreBlocks,
                QueueBacklog,
            ),
            (
                &["alloc::boxed::Box<T>::pin", "~tokio::time::interval::interval", "shop::put"],
                MoreBlocks,
                UnclearedTimer,
            ),
            (
                &["alloc::vec::Vec<T>::push", "~tokio::sync::broadcast::Sender<T>::subscribe", "shop::put"],
                MoreBlocks,
                ListenerNeverRemoved,
            ),
            (
                &[
                    "alloc::boxed::Box<T>::new",
                    "~tokio::runtime::task::core::Cell<T,S>::new",
                    "~tokio::task::spawn::spawn",
                    "shop::put",
                ],
                MoreBlocks,
                TaskNeverFinished,
            ),
            (
                &["alloc::sync::Arc<T>::new", "std::thread::Builder::spawn_unchecked", "shop::put"],
                MoreBlocks,
                ThreadNeverJoined,
            ),
            (&["alloc::boxed::Box<T,A>::leak", "shop::put"], MoreBlocks, Forgotten),
            (&["alloc::raw_vec::finish_grow", "alloc::vec::Vec<T>::push", "shop::put"], OneBlockGrows, GrowingBuffer),
            (&["alloc::vec::Vec<T>::with_capacity", "shop::put"], BlocksGrow, RetainedCapacity),
            (&["alloc::vec::Vec<T>::with_capacity", "shop::put"], MoreBlocks, GrowingCollection),
        ] {
            check(frames, shape, cause);
        }
    }

    #[test]
    fn the_programs_words_speak_where_containers_are_mute() {
        for (name, cause) in [
            ("shop::cache::remember", UnboundedCache),
            ("shop::Deduplicator::is_new", UnboundedCache),
            ("shop::PriceFeed::subscribe", ListenerNeverRemoved),
            ("shop::EventBus::add_listener", ListenerNeverRemoved),
            ("shop::Window::on_click", ListenerNeverRemoved),
            ("shop::session::start_heartbeat", UnclearedTimer),
            ("shop::JobQueue::enqueue", QueueBacklog),
            ("shop::Tree::add_child", ReferenceCycle),
            ("shop::ffi::into_raw_handle", Forgotten),
            ("shop::audit::append", GrowingCollection),
            ("shop::Basket::add", GrowingCollection),
            // Words inside other words are not meant.
            ("shop::catalog::add", GrowingCollection),
            ("shop::blocking::run", GrowingCollection),
            ("shop::condition::add", GrowingCollection),
            ("cache::main", GrowingCollection),
        ] {
            check(&["alloc::boxed::Box<T>::new", name, "shop::main"], Shape::MoreBlocks, cause);
        }
    }

    #[test]
    fn what_is_mostly_freed_is_not_forgotten() {
        let leaked = stack(&["alloc::boxed::Box<T,A>::leak", "shop::put"]);
        let circumstances = Circumstances { freed_share: 0.95, resized: false };
        assert_ne!(explain(&leaked, Shape::MoreBlocks, circumstances, None).cause, Forgotten);
    }

    #[test]
    fn names_fall_into_words() {
        assert_eq!(words_of("a::keep_alive::JobQueue"), ["keep", "alive", "job", "queue"]);
        assert_eq!(words_of("main"), ["main"]);
        assert!(has_words(&words_of("a::keep_alive"), "keep_alive"));
        assert!(!has_words(&words_of("a::keep::x_alive"), "keep_alive"));
    }
}
