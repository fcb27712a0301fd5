//! The meter of a stream of events.

use std::collections::HashMap;

use memchr::memmem::{Finder, find};
use memchr::{memchr, memrchr};
use std::sync::LazyLock;

use super::events::{event_end, has_content, may_be_usage_event, next_usage, read_usage_event};
use super::usage::{Usage, after_colon, find_usage, number};

/// Bytes kept of an event that has not ended.
const EVENT_BYTES: usize = 1024 * 1024;
const CONTENT: &[u8] = b"content\":\"";

static CONTENT_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(CONTENT));

/// Follows a stream of events: its usage, or the number of events with content while there is none.
pub struct StreamMeter {
    /// What is known so far.
    pub usage: Option<Usage>,
    /// The usage event is removed.
    cut: bool,
    has_returns: bool,
    is_usage_seen: bool,
    events: u64,
    /// The event that has not ended. Its last `rest.len() - sent` bytes are held back.
    rest: Vec<u8>,
    sent: usize,
    several: Option<Several>,
}

/// Several answers in one stream: vLLM and SGLang report their total in one event without choices. llama.cpp reports each
/// answer by itself: in an event without choices (chat), or in the last event of the answer's index (completions), where
/// vLLM's continuous usage counts up. So both kinds are added up, and the larger sum counts; the prompt counts once for
/// `copies` answers to it. Answers without usage yet count by their events.
struct Several {
    copies: u64,
    alone: Sum,
    by_index: Sum,
    known: HashMap<u64, (u64, u64)>,
}

#[derive(Clone, Copy, Default)]
struct Sum {
    reports: u64,
    prompt: u64,
    completion: u64,
}

impl StreamMeter {
    /// A meter; `copies`: the number of answers to one prompt, if there are several answers.
    #[must_use]
    pub fn new(cut: bool, copies: Option<u32>) -> Self {
        let several = copies.map(|copies| Several {
            copies: u64::from(copies),
            alone: Sum::default(),
            by_index: Sum::default(),
            known: HashMap::new(),
        });
        Self {
            usage: None,
            cut,
            has_returns: false,
            is_usage_seen: false,
            events: 0,
            rest: Vec::new(),
            sent: 0,
            several,
        }
    }

    /// Takes a part of the stream. Returns what replaces it; `None`: it passes as it is. Only bytes that may belong to the
    /// usage event are held back.
    pub fn feed(&mut self, chunk: &[u8]) -> Option<Vec<u8>> {
        let replacement = self.follow(chunk);
        self.set_total();
        replacement
    }

    /// Takes the end of the stream, which may lack its last empty line.
    pub fn finish(&mut self) {
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            self.read_unfinished(&rest);
            self.set_total();
        }
    }

    fn follow(&mut self, chunk: &[u8]) -> Option<Vec<u8>> {
        self.has_returns = self.has_returns || memchr(b'\r', chunk).is_some();
        if self.rest.is_empty() && !self.has_returns && chunk.ends_with(b"\n\n") {
            let usage_at = next_usage(chunk, 0);
            if usage_at.is_none() || !self.cut {
                self.read_whole(chunk, usage_at);
                return None;
            }
        }
        if self.rest.is_empty() {
            let (from, replacement) = self.read_part(chunk, 0);
            self.rest.extend_from_slice(&chunk[from..]);
            return replacement;
        }
        let mut text = std::mem::take(&mut self.rest);
        let known = text.len();
        text.extend_from_slice(chunk);
        let (from, replacement) = self.read_part(&text, known);
        text.drain(..from);
        self.rest = text;
        replacement
    }

    /// Reads a text whose first `known` bytes were the rest of the parts before it. Returns the position from which on it
    /// is kept, and what passes instead of the part.
    fn read_part(&mut self, text: &[u8], known: usize) -> (usize, Option<Vec<u8>>) {
        let (at, sent) = (known.saturating_sub(2), self.sent);
        let (mut from, pieces, pass_from) = self.read_events(text, at, sent);
        if !self.is_usage_seen {
            self.count_events(text, at);
        }
        let tail = &text[from..];
        let held = if self.cut && may_be_usage_event(tail) { tail.len() } else { 0 };
        if tail.len() > EVENT_BYTES {
            self.read_unfinished(tail);
            from = text.len() - 3;
        }
        self.sent = text.len() - from - held;
        if pieces.is_none() && held == 0 && sent == known {
            return (from, None);
        }
        let mut passed = pieces.unwrap_or_default();
        passed.extend_from_slice(text.get(pass_from..text.len() - held).unwrap_or_default());
        (from, Some(passed))
    }

    /// Reads whole events that are not cut; `usage_at` is that of the first usage in them. Usage is read from its line
    /// alone, so that the events before it cost nothing.
    fn read_whole(&mut self, text: &[u8], mut usage_at: Option<usize>) {
        while let Some(at) = usage_at {
            let first = memrchr(b'\n', &text[..at]).map_or(0, |newline| newline + 1);
            let last = memchr(b'\n', &text[at..]).map_or(text.len(), |newline| at + newline + 1);
            let event = &text[first..last];
            if let Some(found) = read_usage_event(event) {
                self.take_usage(event, found.usage, found.is_alone);
            }
            usage_at = next_usage(text, last);
        }
        if !self.is_usage_seen {
            self.count_events(text, 0);
        }
    }

    /// Reads the usage in the events that end in `text`, the first at or after `at`. Returns the position after them, and
    /// with `cut` what of the text passes before the second position: without usage events, and without the usage that
    /// llama.cpp adds to the last choice. It is `None` if nothing is cut.
    fn read_events(&mut self, text: &[u8], at: usize, mut pass_from: usize) -> (usize, Option<Vec<u8>>, usize) {
        let (mut from, mut pieces) = (0, None::<Vec<u8>>);
        let mut stop = event_end(text, at, self.has_returns);
        // Not before an event ends: a long one may arrive in many parts.
        let mut usage_at = stop.and_then(|_| find_usage(text, 0));
        while let Some(end) = stop {
            if usage_at.is_some_and(|usage| usage < end) {
                let event = &text[from..end];
                if let Some(found) = read_usage_event(event) {
                    self.take_usage(event, found.usage, found.is_alone);
                    let cut_at = if found.is_alone { from } else { from + found.member.start };
                    if self.cut && pass_from <= cut_at {
                        pieces.get_or_insert_default().extend_from_slice(&text[pass_from..cut_at]);
                        pass_from = if found.is_alone { end } else { from + found.member.end };
                    }
                }
                usage_at = find_usage(text, end);
            }
            from = end;
            stop = event_end(text, end, self.has_returns);
        }
        (from, pieces, pass_from)
    }

    /// Counts the events with content among those that end in `text`, the first at or after `at`.
    fn count_events(&mut self, text: &[u8], at: usize) {
        let (mut from, mut events) = (0, self.events);
        let mut stop = event_end(text, at, self.has_returns);
        // With any prefix: all such keys hold generated text.
        let mut content = stop.and_then(|_| CONTENT_FINDER.find(text));
        while let Some(end) = stop {
            if content.is_some_and(|content| content < from) {
                content = CONTENT_FINDER.find(&text[from..]).map(|found| from + found);
            }
            let is_plain =
                content.is_some_and(|content| content < end && text.get(content + CONTENT.len()) != Some(&b'"'));
            if is_plain || has_content(&text[from..end]) {
                events += 1;
            }
            from = end;
            stop = event_end(text, end, self.has_returns);
        }
        if events > self.events {
            self.events = events;
            self.usage = Some(Usage::Delivered(events));
        }
    }

    /// Reads an event that has not ended.
    fn read_unfinished(&mut self, event: &[u8]) {
        if let Some(found) = read_usage_event(event) {
            self.take_usage(event, found.usage, found.is_alone);
        } else if !self.is_usage_seen && has_content(event) {
            self.events += 1;
            self.usage = Some(Usage::Delivered(self.events));
        }
    }

    /// Takes the usage of an event. What one answer reports last counts.
    fn take_usage(&mut self, event: &[u8], usage: Usage, is_alone: bool) {
        if let (Some(several), Usage::Counted { prompt, completion }) = (&mut self.several, usage) {
            several.add(event, (prompt, completion), is_alone);
        } else {
            self.usage = Some(usage);
            self.is_usage_seen = true;
        }
    }

    /// Sets the usage of several answers from what is known.
    fn set_total(&mut self) {
        let Some(several) = &self.several else { return };
        let Several { alone, by_index, copies, .. } = several;
        let sum = if alone.completion >= by_index.completion { alone } else { by_index };
        if sum.completion == 0 {
            if self.events > 0 {
                self.usage = Some(Usage::Delivered(self.events));
            }
            return;
        }
        let prompt = sum.prompt.div_ceil(sum.reports.min(*copies).max(1));
        self.usage = Some(Usage::Counted { prompt, completion: sum.completion.max(self.events) });
    }
}

impl Several {
    fn add(&mut self, event: &[u8], (prompt, completion): (u64, u64), is_alone: bool) {
        if is_alone {
            self.alone.reports += 1;
            self.alone.prompt = self.alone.prompt.saturating_add(prompt);
            self.alone.completion = self.alone.completion.saturating_add(completion);
            return;
        }
        let sum = &mut self.by_index;
        let before = self.known.insert(index(event), (prompt, completion));
        sum.reports += u64::from(before.is_none());
        let before = before.unwrap_or_default();
        sum.prompt = sum.prompt.saturating_add(prompt).saturating_sub(before.0);
        sum.completion = sum.completion.saturating_add(completion).saturating_sub(before.1);
    }
}

/// The index of the answer that an event belongs to.
fn index(event: &[u8]) -> u64 {
    const INDEX: &[u8] = b"\"index\"";
    let value = find(event, INDEX).and_then(|at| after_colon(event, at + INDEX.len()));
    let digits = value.map(|value| &event[value..]).unwrap_or_default();
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    number(&digits[..length]).unwrap_or_default()
}
