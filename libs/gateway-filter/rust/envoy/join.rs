//! The filter of clusters whose engines stop for streams only: it makes a stream of a request for JSON, and JSON of the
//! answer. It is one of an attempt, behind Envoy's router, so that a replica that breaks before the end of its answer is
//! replaced by another, as for every answer in JSON.
//!
//! The admission filter of the same request, on the same thread, has read where the body changes, and needs what is known
//! of an answer whose client leaves.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::abi::{self, REQUEST, RESPONSE};
use super::metered::Head;
use super::stream::Stream;
use crate::answer::joined::Joined;
use crate::answer::{Kind, Meter};
use crate::stream_options::{Edit, apply_all};

/// Whether any cluster has this filter: without one, requests need no link.
static IS_USED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static LINKS: RefCell<HashMap<Vec<u8>, Rc<Link>>> = RefCell::default();
}

/// What the filters of one request share.
pub struct Link {
    edits: Vec<Edit>,
    /// Of the body with the edits.
    body_bytes: usize,
    is_chat: bool,
    copies: Option<u32>,
    reserved_prompt: u64,
    /// The meter of the last attempt's stream.
    meter: RefCell<Option<Meter>>,
    is_joined: Cell<bool>,
}

impl Link {
    /// What is known of an answer that has not ended, as the usage log has it; `None` if the engine makes no stream of it.
    #[must_use]
    pub fn usage(&self) -> Option<String> {
        let usage = || self.meter.borrow().as_ref().and_then(Meter::usage);
        self.is_joined.get().then(|| usage().unwrap_or_else(|| "d,0".to_owned()))
    }
}

/// Whether a request for JSON needs a link.
pub fn is_used() -> bool {
    IS_USED.load(Ordering::Relaxed)
}

/// Marks that a cluster has this filter.
pub fn turn_on() {
    IS_USED.store(true, Ordering::Relaxed);
}

/// A request for JSON.
pub struct Request {
    /// The changes that make one for a stream of it.
    pub edits: Vec<Edit>,
    /// Of its body.
    pub body_bytes: usize,
    /// Whether it is one for a chat.
    pub is_chat: bool,
    /// Answers to each prompt, if there is more than one answer.
    pub copies: Option<u32>,
    /// The reservation of its prompt, in tokens.
    pub reserved_prompt: u64,
}

/// The request's end of its link, which ends with it.
pub struct Linked {
    id: Vec<u8>,
    /// What the filters share.
    pub link: Rc<Link>,
}

impl Linked {
    /// Links a request for JSON to the filter of its cluster. `None` if it changes nothing.
    #[must_use]
    pub fn new(id: &[u8], request: Request) -> Option<Self> {
        let Request { edits, body_bytes, is_chat, copies, reserved_prompt } = request;
        if edits.is_empty() {
            return None;
        }
        let body_bytes = edits.iter().fold(body_bytes, |length, edit| edit.length_after(length));
        let (meter, is_joined) = (RefCell::new(None), Cell::new(false));
        let link = Rc::new(Link { edits, body_bytes, is_chat, copies, reserved_prompt, meter, is_joined });
        LINKS.with_borrow_mut(|links| links.insert(id.to_vec(), Rc::clone(&link)));
        Some(Self { id: id.to_vec(), link })
    }
}

impl Drop for Linked {
    fn drop(&mut self) {
        LINKS.with_borrow_mut(|links| links.remove(&self.id));
    }
}

/// One attempt of a request.
#[derive(Default)]
pub struct Join {
    link: Option<Rc<Link>>,
    joined: Option<Joined>,
}

impl Join {
    /// Takes the request's headers.
    pub fn request_headers(&mut self, stream: &mut Stream) {
        let id = stream.header(REQUEST, b"x-request-id").unwrap_or_default();
        let Some(link) = LINKS.with_borrow(|links| links.get(id).cloned()) else { return };
        // All attempts have the same headers, so this one's may be changed already.
        if stream.content_length(REQUEST).is_some() {
            stream.set_header(REQUEST, b"content-length", link.body_bytes.to_string().as_bytes());
        }
        link.is_joined.set(true);
        self.link = Some(link);
    }

    /// Takes a part of the request's body. False: it waits for its end.
    pub fn request_body(&self, stream: &mut Stream, has_ended: bool) -> bool {
        let Some(link) = self.link.as_ref() else { return true };
        if has_ended {
            let parts = stream.request_parts();
            let body = stream.with_body(parts, |body| apply_all(&link.edits, body));
            stream.replace_body(parts, &body);
        }
        has_ended
    }

    /// Takes the answer's headers. True: the answer waits for its end.
    pub fn response_headers(&mut self, stream: &Stream, has_ended: bool) -> bool {
        let Some(link) = &self.link else { return false };
        let head = Head::read(stream);
        if head.status != 200 || !head.is_event_stream || has_ended {
            return false;
        }
        let Link { is_chat, copies, reserved_prompt, .. } = **link;
        let meter = Meter::new(Kind { stream: true, cut: false, copies, reserved_prompt });
        link.meter.replace(Some(meter));
        self.joined = Some(Joined::new(is_chat));
        true
    }

    /// Takes a part of the answer. True: it waits for its end.
    pub fn response_body(&mut self, stream: &mut Stream, has_ended: bool) -> bool {
        const PARTS: &[u32] = &[abi::RESPONSE_RECEIVED];
        let (Some(link), Some(joined)) = (&self.link, &mut self.joined) else { return false };
        stream.with_body(PARTS, |chunk| {
            joined.feed(chunk);
            if let Some(meter) = link.meter.borrow_mut().as_mut() {
                meter.feed(chunk);
            }
        });
        if has_ended {
            self.finish(stream, PARTS);
        } else {
            stream.replace_body(PARTS, b"");
        }
        !has_ended
    }

    /// Takes the answer's trailers.
    pub fn response_trailers(&mut self, stream: &mut Stream) {
        self.finish(stream, &[abi::RESPONSE_BUFFERED]);
    }

    fn finish(&mut self, stream: &mut Stream, parts: &[u32]) {
        let (Some(link), Some(joined)) = (&self.link, self.joined.take()) else { return };
        let mut meter = link.meter.borrow_mut();
        if let Some(meter) = meter.as_mut() {
            meter.finish();
        }
        let body = match joined.finish(meter.as_ref().and_then(Meter::counted)) {
            Ok(answer) => answer,
            Err((status, error)) => {
                stream.set_header(RESPONSE, b":status", status.to_string().as_bytes());
                error
            }
        };
        stream.replace_body(parts, &body);
        stream.set_header(RESPONSE, b"content-type", b"application/json");
        stream.set_header(RESPONSE, b"content-length", body.len().to_string().as_bytes());
        stream.remove_header(RESPONSE, b"x-accel-buffering");
        stream.remove_header(RESPONSE, b"transfer-encoding");
    }
}
