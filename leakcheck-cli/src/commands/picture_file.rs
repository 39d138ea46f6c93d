//! The file a picture goes into.

use crate::error::Error;
use crate::render::CheckReport;
use crate::render::chart::{ChartOptions, Picture, chart};
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// A file that a picture will be written to. That it can be is found out before the long work; nothing is left there
/// until the picture is complete.
pub(super) struct PictureFile {
    path: PathBuf,
    picture: Picture,
    replaces: bool,
}

impl PictureFile {
    pub(super) fn probe(path: &Path, force: bool) -> Result<Self, Error> {
        let shown = path.display();
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let picture = match extension.to_ascii_lowercase().as_str() {
            "png" => Picture::Png,
            "svg" => Picture::Svg,
            _ => return Err(Error::new(format!("draw {shown}: the name must end in .png or .svg"))),
        };
        let replaces = path.exists();
        if replaces && !force {
            return Err(Error::new(format!("draw {shown}: {EXISTS}")));
        }
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        opened.map_err(|e| Error::because(format!("open {shown} to draw to"), e))?;
        if !replaces {
            fs::remove_file(path).map_err(|e| Error::because(format!("open {shown} to draw to"), e))?;
        }
        Ok(Self { path: path.to_owned(), picture, replaces })
    }

    /// Draws and writes.
    pub(super) fn write(self, report: &CheckReport, options: ChartOptions) -> Result<(), Error> {
        let shown = self.path.display();
        let bytes = chart(report, self.picture, options).map_err(|e| Error::because(format!("draw {shown}"), e))?;
        let opened =
            OpenOptions::new().write(true).create(true).create_new(!self.replaces).truncate(true).open(&self.path);
        let mut file = match opened {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                return Err(Error::new(format!("draw {shown}: {EXISTS}")));
            }
            other => other.map_err(|e| Error::because(format!("write {shown}"), e))?,
        };
        file.write_all(&bytes).and_then(|()| file.flush()).map_err(|e| {
            if !self.replaces {
                // Best effort: half a picture is of no use, and the first error is the one to report.
                let _ = fs::remove_file(&self.path);
            }
            Error::because(format!("write {shown}"), e)
        })
    }
}

const EXISTS: &str = "the file exists; give another name, or --force to replace it";
