//! The functions that Envoy calls, on the thread of the stream. A hook that fails ends its request, not Envoy.
//!
//! Envoy may call another hook of the same filter while one answers the client or continues the request, so no hook holds
//! the filter's state while it does that.

use std::cell::RefCell;
use std::ffi::c_char;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use super::abi::{self, Buffer, ConfigPointer, FilterPointer, ModulePointer, Pair};
use super::exchange::{Exchange, Outcome};
use super::join::{self, Join};
use super::key_check::KeyCheck;
use super::renewals::Renewals;
use super::stream::Stream;
use super::workers::{Config, Kind};
use crate::rejections::{Answer, Reply};

/// One of the module's filters, for one stream.
enum Filter {
    Key(KeyCheck),
    Admission(Exchange),
    Join(Join),
}

struct Held {
    config: Arc<Config>,
    filter: RefCell<Filter>,
}

/// Runs a hook with the filter's state. None if it failed, or if the state is in use.
fn with_filter<Result>(
    envoy: FilterPointer,
    module: ModulePointer,
    act: impl FnOnce(&mut Filter, &mut Stream) -> Result,
) -> Option<Result> {
    // SAFETY: Envoy passes what `http_filter_new` returned, until `http_filter_destroy`.
    let held = unsafe { &*module.cast::<Held>() };
    // SAFETY: the stream does not outlive this call of a hook.
    let mut stream = unsafe { Stream::new(envoy) };
    let result = catch_unwind(AssertUnwindSafe(|| {
        held.filter.try_borrow_mut().ok().map(|mut filter| act(&mut filter, &mut stream))
    }));
    if result.is_err() {
        stream.increment(held.config.faults);
    }
    result.ok().flatten()
}

/// Does what the outcome of a hook wants. True: the request passes.
fn follow(envoy: FilterPointer, module: ModulePointer, outcome: Option<Outcome>) -> bool {
    let mut outcome = outcome.unwrap_or_else(|| Outcome::Reply(Rc::new(Reply::unavailable())));
    // SAFETY: the stream does not outlive this call of a hook.
    let mut stream = unsafe { Stream::new(envoy) };
    loop {
        match outcome {
            Outcome::Continue => return true,
            Outcome::Buffer => return false,
            Outcome::Reply(reply) => {
                stream.reply(&reply);
                return false;
            }
            Outcome::Query(query) if stream.query(&query) => return false,
            // token-quota cannot be reached at all: the request goes on without an answer. A request has three queries.
            Outcome::Query(_) => {
                let answered = with_filter(envoy, module, |filter, stream| filter.answered(stream, &Answer::default()));
                outcome = answered.unwrap_or_else(|| Outcome::Reply(Rc::new(Reply::unavailable())));
            }
        }
    }
}

impl Filter {
    fn answered(&mut self, stream: &mut Stream, answer: &Answer) -> Outcome {
        match self {
            Self::Key(check) => check.answered(stream, answer),
            Self::Admission(exchange) => exchange.answered(stream, answer),
            Self::Join(_) => Outcome::Continue, // it sends no query
        }
    }

    fn exchange(&mut self) -> Option<&mut Exchange> {
        match self {
            Self::Key(_) | Self::Join(_) => None,
            Self::Admission(exchange) => Some(exchange),
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_program_init() -> *const c_char {
    abi::VERSION.as_ptr()
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_new(
    envoy: ConfigPointer,
    name: Buffer,
    config: Buffer,
) -> ModulePointer {
    let mut faults = 0;
    // SAFETY: Envoy's buffers are valid during the call; a counter without labels needs none.
    let (name, path) = unsafe {
        let counter = Buffer::of(b"faults");
        abi::envoy_dynamic_module_callback_http_filter_config_define_counter(
            envoy,
            counter,
            std::ptr::null_mut(),
            0,
            &raw mut faults,
        );
        (name.bytes(), config.bytes())
    };
    // SAFETY: the pointer is that of this hook's call.
    let renewals = |path| unsafe { Renewals::new(envoy, path) };
    if let Some(config) = Config::read(name, path, faults, renewals) {
        if config.kind == Kind::Join {
            join::turn_on();
        }
        return Arc::into_raw(Arc::new(config)).cast();
    }
    let message = format!("arks has no filter {} with this configuration", String::from_utf8_lossy(name));
    // SAFETY: Envoy copies the message.
    unsafe { abi::envoy_dynamic_module_callback_log(abi::LOG_ERROR, Buffer::of(message.as_bytes())) }
    std::ptr::null()
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_destroy(config: ModulePointer) {
    // SAFETY: Envoy passes what `http_filter_config_new` returned, once.
    drop(unsafe { Arc::from_raw(config.cast::<Config>()) });
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_per_route_config_new(_: Buffer, _: Buffer) -> ModulePointer {
    std::ptr::null() // routes turn filters on and off only
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_per_route_config_destroy(_: ModulePointer) {}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_new(config: ModulePointer, _: FilterPointer) -> ModulePointer {
    // SAFETY: Envoy passes what `http_filter_config_new` returned, and keeps it while streams use it.
    let config = unsafe {
        Arc::increment_strong_count(config.cast::<Config>());
        Arc::from_raw(config.cast::<Config>())
    };
    let filter = match config.kind {
        Kind::Key => Filter::Key(KeyCheck::new(Arc::clone(&config))),
        Kind::Admission { .. } => Filter::Admission(Exchange::new(Arc::clone(&config))),
        Kind::Join => Filter::Join(Join::default()),
    };
    Box::into_raw(Box::new(Held { config, filter: RefCell::new(filter) })).cast_const().cast()
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_destroy(module: ModulePointer) {
    // SAFETY: Envoy passes what `http_filter_new` returned, once.
    drop(unsafe { Box::from_raw(module.cast_mut().cast::<Held>()) });
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(
    envoy: FilterPointer,
    module: ModulePointer,
    has_ended: bool,
) -> u32 {
    let mut stop = abi::STOP;
    let outcome = with_filter(envoy, module, |filter, stream| match filter {
        Filter::Key(check) => {
            stop = abi::STOP_ALL;
            check.request_headers(stream)
        }
        Filter::Admission(exchange) => exchange.request_headers(stream, has_ended),
        Filter::Join(join) => {
            join.request_headers(stream);
            Outcome::Continue
        }
    });
    if follow(envoy, module, outcome) { abi::CONTINUE } else { stop }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_request_body(
    envoy: FilterPointer,
    module: ModulePointer,
    has_ended: bool,
) -> u32 {
    let outcome = with_filter(envoy, module, |filter, stream| match filter {
        Filter::Admission(exchange) if has_ended => {
            let parts = stream.request_parts();
            exchange.request_end(stream, parts)
        }
        Filter::Admission(exchange) => exchange.request_part(stream),
        Filter::Join(join) if !join.request_body(stream, has_ended) => Outcome::Buffer,
        Filter::Join(_) | Filter::Key(_) => Outcome::Continue,
    });
    let is_answered = matches!(outcome, None | Some(Outcome::Reply(_)));
    match follow(envoy, module, outcome) {
        true => abi::CONTINUE,
        false if is_answered => abi::STOP_NO_BUFFER,
        false => abi::STOP_AND_BUFFER,
    }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_request_trailers(envoy: FilterPointer, module: ModulePointer) -> u32 {
    let outcome = with_filter(envoy, module, |filter, stream| match filter.exchange() {
        Some(exchange) => exchange.request_end(stream, &[abi::REQUEST_BUFFERED]),
        None => Outcome::Continue,
    });
    if follow(envoy, module, outcome) { abi::CONTINUE } else { abi::STOP }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_response_headers(
    envoy: FilterPointer,
    module: ModulePointer,
    has_ended: bool,
) -> u32 {
    let waits = with_filter(envoy, module, |filter, stream| match filter {
        Filter::Admission(exchange) => exchange.response_headers(stream, has_ended),
        Filter::Join(join) => join.response_headers(stream, has_ended),
        Filter::Key(_) => false,
    });
    if waits == Some(true) { abi::STOP } else { abi::CONTINUE }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_response_body(
    envoy: FilterPointer,
    module: ModulePointer,
    has_ended: bool,
) -> u32 {
    let waits = with_filter(envoy, module, |filter, stream| match filter {
        Filter::Admission(exchange) => exchange.response_body(stream, has_ended),
        Filter::Join(join) => join.response_body(stream, has_ended),
        Filter::Key(_) => false,
    });
    if waits == Some(true) { abi::STOP_AND_BUFFER } else { abi::CONTINUE }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_response_trailers(
    envoy: FilterPointer,
    module: ModulePointer,
) -> u32 {
    with_filter(envoy, module, |filter, stream| match filter {
        Filter::Admission(exchange) => exchange.response_trailers(stream),
        Filter::Join(join) => join.response_trailers(stream),
        Filter::Key(_) => {}
    });
    abi::CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_stream_complete(envoy: FilterPointer, module: ModulePointer) {
    with_filter(envoy, module, |filter, stream| {
        if let Some(exchange) = filter.exchange() {
            exchange.complete(stream);
        }
    });
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_http_callout_done(
    envoy: FilterPointer,
    module: ModulePointer,
    _callout: u64,
    result: u32,
    headers: *const Pair,
    headers_count: usize,
    chunks: *const Buffer,
    chunks_count: usize,
) {
    let answer = if result == abi::CALLOUT_ANSWERED {
        // SAFETY: Envoy's arrays and buffers are valid during the call.
        unsafe { answer(list(headers, headers_count), list(chunks, chunks_count)) }
    } else {
        Answer::default()
    };
    let outcome = with_filter(envoy, module, |filter, stream| filter.answered(stream, &answer));
    if follow(envoy, module, outcome) {
        // SAFETY: the stream does not outlive this call of a hook.
        unsafe { Stream::new(envoy) }.continue_decoding();
    }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_scheduled(envoy: FilterPointer, module: ModulePointer, _event: u64) {
    let outcome = with_filter(envoy, module, |filter, stream| match filter.exchange() {
        Some(exchange) => exchange.request_read(stream),
        None => Outcome::Buffer,
    });
    if follow(envoy, module, outcome) {
        // SAFETY: the stream does not outlive this call of a hook.
        unsafe { Stream::new(envoy) }.continue_decoding();
    }
}

/// Envoy's array.
///
/// # Safety
///
/// Envoy's array must be valid for the lifetime of the result.
pub unsafe fn list<'envoy, Item>(pointer: *const Item, count: usize) -> &'envoy [Item] {
    if pointer.is_null() {
        return &[];
    }
    // SAFETY: as above.
    unsafe { std::slice::from_raw_parts(pointer, count) }
}

/// The answer to a query.
///
/// # Safety
///
/// Envoy's buffers must be valid during the call.
pub unsafe fn answer(headers: &[Pair], chunks: &[Buffer]) -> Answer {
    // SAFETY: as above.
    let bytes = |buffer: &Buffer| unsafe { buffer.bytes() };
    let headers: Vec<(Vec<u8>, Vec<u8>)> =
        headers.iter().map(|pair| (bytes(&pair.key).to_vec(), bytes(&pair.value).to_vec())).collect();
    let mut answer = Answer { status: 0, headers, body: chunks.iter().flat_map(bytes).copied().collect() };
    let status = answer.header(":status").and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
    answer.status = status.unwrap_or_default();
    answer
}

/// Hooks that Envoy looks up and the filter does not need.
macro_rules! unused_hooks {
    ($($name:ident;)*) => { $(#[unsafe(no_mangle)] extern "C" fn $name() {})* };
}

unused_hooks! {
    envoy_dynamic_module_on_http_filter_http_stream_headers;
    envoy_dynamic_module_on_http_filter_http_stream_data;
    envoy_dynamic_module_on_http_filter_http_stream_trailers;
    envoy_dynamic_module_on_http_filter_http_stream_complete;
    envoy_dynamic_module_on_http_filter_http_stream_reset;
    envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark;
    envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark;
    envoy_dynamic_module_on_http_filter_config_http_stream_headers;
    envoy_dynamic_module_on_http_filter_config_http_stream_data;
    envoy_dynamic_module_on_http_filter_config_http_stream_trailers;
    envoy_dynamic_module_on_http_filter_config_http_stream_complete;
    envoy_dynamic_module_on_http_filter_config_http_stream_reset;
    envoy_dynamic_module_on_listener_filter_config_scheduled;
    envoy_dynamic_module_on_listener_filter_http_callout_done;
    envoy_dynamic_module_on_listener_filter_scheduled;
    envoy_dynamic_module_on_network_filter_above_write_buffer_high_watermark;
    envoy_dynamic_module_on_network_filter_below_write_buffer_low_watermark;
    envoy_dynamic_module_on_network_filter_config_scheduled;
    envoy_dynamic_module_on_network_filter_http_callout_done;
    envoy_dynamic_module_on_network_filter_scheduled;
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_local_reply(
    _: FilterPointer,
    _: ModulePointer,
    _status: u32,
    _details: Buffer,
    _is_reset: bool,
) -> u32 {
    abi::CONTINUE
}
