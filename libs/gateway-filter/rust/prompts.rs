//! How many prompts a request has.

use memchr::memmem;

use crate::json::{Object, after_nested, after_space, after_value};
use crate::text::after_any_space;

/// The prompts of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prompts {
    /// At least 1.
    pub count: u32,
    /// Whether at least one of them has no token.
    pub has_empty: bool,
}

/// Counts the prompts of a request: each text in a list is one, each list of tokens, and each object, which llama.cpp
/// takes too.
#[must_use]
pub fn read(text: &[u8], object: &Object) -> Prompts {
    let Some(range) = object.range("prompt") else {
        return Prompts { count: 1, has_empty: false };
    };
    let mut prompts = Prompts { count: 0, has_empty: is_empty(text, range.start) };
    if text[range.start] == b'[' {
        let mut at = after_space(text, range.start + 1);
        while let Some(b'"' | b'[' | b'{') = text.get(at) {
            prompts.has_empty = prompts.has_empty || is_empty(text, at);
            prompts.count = prompts.count.saturating_add(1);
            let Some(after) = after_value(text, at) else { break };
            at = after_space(text, after);
            if text.get(at) == Some(&b',') {
                at = after_space(text, at + 1);
            }
        }
    }
    prompts.count = prompts.count.max(1);
    prompts
}

/// Whether the value at `at` has no token: an empty text or list, or llama.cpp's object with one.
#[must_use]
pub fn is_empty(text: &[u8], at: usize) -> bool {
    match text.get(at) {
        Some(b'"') => text.get(at + 1) == Some(&b'"'),
        Some(b'[') => text.get(after_space(text, at + 1)) == Some(&b']'),
        Some(b'{') => after_nested(text, at).is_some_and(|after| has_empty_string(&text[at..after])),
        _ => false,
    }
}

fn has_empty_string(prompt: &[u8]) -> bool {
    const KEY: &[u8] = b"\"prompt_string\"";
    memmem::find_iter(prompt, KEY).any(|found| {
        let colon = after_any_space(prompt, found + KEY.len());
        let value = after_any_space(prompt, colon + 1);
        prompt.get(colon) == Some(&b':') && prompt.get(value..).is_some_and(|rest| rest.starts_with(b"\"\""))
    })
}
