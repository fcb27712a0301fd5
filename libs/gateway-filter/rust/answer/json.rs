//! The meter of an answer in JSON.

use std::borrow::Cow;

use super::total::total_usage;
use super::usage::{NAME_BYTES, Reading, USAGE_BYTES, Usage, after_colon, find_usage, read_usage};
use crate::json::after_space;

/// Of an answer that holds several, in bytes.
const SUMMED_BYTES: usize = 1024 * 1024;
/// As many bytes at the end of a chunk may be the beginning of `"usage"`.
const BEGUN_BYTES: usize = NAME_BYTES - 1;

/// Follows an answer in JSON.
#[derive(Default)]
pub struct JsonMeter {
    /// What is known so far.
    pub usage: Option<Usage>,
    rest: Vec<u8>,
    several: Option<Several>,
}

/// An answer that holds several is kept, to sum them up at its end.
struct Several {
    copies: u32,
    reserved_prompt: u64,
    text: Vec<u8>,
    bytes: usize,
}

impl JsonMeter {
    /// A meter; `copies`: the number of answers to one prompt, if there are several answers.
    #[must_use]
    pub fn new(copies: Option<u32>, reserved_prompt: u64) -> Self {
        let several = copies.map(|copies| Several { copies, reserved_prompt, text: Vec::new(), bytes: 0 });
        Self { several, ..Self::default() }
    }

    /// Takes a part of the answer.
    pub fn feed(&mut self, chunk: &[u8]) {
        if let Some(several) = &mut self.several {
            several.bytes += chunk.len();
            if several.bytes <= SUMMED_BYTES {
                several.text.extend_from_slice(chunk);
            }
        }
        let rest = std::mem::take(&mut self.rest);
        let text = join(rest, chunk);
        let (mut at, mut from) = (find_usage(&text, 0), 0);
        while let Some(name) = at {
            let after = name + NAME_BYTES;
            let reading = match after_colon(&text, after).filter(|brace| text.get(*brace) == Some(&b'{')) {
                Some(brace) => read_usage(&text, brace),
                None if is_unfinished(&text, after) => Reading::Unfinished,
                None => Reading::Other,
            };
            match reading {
                Reading::Read(usage, next) => {
                    self.usage = Some(larger(self.usage, usage));
                    from = next;
                }
                Reading::Unfinished if text.len() - name <= USAGE_BYTES => {
                    self.rest = text[name..].to_vec();
                    return;
                }
                Reading::Unfinished | Reading::Other => from = after,
            }
            at = find_usage(&text, from);
        }
        self.rest = text[from.max(text.len().saturating_sub(BEGUN_BYTES))..].to_vec();
    }

    /// Takes the end of the answer.
    pub fn finish(&mut self) {
        if let (Some(several), Some(Usage::Counted { prompt, completion })) = (&self.several, self.usage) {
            let Several { copies, reserved_prompt, text, .. } = several;
            self.usage = Some(total_usage(text, (prompt, completion), *copies, *reserved_prompt));
        }
    }
}

/// Whether the text ends between `"usage"` and its value.
fn is_unfinished(text: &[u8], after: usize) -> bool {
    let end = after_space(text, after);
    end == text.len() || after_colon(text, after) == Some(text.len())
}

/// The bytes to search: chunks are long, so they are joined only if a usage object lies across their border.
fn join(mut rest: Vec<u8>, chunk: &[u8]) -> Cow<'_, [u8]> {
    if rest.is_empty() {
        return Cow::Borrowed(chunk);
    }
    if rest.len() <= BEGUN_BYTES && chunk.len() > BEGUN_BYTES {
        let known = rest.len();
        rest.extend_from_slice(&chunk[..BEGUN_BYTES]);
        if find_usage(&rest, 0).is_none() {
            return Cow::Borrowed(chunk);
        }
        rest.truncate(known);
    }
    rest.extend_from_slice(chunk);
    Cow::Owned(rest)
}

/// The larger of two usages in one answer: engines may copy objects of the request, which must not win.
fn larger(before: Option<Usage>, other: Usage) -> Usage {
    let tokens = |usage| match usage {
        Usage::Counted { prompt, completion } => prompt.saturating_add(completion),
        Usage::Delivered(_) => 0,
    };
    before.filter(|before| tokens(*before) > tokens(other)).unwrap_or(other)
}
