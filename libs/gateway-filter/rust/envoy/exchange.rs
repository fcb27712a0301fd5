//! A request and its answer on their way through the admission filter.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use super::abi::{self, REQUEST, RESPONSE};
use super::join::{self, Linked};
use super::metered::{Metered, is_short_json};
use super::reading::{LONG_BYTES, Reading};
use super::stream::Stream;
use super::traces::Trace;
use super::workers::{Config, Kind, now};
use crate::admission::{LIMIT_HEADERS, Worker};
use crate::affinity::{Affinity, KEY_HEADER, Places};
use crate::answer::{Kind as MeterKind, Meter};
use crate::errors::openai_error;
use crate::fault::Fault;
use crate::held_bytes::Permit;
use crate::json;
use crate::names::{Renaming, with_model};
use crate::pending::{Decision, Operation, Pending, Query, Start, ordered};
use crate::rejections::{Answer, Reply, is_key};
use crate::renewals::Renewal;
use crate::request::{Request, read_request};
use crate::stream_options::Edit;

const METADATA: &str = "arks";
const CLUSTER_HEADER: &[u8] = b"x-arks-cluster";
/// Marks a stream, whose route limits the time to its first byte.
const STREAM_HEADER: &[u8] = b"x-arks-stream";

/// What a body of unknown length counts as: the longest that is taken by default.
const UNKNOWN_BYTES: u64 = 32 * 1024 * 1024;

/// What Envoy has to do with the request now.
pub enum Outcome {
    /// Pass it to the next filter.
    Continue,
    /// Keep it, and wait for more of it.
    Buffer,
    /// Keep it until the answer to a query.
    Query(Query),
    /// Answer it.
    Reply(Rc<Reply>),
}

/// How far the exchange is.
enum Stage {
    /// Not one for a model, or rejected: nothing is done with it.
    Passive,
    /// Its body arrives. A long one is read by another thread meanwhile.
    Body { arrived: Arrived, reading: Option<Reading> },
    /// Its body, a long one, has arrived and is read by another thread.
    Reading { arrived: Arrived, reading: Reading },
    /// It waits for token-quota.
    Waiting(Box<Pending>),
    /// An engine works on it.
    Started(Box<Started>),
}

/// What the headers of a request have.
struct Arrived {
    operation: Operation,
    authorization: Vec<u8>,
    has_query: bool,
}

struct Started {
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

/// A request and its answer.
pub struct Exchange {
    config: Arc<Config>,
    stage: Stage,
    trace: Option<Trace>,
    permit: Option<Permit>,
}

impl Exchange {
    /// An exchange of which nothing is known yet.
    #[must_use]
    pub fn new(config: Arc<Config>) -> Self {
        Self { config, stage: Stage::Passive, trace: None, permit: None }
    }

    /// Takes the request's headers. `has_ended`: it has no body.
    pub fn request_headers(&mut self, stream: &mut Stream, has_ended: bool) -> Outcome {
        let path = stream.header(REQUEST, b":path").unwrap_or_default();
        let length = path.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(path.len());
        let has_query = length < path.len(); // engines get none: some read options from it
        let operation = Operation::of_path(&path[..length]);
        let Some(operation) = operation.filter(|_| stream.header(REQUEST, b":method") == Some(b"POST")) else {
            return Outcome::Continue;
        };
        if let Kind::Admission { sampling: Some(sampling) } = self.config.kind {
            self.trace = Some(Trace::begin(sampling, now()));
        }
        let Some(authorization) = stream.header(REQUEST, b"authorization").filter(|value| is_key(value)) else {
            return Outcome::Reply(Reply::without_key().into());
        };
        let authorization = authorization.to_vec();
        let held = |worker: &mut Worker| {
            let (now, address) = (now(), || stream.client_network());
            worker.held_by_key(&authorization, now).or_else(|| worker.limited_by_failures(&authorization, address, now))
        };
        if let Some(reply) = self.config.with_worker(held) {
            return Outcome::Reply(reply);
        }
        let length = stream.content_length(REQUEST);
        if length.is_some_and(|length| length >= LONG_BYTES as u64)
            && let Err(reply) = self.hold(stream, &authorization, length)
        {
            return reply;
        }
        let arrived = Arrived { operation, authorization, has_query };
        self.stage = Stage::Body { arrived, reading: None };
        if has_ended { self.request_end(stream, &[]) } else { Outcome::Buffer }
    }

    /// Takes a part of the request's body that is not its last.
    pub fn request_part(&mut self, stream: &Stream) -> Outcome {
        let Stage::Body { arrived, reading } = &self.stage else {
            return match &self.stage {
                Stage::Reading { .. } | Stage::Waiting(_) => Outcome::Buffer,
                _ => Outcome::Continue,
            };
        };
        // Shorter bodies are read once, at their end: following them too would cost as much again.
        let parts = if reading.is_some() { &[abi::REQUEST_RECEIVED] } else { stream.request_parts() };
        if reading.is_none() && stream.body_bytes(parts) < LONG_BYTES {
            return Outcome::Buffer;
        }
        if self.permit.is_none() {
            let authorization = arrived.authorization.clone();
            if let Err(reply) = self.hold(stream, &authorization, None) {
                self.stage = Stage::Passive;
                return reply;
            }
        }
        if let Stage::Body { reading, .. } = &mut self.stage
            && let Some(reading) = following(reading, stream)
        {
            reading.feed(stream.copied_body(parts));
        }
        Outcome::Buffer
    }

    /// Takes the end of the request: its body is in these parts.
    pub fn request_end(&mut self, stream: &mut Stream, parts: &[u32]) -> Outcome {
        let Stage::Body { arrived, mut reading } = std::mem::replace(&mut self.stage, Stage::Passive) else {
            return Outcome::Continue;
        };
        // Before trailers no part of the body came.
        let has_new = parts.contains(&abi::REQUEST_RECEIVED) || reading.is_none();
        let new = if reading.is_some() { &[abi::REQUEST_RECEIVED] } else { parts };
        if stream.body_bytes(parts) >= LONG_BYTES || reading.is_some() {
            following(&mut reading, stream);
        }
        let Some(reading) = reading else {
            let read = stream.with_body(parts, read_request);
            return self.admit(stream, arrived, read, parts);
        };
        if has_new {
            reading.feed(stream.copied_body(new));
        }
        reading.end();
        self.stage = Stage::Reading { arrived, reading };
        Outcome::Buffer
    }

    /// Takes what another thread has read: the request, or the fault of a body of which more may follow.
    pub fn request_read(&mut self, stream: &mut Stream) -> Outcome {
        let (Stage::Reading { reading, .. } | Stage::Body { reading: Some(reading), .. }) = &self.stage else {
            return Outcome::Buffer;
        };
        let Some(read) = reading.take() else { return Outcome::Buffer };
        match (std::mem::replace(&mut self.stage, Stage::Passive), read) {
            (Stage::Reading { arrived, .. }, read) => self.admit(stream, arrived, read, &[abi::REQUEST_BUFFERED]),
            (_, Err(fault)) => fault_reply(stream, &fault),
            (_, Ok(_)) => Outcome::Reply(Reply::unavailable().into()), // none is read before its end
        }
    }

    fn admit(&mut self, stream: &mut Stream, arrived: Arrived, read: Result<Request, Fault>, parts: &[u32]) -> Outcome {
        let Arrived { operation, authorization, has_query } = arrived;
        let request = match read {
            Ok(request) => request,
            Err(fault) => return fault_reply(stream, &fault),
        };
        let now = now();
        let id = ordered(stream.header(REQUEST, b"x-request-id").unwrap_or_default(), now);
        stream.set_header(REQUEST, b"x-request-id", id.as_bytes());
        if has_query {
            stream.set_header(REQUEST, b":path", operation.path().as_bytes());
        }
        let mut pending = Pending::new(authorization, id, operation, request);
        let decide = |worker: &mut Worker| (worker.decide(&mut pending, now), worker.take_renewals());
        let (decision, renewals) = self.config.with_worker(decide);
        self.renew(renewals);
        self.follow(stream, pending, decision, parts)
    }

    /// Takes the answer to the query that the request waits for.
    pub fn answered(&mut self, stream: &mut Stream, answer: &Answer) -> Outcome {
        let Stage::Waiting(mut pending) = std::mem::replace(&mut self.stage, Stage::Passive) else {
            return Outcome::Buffer;
        };
        if let Some(trace) = &mut self.trace {
            trace.end_query();
        }
        let decide =
            |worker: &mut Worker| (worker.decide_answered(&mut pending, answer, now()), worker.take_renewals());
        let (decision, renewals) = self.config.with_worker(decide);
        self.renew(renewals);
        self.follow(stream, *pending, decision, &[abi::REQUEST_BUFFERED])
    }

    /// Takes the room of a long body until its answer begins: Envoy keeps it for another attempt until then.
    fn hold(&mut self, stream: &Stream, authorization: &[u8], length: Option<u64>) -> Result<(), Outcome> {
        let most = self.config.limits.long_body_bytes;
        let holders = (authorization, stream.client_network());
        self.permit = self.config.held_bytes.take(holders, length.unwrap_or(UNKNOWN_BYTES), most);
        if self.permit.is_some() { Ok(()) } else { Err(Outcome::Reply(Reply::too_many_long_bodies().into())) }
    }

    fn renew(&self, renewals: Vec<Renewal>) {
        for renewal in renewals {
            self.config.renewals.begin(renewal);
        }
    }

    fn follow(&mut self, stream: &mut Stream, pending: Pending, decision: Decision, parts: &[u32]) -> Outcome {
        match decision {
            Decision::Reject(reply) => {
                self.config.count_failure(stream, &reply);
                Outcome::Reply(reply)
            }
            Decision::Query(mut query) => {
                if let Some(trace) = &mut self.trace {
                    trace.begin_query(stream, &mut query);
                }
                self.stage = Stage::Waiting(Box::new(pending));
                Outcome::Query(query)
            }
            Decision::Start(start) => {
                self.start(stream, pending, start, parts);
                Outcome::Continue
            }
        }
    }

    fn start(&mut self, stream: &mut Stream, pending: Pending, start: Start, parts: &[u32]) {
        let Pending { operation, request, key, id, .. } = pending;
        if let Some(affinity) = &start.affinity {
            hold_together(stream, affinity, &start.lease.grant, (operation, &request.places), parts);
        }
        let Request { model, stream: is_stream, copies, bytes, body, model_at, as_stream, .. } = request;
        let (model_before, mut linked) = (model_at.clone(), None);
        let cut = body.is_some();
        let measurable_bytes = bytes.measurable(copies.is_none());
        let body = match (&start.engine_model, body) {
            (None, body) => body,
            (Some(name), Some(body)) => Some(with_model(&body, model_at, name)),
            (Some(name), None) => Some(stream.with_body(parts, |body| with_model(body, model_at, name))),
        };
        if let Some(body) = body {
            stream.replace_body(parts, &body);
            stream.set_header(REQUEST, b"content-length", body.len().to_string().as_bytes());
        }
        if !is_stream && operation != Operation::Embeddings {
            let edits = match &start.engine_model {
                Some(name) => moved(as_stream, &model_before, name.len() + 2),
                None => as_stream,
            };
            let reserved_prompt = start.reserved.prompt.unsigned_abs();
            let (is_chat, body_bytes) = (operation == Operation::Chat, stream.body_bytes(parts));
            let request = join::Request { edits, body_bytes, is_chat, copies, reserved_prompt };
            linked = Linked::new(id.as_bytes(), request);
        }
        stream.set_header(REQUEST, CLUSTER_HEADER, start.cluster.as_bytes());
        if is_stream {
            stream.set_header(REQUEST, STREAM_HEADER, b"1");
        }
        stream.clear_route();
        if self.trace.is_some() {
            Trace::start(stream, operation, &start.lease.grant);
        }
        let answer = Response::None;
        let started =
            Started { start, operation, stream: is_stream, cut, copies, model, key, measurable_bytes, answer, linked };
        self.stage = Stage::Started(Box::new(started));
    }

    /// Takes the answer's headers. True: the answer waits for its end.
    pub fn response_headers(&mut self, stream: &mut Stream, has_ended: bool) -> bool {
        self.permit = None;
        let Stage::Started(started) = &mut self.stage else { return false };
        let status = stream.header(RESPONSE, b":status").and_then(|value| std::str::from_utf8(value).ok());
        let status: u16 = status.and_then(|value| value.parse().ok()).unwrap_or_default();
        if status >= 400 {
            started.answer = Response::Error(status);
            started.linked = None;
            if has_ended {
                started.response_error(stream, &[abi::RESPONSE_BUFFERED]);
            }
            return !has_ended;
        }
        let is_whole = started.meter(stream);
        if let Some(trace) = &mut self.trace {
            trace.headers(stream.header(RESPONSE, b"content-type").unwrap_or_default());
        }
        is_whole && !has_ended
    }

    /// Takes a part of the answer. True: the answer waits for its end.
    pub fn response_body(&mut self, stream: &mut Stream, has_ended: bool) -> bool {
        let Stage::Started(started) = &mut self.stage else { return false };
        if let Some(trace) = &mut self.trace {
            trace.chunk(stream, now());
        }
        match &mut started.answer {
            Response::None => {}
            Response::Error(_) if !has_ended => return true,
            Response::Error(_) => {
                started.response_error(stream, &[abi::RESPONSE_BUFFERED, abi::RESPONSE_RECEIVED]);
            }
            Response::Metered(metered) if metered.is_whole => {
                if !has_ended {
                    return true;
                }
                metered.take_whole(stream, &[abi::RESPONSE_BUFFERED, abi::RESPONSE_RECEIVED]);
            }
            Response::Metered(metered) => metered.follow(stream, has_ended),
        }
        if has_ended && self.trace.is_some() {
            Trace::end(stream, started.usage().as_deref());
        }
        false
    }

    /// Takes the answer's trailers.
    pub fn response_trailers(&mut self, stream: &mut Stream) {
        let Stage::Started(started) = &mut self.stage else { return };
        match &mut started.answer {
            Response::None => {}
            Response::Error(_) => started.response_error(stream, &[abi::RESPONSE_BUFFERED]),
            Response::Metered(metered) if metered.is_whole => metered.take_whole(stream, &[abi::RESPONSE_BUFFERED]),
            Response::Metered(metered) => metered.meter.finish(),
        }
    }

    /// Takes the end of the exchange, whatever ended it, before Envoy writes its usage log.
    pub fn complete(&mut self, stream: &mut Stream) {
        if let Some(trace) = &mut self.trace {
            trace.end_query();
        }
        self.permit = None;
        match &self.stage {
            Stage::Passive | Stage::Body { .. } => {}
            Stage::Reading { .. } => self.stage = Stage::Passive,
            Stage::Waiting(pending) => self.config.with_worker(|worker| worker.abandon(pending)),
            Stage::Started(started) => {
                let usage = started.usage();
                let grant = started.grant();
                match &usage {
                    Some(usage) => {
                        stream.set_metadata(METADATA, &[("grant", grant.as_bytes()), ("usage", usage.as_bytes())]);
                    }
                    None => stream.set_metadata(METADATA, &[("grant", grant.as_bytes())]),
                }
                if let Some(prompt) = started.prompt() {
                    let measure = |worker: &mut Worker| worker.measure(&started.key, started.measurable_bytes, prompt);
                    self.config.with_worker(measure);
                }
            }
        }
    }
}

/// Changes of a body whose model, at this range, gets another length.
fn moved(edits: Vec<Edit>, model_at: &Range<usize>, length: usize) -> Vec<Edit> {
    let shift = |edit: Edit| if edit.start() < model_at.start { edit } else { edit.shifted(length, model_at.len()) };
    edits.into_iter().map(shift).collect()
}

/// The thread's reading of a long body, which begins now if it has not. `None` if no thread can read it.
fn following<'reading>(reading: &'reading mut Option<Reading>, stream: &Stream) -> Option<&'reading Reading> {
    if reading.is_none() {
        *reading = Reading::begin(stream, stream.content_length(REQUEST));
    }
    reading.as_ref()
}

/// Answers a request for a fault of its body.
fn fault_reply(stream: &Stream, fault: &Fault) -> Outcome {
    let encoding = stream.header(REQUEST, b"content-encoding").unwrap_or(b"identity");
    let is_compressed = *fault == json::invalid() && !encoding.eq_ignore_ascii_case(b"identity");
    let reply = if is_compressed { Reply::compressed() } else { Reply::fault(400, fault) };
    Outcome::Reply(reply.into())
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

impl Started {
    /// Operation, whether it is a stream, and grant: columns of the usage log.
    fn grant(&self) -> String {
        let Start { lease, reserved, .. } = &self.start;
        let is_stream = u8::from(self.stream);
        let (prompt, completion) = (reserved.prompt, reserved.completion);
        format!("{}\t{is_stream}\t{}/{prompt}/{completion}", self.operation.name(), lease.grant)
    }

    fn usage(&self) -> Option<String> {
        match &self.answer {
            Response::Metered(metered) => metered.meter.usage(),
            // Its client has left, or no attempt was answered.
            Response::None => self.linked.as_ref().and_then(|linked| linked.link.usage()),
            Response::Error(_) => None,
        }
    }

    fn prompt(&self) -> Option<u64> {
        match &self.answer {
            Response::Metered(metered) => metered.meter.prompt(),
            _ => None,
        }
    }

    /// Begins to meter an answer, and gives it the limits of its grant. True: the answer waits for its end.
    fn meter(&mut self, stream: &mut Stream) -> bool {
        for (number, value) in self.start.lease.limits.as_deref().unwrap_or_default() {
            stream.set_header(RESPONSE, LIMIT_HEADERS[*number].as_bytes(), value);
        }
        // Only a request for a stream can have one as its answer.
        let is_stream = self.stream
            && stream.header(RESPONSE, b"content-type").is_some_and(|value| value.starts_with(b"text/event-stream"));
        let renaming = self.start.engine_model.as_ref().map(|name| Renaming::new(name, &self.model));
        let cut = self.cut && is_stream;
        let is_whole = self.operation == Operation::Chat && is_short_json(stream);
        if cut || (renaming.is_some() && !is_whole) {
            stream.remove_header(RESPONSE, b"content-length");
        }
        let reserved_prompt = self.start.reserved.prompt.unsigned_abs();
        let meter = Meter::new(MeterKind { stream: is_stream, cut, copies: self.copies, reserved_prompt });
        self.answer = Response::Metered(Box::new(Metered { meter, renaming, is_whole }));
        is_whole
    }

    /// Gives an engine's error OpenAI's shape.
    fn response_error(&mut self, stream: &mut Stream, parts: &[u32]) {
        let Response::Error(status) = std::mem::replace(&mut self.answer, Response::None) else { return };
        let Some((status, body)) = stream.with_body(parts, |body| openai_error(status, body)) else { return };
        stream.replace_body(parts, &body);
        stream.set_header(RESPONSE, b":status", status.to_string().as_bytes());
        stream.set_header(RESPONSE, b"content-type", b"application/json");
        stream.set_header(RESPONSE, b"content-length", body.len().to_string().as_bytes());
    }
}
