//! Shared by the unwinder's tests: one function that takes its own stack in every way and compares, and random call trees to call it
//! from. Knows nothing of the recorder.

#![allow(dead_code, reason = "each test program uses its part")]

pub(crate) mod machine;

use leakcheck::unwind::{End, Glanced, Registers, Unwinder, Walk};
use std::collections::HashMap;
use std::hint::black_box;

/// Two unwinders, one that takes over what it can and one that never does, and room for the oracle's frames.
pub(crate) struct Checker {
    pub(crate) kept: Box<Unwinder>,
    pub(crate) fresh: Box<Unwinder>,
    pub(crate) expected: Vec<usize>,
    pub(crate) depth_max: u32,
    pub(crate) checks: u64,
    pub(crate) frames: u64,
    pub(crate) taken_over: u64,
    pub(crate) mistakes: Vec<String>,
    /// One more oracle, asked together with the `backtrace` crate.
    pub(crate) witness: Option<Box<dyn Witness + Send>>,
    previous: Vec<usize>,
    /// One more that first tries to recognise each stack, as the recorder does, and what its keys stand for.
    recognising: Box<Unwinder>,
    by_key: HashMap<u64, (u64, Vec<usize>)>,
    pub(crate) recognised: u64,
    pub(crate) otherwise: u64,
    pub(crate) glanced: u64,
}

/// An oracle that only some test programs have.
pub(crate) trait Witness {
    /// Takes the stack; the first frame is the one that called [`Checker::check`], which calls this. Not inlined.
    fn take(&mut self);

    /// Compares it with what was walked and with what the `backtrace` crate says, both leaf first and at most `depth_max` frames.
    fn compare(&mut self, walked: &mut dyn Iterator<Item = usize>, backtrace: &[usize], depth_max: usize);
}

/// How [`Checker::check`] compares.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Oracle {
    /// The `backtrace` crate, and a walk with nothing kept.
    Backtrace,
    /// A walk with nothing kept only.
    Fresh,
}

impl Checker {
    pub(crate) fn new(depth_max: u32) -> Self {
        leakcheck::unwind::prepare().expect("this program can be walked");
        Self {
            kept: Unwinder::boxed(),
            fresh: Unwinder::boxed(),
            expected: Vec::with_capacity(100_000),
            depth_max,
            checks: 0,
            frames: 0,
            taken_over: 0,
            mistakes: Vec::with_capacity(16),
            witness: None,
            previous: Vec::with_capacity(2048),
            recognising: Unwinder::boxed(),
            by_key: HashMap::new(),
            recognised: 0,
            otherwise: 0,
            glanced: 0,
        }
    }

    /// Takes the stack from here outward and compares.
    #[inline(never)]
    pub(crate) fn check(&mut self, oracle: Oracle) {
        let registers = Registers::here();
        // SAFETY: a checker stays on its thread, `prepare` ran in `new`, and the registers are this function's.
        let (key, glanced, walk, fresh) = unsafe {
            let known = |key| self.by_key.contains_key(&key).then_some(key);
            let mut key = self.recognising.recognise(registers, known);
            if key.is_none()
                && let Some((found, way)) = self.recognising.recognise_otherwise(registers, known)
            {
                self.recognising.note_way(registers, way);
                self.otherwise += 1;
                key = Some(found);
            }
            let glanced = self.recognising.glance(registers, self.depth_max);
            let walk = self.kept.walk(self.depth_max);
            self.fresh.forget();
            (key, glanced, walk, self.fresh.walk(self.depth_max))
        };
        if let Some(hash) = glanced.hash {
            self.glanced += 1;
            if hash != fresh.hash && self.mistakes.len() < self.mistakes.capacity() {
                self.mistakes.push("a glance went astray".to_owned());
            }
        }
        // SAFETY: as above.
        unsafe { self.recognise(registers, key, glanced, fresh) };
        if oracle == Oracle::Backtrace {
            self.expected.clear();
            let (expected, mut is_past) = (&mut self.expected, false);
            // SAFETY: the standard library's `backtrace` takes no part here; concurrent calls into libgcc's unwinder are safe, and
            // symbols, which need the lock, are not asked for.
            unsafe {
                backtrace::trace_unsynchronized(|frame| {
                    let address = frame.ip().expose_provenance();
                    if is_past && address != 0 {
                        expected.push(address);
                    }
                    is_past |= std::ptr::eq(frame.symbol_address().cast::<()>(), Self::check as *const ());
                    expected.len() < expected.capacity()
                });
            }
            assert!(is_past, "the oracle did not pass this function");
            if let Some(witness) = &mut self.witness {
                witness.take();
            }
        }
        self.compare(oracle, walk, fresh);
    }

    /// Whether a key that stood for a stack before stands for the same one now. Unknown stacks are learnt.
    ///
    /// # Safety
    /// The registers are those of the function that called, which walked its stack.
    #[inline(never)]
    unsafe fn recognise(&mut self, registers: Registers, key: Option<u64>, glanced: Glanced, fresh: Walk) {
        if let Some((hash, frames)) = key.and_then(|key| self.by_key.get(&key)) {
            self.recognised += 1;
            if (*hash != fresh.hash || !frames.iter().copied().eq(self.fresh.frames().addresses()))
                && self.mistakes.len() < self.mistakes.capacity()
            {
                let frames: Vec<usize> = self.fresh.frames().addresses().collect();
                self.mistakes.push(format!("a stack was taken for another: {frames:x?}"));
            }
            return;
        }
        // SAFETY: by this function's contract.
        let (walk, learnt) = unsafe {
            (self.recognising.walk_from(registers, glanced, self.depth_max), self.recognising.learn(registers))
        };
        if walk.hash != fresh.hash && self.mistakes.len() < self.mistakes.capacity() {
            self.mistakes.push("a walk after stacks that were recognised differs".to_owned());
        }
        if let Some(learnt) = learnt {
            let frames = self.fresh.frames().addresses().collect();
            if let Some((hash, _)) = self.by_key.insert(learnt, (fresh.hash, frames))
                && hash != fresh.hash
            {
                self.mistakes.push("one key for two stacks".to_owned());
            }
        }
    }

    #[inline(never)]
    fn compare(&mut self, oracle: Oracle, walk: Walk, fresh: Walk) {
        self.checks += 1;
        self.frames += u64::from(walk.depth);
        self.taken_over += u64::from(walk.depth - walk.changed);
        let frames = self.kept.frames();
        let mut wrong = None;
        if (walk.hash, walk.depth, walk.end) != (fresh.hash, fresh.depth, fresh.end) {
            wrong = Some("kept and fresh walks differ");
        }
        if frames.len() != walk.depth as usize || !frames.addresses().eq(self.fresh.frames().addresses()) {
            wrong = Some("kept and fresh frames differ");
        }
        if !frames.iter().eq(self.fresh.frames().iter()) {
            wrong = Some("kept and fresh running hashes differ");
        }
        if frames.iter().next_back().is_some_and(|innermost| innermost.hash != walk.hash) {
            wrong = Some("the innermost running hash is not the walk's");
        }
        let unchanged = (walk.depth - walk.changed) as usize;
        if !frames.addresses().take(unchanged).eq(self.previous.iter().copied().take(unchanged)) {
            wrong = Some("a frame was called unchanged that did change");
        }
        if oracle == Oracle::Backtrace {
            let expected = &self.expected[..self.expected.len().min(self.depth_max as usize)];
            if !frames.addresses().rev().eq(expected.iter().copied()) {
                wrong = Some("differs from backtrace");
            }
            if let Some(witness) = &mut self.witness {
                witness.compare(&mut frames.addresses().rev(), expected, self.depth_max as usize);
            }
            let is_cut = self.expected.len() > self.depth_max as usize;
            if is_cut != (walk.end == End::DepthLimit) {
                wrong = Some("the end is not the one that backtrace found");
            }
        }
        if let Some(wrong) = wrong
            && self.mistakes.len() < self.mistakes.capacity()
        {
            let walked: Vec<usize> = frames.addresses().rev().collect();
            let expected = if oracle == Oracle::Backtrace {
                self.expected.clone()
            } else {
                self.fresh.frames().addresses().rev().collect()
            };
            let same = walked.iter().zip(&expected).take_while(|(a, b)| a == b).count();
            self.mistakes.push(format!(
                "{wrong}: {walk:?} against {fresh:?}, expected depth {}, first {same} frames equal, then {:x?} against {:x?}",
                expected.len(),
                &walked[same..walked.len().min(same + 4)],
                &expected[same..expected.len().min(same + 4)],
            ));
        }
        self.previous.clear();
        self.previous.extend(frames.addresses());
    }

    #[track_caller]
    pub(crate) fn finish(self, checks_min: u64) -> Self {
        assert!(self.mistakes.is_empty(), "{} mistakes:\n{}", self.mistakes.len(), self.mistakes.join("\n"));
        assert!(self.checks >= checks_min, "only {} checks", self.checks);
        self
    }
}

/// Small, fast, repeatable.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}

/// A random tree of calls through functions with frames of all sorts.
pub(crate) struct Tree {
    pub(crate) checker: Checker,
    pub(crate) random: Random,
    pub(crate) depth_max: u32,
    pub(crate) checks_max: u64,
    /// One check in this many asks the `backtrace` crate too, which is slow.
    pub(crate) oracle_every: u64,
}

type Node = fn(&mut Tree, u32) -> u64;

const NODES: [Node; 10] = [
    plain::<1, 0>,
    plain::<1, 1>,
    plain::<7, 2>,
    plain::<64, 3>,
    plain::<2048, 4>,
    aligned,
    very_aligned,
    closure,
    sixth_argument,
    boxed,
];

impl Tree {
    pub(crate) fn grow(&mut self) {
        while self.checker.checks < self.checks_max {
            self.descend(0);
        }
    }

    #[inline(never)]
    fn descend(&mut self, depth: u32) -> u64 {
        let mut sum = 0;
        for _ in 0..=self.random.below(3) {
            if self.checker.checks >= self.checks_max {
                break;
            }
            if depth >= self.depth_max || self.random.below(4) == 0 {
                let asked = self.checker.checks.is_multiple_of(self.oracle_every);
                self.checker.check(if asked { Oracle::Backtrace } else { Oracle::Fresh });
            } else {
                let node = NODES[self.random.below(NODES.len() as u64) as usize];
                sum += node(self, depth + 1);
            }
        }
        sum
    }
}

#[inline(never)]
fn plain<const WORDS: usize, const VARIANT: u64>(tree: &mut Tree, depth: u32) -> u64 {
    let mut local = [VARIANT; WORDS];
    black_box(&mut local);
    let sum = tree.descend(depth);
    black_box(&local);
    sum + local[WORDS / 2]
}

#[repr(align(64))]
struct Aligned([u64; 8]);

/// Realigns its stack, and so addresses its frame by BP.
#[inline(never)]
fn aligned(tree: &mut Tree, depth: u32) -> u64 {
    let mut local = Aligned([u64::from(depth); 8]);
    black_box(&mut local);
    let sum = tree.descend(depth);
    black_box(&local);
    sum + local.0[1]
}

#[repr(align(4096))]
struct VeryAligned([u64; 512]);

#[inline(never)]
fn very_aligned(tree: &mut Tree, depth: u32) -> u64 {
    let mut local = VeryAligned([0; 512]);
    black_box(&mut local);
    let sum = tree.descend(depth);
    black_box(&local);
    sum + local.0[9]
}

#[inline(never)]
fn closure(tree: &mut Tree, depth: u32) -> u64 {
    let factor = black_box(3);
    let mut call = |depth: u32| tree.descend(depth) ^ factor;
    let call: &mut dyn FnMut(u32) -> u64 = &mut call;
    black_box(call)(depth)
}

/// Passes arguments on the stack, so SP moves in the body.
#[inline(never)]
fn sixth_argument(tree: &mut Tree, depth: u32) -> u64 {
    #[inline(never)]
    #[expect(clippy::too_many_arguments, reason = "the last ones go over the stack")]
    fn many(a: u64, b: u64, c: u64, d: u64, e: u64, f: u64, g: u64, h: u64, tree: &mut Tree, depth: u32) -> u64 {
        let sum = tree.descend(depth);
        black_box(a + b + c + d + e + f + g + h + sum)
    }
    let x = u64::from(depth);
    many(x, x + 1, x + 2, x + 3, x + 4, x + 5, x + 6, x + 7, tree, depth) + x
}

#[inline(never)]
fn boxed(tree: &mut Tree, depth: u32) -> u64 {
    let call: Box<dyn FnOnce(&mut Tree) -> u64> = Box::new(move |tree| tree.descend(depth) + 1);
    let held = black_box(vec![depth; 3]);
    call(tree) + u64::from(held[1])
}

/// A tree for one thread with a stack of a few megabytes.
pub(crate) fn tree(seed: u64, depth_max: u32, checks_max: u64, oracle_every: u64) -> Tree {
    Tree { checker: Checker::new(256), random: Random::new(seed), depth_max, checks_max, oracle_every }
}
