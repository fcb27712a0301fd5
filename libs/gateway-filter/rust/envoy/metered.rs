//! The answer of an engine on its way to the client: metered, renamed, completed.

use std::str::FromStr;

use super::abi::{self, RESPONSE};
use super::stream::Stream;
use crate::answer::Meter;
use crate::answer::nulls::with_nulls;
use crate::names::Renaming;

/// The longest answer in JSON that waits for its end. Envoy's limit for what a filter keeps is that of requests' bodies.
const WHOLE_BYTES: u64 = 256 * 1024;

/// An answer that is metered, and changed on its way.
pub struct Metered {
    /// What it costs.
    pub meter: Meter,
    /// Replaces the engine's name of the model.
    pub renaming: Option<Box<Renaming>>,
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
            let renamed = renaming.as_deref_mut().map(rename);
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

/// What the headers of an answer show.
#[derive(Clone, Copy, Default)]
pub struct Head {
    /// The answer's status; 0 if it is no number.
    pub status: u16,
    /// It is a stream of events.
    pub is_event_stream: bool,
    /// It is JSON whose length is known and may wait for its end.
    pub is_short_json: bool,
    /// The engine has set limits of its own.
    pub has_limits: bool,
}

impl Head {
    /// Reads the headers of an answer.
    #[must_use]
    pub fn read(stream: &Stream) -> Self {
        let (mut head, mut length, mut is_json) = (Self::default(), None, false);
        for (name, value) in stream.headers(RESPONSE) {
            match name {
                b":status" => head.status = number(value).unwrap_or_default(),
                b"content-length" => length = number::<u64>(value),
                b"content-type" => {
                    head.is_event_stream = value.starts_with(b"text/event-stream");
                    is_json = value.starts_with(b"application/json");
                }
                _ => head.has_limits |= name.starts_with(b"x-ratelimit-"),
            }
        }
        head.is_short_json = is_json && length.is_some_and(|length| length <= WHOLE_BYTES);
        head
    }
}

fn number<Number: FromStr>(value: &[u8]) -> Option<Number> {
    std::str::from_utf8(value).ok()?.parse().ok()
}
