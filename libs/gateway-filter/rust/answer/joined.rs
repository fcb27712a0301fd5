//! An answer in JSON, joined from the events of a stream. An engine that works on when the client of an answer in JSON
//! leaves (llama.cpp) makes a stream instead, which it ends at once.
//!
//! Strings are joined as they are written: two texts with escapes make one.

use std::collections::BTreeMap;

use super::events::event_end;
use super::usage::number;
use crate::json::{after_space, after_value};
use crate::members::{each_member, each_object, member};

/// The longest answer, as the longest request that is taken by default.
const ANSWER_BYTES: usize = 32 * 1024 * 1024;
/// Keys of texts that grow from event to event. Any other text is replaced.
const GROWING: [&[u8]; 6] = [b"content", b"text", b"reasoning_content", b"reasoning", b"refusal", b"arguments"];
/// Members of events that a whole answer has not, or has from elsewhere.
const OTHERS: [&[u8]; 4] = [b"object", b"prompt_progress", b"usage", b"timings"];
const NO_ANSWER: &[u8] =
    br#"{"error":{"code":502,"message":"The engine ended its answer too early.","type":"server_error"}}"#;

type Members = Vec<(Vec<u8>, Part)>;

/// A value that later events may add to.
enum Part {
    /// As it is written.
    Whole(Vec<u8>),
    /// What is between its quotes.
    Text(Vec<u8>),
    /// What is between its brackets.
    List(Vec<u8>),
    Object(Members),
    /// Calls of tools, by their index.
    Calls(BTreeMap<u64, Members>),
}

/// Follows a stream whose client wants JSON.
pub struct Joined {
    is_chat: bool,
    rest: Vec<u8>,
    bytes: usize,
    head: Members,
    choices: BTreeMap<u64, Members>,
    usage: Option<Vec<u8>>,
    timings: Option<Vec<u8>>,
    error: Option<(u16, Vec<u8>)>,
}

impl Joined {
    /// Nothing of an answer yet.
    #[must_use]
    pub const fn new(is_chat: bool) -> Self {
        Self {
            is_chat,
            rest: Vec::new(),
            bytes: 0,
            head: Vec::new(),
            choices: BTreeMap::new(),
            usage: None,
            timings: None,
            error: None,
        }
    }

    /// Takes a part of the stream.
    pub fn feed(&mut self, chunk: &[u8]) {
        self.bytes += chunk.len();
        if self.bytes > ANSWER_BYTES {
            self.error = Some((502, NO_ANSWER.to_vec()));
            return;
        }
        let known = self.rest.len();
        let mut text = std::mem::take(&mut self.rest);
        text.extend_from_slice(chunk);
        let (mut from, mut search) = (0, known.saturating_sub(3));
        while let Some(end) = event_end(&text, search, true) {
            self.take_event(&text[from..end]);
            (from, search) = (end, end);
        }
        text.drain(..from);
        self.rest = text;
    }

    /// The answer in JSON; `counted`: tokens of the prompt and of all answers.
    ///
    /// # Errors
    ///
    /// Returns the status and the body of the engine's error, or of one for a stream without an end.
    pub fn finish(mut self, counted: Option<(u64, u64)>) -> Result<Vec<u8>, (u16, Vec<u8>)> {
        let rest = std::mem::take(&mut self.rest);
        self.take_event(&rest);
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.choices.is_empty() || !self.choices.values().all(is_ended) {
            return Err((502, NO_ANSWER.to_vec()));
        }
        let is_one = self.choices.len() == 1;
        let mut answer = b"{\"choices\":[".to_vec();
        for (number, choice) in self.choices.into_values().enumerate() {
            if number > 0 {
                answer.push(b',');
            }
            let choice = if self.is_chat { with_message(choice) } else { choice };
            write_members(&mut answer, &choice, b"");
        }
        let object: &[u8] = if self.is_chat { b"chat.completion" } else { b"text_completion" };
        answer.extend_from_slice(&[b"],\"object\":\"", object, b"\""].concat());
        for (key, part) in &self.head {
            answer.push(b',');
            write_member(&mut answer, key, part);
        }
        // Each of several answers reports its own usage.
        let total = counted.filter(|_| !is_one).map(|(prompt, completion)| {
            let total = prompt.saturating_add(completion);
            format!(r#"{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{total}}}"#)
                .into_bytes()
        });
        for (key, value) in [("usage", total.or(self.usage)), ("timings", self.timings.filter(|_| is_one))] {
            if let Some(value) = value {
                answer.extend_from_slice(format!(",\"{key}\":").as_bytes());
                answer.extend_from_slice(&value);
            }
        }
        answer.push(b'}');
        Ok(answer)
    }

    fn take_event(&mut self, event: &[u8]) {
        for line in event.split(|byte| *byte == b'\n') {
            if let Some(data) = line.strip_prefix(b"data:") {
                self.take_data(data);
            } else if let Some(error) = line.strip_prefix(b"error:") {
                self.take_error(error, after_space(error, 0)); // older versions of llama.cpp
            }
        }
    }

    fn take_data(&mut self, data: &[u8]) {
        let at = after_space(data, 0);
        if data.get(at) != Some(&b'{') {
            return; // [DONE]
        }
        each_member(data, at, |key, value| {
            let after = after_value(data, value)?;
            match key {
                b"choices" => self.take_choices(data, value),
                b"error" if data[value] == b'{' => self.take_error(data, value),
                b"usage" if data[value] == b'{' => self.usage = Some(data[value..after].to_vec()),
                b"timings" if data[value] == b'{' => self.timings = Some(data[value..after].to_vec()),
                _ if OTHERS.contains(&key) || self.head.iter().any(|(name, _)| name == key) => {}
                _ => self.head.push((key.to_vec(), Part::Whole(data[value..after].to_vec()))),
            }
            Some(after)
        });
    }

    fn take_choices(&mut self, text: &[u8], list: usize) {
        each_object(text, list, |at| {
            let after = after_value(text, at)?;
            merge(self.choices.entry(index(text, at)).or_default(), text, at);
            Some(after)
        });
    }

    /// Takes the error that the object at `at` is.
    fn take_error(&mut self, text: &[u8], at: usize) {
        let Some(after) = after_value(text, at) else { return };
        let code = member(text, at, b"code").0.and_then(|code| number(&text[code..after_value(text, code)?]));
        let status = code.and_then(|code| u16::try_from(code).ok()).filter(|status| (400..=599).contains(status));
        let body = [b"{\"error\":", &text[at..after], b"}"].concat();
        self.error = Some((status.unwrap_or(500), body));
    }
}

/// The number under `index` of the object at `at`; 0 without one.
fn index(text: &[u8], at: usize) -> u64 {
    let value = member(text, at, b"index").0;
    value.and_then(|value| number(&text[value..after_value(text, value)?])).unwrap_or_default()
}

/// Adds the object at `at` to what is known of it.
fn merge(members: &mut Members, text: &[u8], at: usize) {
    each_member(text, at, |key, value| {
        let after = after_value(text, value)?;
        merge_member(members, key, &text[value..after]);
        Some(after)
    });
}

fn merge_member(members: &mut Members, key: &[u8], value: &[u8]) {
    let known = members.iter_mut().find(|(name, _)| name == key).map(|(_, part)| part);
    match known {
        None => members.push((key.to_vec(), new_part(key, value))),
        Some(_) if value == b"null" => {}
        Some(Part::Text(text)) if value[0] == b'"' => text.extend_from_slice(inner(value)),
        Some(Part::List(items)) if value[0] == b'[' => {
            let more = inner(value).trim_ascii();
            if !items.is_empty() && !more.is_empty() {
                items.push(b',');
            }
            items.extend_from_slice(more);
        }
        Some(Part::Object(object)) if value[0] == b'{' => merge(object, value, 0),
        Some(Part::Calls(calls)) if value[0] == b'[' => merge_calls(calls, value),
        Some(part) => *part = new_part(key, value),
    }
}

fn new_part(key: &[u8], value: &[u8]) -> Part {
    match value[0] {
        b'"' if GROWING.contains(&key) => Part::Text(inner(value).to_vec()),
        b'[' if key == b"tool_calls" => {
            let mut calls = BTreeMap::new();
            merge_calls(&mut calls, value);
            Part::Calls(calls)
        }
        b'[' => Part::List(inner(value).trim_ascii().to_vec()),
        b'{' => {
            let mut members = Members::new();
            merge(&mut members, value, 0);
            Part::Object(members)
        }
        _ => Part::Whole(value.to_vec()),
    }
}

fn merge_calls(calls: &mut BTreeMap<u64, Members>, list: &[u8]) {
    each_object(list, 0, |at| {
        let after = after_value(list, at)?;
        merge(calls.entry(index(list, at)).or_default(), list, at);
        Some(after)
    });
}

/// What is between quotes or brackets.
fn inner(value: &[u8]) -> &[u8] {
    value.get(1..value.len() - 1).unwrap_or_default()
}

fn is_ended(choice: &Members) -> bool {
    find(choice, b"finish_reason").is_some_and(|part| !is_null(part))
}

fn find<'members>(members: &'members Members, key: &[u8]) -> Option<&'members Part> {
    members.iter().find(|(name, _)| name == key).map(|(_, part)| part)
}

fn is_null(part: &Part) -> bool {
    matches!(part, Part::Whole(value) if value == b"null")
}

/// The choice of a chat with its delta as a message, which has a role and a content.
fn with_message(choice: Members) -> Members {
    let (delta, mut others): (Members, Members) = choice.into_iter().partition(|(key, _)| key == b"delta");
    let mut message = match delta.into_iter().next() {
        Some((_, Part::Object(members))) => members,
        _ => Members::new(),
    };
    message.retain(|(key, _)| key != b"role");
    message.insert(0, (b"role".to_vec(), Part::Whole(b"\"assistant\"".to_vec())));
    if find(&message, b"content").is_none_or(is_null) {
        message.retain(|(key, _)| key != b"content");
        message.push((b"content".to_vec(), Part::Text(Vec::new())));
    }
    others.push((b"message".to_vec(), Part::Object(message)));
    others
}

/// Writes an object without the member `left_out`.
fn write_members(answer: &mut Vec<u8>, members: &Members, left_out: &[u8]) {
    answer.push(b'{');
    for (number, (key, part)) in members.iter().filter(|(key, _)| key != left_out).enumerate() {
        if number > 0 {
            answer.push(b',');
        }
        write_member(answer, key, part);
    }
    answer.push(b'}');
}

fn write_member(answer: &mut Vec<u8>, key: &[u8], part: &Part) {
    answer.extend_from_slice(&[b"\"", key, b"\":"].concat());
    match part {
        Part::Whole(value) => answer.extend_from_slice(value),
        Part::Text(text) => answer.extend_from_slice(&[b"\"", text.as_slice(), b"\""].concat()),
        Part::List(items) => answer.extend_from_slice(&[b"[", items.as_slice(), b"]"].concat()),
        Part::Object(members) => write_members(answer, members, b""),
        Part::Calls(calls) => {
            answer.push(b'[');
            for (number, call) in calls.values().enumerate() {
                if number > 0 {
                    answer.push(b',');
                }
                write_members(answer, call, b"index");
            }
            answer.push(b']');
        }
    }
}
