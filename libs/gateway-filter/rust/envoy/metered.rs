//! The answer of an engine on its way to the client: metered, renamed, completed.

use super::abi::{self, RESPONSE};
use super::stream::Stream;
use crate::answer::Meter;
use crate::answer::nulls::with_nulls;
use crate::names::Renaming;

/// The longest answer in JSON that waits for its end, below Envoy's limit for what it keeps of a connection.
const WHOLE_BYTES: u64 = 256 * 1024;

/// An answer that is metered, and changed on its way.
pub struct Metered {
    /// What it costs.
    pub meter: Meter,
    /// Replaces the engine's name of the model.
    pub renaming: Option<Renaming>,
    /// The answer waits for its end, to get the members that engines leave out.
    pub is_whole: bool,
}

impl Metered {
    /// Takes an answer that is whole.
    pub fn take_whole(&mut self, stream: &mut Stream, parts: &[u32]) {
        let replacement = stream.with_body(parts, |answer| {
            let completed = with_nulls(answer);
            let answer = completed.as_deref().unwrap_or(answer);
            let renamed = self.renaming.as_mut().map(|renaming| renaming.feed_last(answer));
            self.meter.feed(renamed.as_deref().unwrap_or(answer));
            renamed.or(completed)
        });
        self.meter.finish();
        if let Some(replacement) = replacement {
            stream.replace_body(parts, &replacement);
            stream.set_header(RESPONSE, b"content-length", replacement.len().to_string().as_bytes());
        }
    }

    /// Takes a part of an answer, and changes it if the client gets another one.
    pub fn follow(&mut self, stream: &mut Stream, has_ended: bool) {
        const PARTS: &[u32] = &[abi::RESPONSE_RECEIVED];
        let Self { meter, renaming, .. } = self;
        let replacement = stream.with_body(PARTS, |chunk| {
            let rename =
                |renaming: &mut Renaming| if has_ended { renaming.feed_last(chunk) } else { renaming.feed(chunk) };
            let renamed = renaming.as_mut().map(rename);
            meter.feed(renamed.as_deref().unwrap_or(chunk)).or(renamed)
        });
        if has_ended {
            meter.finish();
        }
        if let Some(replacement) = replacement {
            stream.replace_body(PARTS, &replacement);
        }
    }
}

/// Whether an answer is a stream of events.
#[must_use]
pub fn is_event_stream(stream: &Stream) -> bool {
    stream.header(RESPONSE, b"content-type").is_some_and(|value| value.starts_with(b"text/event-stream"))
}

/// Whether an answer is JSON whose length is known and may wait for its end.
#[must_use]
pub fn is_short_json(stream: &Stream) -> bool {
    let is_short = stream.content_length(RESPONSE).is_some_and(|length| length <= WHOLE_BYTES);
    is_short && stream.header(RESPONSE, b"content-type").is_some_and(|value| value.starts_with(b"application/json"))
}
