//! Code addresses, their names, and the tree that stacks are stored in.

use serde::{Deserialize, Serialize};

macro_rules! index_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl $name {
            /// The place in the snapshot's table.
            #[must_use]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}
pub(crate) use index_newtype;

index_newtype!(
    /// A place in [`Snapshot::modules`](super::Snapshot::modules).
    ModuleId
);
index_newtype!(
    /// A place in [`Snapshot::frames`](super::Snapshot::frames).
    FrameId
);
index_newtype!(
    /// A place in [`Snapshot::stacks`](super::Snapshot::stacks).
    StackId
);

/// An executable or shared library in the process.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Module {
    /// Its file.
    pub path: String,
    /// The GNU build id as hex, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
}

/// One code address with its names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Where the code is, when it is in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<ModuleId>,
    /// Offset of the return address from the module's load address; the absolute address without a module.
    pub offset: u64,
    /// The functions at that address: the innermost inlined one first, the one that stands in the symbol table last.
    /// Empty when not resolved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<Function>,
}

/// A function name with its source place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Function {
    /// Demangled, without the hash suffix.
    pub name: String,
    /// Source file, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Source line, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

/// A stack as a node of a tree: this frame, called from `parent`.
///
/// Nodes stand after their parents, so a table can be read in one pass and cannot contain a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(Option<StackId>, FrameId)", into = "(Option<StackId>, FrameId)")]
pub struct StackNode {
    /// The caller; `None` for an outermost frame.
    pub parent: Option<StackId>,
    /// The frame.
    pub frame: FrameId,
}

impl From<(Option<StackId>, FrameId)> for StackNode {
    fn from((parent, frame): (Option<StackId>, FrameId)) -> Self {
        Self { parent, frame }
    }
}

impl From<StackNode> for (Option<StackId>, FrameId) {
    fn from(node: StackNode) -> Self {
        (node.parent, node.frame)
    }
}
