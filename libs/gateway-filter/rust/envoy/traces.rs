//! Attributes of a request's span, in the metadata "arks.trace", from which Envoy takes them when the request ends.

use super::abi::REQUEST;
use super::stream::{Span, Stream};
use crate::pending::{Operation, Query};
use crate::sampling::Sampling;

const METADATA: &str = "arks.trace";
const QUERY: &str = "async token-quota egress";

/// The span of one request. It is exported before the hook of the stream's end runs.
pub struct Trace {
    sampling: Sampling,
    began: i64,
    awaits_first: bool,
    query: Option<Span>,
}

impl Trace {
    /// A request that began `now`, in milliseconds.
    #[must_use]
    pub const fn begin(sampling: Sampling, now: i64) -> Self {
        Self { sampling, began: now, awaits_first: false, query: None }
    }

    /// Begins the span of a query, and lets token-quota continue the trace.
    pub fn begin_query(&mut self, stream: &Stream, query: &mut Query) {
        self.query = stream.begin_span(QUERY);
        let Some((trace, span)) = self.query.as_ref().and_then(Span::ids) else { return };
        let is_sampled = self.sampling.includes(stream.header(REQUEST, b"traceparent"), &trace);
        let flag = u8::from(is_sampled);
        query.headers.push(("traceparent", format!("00-{trace}-{span}-{flag:02}").into_bytes()));
    }

    /// Ends the span of a query.
    pub fn end_query(&mut self) {
        self.query = None;
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
