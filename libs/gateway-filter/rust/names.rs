//! Engines may know a model by another name than the client. Then `model` is replaced in the request, and back in each
//! part of the answer. `"model"` with a colon after it cannot occur inside a JSON string, where its quotes would be
//! escaped.

use std::ops::Range;

use memchr::memmem::Finder;

/// Bytes of `"model"`, a colon and white space.
const KEY_BYTES: usize = 16;

/// The body of a request with another model; `at`: where its value is, quotes included.
#[must_use]
pub fn with_model(body: &[u8], at: Range<usize>, model: &[u8]) -> Vec<u8> {
    let before = body.get(..at.start).unwrap_or_default();
    let after = body.get(at.end..).unwrap_or_default();
    [before, b"\"", model, b"\"", after].concat()
}

/// Replaces the engine's name of the model in an answer.
pub struct Renaming {
    old: Finder<'static>,
    new: Vec<u8>,
    full: Vec<u8>,
    rest: Vec<u8>,
}

impl Renaming {
    /// Follows an answer of an engine that knows the client's model `new` as `old`.
    #[must_use]
    pub fn new(old: &[u8], new: &[u8]) -> Self {
        let quoted = |name: &[u8]| [b"\"", name, b"\""].concat();
        Self {
            old: Finder::new(&quoted(old)).into_owned(),
            new: quoted(new),
            full: [b"\"model\":", quoted(old).as_slice()].concat(),
            rest: Vec::new(),
        }
    }

    /// `chunk` with the client's name; what may be the beginning of the engine's name waits for the next chunk.
    pub fn feed(&mut self, chunk: &[u8]) -> Vec<u8> {
        let mut text = std::mem::take(&mut self.rest);
        text.extend_from_slice(chunk);
        let (mut renamed, mut from) = (Vec::with_capacity(text.len()), 0);
        for at in self.old.find_iter(&text) {
            if is_model(&text[at.saturating_sub(KEY_BYTES)..at]) {
                renamed.extend_from_slice(&text[from..at]);
                renamed.extend_from_slice(&self.new);
                from = at + self.old.needle().len();
            }
        }
        let stop = self.unfinished(&text).max(from);
        renamed.extend_from_slice(&text[from..stop]);
        self.rest = text.split_off(stop);
        renamed
    }

    /// As `feed`, of the last chunk: nothing waits after it.
    pub fn feed_last(&mut self, chunk: &[u8]) -> Vec<u8> {
        let mut renamed = self.feed(chunk);
        renamed.append(&mut self.rest);
        renamed
    }

    /// The position from which the end of `text` may be the beginning of a name to replace.
    fn unfinished(&self, text: &[u8]) -> usize {
        let first = text.len().saturating_sub(self.full.len() + KEY_BYTES);
        let begins = |at: &usize| {
            let mut plain = text[*at..].iter().filter(|byte| !byte.is_ascii_whitespace());
            let known = self.full.iter().zip(&mut plain).take_while(|(full, byte)| full == byte).count();
            known < self.full.len() && known == text[*at..].iter().filter(|byte| !byte.is_ascii_whitespace()).count()
        };
        (first..text.len()).filter(|at| text[*at] == b'"').find(begins).unwrap_or(text.len())
    }
}

/// Whether `"model"` and a colon stand at the end of `before`.
fn is_model(before: &[u8]) -> bool {
    let key = before.trim_ascii_end().strip_suffix(b":").map(<[u8]>::trim_ascii_end);
    key.is_some_and(|key| key.ends_with(b"\"model\""))
}
