//! The usage log, as Envoy calls it on each worker's thread when a stream has ended.
//!
//! Envoy's own logger of files costs more: it wakes a thread for each kilobyte, and a killed Envoy loses what that has
//! not written. Envoy runs the admission filter's hook of a stream's end and then, for the same stream, this logger.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use super::abi::{self, Buffer, ConfigPointer, FilterPointer, ModulePointer};
use super::workers::now;
use crate::line_file::LineFile;
use crate::usage_line::{Charge, End, usage_line};

/// The logger's name, and that of its counter of failures.
const NAME: &[u8] = b"usage";
const FAULTS: &[u8] = b"faults";

thread_local! {
    /// The request whose stream has ended, until this logger is called for it.
    static ENDED: Cell<Option<Charge>> = const { Cell::new(None) };
}

/// Leaves a line to the logger, which Envoy calls next.
pub fn leave(charge: Charge) {
    ENDED.set(Some(charge));
}

struct Config {
    envoy: ConfigPointer,
    faults: usize,
    path: PathBuf,
}

/// The logger of one worker.
struct Logger {
    envoy: ConfigPointer,
    faults: usize,
    file: RefCell<LineFile>,
}

impl Logger {
    fn log(&self, envoy: FilterPointer) {
        let Some(charge) = ENDED.take() else { return };
        // SAFETY: the pointer is that of the hook's call.
        let line = unsafe { end(envoy, |end| usage_line(&charge, end)) };
        // Without its line, a request is charged what it has reserved.
        self.file.borrow_mut().append(&line, now());
    }
}

/// Runs `act` with what Envoy knows of the stream that has ended.
///
/// # Safety
///
/// `envoy` must be what Envoy passed to the hook that runs.
unsafe fn end<Result>(envoy: FilterPointer, act: impl FnOnce(&End) -> Result) -> Result {
    let (mut times, mut upstream) = (abi::Times::default(), Buffer::NONE);
    // SAFETY: as above. Envoy's bytes are valid during the hook's call.
    unsafe {
        abi::envoy_dynamic_module_callback_access_logger_get_timing_info(envoy, &raw mut times);
        let has_upstream = abi::envoy_dynamic_module_callback_access_logger_get_attribute_string(
            envoy,
            abi::UPSTREAM_ADDRESS,
            &raw mut upstream,
        );
        act(&End {
            began: times.began,
            lasted: known(times.lasted),
            first_byte: known(times.first_byte_received),
            status: abi::envoy_dynamic_module_callback_access_logger_get_response_code(envoy),
            flags: abi::envoy_dynamic_module_callback_access_logger_get_response_flags(envoy),
            attempts: abi::envoy_dynamic_module_callback_access_logger_get_attempt_count(envoy),
            upstream: if has_upstream { std::str::from_utf8(upstream.bytes()).ok() } else { None },
        })
    }
}

fn known(nanoseconds: i64) -> Option<i64> {
    (nanoseconds >= 0).then_some(nanoseconds)
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_access_logger_config_new(
    envoy: ConfigPointer,
    name: Buffer,
    path: Buffer,
) -> ModulePointer {
    // SAFETY: Envoy's buffers are valid during the hook's call.
    let (name, path) = unsafe { (name.bytes(), path.bytes()) };
    let Ok(path) = std::str::from_utf8(path) else { return std::ptr::null() };
    // Readers find the file before its first line.
    if name != NAME || !LineFile::new(path.into()).append("", now()) {
        return std::ptr::null();
    }
    let mut faults = 0;
    // SAFETY: the pointer is that of the hook's call; Envoy copies the name.
    unsafe {
        let counter = Buffer::of(FAULTS);
        abi::envoy_dynamic_module_callback_access_logger_config_define_counter(envoy, counter, &raw mut faults);
    }
    Box::into_raw(Box::new(Config { envoy, faults, path: path.into() })).cast_const().cast()
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_access_logger_config_destroy(config: ModulePointer) {
    // SAFETY: Envoy passes what `config_new` returned, once.
    drop(unsafe { Box::from_raw(config.cast_mut().cast::<Config>()) });
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_access_logger_new(config: ModulePointer, _: FilterPointer) -> ModulePointer {
    // SAFETY: Envoy passes what `config_new` returned, and keeps it while loggers use it.
    let Config { envoy, faults, path } = unsafe { &*config.cast::<Config>() };
    let logger = Logger { envoy: *envoy, faults: *faults, file: RefCell::new(LineFile::new(path.clone())) };
    Box::into_raw(Box::new(logger)).cast_const().cast()
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_access_logger_log(envoy: FilterPointer, logger: ModulePointer, _kind: u32) {
    // SAFETY: Envoy passes what `new` returned, until `destroy`.
    let logger = unsafe { &*logger.cast::<Logger>() };
    if catch_unwind(AssertUnwindSafe(|| logger.log(envoy))).is_err() {
        // SAFETY: Envoy keeps the configuration while it has loggers.
        unsafe {
            abi::envoy_dynamic_module_callback_access_logger_increment_counter(logger.envoy, logger.faults, 1);
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_access_logger_destroy(logger: ModulePointer) {
    // SAFETY: Envoy passes what `new` returned, once.
    drop(unsafe { Box::from_raw(logger.cast_mut().cast::<Logger>()) });
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_access_logger_flush(_: ModulePointer) {} // each line is written at once
