//! Several answers in JSON. llama.cpp reports the usage of the first answer only; others report the sum. What the other
//! answers took is derived from them: as many tokens as the first if both ended at the limit, else by the length of their
//! text.

use std::sync::LazyLock;

use memchr::memmem::find_iter;

use super::usage::{Usage, after_colon, number};
use crate::json::{Keys, after_nested, read_object};
use crate::members::each_object;

const FINISH_REASON: &[u8] = b"\"finish_reason\"";
/// Bytes of a choice without text.
const CHOICE_BYTES: usize = 62;
/// Added to the first answer's, so that a short one does not decide alone.
const USUAL_TOKENS: u64 = 8;
const USUAL_BYTES: usize = 32;

static TOTAL_KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::strict(&["choices", "usage", "timings"]));
static TIMING_KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::strict(&["predicted_n"]));

struct Choice {
    bytes: usize,
    /// It ended at its limit.
    is_cut: bool,
}

/// The usage of all answers in `text`, given what is reported. The prompt counts once for `copies` answers to it; of
/// several prompts only the first is counted by the engine, so at least the reservation is charged.
#[must_use]
pub fn total_usage(text: &[u8], (prompt, completion): (u64, u64), copies: u32, reserved_prompt: u64) -> Usage {
    let reported = Usage::Counted { prompt, completion };
    let Some(choices) = read_first(text, completion).filter(|choices| choices.len() >= 2) else { return reported };
    let has_prompts = choices.len() > copies as usize;
    let prompt = if has_prompts { prompt.max(reserved_prompt) } else { prompt };
    Usage::Counted { prompt, completion: sum_completion(&choices, completion) }
}

/// The answers, if the usage is that of the first one: llama.cpp also reports the time that this took.
fn read_first(text: &[u8], completion: u64) -> Option<Vec<Choice>> {
    let brace = text.iter().position(|byte| *byte == b'{')?;
    let answer = read_object(text, brace, &TOTAL_KEYS).ok()?;
    let timings = answer.range("timings").filter(|range| text.get(range.start) == Some(&b'{'))?;
    let timings_object = read_object(text, timings.start, &TIMING_KEYS).ok()?;
    let predicted = timings_object.text(text, "predicted_n").and_then(number);
    if predicted != Some(completion) {
        return None;
    }
    Some(read_choices(text, answer.range("choices")?.start))
}

/// Bytes of text of each answer in the list that starts at `at`.
fn read_choices(text: &[u8], at: usize) -> Vec<Choice> {
    let mut choices = Vec::new();
    each_object(text, at, |from| {
        let stop = after_nested(text, from)?;
        let choice = &text[from..stop];
        let is_cut = find_iter(choice, FINISH_REASON).any(|key| {
            let value = after_colon(choice, key + FINISH_REASON.len());
            value.is_some_and(|value| choice[value..].starts_with(b"\"length\""))
        });
        choices.push(Choice { bytes: choice.len().saturating_sub(CHOICE_BYTES), is_cut });
        Some(stop)
    });
    choices
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]
fn sum_completion(choices: &[Choice], completion: u64) -> u64 {
    let Some((first, others)) = choices.split_first() else { return completion };
    let tokens_a_byte = completion.saturating_add(USUAL_TOKENS) as f64 / (first.bytes + USUAL_BYTES) as f64;
    let tokens = |choice: &Choice| {
        if choice.is_cut && first.is_cut {
            return completion;
        }
        ((choice.bytes as f64 * tokens_a_byte).ceil() as u64).max(1)
    };
    others.iter().map(tokens).fold(completion, u64::saturating_add)
}
