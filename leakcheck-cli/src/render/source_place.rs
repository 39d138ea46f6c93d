//! Where a finding stands in the source, as services that show sources want it: relative to the folder the command runs in
//! where it lies below that.

use leakcheck::model::{FoldedFrame, FoldedStack};
use std::path::Path;

/// A place in a source file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SourcePlace {
    pub(super) file: String,
    pub(super) line: Option<u32>,
    /// Whether `file` is relative to the current folder.
    pub(super) is_below: bool,
}

impl SourcePlace {
    /// The place of the frame to name first; none without debug information.
    pub(super) fn of_stack(stack: &FoldedStack, here: &Path) -> Option<Self> {
        Self::of_frame(stack.title()?, here)
    }

    /// Compilers write the paths of a package's own files relative to where it was built.
    pub(super) fn of_frame(frame: &FoldedFrame, here: &Path) -> Option<Self> {
        let file = frame.function.file.as_deref()?;
        let below =
            Path::new(file).strip_prefix(here).ok().and_then(Path::to_str).filter(|_| !here.as_os_str().is_empty());
        let is_below = below.is_some() || !file.starts_with('/');
        Some(Self { file: below.unwrap_or(file).to_owned(), line: frame.function.line, is_below })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leakcheck::model::{Function, Origin};

    fn check(file: &str, here: &str, expected: &str, is_below: bool) {
        let function = Function { name: "f".into(), file: Some(file.into()), line: Some(3) };
        let frame = FoldedFrame { function, origin: Origin::Program };
        let expected = SourcePlace { file: expected.into(), line: Some(3), is_below };
        assert_eq!(SourcePlace::of_frame(&frame, Path::new(here)), Some(expected));
    }

    #[test]
    fn files_below_the_current_folder_are_relative() {
        check("/work/shop/src/a.rs", "/work/shop", "src/a.rs", true);
        check("src/a.rs", "/work/shop", "src/a.rs", true);
        check("/work/shopping/src/a.rs", "/work/shop", "/work/shopping/src/a.rs", false);
        check("/work/shop/src/a.rs", "", "/work/shop/src/a.rs", false);
    }
}
