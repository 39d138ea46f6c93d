//! Turns collected counts into a snapshot: frames, stacks, names.
//!
//! Runs on the writer's thread. The tables of frames and stacks only grow from one snapshot to the next, and each new
//! address is looked up once.

use super::collect::CollectedSite;
use super::{scopes, scratch, sites, thread_names, trial_words, trials};
use crate::model::{
    Frame, FrameId, Function, Module, ModuleId, ScopeId, Site, SiteId, Snapshot, StackId, StackNode, ThreadId,
};
use crate::symbolize::{self, LoadedModule};
use std::collections::HashMap;

/// Tables that go into every snapshot.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    loaded: Vec<LoadedModule>,
    modules: Vec<Module>,
    frames: Vec<Frame>,
    stacks: Vec<StackNode>,
    frame_of_address: HashMap<u64, FrameId>,
    stack_of_node: HashMap<u32, StackId>,
    /// Frames whose names are still to be looked up, with their addresses.
    nameless: Vec<(FrameId, u64)>,
}

impl Assembler {
    /// Fills in sites, stacks, frames, modules, scopes and threads; and the names of functions that
    /// have none yet, if `names` says so; it is asked only then.
    pub(super) fn fill(
        &mut self,
        snapshot: &mut Snapshot,
        collected: Vec<CollectedSite>,
        names: impl FnOnce() -> bool,
    ) {
        let scope_names = scopes::names();
        let mut scope_ids: HashMap<u32, ScopeId> = HashMap::new();
        let mut thread_ids: HashMap<u16, ThreadId> = HashMap::new();
        for one in collected {
            let Some(site) = sites::site_at(one.number) else { continue };
            let number = match site.scope() {
                word if trial_words::is_trial(word) => trial_words::word(trial_words::place_of(word), 0),
                number => number,
            };
            let scope = intern(&mut scope_ids, number, ScopeId, || {
                let name = if trial_words::is_trial(number) {
                    trials::name_of(number)
                } else {
                    scope_names.iter().find(|(other, _)| *other == number).map(|(_, name)| name.clone())
                };
                snapshot.scopes.push(name?);
                Some(snapshot.scopes.len() - 1)
            });
            let threads = site.threads().filter_map(|number| {
                intern(&mut thread_ids, number, ThreadId, || {
                    snapshot.threads.push(thread_names::name_of(number)?);
                    Some(snapshot.threads.len() - 1)
                })
            });
            snapshot.sites.push(Site {
                id: SiteId(one.number),
                stack: None,
                scope,
                counters: one.counters,
                size: one.size,
                survivors: one.survivors,
                threads: threads.collect(),
            });
        }
        for site in &mut snapshot.sites {
            site.stack = sites::site_at(site.id.0).and_then(|entry| self.stack_of(entry.node()));
        }
        if !self.nameless.is_empty() && names() {
            self.name_frames();
        }
        snapshot.modules = std::mem::take(&mut self.modules);
        snapshot.frames = std::mem::take(&mut self.frames);
        snapshot.stacks = std::mem::take(&mut self.stacks);
    }

    /// Takes the tables back out of a snapshot that is done with.
    pub(super) fn take_back(&mut self, snapshot: Snapshot) {
        self.modules = snapshot.modules;
        self.frames = snapshot.frames;
        self.stacks = snapshot.stacks;
    }

    /// Looks up the names of frames, all at once: the memory it takes is given back at the end.
    fn name_frames(&mut self) {
        let named = scratch::while_looking_up(|| {
            let named: Vec<Vec<Function>> =
                self.nameless.iter().map(|(_, address)| symbolize::functions_at(*address)).collect();
            symbolize::forget_debug_information();
            named
        });
        for ((frame, _), functions) in self.nameless.drain(..).zip(&named) {
            self.frames[frame.index()].functions.clone_from(functions);
        }
    }

    fn stack_of(&mut self, node: u32) -> Option<StackId> {
        let mut missing = Vec::new();
        let mut known = None;
        let mut next = node;
        while next != sites::ROOT {
            if let Some(stack) = self.stack_of_node.get(&next) {
                known = Some(*stack);
                break;
            }
            missing.push(next);
            next = sites::node_at(next)?.parent();
        }
        for number in missing.into_iter().rev() {
            let frame = self.frame_of(sites::node_at(number)?.address());
            self.stacks.push(StackNode { parent: known, frame });
            let stack = StackId(self.stacks.len() as u32 - 1);
            self.stack_of_node.insert(number, stack);
            known = Some(stack);
        }
        known
    }

    fn frame_of(&mut self, address: u64) -> FrameId {
        if let Some(frame) = self.frame_of_address.get(&address) {
            return *frame;
        }
        let (module, offset) = self.module_of(address);
        self.frames.push(Frame { module, offset, functions: Vec::new() });
        let frame = FrameId(self.frames.len() as u32 - 1);
        self.nameless.push((frame, address));
        self.frame_of_address.insert(address, frame);
        frame
    }

    fn module_of(&mut self, address: u64) -> (Option<ModuleId>, u64) {
        let mut place = self.loaded.iter().position(|module| module.contains(address));
        if place.is_none() {
            self.load_modules();
            place = self.loaded.iter().position(|module| module.contains(address));
        }
        let Some(place) = place else { return (None, address) };
        let loaded = &self.loaded[place];
        let id = self.modules.iter().position(|module| *module == loaded.module).unwrap_or_else(|| {
            self.modules.push(loaded.module.clone());
            self.modules.len() - 1
        });
        (Some(ModuleId(id as u32)), address - loaded.load_address)
    }

    fn load_modules(&mut self) {
        self.loaded = symbolize::loaded_modules();
    }

    /// Bytes the tables hold, strings included roughly.
    pub(super) fn bytes(&self) -> usize {
        let strings =
            |function: &Function| function.name.capacity() + function.file.as_ref().map_or(0, String::capacity);
        let names: usize = self.frames.iter().flat_map(|frame| &frame.functions).map(strings).sum();
        let functions: usize = self.frames.iter().map(|frame| frame.functions.capacity()).sum();
        names
            + functions * size_of::<Function>()
            + self.frames.capacity() * size_of::<Frame>()
            + self.stacks.capacity() * size_of::<StackNode>()
            + self.frame_of_address.capacity() * 24
            + self.stack_of_node.capacity() * 12
    }
}

/// The snapshot's id of one of the recorder's numbers; number 0 has none.
fn intern<K: Copy + Eq + std::hash::Hash + Into<u32>, Id: Copy>(
    known: &mut HashMap<K, Id>,
    number: K,
    id: impl FnOnce(u32) -> Id,
    place: impl FnOnce() -> Option<usize>,
) -> Option<Id> {
    if number.into() == 0 {
        return None;
    }
    if let Some(id) = known.get(&number) {
        return Some(*id);
    }
    let id = id(place()? as u32);
    known.insert(number, id);
    Some(id)
}
