//! The file a picture goes into.

use crate::error::Error;
use crate::render::CheckReport;
use crate::render::chart::{ChartOptions, Picture, chart};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A file that a picture will be written to, opened before the long work so that a bad path is found early.
pub(super) struct PictureFile {
    path: PathBuf,
    picture: Picture,
    file: Option<File>,
    created: bool,
}

impl PictureFile {
    pub(super) fn open(path: &Path, force: bool) -> Result<Self, Error> {
        let shown = path.display();
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let picture = match extension.to_ascii_lowercase().as_str() {
            "png" => Picture::Png,
            "svg" => Picture::Svg,
            _ => return Err(Error::new(format!("draw {shown}: the name must end in .png or .svg"))),
        };
        // Whatever is there already is touched only when the new picture is complete.
        let existed = path.exists();
        if existed && !force {
            return Err(Error::new(format!(
                "draw {shown}: the file exists; give another name, or --force to replace it"
            )));
        }
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = file.map_err(|e| Error::because(format!("open {shown} to draw to"), e))?;
        Ok(Self { path: path.to_owned(), picture, file: Some(file), created: !existed })
    }

    /// Draws and writes. When it fails, no half picture is left.
    pub(super) fn write(mut self, report: &CheckReport, options: ChartOptions) -> Result<(), Error> {
        let shown = self.path.display();
        let bytes = chart(report, self.picture, options).map_err(|e| Error::because(format!("draw {shown}"), e))?;
        let Some(mut file) = self.file.take() else { return Ok(()) };
        let mut put = || {
            file.set_len(0).or_else(|e| if file.metadata()?.is_file() { Err(e) } else { Ok(()) })?;
            file.write_all(&bytes)?;
            file.flush()
        };
        put().map_err(|e| Error::because(format!("write {shown}"), e))?;
        self.created = false;
        Ok(())
    }
}

impl Drop for PictureFile {
    fn drop(&mut self) {
        if self.created {
            // Best effort: an empty file that was never drawn to.
            let _ = fs::remove_file(&self.path);
        }
    }
}
