//! A file that several workers append lines to: the starts file (a line for each lease, and for each request before it
//! reaches an engine), and the usage log.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use crate::tables::is_valid;

/// The file is opened again so often, in milliseconds, so that it may be renamed.
const OPEN_MILLISECONDS: i64 = 1000;

/// The file that one worker appends to.
pub struct LineFile {
    path: PathBuf,
    file: Option<File>,
    opened: i64,
    is_damaged: bool,
}

impl LineFile {
    /// The file at `path`, which is made when the first line is appended.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, file: None, opened: 0, is_damaged: false }
    }

    /// Appends whole lines by one write(2). False if they may not be in the file; then the rest of the line is made
    /// invalid.
    pub fn append(&mut self, lines: &str, now: i64) -> bool {
        if self.file.is_none() || !is_valid(self.opened + OPEN_MILLISECONDS, now, OPEN_MILLISECONDS) {
            self.opened = now;
            self.file = OpenOptions::new().append(true).create(true).open(&self.path).ok();
        }
        let Some(file) = &mut self.file else { return false };
        let written = if self.is_damaged {
            let text = format!("\t?\n{lines}");
            file.write(text.as_bytes()).is_ok_and(|count| count == text.len())
        } else {
            file.write(lines.as_bytes()).is_ok_and(|count| count == lines.len())
        };
        self.is_damaged = !written;
        written
    }
}
