//! The folder that a run writes into.

use crate::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The folder of the snapshots. One that was made for nothing is removed again.
pub(super) struct OutFolder {
    pub(super) path: PathBuf,
    made: bool,
}

impl OutFolder {
    /// The folder asked for, or `leakcheck-out/PROGRAM-TIME`, which no other run has.
    pub(super) fn make(asked: Option<&Path>, program: &str) -> Result<Self, Error> {
        let failed = |path: &Path, e| Error::because(format!("make the folder {}", path.display()), e);
        if let Some(path) = asked {
            let made = !path.exists();
            fs::create_dir_all(path).map_err(|e| failed(path, e))?;
            return Ok(Self { path: path.to_owned(), made });
        }
        let parent = Path::new("leakcheck-out");
        fs::create_dir_all(parent).map_err(|e| failed(parent, e))?;
        let name = format!("{}-{}", program, utc_now());
        let names = std::iter::once(name.clone()).chain((2..).map(|number| format!("{name}-{number}")));
        for path in names.map(|name| parent.join(name)) {
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path, made: true }),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(failed(&path, e)),
            }
        }
        Err(Error::new(format!("make a folder in {}", parent.display())))
    }
}

impl Drop for OutFolder {
    fn drop(&mut self) {
        if self.made {
            // Fails when something is in it, and then it shall stay.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// `20260131-120000`
fn utc_now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = civil_date(seconds / 86_400);
    let of_day = seconds % 86_400;
    format!("{year:04}{month:02}{day:02}-{:02}{:02}{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

/// Days since 1970-01-01 as a Gregorian date: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
const fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        for (days, date) in
            [(0, (1970, 1, 1)), (11_016, (2000, 2, 29)), (20_484, (2026, 1, 31)), (47_540, (2100, 2, 28))]
        {
            assert_eq!(civil_date(days), date);
        }
    }
}
