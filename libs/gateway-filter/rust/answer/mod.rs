//! Metering of answers: what the engine has counted, or the events that were delivered, and removal of usage that the
//! client did not request. An answer in JSON may be joined from a stream.

mod events;
pub mod joined;
mod json;
pub mod nulls;
mod stream;
mod total;
mod usage;

use json::JsonMeter;
use stream::StreamMeter;
use usage::Usage;

/// What is known of an answer before it.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// It is a stream of events.
    pub stream: bool,
    /// The client did not request usage, so it is removed.
    pub cut: bool,
    /// The number of answers to one prompt, if there are several answers.
    pub copies: Option<u32>,
    /// The reservation of its prompt, in tokens.
    pub reserved_prompt: u64,
}

/// Follows an answer.
pub struct Meter(Form);

enum Form {
    Json(JsonMeter),
    Stream(StreamMeter),
}

impl Meter {
    /// A meter of an answer of this kind.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self(if kind.stream {
            Form::Stream(StreamMeter::new(kind.cut, kind.copies))
        } else {
            Form::Json(JsonMeter::new(kind.copies, kind.reserved_prompt))
        })
    }

    /// Takes a part of the answer. Returns what replaces it; `None`: it passes as it is.
    pub fn feed(&mut self, chunk: &[u8]) -> Option<Vec<u8>> {
        match &mut self.0 {
            Form::Json(meter) => {
                meter.feed(chunk);
                None
            }
            Form::Stream(meter) => meter.feed(chunk),
        }
    }

    /// Takes the end of the answer.
    pub fn finish(&mut self) {
        match &mut self.0 {
            Form::Json(meter) => meter.finish(),
            Form::Stream(meter) => meter.finish(),
        }
    }

    /// The tokens of the prompt that the engine has counted.
    #[must_use]
    pub fn prompt(&self) -> Option<u64> {
        match self.known()? {
            Usage::Counted { prompt, .. } => Some(prompt),
            Usage::Delivered(_) => None,
        }
    }

    /// Tokens of the prompt and of all answers that the engine has counted.
    #[must_use]
    pub const fn counted(&self) -> Option<(u64, u64)> {
        match self.known() {
            Some(Usage::Counted { prompt, completion }) => Some((prompt, completion)),
            _ => None,
        }
    }

    /// What is known so far, as the usage log has it: `e,<prompt>,<completion>`, or `d,<events>`.
    #[must_use]
    pub fn usage(&self) -> Option<String> {
        self.known().map(|usage| usage.to_string())
    }

    const fn known(&self) -> Option<Usage> {
        match &self.0 {
            Form::Json(meter) => meter.usage,
            Form::Stream(meter) => meter.usage,
        }
    }
}
