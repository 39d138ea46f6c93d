//! Findings explain each other: the value put into a map is allocated before the map is reached, and only the map's own table,
//! another site of the same function or of one that calls it, shows what holds it. Where nothing in the whole program grows that
//! could hold so many blocks, they hold each other, or nobody holds them.

use super::cause::{self, Shape};
use super::judgement::{Cause, Finding, Verdict};
use crate::model::{FoldedStack, Origin, plain_name};
use std::collections::HashMap;

/// A pointer takes eight bytes, and a buffer that doubles may have room for all that came since.
const BYTES_OF_A_POINTER: f64 = 4.0;
/// What is freed more often than this is not forgotten, and in no cycle.
const FREED_SHARE_MAX: f64 = 0.8;
/// How many of the program's functions outwards from the allocation may be where the value is put away.
pub(super) const CALLERS: usize = 3;

/// A finding with what the verdict does not need.
pub(super) struct Relative {
    pub(super) finding: Finding,
    pub(super) shape: Shape,
    /// The share of its blocks that was freed.
    pub(super) freed_share: f64,
    /// Whether it is taken for forgotten for the one reason that nothing holds it.
    forsaken: bool,
}

impl Relative {
    pub(super) const fn new(finding: Finding, shape: Shape, freed_share: f64) -> Self {
        Self { finding, shape, freed_share, forsaken: false }
    }

    /// Whether its growth can be in another's. Capacity that is kept holds no blocks; and what is bounded by now, such as a
    /// table that has room for a while, must have grown by a pointer for each.
    fn may_be_in(&self, other: &Self) -> bool {
        let blocks = self.shape == Shape::MoreBlocks;
        let room = other.finding.growth_bytes as f64 >= BYTES_OF_A_POINTER * self.finding.growth_blocks as f64;
        match other.finding.verdict {
            Verdict::Bounded => blocks && holds(other) && room,
            Verdict::Leaking | Verdict::Inconclusive => !blocks || other.finding.cause != Cause::RetainedCapacity,
        }
    }
}

/// Gives findings whose cause is general the special one of a relative, then those that nothing holds theirs.
pub(super) fn settle(mut family: Vec<Relative>) -> Vec<Finding> {
    adopt(&mut family);
    orphan(&mut family);
    // What belongs to values that hold each other, does too.
    adopt(&mut family);
    family.into_iter().map(|one| one.finding).collect()
}

fn adopt(family: &mut [Relative]) {
    let mut by_place: HashMap<String, Vec<usize>> = HashMap::new();
    for (number, one) in family.iter().enumerate() {
        let explains = one.finding.growth_bytes > 0 && !is_general(one.finding.cause) && !one.forsaken;
        if let Some(place) = places(&one.finding.stack).next().filter(|_| explains) {
            by_place.entry(place).or_default().push(number);
        }
    }
    // The one that grows most holds most.
    for near in by_place.values_mut() {
        near.sort_by_key(|other| std::cmp::Reverse(family[*other].finding.growth_bytes));
    }
    for number in 0..family.len() {
        let own = &family[number];
        if !is_general(own.finding.cause) && !own.forsaken {
            continue;
        }
        // A buffer is what grows itself; values are put away further out.
        let reach = if own.shape == Shape::MoreBlocks { CALLERS } else { 1 };
        let explaining = |place: String| by_place.get(&place)?.iter().find(|other| own.may_be_in(&family[**other]));
        let Some(other) = places(&own.finding.stack).take(reach).find_map(explaining) else { continue };
        let (cause, advice) = (family[*other].finding.cause, family[*other].finding.advice.clone());
        (family[number].finding.cause, family[number].finding.advice) = (cause, advice);
    }
}

/// The program's functions from the innermost outwards, closures by the function around them. The outermost one, from which
/// everything is called, only where there is no other.
pub(super) fn places(stack: &FoldedStack) -> impl Iterator<Item = String> {
    let own = stack.frames.iter().filter(|frame| frame.origin == Origin::Program);
    let mut names: Vec<String> =
        own.map(|frame| around_closures(&plain_name(&frame.function.name)).to_owned()).collect();
    names.dedup();
    if names.len() > 1 {
        names.pop();
    }
    names.into_iter()
}

fn around_closures(name: &str) -> &str {
    name.split_once("::{closure").map_or(name, |(function, _)| function)
}

/// Blocks that stay one by one, and for which nothing that could hold them has grown by a pointer each.
fn orphan(family: &mut [Relative]) {
    let room = |one: &Relative| {
        let growth = one.finding.growth_bytes.max(0) as u64;
        // A vector or table may be allocated in the line of what it holds, and so at the same site.
        let largest = one.finding.size.filter(|_| cause::is_holder(&one.finding.stack)).map_or(0, |size| size.largest);
        if holds(one) { growth as f64 } else { largest.min(growth) as f64 }
    };
    let whole: f64 = family.iter().map(room).sum();
    for one in family {
        let finding = &mut one.finding;
        let single = one.shape == Shape::MoreBlocks && finding.cause == Cause::GrowingCollection;
        let needed = BYTES_OF_A_POINTER * finding.growth_blocks as f64;
        if !single || one.freed_share >= FREED_SHARE_MAX || finding.growth_blocks <= 0 || whole >= needed {
            continue;
        }
        let counted = |name: &String| name.contains("rc::Rc") || name.contains("sync::Arc");
        let shared = finding.stack.plumbing.iter().any(counted);
        finding.cause = if shared { Cause::ReferenceCycle } else { Cause::Forgotten };
        one.forsaken = !shared;
        finding.advice = cause::advice(finding.cause).to_owned();
        if let Some(evidence) = finding.evidence.iter_mut().find(|evidence| evidence.rule == "cause") {
            evidence.text.push_str("; nothing grows that could hold them");
        }
    }
}

/// Whether it has room for pointers to what others allocate: a buffer or table that grows, or the nodes of a tree, a list or a
/// queue. A small vector in each of many values is not what holds the values.
fn holds(one: &Relative) -> bool {
    match one.shape {
        Shape::OneBlockGrows | Shape::BlocksGrow => cause::is_holder(&one.finding.stack),
        Shape::MoreBlocks => cause::is_node(&one.finding.stack),
    }
}

const fn is_general(cause: Cause) -> bool {
    matches!(cause, Cause::GrowingCollection | Cause::GrowingBuffer | Cause::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::cause::{Circumstances, explain};
    use crate::model::{Amount, Function, SiteKey, SizeSummary, fold};

    /// A finding by the names of its stack, leaf first, those of the standard library with `std` or `alloc` in front.
    fn relative(frames: &[&str], shape: Shape, growth: (i64, i64)) -> Relative {
        let functions: Vec<Function> = frames
            .iter()
            .map(|name| {
                let known = ["std::", "alloc::", "hashbrown::"].iter().any(|part| name.starts_with(part));
                let file = if known { "/rustc/abc/library/x.rs" } else { "src/main.rs" };
                Function { name: (*name).into(), file: Some(file.into()), line: Some(1) }
            })
            .collect();
        let stack = fold(&functions);
        let explained = explain(&stack, shape, Circumstances { freed_share: 0.0, resized: false }, None);
        let finding = Finding {
            verdict: Verdict::Leaking,
            probability: 1.0,
            cause: explained.cause,
            key: SiteKey { code: 0, lines: 0 },
            stack,
            scope: None,
            live: Amount::default(),
            growth_bytes: growth.1,
            growth_blocks: growth.0,
            rate_bytes_per_second: None,
            rate_blocks_per_second: None,
            per_iteration: None,
            size: None,
            threads: Vec::new(),
            modules: Vec::new(),
            evidence: Vec::new(),
            advice: explained.advice,
            more_ms: None,
            settled_ms: None,
            standing: None,
            accepted: None,
        };
        Relative::new(finding, shape, 0.0)
    }

    fn check(family: Vec<Relative>, expected: &[Cause]) {
        let causes: Vec<Cause> = settle(family).iter().map(|finding| finding.cause).collect();
        assert_eq!(causes, expected);
    }

    const STRING: &str = "alloc::string::String::clone";
    const TABLE: &str = "hashbrown::raw::RawTable<T,A>::reserve_rehash";

    #[test]
    fn a_value_is_held_by_what_the_function_or_its_caller_puts_it_into() {
        let table = |function| relative(&[TABLE, function, "a::main"], Shape::OneBlockGrows, (0, 4000));
        let value = |functions: &[&str]| {
            let frames: Vec<&str> = [STRING].iter().chain(functions).chain(&["a::main"]).copied().collect();
            relative(&frames, Shape::MoreBlocks, (100, 4000))
        };
        use Cause::{GrowingCollection, UnboundedCache};
        check(vec![value(&["a::look"]), table("a::look")], &[UnboundedCache; 2]);
        check(vec![value(&["a::look::{{closure}}"]), table("a::look")], &[UnboundedCache; 2]);
        check(vec![value(&["a::text", "a::look"]), table("a::look")], &[UnboundedCache; 2]);
        // Everything is called from main.
        check(vec![value(&["a::text"]), table("a::main")], &[GrowingCollection, UnboundedCache]);
        // A buffer that grows beside a map in a caller is no map.
        let journal = relative(&[STRING, "a::note", "a::look", "a::main"], Shape::OneBlockGrows, (0, 4000));
        check(vec![journal, table("a::look")], &[Cause::GrowingBuffer, UnboundedCache]);
    }

    #[test]
    fn what_nothing_holds_is_forgotten_or_in_a_cycle() {
        let value = |frames: &[&str]| relative(frames, Shape::MoreBlocks, (100, 4000));
        let counted = || value(&["alloc::boxed::Box<T>::new", "alloc::rc::Rc<T>::new", "a::befriend", "a::main"]);
        use Cause::{Forgotten, GrowingCollection, QueueBacklog, ReferenceCycle};
        check(vec![value(&[STRING, "a::put", "a::main"])], &[Forgotten]);
        // What a cycle's values hold is in it; a small vector in each holds none of them.
        let inside =
            value(&["alloc::raw_vec::RawVec<T,A>::grow_one", "alloc::vec::Vec<T>::push", "a::befriend", "a::main"]);
        check(vec![counted(), inside, value(&[STRING, "a::name", "a::befriend", "a::main"])], &[ReferenceCycle; 3]);
        // The table of the map may be at the site of what it holds.
        let mut merged = value(&[STRING, TABLE, "a::cache", "a::main"]);
        merged.finding.size = Some(SizeSummary { smallest: 16, largest: 2000 });
        check(vec![counted(), merged], &[GrowingCollection, Cause::UnboundedCache]);
        check(vec![counted()], &[ReferenceCycle]);
        // A vector with room for a pointer to each.
        let vector = |bytes| {
            let frames = ["alloc::raw_vec::RawVec<T,A>::grow_one", "alloc::vec::Vec<T>::push", "a::keep", "a::main"];
            relative(&frames, Shape::OneBlockGrows, (0, bytes))
        };
        check(vec![value(&[STRING, "a::put", "a::main"]), vector(800)], &[GrowingCollection, Cause::GrowingBuffer]);
        check(vec![value(&[STRING, "a::put", "a::main"]), vector(80)], &[Forgotten, Cause::GrowingBuffer]);
        let sent = value(&["alloc::boxed::Box<T>::new", "std::sync::mpsc::Sender<T>::send", "a::put", "a::main"]);
        check(vec![sent], &[QueueBacklog]);
    }
}
