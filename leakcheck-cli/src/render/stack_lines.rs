//! A stack as a person wants to read it: the program's own frames, and of frames of other packages in a row only the
//! innermost, with how many follow.

use super::site_label::{SiteLabel, simple_name};
use leakcheck::model::{FoldedFrame, FoldedStack, Origin};

/// One line of a stack.
pub(super) enum StackLine {
    Frame(SiteLabel),
    /// `5 in tokio, hyper` or `12 more`
    Skipped(String),
}

const FRAMES_MAX: usize = 8;
const PACKAGES_MAX: usize = 3;

/// The lines, leaf first.
pub(super) fn shown_lines(stack: &FoldedStack) -> Vec<StackLine> {
    let mut lines = Vec::new();
    let mut left = FRAMES_MAX;
    let mut frames = stack.frames.as_slice();
    while let [first, rest @ ..] = frames {
        if left == 0 {
            lines.push(StackLine::Skipped(format!("{} more", frames.len())));
            break;
        }
        left -= 1;
        lines.push(StackLine::Frame(SiteLabel::of_frame(first)));
        let alike = rest.iter().take_while(|frame| frame.origin == Origin::Dependency).count();
        frames = rest;
        if first.origin == Origin::Dependency && alike > 1 {
            let (skipped, outer) = rest.split_at(alike);
            lines.push(StackLine::Skipped(skipped_in_words(skipped)));
            frames = outer;
        }
    }
    lines
}

fn skipped_in_words(frames: &[FoldedFrame]) -> String {
    let mut packages: Vec<String> = Vec::new();
    for frame in frames {
        let name = simple_name(&frame.function.name);
        let package = name.split("::").next().unwrap_or_default().to_owned();
        if !packages.contains(&package) {
            packages.push(package);
        }
    }
    let others = if packages.len() > PACKAGES_MAX { " and others" } else { "" };
    packages.truncate(PACKAGES_MAX);
    format!("{} in {}{others}", frames.len(), packages.join(", "))
}
