//! The snapshot file: one self-contained JSON document, versioned `major.minor`.
//!
//! Files of the same major version are read whatever their minor one is: unknown fields are ignored, missing ones have
//! defaults. A newer major version is an error that says so. The layout is described in `docs/format.md`.

mod error;
mod folder;
mod read;
mod write;

pub use error::Error;
pub use folder::SnapshotFolder;
pub use read::{Header, SNIFF_BYTES, from_json, is_snapshot, read, read_header};
pub use write::{to_json, write, write_to};

/// The name every snapshot file carries in `format.name`.
pub const FORMAT_NAME: &str = "leakcheck-snapshot";
/// The major version: raised when old readers can no longer read new files.
pub const FORMAT_MAJOR: u32 = 1;
/// The minor version: raised when fields are added.
pub const FORMAT_MINOR: u32 = 2;
