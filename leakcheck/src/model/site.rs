//! Allocation sites.

use super::frame::index_newtype;
use super::{Counters, SizeSummary, StackId};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

index_newtype!(
    /// A site inside one process: stable over all snapshots of one recording.
    SiteId
);
index_newtype!(
    /// A place in [`Snapshot::scopes`](super::Snapshot::scopes).
    ScopeId
);
index_newtype!(
    /// A place in [`Snapshot::threads`](super::Snapshot::threads).
    ThreadId
);

/// One deduplicated allocating stack (plus scope, if any) with its counters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// The site in this process.
    pub id: SiteId,
    /// Its stack; `None` for blocks whose stack could not be taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<StackId>,
    /// The scope the blocks were allocated in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<ScopeId>,
    /// Cumulative counts. In sampled mode these are estimates: each sample's weight was applied before summing.
    pub counters: Counters,
    /// Sizes asked for; absent when nothing was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<SizeSummary>,
    /// Live blocks by birth generation, oldest first; generations without live blocks are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub survivors: Vec<Survivors>,
    /// Threads that allocated here, a few at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub threads: Vec<ThreadId>,
}

/// Live blocks of one site that were born in one generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u32, u64, u64)", into = "(u32, u64, u64)")]
pub struct Survivors {
    /// The generation: a number of [`Snapshot::generations`](super::Snapshot::generations).
    pub generation: u32,
    /// Blocks still live.
    pub blocks: u64,
    /// Bytes still live.
    pub bytes: u64,
}

impl From<(u32, u64, u64)> for Survivors {
    fn from((generation, blocks, bytes): (u32, u64, u64)) -> Self {
        Self { generation, blocks, bytes }
    }
}

impl From<Survivors> for (u32, u64, u64) {
    fn from(s: Survivors) -> Self {
        (s.generation, s.blocks, s.bytes)
    }
}

/// Names a site across runs, rebuilds and machines.
///
/// `code` is a hash of the folded function names and the scope; `lines` of their files and lines as well. Within one
/// build both are compared; across builds `code` alone still finds the site. Written as `code-lines`, 16 hex digits each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SiteKey {
    /// Hash of folded function names and scope.
    pub code: u64,
    /// Hash of the source lines as well.
    pub lines: u64,
}

impl fmt::Display for SiteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}", self.code, self.lines)
    }
}

/// The text is not two groups of 16 hex digits with a dash between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotASiteKey;

impl fmt::Display for NotASiteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a site key such as 0123456789abcdef-0123456789abcdef")
    }
}

impl std::error::Error for NotASiteKey {}

impl FromStr for SiteKey {
    type Err = NotASiteKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (code, lines) = text.split_once('-').ok_or(NotASiteKey)?;
        let hex = |part: &str| {
            if part.len() != 16 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(NotASiteKey);
            }
            u64::from_str_radix(part, 16).map_err(|_| NotASiteKey)
        };
        Ok(Self { code: hex(code)?, lines: hex(lines)? })
    }
}
