//! A request and its answer on their way through the admission filter.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::abi::{self, REQUEST};
use super::key_check::KeyCheck;
use super::reading::{LONG_BYTES, Reading};
use super::started::Started;
use super::stream::Stream;
use super::traces::Trace;
use super::usage_log;
use super::workers::{Config, Kind, now};
use crate::admission::Worker;
use crate::fault::Fault;
use crate::held_bytes::Permit;
use crate::json;
use crate::pending::{Decision, Operation, Pending, Query, ordered};
use crate::rejections::{Answer, Reply, is_key};
use crate::renewals::Renewal;
use crate::request::{PARTS_BYTES, Request, read_parts, read_request};

/// What a body of unknown length counts as: the longest that is taken by default.
const UNKNOWN_BYTES: u64 = 32 * 1024 * 1024;

/// A worker is busy if a request ends so soon after another, in milliseconds.
const BUSY_MILLISECONDS: u64 = 1;

thread_local! {
    /// When the worker has read a request's body last, in milliseconds since the epoch.
    static LAST_READ: Cell<i64> = const { Cell::new(0) };
}

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
    /// Its body has been read, and the worker reads those of other requests before it admits it.
    Due(Box<(Arrived, Request)>),
    /// Its body has a fault, and its key is queried: only a client with a valid key gets answers about bodies.
    Faulty { check: KeyCheck, fault: Fault },
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
        if let Kind::Admission { sampling: Some(sampling), .. } = self.config.kind {
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
                Stage::Reading { .. } | Stage::Due(_) | Stage::Faulty { .. } | Stage::Waiting(_) => Outcome::Buffer,
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
        if let Stage::Body { arrived, reading } = &mut self.stage
            && let Some(reading) = following(reading, stream, arrived)
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
        let bytes = stream.body_bytes(parts);
        if bytes >= LONG_BYTES || reading.is_some() {
            following(&mut reading, stream, &arrived);
        }
        let Some(mut reading) = reading else {
            let read = if bytes < PARTS_BYTES { None } else { stream.with_pieces(parts, read_parts) };
            let read = read.map_or_else(|| stream.with_body(parts, read_request), Ok);
            return match read {
                Ok(request) if is_busy(now()) => self.put_off(stream, arrived, request),
                read => self.admit(stream, arrived, read, parts),
            };
        };
        if has_new {
            reading.feed(stream.copied_body(new));
        }
        reading.end();
        self.stage = Stage::Reading { arrived, reading };
        Outcome::Buffer
    }

    /// Admits the request after Envoy has read what other connections have: a worker that does the same for several
    /// requests has the code for it in its core's cache. Envoy wakes it before it sends or reads more.
    fn put_off(&mut self, stream: &Stream, arrived: Arrived, request: Request) -> Outcome {
        stream.waker().wake();
        self.stage = Stage::Due(Box::new((arrived, request)));
        Outcome::Buffer
    }

    /// Takes a request that was put off, or what another thread has read: a request, or the fault of a body of which more
    /// may follow.
    pub fn request_read(&mut self, stream: &mut Stream) -> Outcome {
        if matches!(self.stage, Stage::Due(_)) {
            return self.request_due(stream);
        }
        let (Stage::Reading { reading, .. } | Stage::Body { reading: Some(reading), .. }) = &self.stage else {
            return Outcome::Buffer;
        };
        let Some(read) = reading.take() else { return Outcome::Buffer };
        match (std::mem::replace(&mut self.stage, Stage::Passive), read) {
            (Stage::Reading { arrived, .. }, read) => self.admit(stream, arrived, read, &[abi::REQUEST_BUFFERED]),
            (_, Err(fault)) => fault_reply(stream, &fault), // the key of a long body was checked before it
            (_, Ok(_)) => Outcome::Reply(Reply::unavailable().into()), // none is read before its end
        }
    }

    fn request_due(&mut self, stream: &mut Stream) -> Outcome {
        let Stage::Due(due) = std::mem::replace(&mut self.stage, Stage::Passive) else { return Outcome::Buffer };
        let (arrived, request) = *due;
        self.admit(stream, arrived, Ok(request), &[abi::REQUEST_BUFFERED])
    }

    fn admit(&mut self, stream: &mut Stream, arrived: Arrived, read: Result<Request, Fault>, parts: &[u32]) -> Outcome {
        let Arrived { operation, authorization, has_query } = arrived;
        let request = match read {
            Ok(request) => request,
            Err(fault) => return self.reject(stream, fault),
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

    /// Rejects a request for the fault of its body, or before that for its key.
    fn reject(&mut self, stream: &mut Stream, fault: Fault) -> Outcome {
        let mut check = KeyCheck::new(Arc::clone(&self.config));
        let outcome = check.request_headers(stream);
        match outcome {
            Outcome::Continue => return fault_reply(stream, &fault),
            Outcome::Query(_) => self.stage = Stage::Faulty { check, fault },
            Outcome::Buffer | Outcome::Reply(_) => {}
        }
        outcome
    }

    /// Takes the answer to the query that the request waits for.
    pub fn answered(&mut self, stream: &mut Stream, answer: &Answer) -> Outcome {
        let mut pending = match std::mem::replace(&mut self.stage, Stage::Passive) {
            Stage::Waiting(pending) => pending,
            Stage::Faulty { mut check, fault } => {
                return match check.answered(stream, answer) {
                    Outcome::Continue => fault_reply(stream, &fault),
                    outcome => outcome,
                };
            }
            _ => return Outcome::Buffer,
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

    /// Takes the room of a long body until its answer begins: Envoy holds it, or
    /// its copy for another attempt, until then.
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
                let operation = pending.operation;
                let started = Started::begin(stream, pending, start, parts);
                stream.clear_route();
                if self.trace.is_some() {
                    Trace::start(stream, operation, started.lease());
                }
                self.stage = Stage::Started(Box::new(started));
                Outcome::Continue
            }
        }
    }

    /// Takes the answer's headers. True: the answer waits for its end.
    pub fn response_headers(&mut self, stream: &mut Stream, has_ended: bool) -> bool {
        self.permit = None;
        let Stage::Started(started) = &mut self.stage else { return false };
        started.headers(stream, has_ended, self.trace.as_mut())
    }

    /// Takes a part of the answer. True: the answer waits for its end.
    pub fn response_body(&mut self, stream: &mut Stream, has_ended: bool) -> bool {
        let Stage::Started(started) = &mut self.stage else { return false };
        if let Some(trace) = &mut self.trace {
            trace.chunk(stream, now());
        }
        let waits = started.body(stream, has_ended);
        if has_ended && self.trace.is_some() {
            Trace::end(stream, started.usage().as_deref());
        }
        waits
    }

    /// Takes the answer's trailers.
    pub fn response_trailers(&mut self, stream: &mut Stream) {
        if let Stage::Started(started) = &mut self.stage {
            started.trailers(stream);
        }
    }

    /// Takes the end of the exchange, whatever ended it, before Envoy writes its usage log.
    pub fn complete(&mut self, stream: &mut Stream) {
        if let Some(trace) = &mut self.trace {
            trace.end_query();
        }
        self.permit = None;
        match &mut self.stage {
            Stage::Passive | Stage::Body { .. } | Stage::Due(_) | Stage::Faulty { .. } => {}
            Stage::Reading { .. } => self.stage = Stage::Passive,
            Stage::Waiting(pending) => self.config.with_worker(|worker| worker.abandon(pending)),
            Stage::Started(started) => {
                if matches!(self.config.kind, Kind::Admission { logs: true, .. }) {
                    usage_log::leave(started.charge());
                } else {
                    started.write_usage(stream);
                }
                if let Some((key, bytes, prompt)) = started.measured() {
                    self.config.with_worker(|worker| worker.measure(key, bytes, prompt));
                }
            }
        }
    }
}

/// Whether this worker has read another request just before `now`, in milliseconds since the epoch.
fn is_busy(now: i64) -> bool {
    now.abs_diff(LAST_READ.replace(now)) <= BUSY_MILLISECONDS
}

/// The thread's reading of a long body, which begins now if it has not. `None` if no thread can read it.
fn following<'reading>(
    reading: &'reading mut Option<Reading>,
    stream: &Stream,
    arrived: &Arrived,
) -> Option<&'reading mut Reading> {
    if reading.is_none() {
        *reading = Reading::begin(stream, &arrived.authorization, stream.content_length(REQUEST));
    }
    reading.as_mut()
}

/// Answers a request for a fault of its body.
fn fault_reply(stream: &Stream, fault: &Fault) -> Outcome {
    let encoding = stream.header(REQUEST, b"content-encoding").unwrap_or(b"identity");
    let is_compressed = *fault == json::invalid() && !encoding.eq_ignore_ascii_case(b"identity");
    let reply = if is_compressed { Reply::compressed() } else { Reply::fault(400, fault) };
    Outcome::Reply(reply.into())
}
