//! A request that an engine works on, and its answer.

use std::fmt::Write;
use std::ops::Range;

use super::abi::{self, REQUEST, RESPONSE};
use super::join::{self, Linked};
use super::metered::{Head, Metered};
use super::stream::Stream;
use super::traces::Trace;
use crate::admission::LIMIT_HEADERS;
use crate::affinity::{Affinity, KEY_HEADER, Places};
use crate::answer::{Kind as MeterKind, Meter};
use crate::errors::openai_error;
use crate::names::{Renaming, with_model};
use crate::pending::{Operation, Pending, Start};
use crate::request::{Change, Request};
use crate::stream_options::{Edit, USAGE_END};
use crate::usage_line::Charge;

/// Most columns of a grant are shorter: a text that grows is copied.
const GRANT_BYTES: usize = 160;
const METADATA: &str = "arks";
const CLUSTER_HEADER: &[u8] = b"x-arks-cluster";
/// Marks a stream, whose route limits the time to its first byte.
const STREAM_HEADER: &[u8] = b"x-arks-stream";
/// Marks a body that is longer than `RETRIED_BYTES`, whose route has no retries.
const ONCE_HEADER: &[u8] = b"x-arks-once";
/// The longest body that Envoy keeps for another attempt. It copies it in one step, 0.18 ms a MiB.
const RETRIED_BYTES: usize = 8 * 1024 * 1024;
/// From so many bytes on a body has a connection of its own, on which the kernel sends `PACE` at most.
const PACED_BYTES: usize = 1024 * 1024;
/// In bytes a second.
const PACE: i64 = 1_000_000_000;

/// A request that an engine works on.
pub struct Started {
    id: String,
    start: Start,
    operation: Operation,
    stream: bool,
    cut: bool,
    copies: Option<u32>,
    model: Vec<u8>,
    key: Vec<u8>,
    /// Bytes of text whose tokens the engine's count is.
    measurable_bytes: u64,
    answer: Response,
    /// To the filter of the cluster, for a request for JSON.
    linked: Option<Linked>,
}

enum Response {
    None,
    Error(u16),
    Metered(Box<Metered>),
}

impl Started {
    /// Makes of the request what the engine gets: its body is in these parts.
    pub fn begin(stream: &mut Stream, pending: Pending, start: Start, parts: &[u32]) -> Self {
        let Pending { operation, request, key, id, .. } = pending;
        if let Some(affinity) = &start.affinity {
            hold_together(stream, affinity, &start.lease.grant, (operation, &request.places), parts);
        }
        let Request { model, stream: is_stream, copies, bytes, change, model_at, as_stream, .. } = request;
        let (model_before, mut linked) = (model_at.clone(), None);
        let cut = change.is_some();
        let measurable_bytes = bytes.measurable(copies.is_none());
        let body = match change {
            Some(Change::Body(body)) => Some(body),
            Some(Change::End(at)) => {
                stream.change_end(parts, at, b',', USAGE_END);
                None
            }
            None => None,
        };
        let body = match (&start.engine_model, body) {
            (None, body) => body,
            (Some(name), Some(body)) => Some(with_model(&body, model_at, name)),
            (Some(name), None) => Some(stream.with_body(parts, |body| with_model(body, model_at, name))),
        };
        let is_changed = cut || body.is_some();
        if let Some(body) = body {
            stream.replace_body(parts, &body);
        }
        let body_bytes = stream.body_bytes(parts);
        if is_changed {
            stream.set_header(REQUEST, b"content-length", body_bytes.to_string().as_bytes());
        }
        if join::is_used() && !is_stream && operation != Operation::Embeddings {
            let edits = match &start.engine_model {
                Some(name) => moved(as_stream, &model_before, name.len() + 2),
                None => as_stream,
            };
            let reserved_prompt = start.reserved.prompt.unsigned_abs();
            let is_chat = operation == Operation::Chat;
            let request = join::Request { edits, body_bytes, is_chat, copies, reserved_prompt };
            linked = Linked::new(id.as_bytes(), request);
        }
        stream.set_header(REQUEST, CLUSTER_HEADER, start.cluster.as_bytes());
        if is_stream {
            stream.set_header(REQUEST, STREAM_HEADER, b"1");
        }
        if body_bytes > RETRIED_BYTES {
            stream.set_header(REQUEST, ONCE_HEADER, b"1");
        }
        if body_bytes > PACED_BYTES {
            stream.pace(PACE);
        }
        let answer = Response::None;
        Self { id, start, operation, stream: is_stream, cut, copies, model, key, measurable_bytes, answer, linked }
    }

    /// Takes the answer's headers. True: the answer waits for its end.
    pub fn headers(&mut self, stream: &mut Stream, has_ended: bool, trace: Option<&mut Trace>) -> bool {
        let head = Head::read(stream);
        if head.status >= 400 {
            self.answer = Response::Error(head.status);
            self.linked = None;
            if has_ended {
                self.finish_error(stream, &[abi::RESPONSE_BUFFERED]);
            }
            return !has_ended;
        }
        let is_whole = self.meter(stream, head);
        if let Some(trace) = trace {
            trace.headers(stream.header(RESPONSE, b"content-type").unwrap_or_default());
        }
        is_whole && !has_ended
    }

    /// Takes a part of the answer. True: the answer waits for its end.
    pub fn body(&mut self, stream: &mut Stream, has_ended: bool) -> bool {
        match &mut self.answer {
            Response::None => {}
            Response::Error(_) if !has_ended => return true,
            Response::Error(_) => self.finish_error(stream, &[abi::RESPONSE_BUFFERED, abi::RESPONSE_RECEIVED]),
            Response::Metered(metered) if metered.is_whole => {
                if !has_ended {
                    return true;
                }
                metered.take_whole(stream, &[abi::RESPONSE_BUFFERED, abi::RESPONSE_RECEIVED]);
            }
            Response::Metered(metered) => metered.follow(stream, has_ended),
        }
        false
    }

    /// Takes the answer's trailers.
    pub fn trailers(&mut self, stream: &mut Stream) {
        match &mut self.answer {
            Response::None => {}
            Response::Error(_) => self.finish_error(stream, &[abi::RESPONSE_BUFFERED]),
            Response::Metered(metered) if metered.is_whole => metered.take_whole(stream, &[abi::RESPONSE_BUFFERED]),
            Response::Metered(metered) => metered.meter.finish(),
        }
    }

    /// What the usage log has of it, at its end.
    pub fn charge(&mut self) -> Charge {
        let Start { lease, reserved, .. } = &self.start;
        Charge {
            id: std::mem::take(&mut self.id),
            operation: self.operation.name(),
            stream: self.stream,
            grant: lease.grant.clone(),
            reserved: *reserved,
            usage: self.usage(),
        }
    }

    /// Writes what the usage log of an endpoint-router before this version has of it.
    pub fn write_usage(&self, stream: &mut Stream) {
        let grant = self.columns();
        match self.usage() {
            Some(usage) => {
                stream.set_metadata(METADATA, &[("grant", grant.as_bytes()), ("usage", usage.as_bytes())]);
            }
            None => stream.set_metadata(METADATA, &[("grant", grant.as_bytes())]),
        }
    }

    /// Key and model, bytes of text, and the tokens that the engine counted for them.
    pub fn measured(&self) -> Option<(&[u8], u64, u64)> {
        let Response::Metered(metered) = &self.answer else { return None };
        Some((&self.key, self.measurable_bytes, metered.meter.prompt()?))
    }

    /// The lease that it was admitted from.
    pub fn lease(&self) -> &str {
        &self.start.lease.grant
    }

    /// Operation, whether it is a stream, and grant: columns of that log.
    fn columns(&self) -> String {
        let Start { lease, reserved, .. } = &self.start;
        let is_stream = u8::from(self.stream);
        let (prompt, completion) = (reserved.prompt, reserved.completion);
        let (operation, grant) = (self.operation.name(), &lease.grant);
        let mut columns = String::with_capacity(GRANT_BYTES);
        // A String takes all that is written.
        let _ = write!(columns, "{operation}\t{is_stream}\t{grant}/{prompt}/{completion}");
        columns
    }

    /// What is known of its tokens, as the usage log has it.
    pub fn usage(&self) -> Option<String> {
        match &self.answer {
            Response::Metered(metered) => metered.meter.usage(),
            // Its client has left, or no attempt was answered.
            Response::None => self.linked.as_ref().and_then(|linked| linked.link.usage()),
            Response::Error(_) => None,
        }
    }

    /// Begins to meter an answer, and gives it the limits of its grant. True: the answer waits for its end.
    fn meter(&mut self, stream: &mut Stream, head: Head) -> bool {
        let set = if head.has_limits { Stream::set_header } else { Stream::add_header };
        for (number, value) in self.start.lease.limits.as_deref().unwrap_or_default() {
            set(stream, RESPONSE, LIMIT_HEADERS[*number].as_bytes(), value);
        }
        // Only a request for a stream can have one as its answer.
        let is_stream = self.stream && head.is_event_stream;
        let renaming = self.start.engine_model.as_ref().map(|name| Box::new(Renaming::new(name, &self.model)));
        let cut = self.cut && is_stream;
        let is_whole = self.operation == Operation::Chat && head.is_short_json;
        if cut || (renaming.is_some() && !is_whole) {
            stream.remove_header(RESPONSE, b"content-length");
        }
        let reserved_prompt = self.start.reserved.prompt.unsigned_abs();
        let meter = Meter::new(MeterKind { stream: is_stream, cut, copies: self.copies, reserved_prompt });
        self.answer = Response::Metered(Box::new(Metered { meter, renaming, is_whole }));
        is_whole
    }

    /// Gives an engine's error OpenAI's shape.
    fn finish_error(&mut self, stream: &mut Stream, parts: &[u32]) {
        let Response::Error(status) = std::mem::replace(&mut self.answer, Response::None) else { return };
        let prompt = self.operation.prompt();
        let Some((status, body)) = stream.with_body(parts, |body| openai_error(status, body, prompt)) else { return };
        stream.replace_body(parts, &body);
        stream.set_header(RESPONSE, b":status", status.to_string().as_bytes());
        stream.set_header(RESPONSE, b"content-type", b"application/json");
        stream.set_header(RESPONSE, b"content-length", body.len().to_string().as_bytes());
    }
}

/// Changes of a body whose model, at this range, gets another length.
fn moved(edits: Vec<Edit>, model_at: &Range<usize>, length: usize) -> Vec<Edit> {
    let shift = |edit: Edit| if edit.start() < model_at.start { edit } else { edit.shifted(length, model_at.len()) };
    edits.into_iter().map(shift).collect()
}

/// Sets the header by which the balancer finds the replica of the request's session or prompt.
fn hold_together(
    stream: &mut Stream,
    affinity: &Affinity,
    grant: &str,
    (operation, places): (Operation, &Places),
    parts: &[u32],
) {
    let length = if operation == Operation::Embeddings { 0 } else { places.prompt.len().min(affinity.prompt_bytes()) };
    let prompt = stream.copied_range(parts, &(places.prompt.start..places.prompt.start + length));
    let session = stream.copied_range(parts, &places.session);
    let named = affinity.header().and_then(|name| stream.header(REQUEST, name));
    let key = affinity.key(grant, named.or(Some(&session)), &prompt);
    if let Some(key) = key {
        stream.set_header(REQUEST, KEY_HEADER.as_bytes(), format!("{key:016x}").as_bytes());
    }
}
