//! Usage in an answer. `"usage"` followed by a colon cannot occur inside a JSON string, where its quotes would be escaped;
//! so a plain search is enough to find it.

use std::fmt;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::json::{Keys, after_nested, after_space, read_object};

/// A usage object, or the event that carries only it, is shorter, in bytes.
pub const USAGE_BYTES: usize = 4096;
/// Bytes of `"usage"`.
pub const NAME_BYTES: usize = 7;

static NAME: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"usage\""));
static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::strict(&["prompt_tokens", "completion_tokens"]));

/// What is known of the tokens of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// The engine has counted them.
    Counted {
        /// Prompt tokens.
        prompt: u64,
        /// Completion tokens.
        completion: u64,
    },
    /// Number of events with content that were delivered.
    Delivered(u64),
}

impl fmt::Display for Usage {
    /// Writes it as the usage log has it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Counted { prompt, completion } => write!(formatter, "e,{prompt},{completion}"),
            Self::Delivered(events) => write!(formatter, "d,{events}"),
        }
    }
}

/// The position of the next `"usage"` at or after `from`.
#[must_use]
pub fn find_usage(text: &[u8], from: usize) -> Option<usize> {
    Some(from + NAME.find(text.get(from..)?)?)
}

/// The position after the colon and white space that may follow `at`; `None` without a colon.
#[must_use]
pub fn after_colon(text: &[u8], at: usize) -> Option<usize> {
    let colon = after_space(text, at);
    (text.get(colon) == Some(&b':')).then(|| after_space(text, colon + 1))
}

/// What follows a `"usage"`.
pub enum Reading {
    /// A usage, and the position after its object.
    Read(Usage, usize),
    /// The text ends before it.
    Unfinished,
    /// Something else.
    Other,
}

/// Reads the usage object that starts at `brace`.
#[must_use]
pub fn read_usage(text: &[u8], brace: usize) -> Reading {
    let Ok(object) = read_object(text, brace, &KEYS) else {
        return if after_nested(text, brace).is_none() { Reading::Unfinished } else { Reading::Other };
    };
    let count = |key| object.text(text, key).and_then(number);
    match count("prompt_tokens") {
        // Embeddings have no completion.
        Some(prompt) => {
            let completion = count("completion_tokens").unwrap_or_default();
            Reading::Read(Usage::Counted { prompt, completion }, object.closing + 1)
        }
        None => Reading::Other,
    }
}

/// A whole number. One that is too large is the largest, which token-quota refuses.
#[must_use]
pub fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |byte: &u8| u64::from(byte - b'0');
    Some(text.iter().fold(0, |number: u64, byte| number.saturating_mul(10).saturating_add(digit(byte))))
}
