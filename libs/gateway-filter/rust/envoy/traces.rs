//! Attributes of a request's span, in the metadata "arks.trace", from which Envoy takes them when the request ends.

use super::stream::Stream;
use crate::admission::Operation;

const METADATA: &str = "arks.trace";

/// The span of one request. It is exported before the hook of the stream's end runs.
pub struct Trace {
    began: i64,
    awaits_first: bool,
}

impl Trace {
    /// A request that began `now`, in milliseconds.
    #[must_use]
    pub const fn begin(now: i64) -> Self {
        Self { began: now, awaits_first: false }
    }

    /// Sets who uses which model: `grant` is `<namespace>/<endpoint>/<token>/<lease>`.
    pub fn start(stream: &mut Stream, operation: Operation, grant: &str) {
        let name = match operation {
            Operation::Chat => "chat",
            Operation::Completions => "text_completion",
            Operation::Embeddings => "embeddings",
        };
        let mut parts = grant.split('/');
        let mut part = || parts.next().unwrap_or_default().as_bytes();
        let (namespace, model, token) = (part(), part(), part());
        let entries = [("operation", name.as_bytes()), ("namespace", namespace), ("model", model), ("token", token)];
        stream.set_metadata(METADATA, &entries);
    }

    /// Takes the content type of an answer.
    pub fn headers(&mut self, content_type: &[u8]) {
        self.awaits_first = content_type.starts_with(b"text/event-stream");
    }

    /// Takes a part of an answer: the first one of a stream sets the time to it.
    pub fn chunk(&mut self, stream: &mut Stream, now: i64) {
        if std::mem::take(&mut self.awaits_first) {
            stream.set_metadata(METADATA, &[("first", seconds(now - self.began).as_bytes())]);
        }
    }

    /// Sets the usage that the engine has counted, at the end of an answer.
    pub fn end(stream: &mut Stream, usage: Option<&str>) {
        let counted = usage.and_then(|usage| usage.strip_prefix("e,")).and_then(|counts| counts.split_once(','));
        if let Some((prompt, completion)) = counted {
            stream.set_metadata(METADATA, &[("input", prompt.as_bytes()), ("output", completion.as_bytes())]);
        }
    }
}

/// Milliseconds as seconds with three decimals.
fn seconds(milliseconds: i64) -> String {
    format!("{}.{:03}", milliseconds.max(0) / 1000, milliseconds.max(0) % 1000)
}
