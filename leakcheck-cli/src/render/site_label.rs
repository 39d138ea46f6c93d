//! What a site is called where there is little room: its title function and place, shortened from the left.

use leakcheck::model::{FoldedFrame, FoldedStack, Function, plain_name};

/// Name and place of a frame, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SiteLabel {
    /// `shop::cache::remember`
    pub(crate) name: String,
    /// `src/cache.rs:31`, empty when unknown.
    pub(crate) place: String,
}

impl SiteLabel {
    /// The label of a site: the frame to name first, with its scope.
    pub(crate) fn of_site(stack: &FoldedStack, scope: Option<&str>) -> Self {
        let mut label = match (stack.title(), stack.plumbing.last()) {
            (Some(frame), _) => Self::of_frame(frame),
            (None, Some(plumbing)) => Self { name: simple_name(plumbing), place: String::new() },
            (None, None) => Self { name: "(no stack)".to_owned(), place: String::new() },
        };
        if let Some(scope) = scope {
            label.name = format!("{} [{}]", label.name, printable(scope));
        }
        label
    }

    /// The label of one frame.
    pub(crate) fn of_frame(frame: &FoldedFrame) -> Self {
        let Function { name, file, line } = &frame.function;
        let place = match (file, line) {
            (Some(file), Some(line)) => format!("{}:{line}", short_file(&printable(file))),
            (Some(file), None) => short_file(&printable(file)).to_owned(),
            (None, _) => String::new(),
        };
        Self { name: simple_name(name), place }
    }

    /// `name (place)`
    pub(crate) fn in_words(&self) -> String {
        if self.place.is_empty() { self.name.clone() } else { format!("{} ({})", self.name, self.place) }
    }

    /// `name  place` as long as `fits` allows it: first the folders of the file go, then the path of the function from
    /// the left, then the place, then letters.
    pub(crate) fn fitted(&self, fits: impl Fn(&str) -> bool) -> String {
        let file = self.place.rsplit('/').next().unwrap_or(&self.place);
        let together = |name: &str, place: &str| {
            if place.is_empty() { name.to_owned() } else { format!("{name}  {place}") }
        };
        let whole = together(&self.name, &self.place);
        if fits(&whole) {
            return whole;
        }
        let starts: Vec<usize> = self.name.match_indices("::").map(|(at, _)| at).collect();
        let mut tries = vec![together(&self.name, file)];
        for place in [file, ""] {
            tries.extend(starts.iter().map(|at| together(&format!("…{}", &self.name[*at..]), place)));
        }
        if let Some(found) = tries.into_iter().find(|text| fits(text)) {
            return found;
        }
        let last = starts.last().map_or(self.name.as_str(), |at| &self.name[at + 2..]);
        let mut letters: Vec<char> = last.chars().collect();
        while letters.pop().is_some() {
            let text: String = letters.iter().chain(&['…']).collect();
            if fits(&text) {
                return text;
            }
        }
        String::new()
    }
}

/// A name as reports show it, safe for a terminal.
pub(crate) fn simple_name(name: &str) -> String {
    plain_name(&printable(name))
}

/// Control characters would break the layout, or the terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// `/home/x/shop/src/cache.rs` is `shop/src/cache.rs`; a relative path stays as it is.
fn short_file(file: &str) -> &str {
    if !file.starts_with('/') {
        return file;
    }
    let before_src = file.rfind("/src/").and_then(|at| file[..at].rfind('/'));
    let third_last = || file.rmatch_indices('/').nth(2).map(|(at, _)| at);
    before_src.or_else(third_last).map_or(file, |at| &file[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_printable() {
        assert_eq!(simple_name("a\u{1b}[31mb\n"), "a\u{fffd}[31mb\u{fffd}");
        assert_eq!(simple_name("<shop::Cache<K> as core::ops::Drop>::drop"), "shop::Cache::drop");
    }

    #[test]
    fn files_are_short() {
        for (file, short) in [
            ("src/cache.rs", "src/cache.rs"),
            ("/home/x/shop/src/deep/cache.rs", "shop/src/deep/cache.rs"),
            ("/root/.cargo/registry/src/index-6f17d22bba15001f/hyper-1.5.0/src/x.rs", "hyper-1.5.0/src/x.rs"),
            ("/a/b/c/d/e.c", "c/d/e.c"),
            ("/e.c", "/e.c"),
            ("", ""),
        ] {
            assert_eq!(short_file(file), short);
        }
    }

    #[test]
    fn labels_fit_any_room() {
        let label = SiteLabel { name: "shop::deep::cache::remember".into(), place: "src/deep/cache.rs:31".into() };
        for (room, text) in [
            (80, "shop::deep::cache::remember  src/deep/cache.rs:31"),
            (43, "shop::deep::cache::remember  cache.rs:31"),
            (36, "…::cache::remember  cache.rs:31"),
            (20, "…::cache::remember"),
            (5, "reme…"),
            (1, "…"),
            (0, ""),
        ] {
            assert_eq!(label.fitted(|text| text.chars().count() <= room), text);
        }
    }
}
