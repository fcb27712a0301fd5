//! Events of a stream: where they end, and what is in one.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::{Finder, find};
use memchr::{memchr, memchr_iter};

use super::usage::{NAME_BYTES, Reading, USAGE_BYTES, Usage, after_colon, find_usage, read_usage};
use crate::json::{Keys, after_space, read_object};

/// Keys of generated text in a delta (chat) or choice (completions). Reasoning has two names.
const TEXT_KEYS: [&[u8]; 6] =
    [b"\"content\"", b"\"text\"", b"\"reasoning_content\"", b"\"reasoning\"", b"\"refusal\"", b"\"arguments\""];
const CHOICES: &[u8] = b"\"choices\"";
const TOOL_CALLS: &[u8] = b"\"tool_calls\"";

static EVENT_KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::strict(&["usage", "choices"]));
static EMPTY_LINE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\n\n"));

/// The position after the event that ends at or after `from`: that of its empty line.
#[must_use]
pub fn event_end(text: &[u8], from: usize, has_returns: bool) -> Option<usize> {
    let rest = text.get(from..)?;
    if !has_returns {
        return Some(from + EMPTY_LINE.find(rest)? + 2);
    }
    memchr_iter(b'\n', rest).find_map(|at| match rest[at + 1..] {
        [b'\n', ..] => Some(from + at + 2),
        [b'\r', b'\n', ..] => Some(from + at + 3),
        _ => None,
    })
}

/// Whether an event has generated content. The first event, with the role, and the last, with the reason to stop, have
/// none.
#[must_use]
pub fn has_content(event: &[u8]) -> bool {
    memchr_iter(b'"', event).any(|at| begins_content(&event[at..]))
}

/// Whether a text begins with a key of generated text, and with a value that is not empty.
fn begins_content(text: &[u8]) -> bool {
    if let Some(key) = TEXT_KEYS.iter().find(|key| text.starts_with(key)) {
        let value = after_colon(text, key.len()).map(|value| &text[value..]);
        return matches!(value, Some([b'"', text @ ..]) if text.first() != Some(&b'"'));
    }
    let list = if text.starts_with(TOOL_CALLS) { after_colon(text, TOOL_CALLS.len()) } else { None };
    list.is_some_and(|list| text.get(list) == Some(&b'[') && text.get(after_space(text, list + 1)) == Some(&b'{'))
}

/// The position of the next `"usage"` that has an object: engines also send null.
#[must_use]
pub fn next_usage(text: &[u8], from: usize) -> Option<usize> {
    let mut at = find_usage(text, from)?;
    loop {
        let value = after_colon(text, at + NAME_BYTES);
        if value.is_some_and(|value| text.get(value) == Some(&b'{')) {
            return Some(at);
        }
        at = find_usage(text, at + NAME_BYTES)?;
    }
}

/// The usage in an event.
pub struct EventUsage {
    /// What it reports.
    pub usage: Usage,
    /// Whether the event has no choices, and so nothing else.
    pub is_alone: bool,
    /// Its member in the event's object, with the comma that goes with it.
    pub member: Range<usize>,
}

/// The usage in an event. Its JSON is read only if it may contain usage.
#[must_use]
pub fn read_usage_event(event: &[u8]) -> Option<EventUsage> {
    next_usage(event, 0)?;
    let object = read_object(event, memchr(b'{', event)?, &EVENT_KEYS).ok()?;
    let value = object.range("usage").filter(|value| event.get(value.start) == Some(&b'{'))?;
    let Reading::Read(usage, _) = read_usage(event, value.start) else { return None };
    let choices = object.text(event, "choices");
    let is_alone =
        choices.is_some_and(|list| list.first() == Some(&b'[') && list.get(after_space(list, 1)) == Some(&b']'));
    Some(EventUsage { usage, is_alone, member: usage_member(event, &value) })
}

/// The member with this value, whose key is `"usage"`, and the comma before it, or else the one after it.
fn usage_member(event: &[u8], value: &Range<usize>) -> Range<usize> {
    let after_key = event[..value.start].iter().rposition(|byte| *byte == b'"').map_or(0, |quote| quote + 1);
    let key = after_key.saturating_sub(NAME_BYTES);
    let before = event[..key].trim_ascii_end().len();
    if event[..before].ends_with(b",") {
        return before - 1..value.end;
    }
    let after = after_space(event, value.end);
    key..if event.get(after) == Some(&b',') { after + 1 } else { value.end }
}

/// Whether an event that has not ended yet may turn out to be one with usage alone.
#[must_use]
pub fn may_be_usage_event(rest: &[u8]) -> bool {
    const DATA: &[u8] = b"data:";
    let known = rest.len().min(DATA.len());
    if rest.len() > USAGE_BYTES || rest[..known] != DATA[..known] {
        return false;
    }
    let after = rest[known..].iter().find(|byte| **byte != b' ');
    if after.is_some_and(|byte| *byte != b'{') {
        return false;
    }
    let list = find(rest, CHOICES).and_then(|at| after_colon(rest, at + CHOICES.len()));
    let Some(list) = list.filter(|list| rest.get(*list) == Some(&b'[')) else { return true };
    matches!(rest.get(after_space(rest, list + 1)), None | Some(b']'))
}
