//! The part of Envoy's ABI for dynamic modules that the filter uses, as of Envoy 1.40
//! (source/extensions/dynamic_modules/abi/abi.h in Envoy's repository).

use std::ffi::{c_char, c_void};

/// The version of the ABI. Envoy accepts a module of its own version or of the one before.
pub const VERSION: &std::ffi::CStr = c"v0.2.0";

/// Bytes that Envoy or the module owns.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Buffer {
    /// Null: no bytes.
    pub pointer: *const c_char,
    /// In bytes.
    pub length: usize,
}

/// A header that Envoy or the module owns.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Pair {
    /// The name's bytes.
    pub key: Buffer,
    /// The value's bytes.
    pub value: Buffer,
}

/// Times of a stream, in nanoseconds: the first since the epoch, the others since that one; -1: it did not happen.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// When it began.
    pub began: i64,
    /// When it ended.
    pub lasted: i64,
    /// The request's first and last byte to the replica.
    pub sent: [i64; 2],
    /// The answer's first byte from the replica.
    pub first_byte_received: i64,
    /// The answer's last byte from the replica.
    pub last_byte_received: i64,
    /// The answer's first and last byte to the client.
    pub returned: [i64; 2],
}

/// Envoy's object of a stream's filter.
pub type FilterPointer = *mut c_void;
/// Envoy's object of a span.
pub type SpanPointer = *mut c_void;
/// Envoy's object of a filter's configuration.
pub type ConfigPointer = *mut c_void;
/// Envoy's object that wakes its main thread.
pub type SchedulerPointer = *mut c_void;
/// Envoy's object of a cluster's balancer.
pub type BalancerPointer = *mut c_void;
/// Envoy's object of a request for which a replica is chosen.
pub type ContextPointer = *mut c_void;
/// A function that finds the address of a replica by its priority and number.
pub type AddressOf = unsafe extern "C" fn(BalancerPointer, u32, usize, *mut Buffer) -> bool;
/// A function that finds the address and the port of a connection's other end.
pub type AddressOfConnection = unsafe extern "C" fn(FilterPointer, *mut Buffer, *mut u32) -> bool;
/// The module's object of a filter or a balancer, or of its configuration.
pub type ModulePointer = *const c_void;

/// Which headers.
pub const REQUEST: u32 = 0;
/// Which headers.
pub const RESPONSE: u32 = 2;

/// The part of the request's body that came last.
pub const REQUEST_RECEIVED: u32 = 0;
/// The part of the request's body before it.
pub const REQUEST_BUFFERED: u32 = 1;
/// The part of the answer's body that came last.
pub const RESPONSE_RECEIVED: u32 = 2;
/// The part of the answer's body before it.
pub const RESPONSE_BUFFERED: u32 = 3;

/// The next filter gets the headers, the body or the trailers.
pub const CONTINUE: u32 = 0;
/// The next filter gets no headers or trailers yet.
pub const STOP: u32 = 1;
/// The next filter gets no part of the body yet; Envoy keeps it, up to the limit of a body.
pub const STOP_AND_BUFFER: u32 = 1;
/// The next filter gets no part of the body, and Envoy does not keep it.
pub const STOP_NO_BUFFER: u32 = 3;
/// This filter and the next ones get nothing until decoding continues; beyond a buffer, Envoy stops reading.
pub const STOP_ALL: u32 = 4;

/// A callout that was begun.
pub const CALLOUT_BEGUN: u32 = 0;
/// A callout that was answered.
pub const CALLOUT_ANSWERED: u32 = 0;

/// The attribute with the client's address and port: that of the connection, or the one that a trusted proxy has added.
pub const SOURCE_ADDRESS: u32 = 24;

/// The attribute with the address and port of the replica that has answered, or was tried last.
pub const UPSTREAM_ADDRESS: u32 = 41;

/// A replica's number of requests that have no end yet.
pub const REQUESTS_IN_FLIGHT: u32 = 7;

/// A socket option that is set before a connection begins.
pub const BEFORE_CONNECT: u32 = 0;
/// A socket option of the connection to a replica.
pub const UPSTREAM: u32 = 0;

/// A message for Envoy's log.
pub const LOG_ERROR: u32 = 4;

unsafe extern "C" {
    pub fn envoy_dynamic_module_callback_log(level: u32, message: Buffer);
    pub fn envoy_dynamic_module_callback_http_get_header(
        filter: FilterPointer,
        kind: u32,
        key: Buffer,
        result: *mut Buffer,
        index: usize,
        count: *mut usize,
    ) -> bool;
    pub fn envoy_dynamic_module_callback_http_get_headers_size(filter: FilterPointer, kind: u32) -> usize;
    pub fn envoy_dynamic_module_callback_http_get_headers(filter: FilterPointer, kind: u32, result: *mut Pair) -> bool;
    pub fn envoy_dynamic_module_callback_http_add_header(
        filter: FilterPointer,
        kind: u32,
        key: Buffer,
        value: Buffer,
    ) -> bool;
    pub fn envoy_dynamic_module_callback_http_filter_get_attribute_string(
        filter: FilterPointer,
        attribute: u32,
        result: *mut Buffer,
    ) -> bool;
    pub fn envoy_dynamic_module_callback_http_set_header(
        filter: FilterPointer,
        kind: u32,
        key: Buffer,
        value: Buffer,
    ) -> bool;
    pub fn envoy_dynamic_module_callback_http_get_body_chunks_size(filter: FilterPointer, kind: u32) -> usize;
    pub fn envoy_dynamic_module_callback_http_get_body_chunks(
        filter: FilterPointer,
        kind: u32,
        result: *mut Buffer,
    ) -> bool;
    pub fn envoy_dynamic_module_callback_http_get_body_size(filter: FilterPointer, kind: u32) -> usize;
    pub fn envoy_dynamic_module_callback_http_received_buffered_request_body(filter: FilterPointer) -> bool;
    pub fn envoy_dynamic_module_callback_http_append_body(filter: FilterPointer, kind: u32, data: Buffer) -> bool;
    pub fn envoy_dynamic_module_callback_http_drain_body(filter: FilterPointer, kind: u32, bytes: usize) -> bool;
    pub fn envoy_dynamic_module_callback_http_set_dynamic_metadata_string_batch(
        filter: FilterPointer,
        namespace: Buffer,
        entries: *const Pair,
        count: usize,
    );
    pub fn envoy_dynamic_module_callback_http_get_active_span(filter: FilterPointer) -> SpanPointer;
    pub fn envoy_dynamic_module_callback_http_span_get_trace_id(span: SpanPointer, result: *mut Buffer) -> bool;
    pub fn envoy_dynamic_module_callback_http_span_get_span_id(span: SpanPointer, result: *mut Buffer) -> bool;
    pub fn envoy_dynamic_module_callback_http_span_spawn_child(
        filter: FilterPointer,
        span: SpanPointer,
        operation: Buffer,
    ) -> SpanPointer;
    pub fn envoy_dynamic_module_callback_http_child_span_finish(span: SpanPointer);
    pub fn envoy_dynamic_module_callback_http_clear_route_cache(filter: FilterPointer);
    pub fn envoy_dynamic_module_callback_http_set_socket_option_int(
        filter: FilterPointer,
        level: i64,
        name: i64,
        state: u32,
        direction: u32,
        value: i64,
    ) -> bool;
    pub fn envoy_dynamic_module_callback_http_send_response(
        filter: FilterPointer,
        status: u32,
        headers: *mut Pair,
        count: usize,
        body: Buffer,
        details: Buffer,
    );
    pub fn envoy_dynamic_module_callback_http_filter_http_callout(
        filter: FilterPointer,
        callout: *mut u64,
        cluster: Buffer,
        headers: *mut Pair,
        count: usize,
        body: Buffer,
        timeout_milliseconds: u64,
    ) -> u32;
    pub fn envoy_dynamic_module_callback_http_filter_config_http_callout(
        config: ConfigPointer,
        callout: *mut u64,
        cluster: Buffer,
        headers: *mut Pair,
        count: usize,
        body: Buffer,
        timeout_milliseconds: u64,
    ) -> u32;
    pub fn envoy_dynamic_module_callback_http_filter_config_scheduler_new(config: ConfigPointer) -> SchedulerPointer;
    pub fn envoy_dynamic_module_callback_http_filter_config_scheduler_commit(scheduler: SchedulerPointer, event: u64);
    pub fn envoy_dynamic_module_callback_http_filter_config_scheduler_delete(scheduler: SchedulerPointer);
    pub fn envoy_dynamic_module_callback_http_filter_scheduler_new(filter: FilterPointer) -> SchedulerPointer;
    pub fn envoy_dynamic_module_callback_http_filter_scheduler_commit(scheduler: SchedulerPointer, event: u64);
    pub fn envoy_dynamic_module_callback_http_filter_scheduler_delete(scheduler: SchedulerPointer);
    pub fn envoy_dynamic_module_callback_http_filter_continue_decoding(filter: FilterPointer);
    pub fn envoy_dynamic_module_callback_http_filter_config_define_counter(
        config: ConfigPointer,
        name: Buffer,
        labels: *mut Buffer,
        count: usize,
        counter: *mut usize,
    ) -> u32;
    pub fn envoy_dynamic_module_callback_http_filter_increment_counter(
        filter: FilterPointer,
        counter: usize,
        labels: *mut Buffer,
        count: usize,
        value: u64,
    ) -> u32;
    pub fn envoy_dynamic_module_callback_lb_config_define_counter(
        config: ConfigPointer,
        name: Buffer,
        labels: *mut Buffer,
        count: usize,
        counter: *mut usize,
    ) -> u32;
    pub fn envoy_dynamic_module_callback_lb_config_increment_counter(
        config: ConfigPointer,
        counter: usize,
        labels: *mut Buffer,
        count: usize,
        value: u64,
    ) -> u32;
    pub fn envoy_dynamic_module_callback_listener_filter_config_define_counter(
        config: ConfigPointer,
        name: Buffer,
        counter: *mut usize,
    ) -> u32;
    pub fn envoy_dynamic_module_callback_listener_filter_increment_counter(
        filter: FilterPointer,
        counter: usize,
        value: u64,
    ) -> u32;
    pub fn envoy_dynamic_module_callback_listener_filter_get_direct_remote_address(
        filter: FilterPointer,
        address: *mut Buffer,
        port: *mut u32,
    ) -> bool;
    pub fn envoy_dynamic_module_callback_listener_filter_close_socket(filter: FilterPointer, details: Buffer);
    pub fn envoy_dynamic_module_callback_network_filter_get_direct_remote_address(
        filter: FilterPointer,
        address: *mut Buffer,
        port: *mut u32,
    ) -> bool;
    pub fn envoy_dynamic_module_callback_access_logger_config_define_counter(
        config: ConfigPointer,
        name: Buffer,
        counter: *mut usize,
    ) -> u32;
    pub fn envoy_dynamic_module_callback_access_logger_increment_counter(
        config: ConfigPointer,
        counter: usize,
        value: u64,
    ) -> u32;
    pub fn envoy_dynamic_module_callback_access_logger_get_timing_info(logger: FilterPointer, times: *mut Times);
    pub fn envoy_dynamic_module_callback_access_logger_get_response_code(logger: FilterPointer) -> u32;
    pub fn envoy_dynamic_module_callback_access_logger_get_response_flags(logger: FilterPointer) -> u64;
    pub fn envoy_dynamic_module_callback_access_logger_get_attempt_count(logger: FilterPointer) -> u32;
    pub fn envoy_dynamic_module_callback_access_logger_get_attribute_string(
        logger: FilterPointer,
        attribute: u32,
        result: *mut Buffer,
    ) -> bool;
    pub fn envoy_dynamic_module_callback_lb_get_hosts_count(balancer: BalancerPointer, priority: u32) -> usize;
    pub fn envoy_dynamic_module_callback_lb_get_healthy_hosts_count(balancer: BalancerPointer, priority: u32) -> usize;
    pub fn envoy_dynamic_module_callback_lb_get_host_address(
        balancer: BalancerPointer,
        priority: u32,
        number: usize,
        result: *mut Buffer,
    ) -> bool;
    pub fn envoy_dynamic_module_callback_lb_get_healthy_host_address(
        balancer: BalancerPointer,
        priority: u32,
        number: usize,
        result: *mut Buffer,
    ) -> bool;
    pub fn envoy_dynamic_module_callback_lb_get_healthy_host_weight(
        balancer: BalancerPointer,
        priority: u32,
        number: usize,
    ) -> u32;
    pub fn envoy_dynamic_module_callback_lb_get_host_stat(
        balancer: BalancerPointer,
        priority: u32,
        number: usize,
        statistic: u32,
    ) -> u64;
    pub fn envoy_dynamic_module_callback_lb_get_host_metadata_number(
        balancer: BalancerPointer,
        priority: u32,
        number: usize,
        namespace: Buffer,
        key: Buffer,
        result: *mut f64,
    ) -> bool;
    pub fn envoy_dynamic_module_callback_lb_context_should_select_another_host(
        balancer: BalancerPointer,
        context: ContextPointer,
        priority: u32,
        number: usize,
    ) -> bool;
    pub fn envoy_dynamic_module_callback_lb_context_get_downstream_header(
        context: ContextPointer,
        key: Buffer,
        result: *mut Buffer,
        number: usize,
        count: *mut usize,
    ) -> bool;
}

impl Buffer {
    /// No bytes.
    pub const NONE: Self = Self { pointer: std::ptr::null(), length: 0 };

    /// The module's bytes, for one call.
    #[must_use]
    pub const fn of(bytes: &[u8]) -> Self {
        Self { pointer: bytes.as_ptr().cast(), length: bytes.len() }
    }

    /// Envoy's bytes.
    ///
    /// # Safety
    ///
    /// The bytes must be valid for the lifetime that the caller gives them.
    #[must_use]
    pub const unsafe fn bytes<'envoy>(self) -> &'envoy [u8] {
        if self.pointer.is_null() {
            return &[];
        }
        // SAFETY: Envoy's buffers hold `length` bytes.
        unsafe { std::slice::from_raw_parts(self.pointer.cast(), self.length) }
    }
}
