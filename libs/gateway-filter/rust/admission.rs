//! Admission of requests by one worker: from a lease, or by a query of token-quota. Only token-quota rejects, and its
//! rejections are repeated.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use crate::addresses::Failures;
use crate::affinity::Affinity;
use crate::amounts::{
    Amount, Grant, NO_LEASE, Reservation, TERMS_BEFORE_LEASES, Terms, number, parse_grant, parse_grant_before_leases,
    parse_terms,
};
use crate::confirmations::{Confirmations, read_changes};
use crate::gathered::Gathered;
use crate::leases::{Account, Due, Lease, Limits};
use crate::line_file::LineFile;
use crate::pending::{Decision, Pending, Query, Stage, Start, start_line};
use crate::rejections::{Answer, Rejections, Reply, Scope, parse_refusal};
use crate::renewals::{Receiver, Renewal, Ticket};
use crate::request::percent_encode;
use crate::tables::{ADMISSION_MILLISECONDS, Table};

/// Headers of a grant that are copied onto the answer.
pub const LIMIT_HEADERS: [&str; 6] = [
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
];
/// The longest that a request is held; below the time after which Envoy ends an idle stream.
const HELD_MILLISECONDS: i64 = 580_000;
const NAME_BYTES: &[u8] = b"_:/@.-";

/// What a gateway presents to token-quota.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The gateway's name, which its shipper uses too.
    pub gateway: String,
    /// None: token-quota's address shows who calls.
    pub token: Option<String>,
}

impl Identity {
    /// The header that shows token-quota who calls.
    pub(crate) fn header(&self) -> Option<(&'static str, Vec<u8>)> {
        self.token.as_ref().map(|token| ("x-arks-gateway-token", token.clone().into_bytes()))
    }
}

/// What one worker keeps between requests.
pub struct Worker {
    pub(crate) identity: Identity,
    accounts: Table<Account>,
    confirmations: Confirmations,
    pub(crate) rejections: Rejections,
    pub(crate) known_keys: Table<i64>,
    pub(crate) failures: Failures,
    starts: LineFile,
    renewals: Gathered,
}

impl Worker {
    /// A worker that appends to the starts file at `path`, and limits wrong keys by the address of their clients.
    #[must_use]
    pub fn new(identity: Identity, path: PathBuf, failures_per_second: u32) -> Self {
        Self {
            identity,
            accounts: Table::default(),
            confirmations: Confirmations::default(),
            rejections: Rejections::default(),
            known_keys: Table::default(),
            failures: Failures::new(failures_per_second),
            starts: LineFile::new(path),
            renewals: Gathered::default(),
        }
    }

    /// The rejection of all requests with the key that is repeated now, or None.
    pub fn held_by_key(&mut self, authorization: &[u8], now: i64) -> Option<Rc<Reply>> {
        self.rejections.held(authorization, now, (0, 0))
    }

    /// Decides on a request that was read.
    pub fn decide(&mut self, pending: &mut Pending, now: i64) -> Decision {
        self.renewals.count(now);
        self.confirmations.use_renewal(&mut self.accounts, now);
        self.use_renewal(pending, now);
        let account = self.accounts.get(&pending.key);
        if let Some(account) = &account {
            pending.prompt_tokens = account.ratio.tokens(pending.request.bytes);
        }
        let lease = account.as_ref().and_then(|account| account.lease());
        if self.confirmations.is_needed(lease, now) {
            if lease.is_some_and(|lease| self.confirmations.confirms(lease, now)) {
                self.renew_confirmations(now);
                return self.decide_confirmed(pending, now);
            }
            let since = self.confirmations.begin(now);
            pending.stage = Stage::Confirming { sent: now };
            return Decision::Query(self.changes_query(since));
        }
        self.decide_confirmed(pending, now)
    }

    /// The queries that no request waits for and that have to be sent now.
    pub fn take_renewals(&mut self) -> Vec<Renewal> {
        self.renewals.take()
    }

    /// Decides on a request whose query was answered.
    pub fn decide_answered(&mut self, pending: &mut Pending, answer: &Answer, now: i64) -> Decision {
        match std::mem::replace(&mut pending.stage, Stage::New) {
            Stage::New => Decision::Reject(Reply::unavailable().into()),
            Stage::Confirming { sent } => {
                self.confirmations.confirm(&mut self.accounts, (sent, now), read_changes(answer));
                self.decide_confirmed(pending, now)
            }
            Stage::Querying { sent, is_demand } => {
                self.end_query(pending, sent, is_demand);
                if let Some(milliseconds) = held_milliseconds(answer) {
                    return Decision::Query(self.wait_query(pending, milliseconds));
                }
                self.decide_granted(pending, answer, sent, now)
            }
            // Its reservation was made just before the answer, however long ago the query was sent.
            Stage::Held => self.decide_granted(pending, answer, now, now),
        }
    }

    /// Takes what an engine has counted for the text of a request with this key.
    pub fn measure(&mut self, key: &[u8], bytes: u64, tokens: u64) {
        if let Some(account) = self.accounts.get(key) {
            account.ratio.measure(bytes, tokens);
        }
    }

    /// Ends the query of a request whose client has left.
    pub fn abandon(&mut self, pending: &Pending) {
        match pending.stage {
            Stage::New | Stage::Held => {}
            Stage::Confirming { .. } => self.confirmations.abandon(),
            Stage::Querying { sent, is_demand } => self.end_query(pending, sent, is_demand),
        }
    }

    fn end_query(&mut self, pending: &Pending, sent: i64, is_demand: bool) {
        if is_demand && let Some(account) = self.accounts.get(&pending.key) {
            account.end_query(sent);
        }
    }

    /// Goes on with the lease of a renewal that was answered, if the present one does not suffice.
    fn use_renewal(&mut self, pending: &Pending, now: i64) {
        let Some(account) = self.accounts.get(&pending.key).filter(|account| account.has_renewal()) else { return };
        let reserved = pending.reservation(account);
        let Some(ticket) = account.take_renewal(now, reserved) else { return };
        let Some(renewed) = ticket.renewed().filter(|renewed| now < renewed.span.stop) else { return };
        let Some(cluster) = renewed.answer.header("x-arks-cluster") else { return };
        describe(account, &renewed.answer, cluster);
        account.keep((renewed.span, now), ticket.round, &renewed.grant, renewed.terms, limits(&renewed.answer));
        self.prove(&pending.authorization, now);
    }

    /// Begins the query of the next lease if it is time to; the request goes on meanwhile.
    fn renew(&mut self, pending: &Pending, reserved: Reservation, now: i64) {
        let Some(account) = self.accounts.get(&pending.key) else { return };
        let Some(due) = account.renews(now, reserved) else { return };
        let ticket = Arc::new(Ticket::new(now, self.confirmations.round));
        let demand = account.begin_renewal(&self.confirmations, Arc::clone(&ticket));
        let mut query = self.admission_query(pending, demand);
        if let Due::Ends(remaining) = due {
            query.headers.push(("x-arks-remaining", remaining.to_string().into_bytes()));
        }
        self.renewals.add(Renewal { query, receiver: Receiver::Lease(ticket) });
    }

    /// Begins a query of what has ended leases; the request goes on meanwhile.
    fn renew_confirmations(&mut self, now: i64) {
        let (since, ticket) = self.confirmations.begin_renewal(now);
        let query = self.changes_query(since);
        self.renewals.add(Renewal { query, receiver: Receiver::Changes(ticket) });
    }

    fn decide_confirmed(&mut self, pending: &mut Pending, now: i64) -> Decision {
        if let Some(decision) = self.start_from_lease(pending, now) {
            return decision;
        }
        let (prompt, _, least) = pending.estimate(None);
        if let Some(reply) = self.rejections.held(&pending.key, now, (prompt, least)) {
            return Decision::Reject(reply);
        }
        let (demand, is_demand) = match self.accounts.get(&pending.key) {
            Some(account) => account.begin_query(&self.confirmations, now),
            // token-quota knows what a request reserves.
            None => (Amount { requests: 1, ..Amount::default() }, false),
        };
        pending.stage = Stage::Querying { sent: now, is_demand };
        Decision::Query(self.admission_query(pending, demand))
    }

    fn decide_granted(&mut self, pending: &Pending, answer: &Answer, sent: i64, now: i64) -> Decision {
        if let Some(decision) = self.start_by_grant(pending, answer, sent, now) {
            return decision;
        }
        let Some(rejection) = answer.rejection() else { return self.start_without_answer(pending, now) };
        self.hold(pending, answer, &rejection, now);
        if answer.status == 429
            && let Some(decision) = self.start_from_lease(pending, now)
        {
            return decision;
        }
        Decision::Reject(rejection.into())
    }

    fn hold(&mut self, pending: &Pending, answer: &Answer, rejection: &Reply, now: i64) {
        let Some((milliseconds, scope)) = answer.header("x-arks-refusal").and_then(parse_refusal) else { return };
        let (prompt, _, least) = pending.estimate(None);
        let (key, needs) = match scope {
            Scope::Key => (&pending.authorization, (0, 0)),
            Scope::Model => (&pending.key, (0, 0)),
            Scope::Size => (&pending.key, (prompt, least)),
        };
        let window = answer.header("x-arks-window").and_then(|text| number(std::str::from_utf8(text).ok()?, 10));
        self.rejections.hold(key.clone(), (now, milliseconds, window.unwrap_or(0)), rejection.clone(), needs);
    }

    /// Rejects a request that would pass by the failure policy although its limit is known to be used up.
    fn reject_in_outage(&mut self, pending: &Pending, now: i64) -> Option<Decision> {
        let (prompt, _, least) = pending.estimate(None);
        self.rejections.held_in_outage(&pending.key, now, (prompt, least)).map(Decision::Reject)
    }

    /// Starts the request from the account's lease. None if it has none that suffices.
    fn start_from_lease(&mut self, pending: &Pending, now: i64) -> Option<Decision> {
        let account = self.accounts.get(&pending.key)?;
        if !account.keeps(pending.request.uses.as_deref()) {
            return None;
        }
        let reserved = pending.reservation(account);
        let lease = account.take(&self.confirmations, now, reserved)?;
        if !self.starts.append(&start_line(pending, &lease, reserved, now), now) {
            account.end_lease(); // its own line may not be in the file either
            return Some(Decision::Reject(Reply::unavailable().into()));
        }
        let start = started(account, lease, reserved);
        self.renew(pending, reserved, now);
        Some(Decision::Start(start))
    }

    /// Starts the request that a grant is for. None if the answer is no grant.
    fn start_by_grant(&mut self, pending: &Pending, answer: &Answer, sent: i64, now: i64) -> Option<Decision> {
        let (grant, terms) = granted(answer).filter(|_| answer.status == 200)?;
        let cluster = answer.header("x-arks-cluster")?;
        self.prove(&pending.authorization, sent);
        if grant.lease == NO_LEASE {
            if let Some(decision) = self.reject_in_outage(pending, now) {
                return Some(decision);
            }
        } else {
            let (prompt, _, least) = pending.estimate(None);
            self.rejections.lift(&pending.key, (prompt, least));
        }
        if self.accounts.get(&pending.key).is_none() {
            self.accounts.put(pending.key.clone(), Account::default());
        }
        let account = self.accounts.get(&pending.key)?;
        describe(account, answer, cluster);
        let round = self.confirmations.round;
        let (lease, mut lines) = account.accept((sent, now), round, &grant, terms, limits(answer));
        lines.push_str(&start_line(pending, &lease, grant.reserved, now));
        if !self.starts.append(&lines, now) {
            account.end_lease_of(&grant.lease);
            return Some(Decision::Reject(Reply::unavailable().into()));
        }
        let confirms = self.confirmations.is_needed(Some(&lease), now);
        let decision = Decision::Start(started(account, lease, grant.reserved));
        if confirms {
            self.renew_confirmations(now);
        }
        Some(decision)
    }

    /// token-quota gave no answer that can be used.
    fn start_without_answer(&mut self, pending: &Pending, now: i64) -> Decision {
        if let Some(decision) = self.start_from_lease(pending, now) {
            return decision;
        }
        if let Some(decision) = self.reject_in_outage(pending, now) {
            return decision;
        }
        let unavailable = Decision::Reject(Reply::unavailable().into());
        let Some(account) = self.accounts.get(&pending.key) else { return unavailable };
        let Some(lease) = account.outage_lease(now).filter(|_| account.keeps(pending.request.uses.as_deref())) else {
            return unavailable;
        };
        let reserved = pending.reservation(account);
        if !self.starts.append(&start_line(pending, &lease, reserved, now), now) {
            return unavailable;
        }
        Decision::Start(started(account, lease, reserved))
    }

    fn admission_query(&self, pending: &Pending, demand: Amount) -> Query {
        let request = &pending.request;
        let Amount { requests, prompt, completion } = demand;
        let mut headers = vec![
            ("authorization", pending.authorization.clone()),
            ("x-arks-request-id", pending.id.clone().into_bytes()),
            ("x-arks-model", percent_encode(&request.model).into_bytes()),
            ("x-arks-operation", pending.operation.name().into()),
            ("x-arks-body-bytes", request.bytes.all.to_string().into_bytes()),
            ("x-arks-prompt-tokens", pending.prompt_tokens.to_string().into_bytes()),
            ("x-arks-stream", if request.stream { "1" } else { "0" }.into()),
            ("x-arks-gateway", self.identity.gateway.clone().into_bytes()),
            ("x-arks-demand", format!("{requests},{prompt},{completion}").into_bytes()),
        ];
        let optional = [
            ("x-arks-max-tokens", request.max_tokens.map(|most| most.to_string())),
            ("x-arks-n", request.answers.map(|answers| answers.to_string())),
            ("x-arks-uses", request.uses.clone()),
        ];
        headers.extend(self.identity.header());
        headers.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?.into_bytes()))));
        Query { path: "/v1/admit", headers, body: vec![], milliseconds: ADMISSION_MILLISECONDS }
    }

    /// The query that waits, at most for `milliseconds`, until an engine can take the request. Its grant has no lease for
    /// others, which wait themselves.
    fn wait_query(&self, pending: &mut Pending, milliseconds: i64) -> Query {
        pending.stage = Stage::Held;
        let query = self.admission_query(pending, Amount::default());
        Query { path: "/v1/wait", milliseconds: milliseconds + ADMISSION_MILLISECONDS, ..query }
    }

    fn changes_query(&self, since: i64) -> Query {
        let mut headers = vec![
            ("x-arks-since", since.to_string().into_bytes()),
            ("x-arks-life", self.confirmations.life().to_vec()),
            ("x-arks-scopes", b"namespace".to_vec()),
        ];
        headers.extend(self.identity.header());
        Query { path: "/v1/changes", headers, body: vec![], milliseconds: ADMISSION_MILLISECONDS }
    }
}

/// Keeps what a grant has besides its lease: facts of the key and the model.
fn describe(account: &mut Account, answer: &Answer, cluster: &[u8]) {
    account.cluster = text(cluster).into();
    account.passes_outage = answer.header("x-arks-outage") == Some(b"pass");
    account.engine_model = answer.header("x-arks-engine-model").filter(|name| is_plain_name(name)).map(Rc::from);
    account.unsupported = answer.header("x-arks-unsupported").map(text);
    account.affinity = answer.header("x-arks-affinity").and_then(Affinity::read).map(Rc::new);
}

/// A request of this account that passes.
fn started(account: &Account, lease: Lease, reserved: Reservation) -> Start {
    Start {
        lease,
        reserved,
        cluster: Rc::clone(&account.cluster),
        engine_model: account.engine_model.clone(),
        affinity: account.affinity.clone(),
    }
}

/// How long token-quota may hold the request that this answer does not admit yet; None if it is another answer.
fn held_milliseconds(answer: &Answer) -> Option<i64> {
    let milliseconds = (answer.status == 202).then(|| answer.header("x-arks-wait")).flatten()?;
    Some(number(std::str::from_utf8(milliseconds).ok()?, 6)?.min(HELD_MILLISECONDS))
}

/// The grant of an answer and what it brings; None if they are not understood.
fn granted(answer: &Answer) -> Option<(Grant, Terms)> {
    let grant = answer.header("x-arks-grant")?;
    match answer.header("x-arks-lease") {
        Some(terms) => Some((parse_grant(grant)?, parse_terms(terms)?)),
        None => Some((parse_grant_before_leases(grant)?, TERMS_BEFORE_LEASES)),
    }
}

/// The limits of an answer, by the number of their header; None if it has none.
fn limits(answer: &Answer) -> Option<Limits> {
    let found = LIMIT_HEADERS.iter().enumerate();
    let found: Vec<_> = found.filter_map(|(number, name)| Some((number, answer.header(name)?.to_vec()))).collect();
    (!found.is_empty()).then(|| found.into())
}

/// Whether a model's name may stand in a body as it is.
#[must_use]
pub fn is_plain_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || NAME_BYTES.contains(byte))
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}
