//! Long bodies are read on a thread of their own, part by part as they arrive: the worker serves other clients meanwhile.
//!
//! The worst body of 31 MiB takes 180 ms to read. The worker copies each part, which its cache still holds. One thread
//! reads for all workers the bodies of up to 4 MiB, and another the longer ones, so what long bodies can cost is two
//! cores, however many clients send them. Both yield to the workers where cores are few. Keys take turns at them: a key
//! waits for one body of each other key at most, not for all that those have sent.

use std::ffi::c_int;
use std::hash::{BuildHasher, RandomState};
use std::panic::catch_unwind;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use super::abi::{self, SchedulerPointer};
use super::stream::Stream;
use crate::early::Early;
use crate::fault::Fault;
use crate::request::{Request, read_request};
use crate::turns::Turns;

/// From so many bytes on a body is long: reading a shorter one takes 3 ms at most.
pub const LONG_BYTES: usize = 512 * 1024;
/// The longest body that waits for none that is longer.
const MEDIUM_BYTES: usize = 4 * 1024 * 1024;
/// As many bytes as a client may announce; it may lie.
const EXPECTED_LIMIT: usize = 32 * 1024 * 1024;
/// How much less right to a core the thread has than a worker: with 10, a tenth while both want the same core.
const NICE: c_int = 10;

unsafe extern "C" {
    fn nice(increment: c_int) -> c_int;
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

    /// Wakes the worker soon; a stream that has ended meanwhile gets no call.
    pub fn wake(&self) {
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
    /// Nothing waits for it: its stream has ended, or its fault was answered.
    Abandoned,
}

/// A body: how far it is, and what the thread has of it.
struct Body {
    progress: Mutex<Progress>,
    received: Mutex<Received>,
}

/// What the thread has received of a body.
#[derive(Default)]
struct Received {
    bytes: Vec<u8>,
    /// For which memory is taken at the first part: to grow takes locks of the allocator, which workers then wait for.
    expected: usize,
    early: Early,
    /// A result is on its way to the worker.
    is_done: bool,
}

enum Step {
    Part(Vec<u8>),
    /// Of a body of so many bytes.
    End(usize),
}

impl Step {
    /// How much there is to do, in bytes; reading a whole body takes at least twice as long as following its parts.
    fn work(&self) -> usize {
        match self {
            Self::Part(part) => part.len(),
            Self::End(bytes) => bytes.saturating_mul(2),
        }
    }
}

struct Job {
    /// Stands for the key.
    owner: u64,
    body: Arc<Body>,
    step: Step,
}

/// Where jobs go.
struct Jobs {
    medium: Sender<Job>,
    long: Sender<Job>,
    /// Of keys: a client does not know which keys have the same hash.
    hashes: RandomState,
}
/// A body, and what was read of it; `None`: reading failed, by a fault of the reader.
type Done = (Arc<Body>, Option<Result<Request, Fault>>);

/// A body that another thread reads. Dropping it makes sure that the thread wakes no worker for it, because a worker may
/// end after its streams have.
pub struct Reading {
    body: Arc<Body>,
    owner: u64,
    bytes: usize,
    jobs: &'static Sender<Job>,
}

impl Reading {
    /// Begins to read the body of this stream for a key, of so many bytes if it is known. `None` if there is no thread to
    /// read it.
    #[must_use]
    pub fn begin(stream: &Stream, key: &[u8], length: Option<u64>) -> Option<Self> {
        let Jobs { medium, long, hashes } = jobs()?;
        let progress = Mutex::new(Progress::Due(stream.waker()));
        let expected = usize::try_from(length.unwrap_or(0)).unwrap_or(usize::MAX).min(EXPECTED_LIMIT);
        let received = Mutex::new(Received { expected, ..Received::default() });
        let jobs = if (1..=MEDIUM_BYTES).contains(&expected) { medium } else { long };
        Some(Self { body: Arc::new(Body { progress, received }), owner: hashes.hash_one(key), bytes: 0, jobs })
    }

    /// Reads the next part. The worker is woken for a fault that is certain already.
    pub fn feed(&mut self, part: Vec<u8>) {
        self.bytes += part.len();
        self.send(Step::Part(part));
    }

    /// Reads the body, which has ended. The worker is woken for it.
    pub fn end(&self) {
        self.send(Step::End(self.bytes));
    }

    /// The request that was read. `None` if it was not read yet.
    ///
    /// # Errors
    ///
    /// Returns the body's fault.
    ///
    /// # Panics
    ///
    /// Panics if reading it failed by a fault of the reader, as it would have on the worker.
    pub fn take(&self) -> Option<Result<Request, Fault>> {
        let mut progress = lock(&self.body.progress);
        if matches!(*progress, Progress::Due(_)) {
            return None;
        }
        match std::mem::replace(&mut *progress, Progress::Abandoned) {
            Progress::Read(Some(read)) => Some(read),
            Progress::Read(None) => panic!("a long body was not read"),
            Progress::Due(_) | Progress::Abandoned => None,
        }
    }

    fn send(&self, step: Step) {
        // It fails only if the thread has ended, which nothing in it does.
        let _ = self.jobs.send(Job { owner: self.owner, body: Arc::clone(&self.body), step });
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        *lock(&self.body.progress) = Progress::Abandoned;
    }
}

/// Where jobs go. `None` if the threads could not be started.
fn jobs() -> Option<&'static Jobs> {
    static JOBS: OnceLock<Option<Jobs>> = OnceLock::new();
    let start = || {
        let (done, results) = channel();
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        let reader = |done: Sender<Done>| {
            let (sender, receiver) = channel();
            named("arks-reader").spawn(move || read_all(&receiver, &done)).ok().map(|_| sender)
        };
        named("arks-waker").spawn(move || wake_all(&results)).ok()?;
        Some(Jobs { medium: reader(done.clone())?, long: reader(done)?, hashes: RandomState::new() })
    };
    JOBS.get_or_init(start).as_ref()
}

fn read_all(jobs: &Receiver<Job>, done: &Sender<Done>) {
    // SAFETY: it has no memory of the caller. Linux counts priorities by thread, and lowering one needs no right; if it
    // fails, the thread reads as before.
    unsafe { nice(NICE) };
    let mut turns = Turns::default();
    while let Some(Job { body, step, .. }) = next_job(jobs, &mut turns) {
        if !matches!(*lock(&body.progress), Progress::Due(_)) {
            *lock(&body.received) = Received::default();
            continue;
        }
        let read = match catch_unwind(|| take_step(&body, step)) {
            Ok(None) => continue,
            Ok(read) => read,
            Err(_) => None,
        };
        *lock(&body.received) = Received { is_done: true, ..Received::default() };
        let _ = done.send((body, read)); // fails only if the other thread has ended, which nothing in it does
    }
}

/// The job whose key has had the least work; waits for one. `None`: none will come.
fn next_job(jobs: &Receiver<Job>, turns: &mut Turns<Job>) -> Option<Job> {
    let mut add = |job: Job| turns.add(job.owner, job.step.work(), job);
    jobs.try_iter().for_each(&mut add);
    turns.next().or_else(|| jobs.recv().ok())
}

/// Wakes workers. Under the lock, because after `Reading` is dropped the worker may be gone; so not on the thread that
/// yields: woken on its core, a worker would wait for the lock until that thread has its turn again.
fn wake_all(results: &Receiver<Done>) {
    for (body, read) in results {
        let mut progress = lock(&body.progress);
        if let Progress::Due(waker) = &*progress {
            waker.wake();
            *progress = Progress::Read(read);
        }
    }
}

/// What a step has found out; `None`: nothing yet.
fn take_step(body: &Body, step: Step) -> Option<Result<Request, Fault>> {
    let mut received = lock(&body.received);
    if received.is_done {
        return None;
    }
    match step {
        Step::Part(part) => match received.early.feed(&part) {
            Ok(()) => {
                let expected = std::mem::take(&mut received.expected);
                received.bytes.reserve_exact(expected);
                received.bytes.extend_from_slice(&part);
                None
            }
            Err(fault) => Some(Err(fault)),
        },
        Step::End(_) => Some(read_request(&std::mem::take(&mut received.bytes))),
    }
}

fn lock<Value>(mutex: &Mutex<Value>) -> MutexGuard<'_, Value> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
