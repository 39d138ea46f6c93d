//! Files of leaks that are accepted: suppressions in LeakSanitizer's form, one `leak:pattern` a line.

use crate::error::Error;
use leakcheck::analysis::Suppression;
use std::fs;
use std::path::Path;

/// A suppression with where it stands.
pub(crate) struct AcceptedLeak {
    pub(crate) suppression: Suppression,
    /// `leaks.txt:3`
    pub(crate) place: String,
}

/// Reads the suppressions of a file. Lines that begin with `#`, and empty ones, say nothing.
pub(crate) fn load_accepted_leaks(path: &Path) -> Result<Vec<AcceptedLeak>, Error> {
    let shown = path.display();
    let bytes = fs::read(path).map_err(|e| Error::because(format!("read the accepted leaks in {shown}"), e))?;
    let mut found = Vec::new();
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let place = format!("{shown}:{}", number + 1);
        let wrong = |what: &str| Error::new(format!("understand {place}: {what}"));
        let text = str::from_utf8(line).map_err(|_| wrong("the line is not UTF-8 text"))?;
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let pattern = text.strip_prefix("leak:").ok_or_else(|| {
            wrong(&format!("expected leak:PATTERN such as leak:QuoteCache, or a comment after #, found '{text}'"))
        })?;
        let suppression = Suppression::new(pattern.trim()).ok_or_else(|| {
            wrong(&format!("'{text}' would accept every leak; name a part of a function, file, module or scope"))
        })?;
        found.push(AcceptedLeak { suppression, place });
    }
    Ok(found)
}
