//! Real Rust sources are parsed by a real recursive parser: a hundred thousand distinct stacks and more.
//!
//! Parameters: `sources`, folders with Rust files, separated by colons; `bytes` of them at most, the files taken in
//! the order of their paths. All trees are kept until the last file is parsed. An operation is a byte.

use super::{Account, Workload};
use crate::parameters::Parameters;
use std::fs;
use std::path::Path;

pub(super) struct Parser {
    files: Vec<String>,
    /// Kept from region to region, so that its growth is no part of them.
    trees: Vec<syn::File>,
}

impl Parser {
    pub(super) fn new(parameters: &Parameters) -> Result<Self, String> {
        let mut bytes = parameters.scaled("bytes", 3_000_000)?;
        let mut files = Vec::new();
        for folder in parameters.text("sources", "").split(':').filter(|folder| !folder.is_empty()) {
            collect(Path::new(folder), &mut bytes, &mut files)
                .map_err(|why| format!("failed to read {folder}: {why}"))?;
        }
        if files.is_empty() {
            return Err("expected sources=FOLDER:FOLDER with Rust files".into());
        }
        // What the parser does not understand is not part of it: editions and invented syntax.
        files.retain(|text| syn::parse_file(text).is_ok());
        let trees = Vec::with_capacity(files.len());
        Ok(Self { files, trees })
    }
}

/// Adds the Rust files in and under a folder, in the order of their paths, as long as `bytes` last.
fn collect(folder: &Path, bytes: &mut u64, files: &mut Vec<String>) -> std::io::Result<()> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, bytes, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let Ok(text) = fs::read_to_string(&path) else { continue };
            if let Some(left) = bytes.checked_sub(text.len() as u64) {
                *bytes = left;
                files.push(text);
            }
        }
    }
    Ok(())
}

impl Workload for Parser {
    fn region(&mut self) -> Result<u64, String> {
        for text in &self.files {
            self.trees.push(syn::parse_file(text).map_err(|why| why.to_string())?);
        }
        self.trees.clear();
        Ok(self.files.iter().map(|text| text.len() as u64).sum())
    }

    fn account(&self) -> Account {
        Account { balanced: true, ..Account::default() }
    }
}
