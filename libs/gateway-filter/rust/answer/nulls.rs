//! Members that OpenAI's description requires in the answer of a chat, with null if they are empty, and that engines
//! leave out: `logprobs` of a choice and `refusal` of a message.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::usage::after_colon;
use crate::json::{after_space, after_value};
use crate::members::{each_member, each_object, member};

const CHOICES: &[u8] = b"\"choices\"";
static CHOICES_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(CHOICES));
const LOGPROBS: &[u8] = b"\"logprobs\":null,";
const REFUSAL: &[u8] = b"\"refusal\":null,";

/// The answer with what it lacks; `None` if it lacks nothing, or is no answer.
#[must_use]
pub fn with_nulls(text: &[u8]) -> Option<Vec<u8>> {
    // Inside a string its quotes would be escaped.
    let list = after_colon(text, CHOICES_FINDER.find(text)? + CHOICES.len())?;
    let mut lacking = Vec::new();
    each_object(text, list, |choice| {
        let (mut has_logprobs, mut message) = (false, None);
        let after = each_member(text, choice, |key, value| {
            has_logprobs |= key == b"logprobs";
            if key == b"message" {
                message = Some(value);
            }
            after_value(text, value)
        });
        if !has_logprobs && is_filled(text, choice) {
            lacking.push((choice + 1, LOGPROBS));
        }
        lacking.extend(message.filter(|message| lacks_refusal(text, *message)).map(|message| (message + 1, REFUSAL)));
        after
    })?;
    (!lacking.is_empty()).then(|| with_insertions(text, &lacking))
}

fn lacks_refusal(text: &[u8], message: usize) -> bool {
    let (refusal, after) = member(text, message, b"refusal");
    after.is_some() && refusal.is_none() && is_filled(text, message)
}

/// Whether the object at `at` has a member.
fn is_filled(text: &[u8], at: usize) -> bool {
    text.get(after_space(text, at + 1)) == Some(&b'"')
}

/// `lacking`: position and text of each insertion, in their order.
fn with_insertions(text: &[u8], lacking: &[(usize, &[u8])]) -> Vec<u8> {
    let more: usize = lacking.iter().map(|(_, inserted)| inserted.len()).sum();
    let (mut whole, mut from) = (Vec::with_capacity(text.len() + more), 0);
    for (at, inserted) in lacking {
        whole.extend_from_slice(&text[from..*at]);
        whole.extend_from_slice(inserted);
        from = *at;
    }
    whole.extend_from_slice(&text[from..]);
    whole
}
