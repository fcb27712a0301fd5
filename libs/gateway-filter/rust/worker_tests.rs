//! What a worker keeps of keys and leases from one request to the next.

use std::path::{Path, PathBuf};

use crate::admission::{Identity, Worker};
use crate::line_file::LineFile;
use crate::pending::{Decision, Operation, Pending, Query};
use crate::rejections::Answer;
use crate::renewals::Receiver;
use crate::request::read_request;

const NOW: i64 = 1_795_843_628_123;
const KEY: &[u8] = b"Bearer sk-alice";
const MINUTES: i64 = 60_000;
const LONG: &str = "5,500,500,60000,512";

fn worker(starts: &Path) -> Worker {
    Worker::new(Identity { gateway: "gw".into(), token: None }, starts.to_owned(), 10)
}

fn pending(key: &[u8]) -> Pending {
    let body = br#"{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":7}"#;
    let request = read_request(body).expect("a valid request");
    Pending::new(key.to_vec(), "request".into(), Operation::Chat, request)
}

fn answer(status: u32, headers: &[(&str, &str)]) -> Answer {
    let headers = headers.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    Answer { status, headers: headers.collect(), body: vec![] }
}

fn grant(terms: &str) -> Answer {
    let names = [("x-arks-grant", "default/m/alice/lease1/10/20"), ("x-arks-cluster", "default/m")];
    answer(200, &[names[0], names[1], ("x-arks-lease", terms)])
}

/// A request that is queried, and answered with a grant.
fn admit(worker: &mut Worker, key: &[u8], terms: &str, now: i64) -> Decision {
    let mut pending = pending(key);
    let mut decision = worker.decide(&mut pending, now);
    while let Decision::Query(Query { path, .. }) = decision {
        let (changes, admitted) = (answer(200, &[("x-arks-life", "life1"), ("x-arks-ended", "-")]), grant(terms));
        decision = worker.decide_answered(&mut pending, if path == "/v1/admit" { &admitted } else { &changes }, now);
    }
    decision
}

fn queries(decision: &Decision) -> bool {
    matches!(decision, Decision::Query(Query { path: "/v1/admit", .. }))
}

/// A starts file of its own, in a directory that is removed.
struct Starts(PathBuf);

impl Starts {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("arks-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        Self(directory)
    }

    fn path(&self) -> PathBuf {
        self.0.join("starts.log")
    }
}

impl Drop for Starts {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_grant_does_not_shorten_the_time_for_which_a_key_is_known() {
    let mut worker = worker(Path::new("/dev/null"));
    let valid = answer(204, &[("x-arks-valid-milliseconds", "1000")]);
    assert!(worker.decide_key_answered(KEY, &valid, (NOW, NOW)).is_none());
    assert!(matches!(admit(&mut worker, KEY, "0,0,0,1000,512", NOW + 100), Decision::Start(_)));
    assert!(worker.decide_key(KEY, NOW + 900).is_none());
    assert!(worker.decide_key(KEY, NOW + 1000).is_some());
}

#[test]
fn a_key_is_known_for_a_second_at_most_from_the_time_at_which_its_query_was_sent() {
    let mut worker = worker(Path::new("/dev/null"));
    let valid = answer(204, &[("x-arks-valid-milliseconds", "5000")]);
    assert!(worker.decide_key_answered(KEY, &valid, (NOW, NOW + 300)).is_none());
    assert!(worker.decide_key(KEY, NOW + 999).is_none());
    assert!(worker.decide_key(KEY, NOW + 1000).is_some());
}

#[test]
fn a_renewed_lease_shows_that_its_key_is_valid() {
    let mut worker = worker(Path::new("/dev/null"));
    assert!(matches!(admit(&mut worker, KEY, "16,9000,9000,1000,512", NOW), Decision::Start(_)));
    let later = NOW + 500;
    let mut renewals = vec![];
    while renewals.is_empty() {
        assert!(matches!(worker.decide(&mut pending(KEY), later), Decision::Start(_)));
        renewals = worker.take_renewals();
    }
    let Some(Receiver::Lease(ticket)) = renewals.pop().map(|renewal| renewal.receiver) else { panic!("no renewal") };
    ticket.finish(grant("16,9000,9000,1000,512"), &mut LineFile::new("/dev/null".into()), later);
    for _ in 0..16 {
        assert!(matches!(worker.decide(&mut pending(KEY), later), Decision::Start(_)));
    }
    let last = later + 10 * MINUTES - 1;
    assert!(worker.decide_key_answered(KEY, &answer(0, &[]), (last, last)).is_none());
}

#[test]
fn what_ended_leases_is_queried_with_the_first_lease_that_lasts() {
    let mut worker = worker(Path::new("/dev/null"));
    assert!(matches!(admit(&mut worker, b"Bearer sk-short", "5,500,500,1000,512", NOW), Decision::Start(_)));
    assert!(worker.take_renewals().is_empty());
    assert!(matches!(admit(&mut worker, b"Bearer sk-long", LONG, NOW), Decision::Start(_)));
    let Some(Receiver::Changes(ticket)) = worker.take_renewals().pop().map(|renewal| renewal.receiver) else {
        panic!("no query of changes")
    };
    ticket.finish(answer(200, &[("x-arks-life", "life1"), ("x-arks-ended", "*")]));
    assert!(matches!(admit(&mut worker, KEY, LONG, NOW + 10), Decision::Start(_)));
    assert!(worker.take_renewals().is_empty());
    let later = &mut pending(KEY);
    assert!(matches!(worker.decide(later, NOW + 10_000), Decision::Query(Query { path: "/v1/changes", .. })));
    let unchanged = answer(200, &[("x-arks-life", "life1"), ("x-arks-ended", "-")]);
    assert!(matches!(worker.decide_answered(later, &unchanged, NOW + 10_001), Decision::Start(_)));
}

#[test]
fn during_an_upgrade_a_request_passes_by_the_grant_of_a_token_quota_that_has_no_leases() {
    let starts = Starts::new("before-leases");
    let mut worker = worker(&starts.path());
    let not_found = answer(404, &[("content-type", "application/json")]);
    let not_found = Answer { body: br#"{"error": {"code": "not_found"}}"#.to_vec(), ..not_found };
    assert!(worker.decide_key_answered(KEY, &not_found, (NOW, NOW)).is_none());
    let mut request = pending(KEY);
    assert!(queries(&worker.decide(&mut request, NOW)));
    let names = [("x-arks-grant", "default/m/alice/10/20"), ("x-arks-cluster", "default/m")];
    assert!(matches!(worker.decide_answered(&mut request, &answer(200, &names), NOW), Decision::Start(_)));
    let written = std::fs::read_to_string(starts.path()).expect("the start");
    assert!(written.contains(r#","-",10,20,"#) && written.contains("default/m/alice"), "{written}");
    assert!(!written.contains(r#"["L""#));
    assert!(queries(&worker.decide(&mut pending(KEY), NOW + 1)), "it covers one request");
}

#[test]
fn a_key_is_known_to_have_been_valid_for_ten_minutes_after_its_last_grant() {
    let mut worker = worker(Path::new("/dev/null"));
    let away = answer(0, &[]);
    assert!(worker.decide_key_answered(KEY, &away, (NOW, NOW)).is_some());
    for at in [NOW, NOW + MINUTES] {
        assert!(matches!(admit(&mut worker, KEY, "0,0,0,1000,512", at), Decision::Start(_)));
    }
    let last = NOW + MINUTES + 10 * MINUTES - 1;
    assert!(worker.decide_key_answered(KEY, &away, (last, last)).is_none());
    assert!(worker.decide_key_answered(KEY, &away, (last, last + 1)).is_some());
}

#[test]
fn a_lease_from_which_a_start_could_not_be_written_is_not_used_again() {
    let starts = Starts::new("starts");
    let mut worker = worker(&starts.path());
    assert!(matches!(admit(&mut worker, b"Bearer sk-other", "0,0,0,1000,512", NOW), Decision::Start(_)));
    let at = NOW + 800; // the file is opened again after a second
    assert!(matches!(admit(&mut worker, KEY, "5,500,500,1000,512", at), Decision::Start(_)));
    assert!(matches!(worker.decide(&mut pending(KEY), at), Decision::Start(_)));
    std::fs::remove_file(starts.path()).expect("the file");
    std::os::unix::fs::symlink("/dev/full", starts.path()).expect("a file that takes nothing");
    let later = NOW + 1100;
    assert!(matches!(worker.decide(&mut pending(KEY), later), Decision::Reject(_)));
    assert!(queries(&worker.decide(&mut pending(KEY), later)));
}
