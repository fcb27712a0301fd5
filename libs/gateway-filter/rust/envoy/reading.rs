//! Long bodies are read on a thread of their own: the worker serves other clients meanwhile.
//!
//! The worst body of 31 MiB takes 180 ms to read. One thread reads for all workers, so what long bodies can cost is one
//! core, however many clients send them. It yields to the workers where cores are few.

use std::ffi::c_int;
use std::panic::catch_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use super::abi::{self, SchedulerPointer};
use super::stream::Stream;
use crate::fault::Fault;
use crate::request::{Request, read_request};

/// From so many bytes on a body is long: reading a shorter one takes 3 ms at most.
pub const LONG_BYTES: usize = 512 * 1024;
/// Bodies that wait for the thread: each is a copy of up to 32 MiB. The worker itself reads a body beyond them.
const WAITING_LIMIT: usize = 4;
/// How much less right to a core the thread has than a worker: with 10, a tenth while both want the same core.
const NICE: c_int = 10;
/// The caller's thread, in `setpriority` of Linux.
const PRIO_PROCESS: c_int = 0;

unsafe extern "C" {
    fn setpriority(which: c_int, who: u32, nice: c_int) -> c_int;
}

/// Wakes the worker of one stream.
pub struct Waker(SchedulerPointer);

// SAFETY: Envoy lets every thread commit, and the last owner delete it.
unsafe impl Send for Waker {}

impl Waker {
    /// Owns a scheduler of Envoy for a filter.
    ///
    /// # Safety
    ///
    /// Envoy must have made it for this owner.
    #[must_use]
    pub const unsafe fn new(scheduler: SchedulerPointer) -> Self {
        Self(scheduler)
    }

    fn wake(&self) {
        // SAFETY: the scheduler lives as long as this. Envoy drops the event if the stream has ended.
        unsafe { abi::envoy_dynamic_module_callback_http_filter_scheduler_commit(self.0, 0) }
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        // SAFETY: Envoy made it for this owner.
        unsafe { abi::envoy_dynamic_module_callback_http_filter_scheduler_delete(self.0) }
    }
}

enum Progress {
    /// The thread has not read it yet, and wakes the worker then.
    Due(Waker),
    /// `None`: reading failed, by a fault of the reader.
    Read(Option<Result<Request, Fault>>),
    /// Nothing waits for it: its stream has ended.
    Abandoned,
}

struct Job {
    body: Vec<u8>,
    progress: Arc<Mutex<Progress>>,
}

/// A body that another thread reads. Dropping it makes sure that the thread wakes no worker for it, because a worker may
/// end after its streams have.
pub struct Reading(Arc<Mutex<Progress>>);

impl Reading {
    /// Begins to read the body in these parts. `None` if the thread has too much to do.
    #[must_use]
    pub fn begin(stream: &Stream, parts: &[u32]) -> Option<Self> {
        let jobs = jobs()?;
        let progress = Arc::new(Mutex::new(Progress::Due(stream.waker())));
        let reading = Self(Arc::clone(&progress));
        jobs.try_send(Job { body: stream.copied_body(parts), progress }).ok()?;
        Some(reading)
    }

    /// The request that was read.
    ///
    /// # Errors
    ///
    /// Returns the body's fault.
    ///
    /// # Panics
    ///
    /// Panics if reading it failed by a fault of the reader, as it would have on the worker.
    pub fn take(&self) -> Result<Request, Fault> {
        match self.replace(Progress::Abandoned) {
            Progress::Read(Some(read)) => read,
            Progress::Read(None) | Progress::Due(_) | Progress::Abandoned => panic!("a long body was not read"),
        }
    }

    fn replace(&self, progress: Progress) -> Progress {
        std::mem::replace(&mut lock(&self.0), progress)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.replace(Progress::Abandoned);
    }
}

/// Where jobs go. `None` if the thread could not be started.
fn jobs() -> Option<&'static SyncSender<Job>> {
    static JOBS: OnceLock<Option<SyncSender<Job>>> = OnceLock::new();
    let start = || {
        let (sender, receiver) = sync_channel(WAITING_LIMIT);
        let started = thread::Builder::new().name("arks-reader".to_owned()).spawn(move || read_all(&receiver));
        started.ok().map(|_| sender)
    };
    JOBS.get_or_init(start).as_ref()
}

fn read_all(jobs: &Receiver<Job>) {
    // SAFETY: it has no memory of the caller. Linux counts priorities by thread, and lowering one needs no right; if it
    // fails, the thread reads as before.
    unsafe { setpriority(PRIO_PROCESS, 0, NICE) };
    for Job { body, progress } in jobs {
        if matches!(*lock(&progress), Progress::Abandoned) {
            continue;
        }
        let read = catch_unwind(|| read_request(&body)).ok();
        drop(body);
        let mut progress = lock(&progress);
        // The worker is woken under the lock: after `Reading` is dropped, it may be gone.
        if let Progress::Due(waker) = &*progress {
            waker.wake();
            *progress = Progress::Read(read);
        }
    }
}

fn lock(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}
