//! Queries that no request waits for: Envoy's main thread sends them, because they outlive the streams that begin them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::abi::{self, Buffer, ConfigPointer, ModulePointer, Pair, SchedulerPointer};
use super::hooks::{answer, list};
use super::stream::{QUOTA_CLUSTER, query_headers};
use super::workers::{Config, now};
use crate::line_file::LineFile;
use crate::pending::Query;
use crate::rejections::Answer;
use crate::renewal_calls::Calls;
use crate::renewals::{Receiver, Renewal};
use crate::tables::ADMISSION_MILLISECONDS;

/// Wakes the main thread.
struct Scheduler(SchedulerPointer);

// SAFETY: Envoy lets every thread commit, and the last owner delete it.
unsafe impl Send for Scheduler {}
// SAFETY: as above.
unsafe impl Sync for Scheduler {}

impl Drop for Scheduler {
    fn drop(&mut self) {
        // SAFETY: Envoy made it for this owner.
        unsafe { abi::envoy_dynamic_module_callback_http_filter_config_scheduler_delete(self.0) }
    }
}

struct State {
    calls: Calls,
    starts: LineFile,
}

/// The renewals of all workers with one configuration.
pub struct Renewals {
    scheduler: Scheduler,
    state: Mutex<State>,
}

impl Renewals {
    /// Renewals of a configuration of Envoy, whose leases are written into the starts file at `path`.
    ///
    /// # Safety
    ///
    /// `envoy` must be the configuration that the hook of its creation got.
    #[must_use]
    pub unsafe fn new(envoy: ConfigPointer, path: PathBuf) -> Self {
        // SAFETY: as above.
        let scheduler = unsafe { abi::envoy_dynamic_module_callback_http_filter_config_scheduler_new(envoy) };
        let state = State { calls: Calls::default(), starts: LineFile::new(path) };
        Self { scheduler: Scheduler(scheduler), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the main thread send a renewal. Returns at once.
    pub fn begin(&self, renewal: Renewal) {
        if let Some(renewal) = self.state().calls.add(renewal) {
            renewal.receiver.fail();
            return;
        }
        // SAFETY: the scheduler lives as long as this.
        unsafe { abi::envoy_dynamic_module_callback_http_filter_config_scheduler_commit(self.scheduler.0, 0) }
    }

    fn next(&self) -> Option<(Query, Vec<Receiver>)> {
        self.state().calls.next(now())
    }

    fn send(&self, envoy: ConfigPointer) {
        while let Some((query, receivers)) = self.next() {
            // Nothing is locked during the call, because Envoy may answer within it.
            match call(envoy, &query) {
                Some(callout) => self.state().calls.begun(callout, receivers),
                None => receivers.iter().for_each(Receiver::fail),
            }
        }
    }

    fn finish(&self, callout: u64, answer: Answer) {
        let mut state = self.state();
        for (receiver, answer) in state.calls.answered(callout, answer) {
            receiver.finish(answer, &mut state.starts, now());
        }
    }
}

/// Sends a query from the main thread: the number of the call, or None.
fn call(envoy: ConfigPointer, query: &Query) -> Option<u64> {
    let mut headers = query_headers(query);
    let mut callout = 0;
    // SAFETY: Envoy passed its configuration to the hook that runs, and copies the headers.
    let result = unsafe {
        abi::envoy_dynamic_module_callback_http_filter_config_http_callout(
            envoy,
            &raw mut callout,
            Buffer::of(QUOTA_CLUSTER),
            headers.as_mut_ptr(),
            headers.len(),
            Buffer::of(&query.body),
            ADMISSION_MILLISECONDS.unsigned_abs(),
        )
    };
    (result == abi::CALLOUT_BEGUN).then_some(callout)
}

/// Runs a hook of a configuration. One that fails ends its renewals, not Envoy.
fn with_renewals(module: ModulePointer, act: impl FnOnce(&Renewals)) {
    // SAFETY: Envoy passes what `http_filter_config_new` returned, until `http_filter_config_destroy`.
    let config = unsafe { &*module.cast::<Config>() };
    if catch_unwind(AssertUnwindSafe(|| act(&config.renewals))).is_err() {
        // SAFETY: Envoy copies the message.
        unsafe { abi::envoy_dynamic_module_callback_log(abi::LOG_ERROR, Buffer::of(b"arks: a renewal failed")) }
    }
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_scheduled(
    envoy: ConfigPointer,
    module: ModulePointer,
    _event: u64,
) {
    with_renewals(module, |renewals| renewals.send(envoy));
}

#[unsafe(no_mangle)]
extern "C" fn envoy_dynamic_module_on_http_filter_config_http_callout_done(
    envoy: ConfigPointer,
    module: ModulePointer,
    callout: u64,
    result: u32,
    headers: *const Pair,
    headers_count: usize,
    chunks: *const Buffer,
    chunks_count: usize,
) {
    with_renewals(module, |renewals| {
        let answer = if result == abi::CALLOUT_ANSWERED {
            // SAFETY: Envoy's arrays and buffers are valid during the call.
            unsafe { answer(list(headers, headers_count), list(chunks, chunks_count)) }
        } else {
            Answer::default()
        };
        renewals.finish(callout, answer);
        renewals.send(envoy);
    });
}
