//! One HTTP stream of Envoy, as far as the filter uses it. What Envoy owns is borrowed from the stream, and a change of the
//! stream needs it exclusively, because a change makes Envoy's bytes invalid.

use std::cell::RefCell;
use std::ops::Range;

use super::abi::{self, Buffer, FilterPointer, Pair, SpanPointer};
use super::reading::Waker;
use crate::addresses::network;
use crate::pending::Query;
use crate::rejections::Reply;

/// The cluster that queries go to.
pub const QUOTA_CLUSTER: &[u8] = b"token-quota";
/// Request header that marks an answer of the filter, which Envoy does not rewrite.
const ANSWERED_HEADER: &[u8] = b"x-arks-answered";

/// Of Linux.
const SOL_SOCKET: i64 = 1;
/// Of Linux, since 3.13.
const SO_MAX_PACING_RATE: i64 = 47;

/// Bytes of memory for joined bodies that a thread keeps.
const KEPT_BYTES: usize = 1024 * 1024;

/// The headers of a query, for one call.
pub fn query_headers(query: &Query) -> Vec<Pair> {
    let own: [(&str, &[u8]); 3] =
        [(":method", b"POST"), (":path", query.path.as_bytes()), (":authority", QUOTA_CLUSTER)];
    let others = query.headers.iter().map(|(name, value)| (*name, value.as_slice()));
    own.into_iter()
        .chain(others)
        .map(|(name, value)| Pair { key: Buffer::of(name.as_bytes()), value: Buffer::of(value) })
        .collect()
}

/// Envoy's stream during one call of a hook.
pub struct Stream(FilterPointer);

impl Stream {
    /// The stream of a hook's call.
    ///
    /// # Safety
    ///
    /// `pointer` must be what Envoy passed to the hook that runs, and the result must not outlive that call.
    #[must_use]
    pub const unsafe fn new(pointer: FilterPointer) -> Self {
        Self(pointer)
    }

    /// A header's first value.
    #[must_use]
    pub fn header(&self, kind: u32, name: &[u8]) -> Option<&[u8]> {
        let mut result = Buffer::NONE;
        // SAFETY: Envoy's bytes are valid until the stream changes, which needs it exclusively.
        unsafe {
            let found = abi::envoy_dynamic_module_callback_http_get_header(
                self.0,
                kind,
                Buffer::of(name),
                &raw mut result,
                0,
                std::ptr::null_mut(),
            );
            found.then(|| result.bytes())
        }
    }

    /// All headers of a kind, in one call: each search by name costs Envoy a copy of the name.
    #[must_use]
    pub fn headers(&self, kind: u32) -> Vec<(&[u8], &[u8])> {
        let none = Pair { key: Buffer::NONE, value: Buffer::NONE };
        // SAFETY: the vector has room for as many headers as Envoy has, whose bytes are valid until the stream changes.
        unsafe {
            let mut pairs = vec![none; abi::envoy_dynamic_module_callback_http_get_headers_size(self.0, kind)];
            if !abi::envoy_dynamic_module_callback_http_get_headers(self.0, kind, pairs.as_mut_ptr()) {
                return Vec::new();
            }
            pairs.into_iter().map(|pair| (pair.key.bytes(), pair.value.bytes())).collect()
        }
    }

    /// The network of the client.
    #[must_use]
    pub fn client_network(&self) -> Option<Vec<u8>> {
        let mut result = Buffer::NONE;
        // SAFETY: Envoy's bytes are valid during the hook's call.
        let address = unsafe {
            let attribute = abi::SOURCE_ADDRESS;
            let found =
                abi::envoy_dynamic_module_callback_http_filter_get_attribute_string(self.0, attribute, &raw mut result);
            found.then(|| result.bytes())?
        };
        network(std::str::from_utf8(address).ok()?)
    }

    /// The length that the headers of this kind announce for their body.
    #[must_use]
    pub fn content_length(&self, kind: u32) -> Option<u64> {
        std::str::from_utf8(self.header(kind, b"content-length")?).ok()?.parse().ok()
    }

    /// Sets a header, in place of all its values.
    pub fn set_header(&mut self, kind: u32, name: &[u8], value: &[u8]) {
        // SAFETY: Envoy copies both.
        unsafe {
            abi::envoy_dynamic_module_callback_http_set_header(self.0, kind, Buffer::of(name), Buffer::of(value));
        }
    }

    /// Adds a header that the stream does not have: it costs half of `set_header`, which searches for other values.
    pub fn add_header(&mut self, kind: u32, name: &[u8], value: &[u8]) {
        // SAFETY: Envoy copies both.
        unsafe {
            abi::envoy_dynamic_module_callback_http_add_header(self.0, kind, Buffer::of(name), Buffer::of(value));
        }
    }

    /// Removes a header.
    pub fn remove_header(&mut self, kind: u32, name: &[u8]) {
        // SAFETY: a value without bytes removes the header.
        unsafe {
            abi::envoy_dynamic_module_callback_http_set_header(self.0, kind, Buffer::of(name), Buffer::NONE);
        }
    }

    /// Runs `act` with the body's parts of these kinds, one after the other.
    pub fn with_body<Result>(&self, kinds: &[u32], act: impl FnOnce(&[u8]) -> Result) -> Result {
        thread_local! {
            // Kept between bodies: memory that is new each time costs more than the copy.
            static JOINED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        let chunks = self.chunks(kinds);
        // SAFETY: Envoy's bytes are valid until the stream changes, which needs it exclusively.
        let bytes = |chunk: &Buffer| unsafe { chunk.bytes() };
        if let [] | [_] = chunks[..] {
            return act(chunks.first().map_or(&[], bytes));
        }
        let mut joined = JOINED.take();
        joined.clear();
        for chunk in &chunks {
            joined.extend_from_slice(bytes(chunk));
        }
        let result = act(&joined);
        if joined.capacity() <= KEPT_BYTES {
            JOINED.set(joined);
        }
        result
    }

    /// Runs `act` with the pieces of the body's parts of these kinds.
    pub fn with_pieces<Result>(&self, kinds: &[u32], act: impl FnOnce(&[&[u8]]) -> Result) -> Result {
        // SAFETY: Envoy's bytes are valid until the stream changes, which needs it exclusively.
        let pieces: Vec<&[u8]> = self.chunks(kinds).iter().map(|chunk| unsafe { chunk.bytes() }).collect();
        act(&pieces)
    }

    /// The length of the body's parts of these kinds.
    #[must_use]
    pub fn body_bytes(&self, kinds: &[u32]) -> usize {
        // SAFETY: the pointer is that of the hook's call.
        let size = |kind: &u32| unsafe { abi::envoy_dynamic_module_callback_http_get_body_size(self.0, *kind) };
        kinds.iter().map(size).sum()
    }

    /// A copy of the body's parts of these kinds, one after the other.
    #[must_use]
    pub fn copied_body(&self, kinds: &[u32]) -> Vec<u8> {
        let mut copied = Vec::with_capacity(self.body_bytes(kinds));
        for chunk in self.chunks(kinds) {
            // SAFETY: Envoy's bytes are valid until the stream changes, which needs it exclusively.
            copied.extend_from_slice(unsafe { chunk.bytes() });
        }
        copied
    }

    /// A copy of some bytes of the body's parts of these kinds; nothing else of a long body is touched.
    #[must_use]
    pub fn copied_range(&self, kinds: &[u32], range: &Range<usize>) -> Vec<u8> {
        let mut copied = Vec::with_capacity(range.len());
        let mut begin = 0;
        for chunk in self.chunks(kinds) {
            // SAFETY: Envoy's bytes are valid until the stream changes, which needs it exclusively.
            let bytes = unsafe { chunk.bytes() };
            let (from, to) = (range.start.max(begin), range.end.min(begin + bytes.len()));
            if from < to {
                copied.extend_from_slice(&bytes[from - begin..to - begin]);
            }
            begin += bytes.len();
        }
        copied
    }

    /// Wakes this stream's worker, from any thread.
    #[must_use]
    pub fn waker(&self) -> Waker {
        // SAFETY: the pointer is that of the hook's call; the scheduler is its owner's.
        unsafe { Waker::new(abi::envoy_dynamic_module_callback_http_filter_scheduler_new(self.0)) }
    }

    fn chunks(&self, kinds: &[u32]) -> Vec<Buffer> {
        let mut chunks = Vec::new();
        for kind in kinds {
            // SAFETY: the vector has room for as many buffers as Envoy has.
            unsafe {
                let count = abi::envoy_dynamic_module_callback_http_get_body_chunks_size(self.0, *kind);
                let known = chunks.len();
                chunks.resize(known + count, Buffer::NONE);
                if count > 0 {
                    let room = chunks.as_mut_ptr().add(known);
                    abi::envoy_dynamic_module_callback_http_get_body_chunks(self.0, *kind, room);
                }
            }
        }
        chunks
    }

    /// The parts of the request's body at its end. What a filter before this one has kept comes as both parts.
    #[must_use]
    pub fn request_parts(&self) -> &'static [u32] {
        // SAFETY: the pointer is that of the hook's call.
        let is_same = unsafe { abi::envoy_dynamic_module_callback_http_received_buffered_request_body(self.0) };
        if is_same { &[abi::REQUEST_RECEIVED] } else { &[abi::REQUEST_BUFFERED, abi::REQUEST_RECEIVED] }
    }

    /// Begins a span below the request's own. `None` without a trace.
    #[must_use]
    pub fn begin_span(&self, operation: &str) -> Option<Span> {
        // SAFETY: Envoy's span lives as long as the stream, and the ids are copied at once.
        unsafe {
            let parent = abi::envoy_dynamic_module_callback_http_get_active_span(self.0);
            if parent.is_null() {
                return None;
            }
            let name = Buffer::of(operation.as_bytes());
            let child = abi::envoy_dynamic_module_callback_http_span_spawn_child(self.0, parent, name);
            (!child.is_null()).then_some(Span(child))
        }
    }

    /// Replaces the parts of the body of these kinds by `bytes`, which become a part of the last kind.
    pub fn replace_body(&mut self, kinds: &[u32], bytes: &[u8]) {
        // SAFETY: Envoy copies the bytes.
        unsafe {
            for kind in kinds {
                let size = abi::envoy_dynamic_module_callback_http_get_body_size(self.0, *kind);
                if size > 0 {
                    abi::envoy_dynamic_module_callback_http_drain_body(self.0, *kind, size);
                }
            }
            if let Some(kind) = kinds.last() {
                abi::envoy_dynamic_module_callback_http_append_body(self.0, *kind, Buffer::of(bytes));
            }
        }
    }

    /// Writes a byte into the body's parts of these kinds, and adds bytes at their end.
    pub fn change_end(&mut self, kinds: &[u32], at: usize, byte: u8, bytes: &[u8]) {
        let mut begin = 0;
        for chunk in self.chunks(kinds) {
            if (begin..begin + chunk.length).contains(&at) {
                // SAFETY: Envoy lets modules write into its pieces (`EnvoyMutBuffer` of its own SDK), and no reference to
                // them lives.
                unsafe { *chunk.pointer.cast::<u8>().cast_mut().add(at - begin) = byte };
            }
            begin += chunk.length;
        }
        if let Some(kind) = kinds.last() {
            // SAFETY: Envoy copies the bytes.
            unsafe { abi::envoy_dynamic_module_callback_http_append_body(self.0, *kind, Buffer::of(bytes)) };
        }
    }

    /// Sets dynamic metadata for the access log and the tracer.
    pub fn set_metadata(&mut self, namespace: &str, entries: &[(&str, &[u8])]) {
        let pairs: Vec<Pair> = entries
            .iter()
            .map(|(key, value)| Pair { key: Buffer::of(key.as_bytes()), value: Buffer::of(value) })
            .collect();
        // SAFETY: Envoy copies all of it.
        unsafe {
            abi::envoy_dynamic_module_callback_http_set_dynamic_metadata_string_batch(
                self.0,
                Buffer::of(namespace.as_bytes()),
                pairs.as_ptr(),
                pairs.len(),
            );
        }
    }

    /// Limits the bytes a second that the kernel sends to the replica, on a connection that only requests with this limit
    /// use. Envoy writes until the kernel takes no more, and so turns to other clients after the send buffer's bytes.
    pub fn pace(&mut self, bytes_per_second: i64) {
        // SAFETY: the pointer is that of the hook's call.
        unsafe {
            abi::envoy_dynamic_module_callback_http_set_socket_option_int(
                self.0,
                SOL_SOCKET,
                SO_MAX_PACING_RATE,
                abi::BEFORE_CONNECT,
                abi::UPSTREAM,
                bytes_per_second,
            );
        }
    }

    /// Lets Envoy choose the route anew.
    pub fn clear_route(&mut self) {
        // SAFETY: the pointer is that of the hook's call.
        unsafe { abi::envoy_dynamic_module_callback_http_clear_route_cache(self.0) }
    }

    /// Sends a query to token-quota. False if it could not be sent; else its answer comes to a hook.
    pub fn query(&mut self, query: &Query) -> bool {
        let mut headers = query_headers(query);
        let mut callout = 0;
        // SAFETY: Envoy copies the headers.
        let result = unsafe {
            abi::envoy_dynamic_module_callback_http_filter_http_callout(
                self.0,
                &raw mut callout,
                Buffer::of(QUOTA_CLUSTER),
                headers.as_mut_ptr(),
                headers.len(),
                Buffer::NONE,
                query.milliseconds.unsigned_abs(),
            )
        };
        result == abi::CALLOUT_BEGUN
    }

    /// Answers the client.
    pub fn reply(&mut self, reply: &Reply) {
        self.set_header(abi::REQUEST, ANSWERED_HEADER, b"1");
        let mut headers: Vec<Pair> = reply
            .headers
            .iter()
            .map(|(name, value)| Pair { key: Buffer::of(name), value: Buffer::of(value) })
            .collect();
        // SAFETY: Envoy copies all of it.
        unsafe {
            abi::envoy_dynamic_module_callback_http_send_response(
                self.0,
                reply.status,
                headers.as_mut_ptr(),
                headers.len(),
                Buffer::of(&reply.body),
                Buffer::NONE,
            );
        }
    }

    /// Passes what was stopped to the next filter.
    pub fn continue_decoding(&mut self) {
        // SAFETY: the pointer is that of the hook's call.
        unsafe { abi::envoy_dynamic_module_callback_http_filter_continue_decoding(self.0) }
    }

    /// Adds one to a counter of the filter's configuration.
    pub fn increment(&mut self, counter: usize) {
        // SAFETY: a counter without labels needs none.
        unsafe {
            abi::envoy_dynamic_module_callback_http_filter_increment_counter(
                self.0,
                counter,
                std::ptr::null_mut(),
                0,
                1,
            );
        }
    }
}

/// A span of the filter, which ends when it is dropped.
pub struct Span(SpanPointer);

impl Span {
    /// Ids of the trace and of the span, in hexadecimal digits. `None` if Envoy has none.
    #[must_use]
    pub fn ids(&self) -> Option<(String, String)> {
        let mut found = Buffer::NONE;
        // SAFETY: the span lives, and Envoy's bytes are copied before its next call.
        unsafe {
            let has_trace = abi::envoy_dynamic_module_callback_http_span_get_trace_id(self.0, &raw mut found);
            let trace = has_trace.then(|| String::from_utf8_lossy(found.bytes()).into_owned())?;
            let has_span = abi::envoy_dynamic_module_callback_http_span_get_span_id(self.0, &raw mut found);
            let span = has_span.then(|| String::from_utf8_lossy(found.bytes()).into_owned())?;
            Some((trace, span))
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        // SAFETY: the span is the filter's own, and ends once.
        unsafe { abi::envoy_dynamic_module_callback_http_child_span_finish(self.0) }
    }
}
