//! Which processes are meant: by name, and those that descend from others.

use super::figures::executable_of;
use crate::error::Error;
use procfs::process::{Process as ProcProcess, all_processes};
use std::path::Path;

/// Looked at of a tree: a program that forks without end must not keep us busy.
const TREE_MAX: usize = 4096;

/// Part of a name, or a pattern with `*`, `?` and `[…]` for the whole of it.
#[derive(Debug, Clone)]
pub(crate) struct NamePattern {
    text: String,
    pattern: Option<glob::Pattern>,
}

impl NamePattern {
    /// # Errors
    ///
    /// When it is empty, or not a pattern.
    pub(crate) fn new(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(Error::new("look for processes by name: the name is empty"));
        }
        let pattern = text.contains(['*', '?', '[']).then(|| glob::Pattern::new(text)).transpose();
        let pattern = pattern.map_err(|e| Error::because(format!("understand the pattern {text}"), e))?;
        Ok(Self { text: text.to_owned(), pattern })
    }

    fn matches(&self, name: &str) -> bool {
        match &self.pattern {
            Some(pattern) => pattern.matches(name),
            None => name.contains(&self.text),
        }
    }
}

impl std::fmt::Display for NamePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// The processes with a short name, a program file or a script (the first argument that is no option) of that name; never
/// this one, nor threads of the kernel.
pub(crate) fn processes_named(pattern: &NamePattern) -> Vec<u32> {
    let own = std::process::id();
    let processes = all_processes().into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<u32> = processes
        .filter(|process| names_of(process).iter().any(|name| pattern.matches(name)))
        .filter_map(|process| u32::try_from(process.pid).ok())
        .filter(|pid| *pid != own)
        .collect();
    found.sort_unstable();
    found
}

fn names_of(process: &ProcProcess) -> Vec<String> {
    let file_name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let arguments = process.cmdline().unwrap_or_default();
    // A thread of the kernel has none.
    let Some(program) = arguments.first() else { return Vec::new() };
    let mut names = vec![file_name(program)];
    names.extend(arguments[1..].iter().find(|argument| !argument.starts_with('-')).map(|script| file_name(script)));
    names.extend(process.stat().ok().map(|stat| stat.comm));
    names.extend(process.exe().ok().map(|path| file_name(&path.to_string_lossy())));
    names
}

/// All that descend from the processes given, without these.
pub(crate) fn children_of(roots: &[u32]) -> Vec<u32> {
    let mut found: Vec<u32> = Vec::new();
    let mut waiting: Vec<u32> = roots.to_vec();
    while let Some(pid) = waiting.pop() {
        for child in direct_children(pid) {
            if found.len() < TREE_MAX && !found.contains(&child) && !roots.contains(&child) {
                found.push(child);
                waiting.push(child);
            }
        }
    }
    found.sort_unstable();
    found
}

fn direct_children(pid: u32) -> Vec<u32> {
    let process = i32::try_from(pid).ok().and_then(|pid| ProcProcess::new(pid).ok());
    let tasks = process.and_then(|process| process.tasks().ok()).into_iter().flatten().flatten();
    tasks.filter_map(|task| task.children().ok()).flatten().collect()
}

/// Whether a process has children that run the same program, as those have that fork their workers.
pub(crate) fn forks_workers(pid: u32, executable: &Path) -> bool {
    direct_children(pid).into_iter().any(|child| runs(child, executable))
}

/// Whether a process runs a program.
pub(crate) fn runs(pid: u32, executable: &Path) -> bool {
    let process = i32::try_from(pid).ok().and_then(|pid| ProcProcess::new(pid).ok());
    process.and_then(|process| executable_of(&process)).is_some_and(|path| path == executable)
}

/// The process that took the place of one that ended: a child of the same parent with the same program that began later.
pub(crate) fn successor_of(parent: u32, executable: &Path, started_after_ticks: u64) -> Option<u32> {
    let mut found: Vec<(u64, u32)> = direct_children(parent)
        .into_iter()
        .filter_map(|pid| {
            let process = ProcProcess::new(i32::try_from(pid).ok()?).ok()?;
            let same = executable_of(&process)? == executable;
            let started = process.stat().ok()?.starttime;
            (same && started > started_after_ticks).then_some((started, pid))
        })
        .collect();
    found.sort_unstable();
    found.first().map(|(_, pid)| *pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parts_or_patterns() {
        let matches = |pattern: &str, name: &str| NamePattern::new(pattern).unwrap().matches(name);
        assert!(matches("edis", "redis-server") && matches("redis*", "redis-server"));
        assert!(!matches("redis?", "redis-server") && !matches("nginx", "redis-server"));
        for wrong in ["", "a[", "***"] {
            assert!(NamePattern::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_child_is_found_by_name_and_by_its_parent() {
        let mut child = std::process::Command::new("sh").args(["-c", "sleep 600 & wait"]).spawn().unwrap();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
        let grandchild = loop {
            if let [one] = children_of(&[child.id()])[..] {
                break one;
            }
            assert!(std::time::Instant::now() < until);
            std::thread::yield_now();
        };
        let own = children_of(&[std::process::id()]);
        assert!(own.contains(&child.id()) && own.contains(&grandchild));
        let pattern = NamePattern::new("sleep").unwrap();
        while !processes_named(&pattern).contains(&grandchild) {
            assert!(std::time::Instant::now() < until, "between fork and exec it has its parent's name");
        }
        assert!(!processes_named(&NamePattern::new("leakcheck").unwrap()).contains(&std::process::id()));
        let _ = rustix::process::kill_process(
            rustix::process::Pid::from_raw(grandchild.cast_signed()).unwrap(),
            rustix::process::Signal::KILL,
        );
        child.wait().unwrap();
    }
}
