//! An account belongs to one key and model: its lease, what it admitted lately, and how it passes an outage of
//! token-quota.

use std::rc::Rc;
use std::sync::Arc;

use crate::affinity::Affinity;
use crate::amounts::{Amount, Grant, LEASE_MILLISECONDS, NO_LEASE, Reservation, Terms};
use crate::confirmations::Confirmations;
use crate::ratio::Ratio;
use crate::renewals::{Span, Ticket, lease_line};
use crate::tables::{ADMISSION_MILLISECONDS, COUNT_LIMIT, HOLD_MILLISECONDS, OUTAGE_MILLISECONDS, is_valid};

/// Demand is never derived from a shorter time: a burst is no rate.
const WINDOW_MILLISECONDS: i64 = 100;
const DEMAND_LIMIT: i64 = 4096;
/// A quarter more than the rate.
const DEMAND_MARGIN: f64 = 1.25;
/// Renewal ahead: a request that passes from the present lease begins the query of the next one, so long before its end, or
/// when little of it remains. A small and short lease is one near a limit: the next one might withhold the last request.
const AHEAD_MILLISECONDS: i64 = 100;
const AHEAD_REQUESTS: i64 = 16;
/// For keys of few requests: so many times the mean time between them before the lease ends. One in 150 Poisson processes
/// has none in that time; it was one in 20 with three.
const AHEAD_INTERVALS: i64 = 5;
/// Renewal ahead begins no earlier: token-quota grants no lease for a window that begins later.
const LONGEST_AHEAD_MILLISECONDS: i64 = 15_000;

/// The answer headers `x-ratelimit-*` of a grant: the number of each, and its value.
pub type Limits = Rc<[(usize, Vec<u8>)]>;

/// Requests that token-quota allowed at once.
#[derive(Clone, Debug)]
pub struct Lease {
    /// Its id; `-` without counters.
    pub id: Rc<str>,
    /// `<namespace>/<endpoint>/<token>/<lease>`.
    pub grant: Rc<str>,
    /// When it counts.
    pub span: Span,
    /// The round of confirmations in which it began.
    pub round: u64,
    /// Of its grant.
    pub limits: Option<Limits>,
    rest: Amount,
    granted: Terms,
    is_renewable: bool,
    /// Whether the query of another lease has begun, besides one for the next window.
    is_renewed: bool,
}

/// Why the query of the next lease begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The present lease has little left.
    NearlyUsedUp,
    /// The present lease ends in so many milliseconds.
    Ends(i64),
}

impl Lease {
    /// So long before its end the next lease is queried: when no further request may come before it, at half of it and 15 s
    /// before at the earliest.
    fn ahead(&self, now: i64) -> i64 {
        let taken = self.granted.amount.requests - self.rest.requests + 1;
        let interval = (now - self.span.begin) / taken.max(1);
        let most = (self.granted.milliseconds / 2).clamp(AHEAD_MILLISECONDS, LONGEST_AHEAD_MILLISECONDS);
        (AHEAD_INTERVALS * interval).clamp(AHEAD_MILLISECONDS, most)
    }
}

/// What a worker knows of one key and model.
#[derive(Default)]
pub struct Account {
    lease: Option<Lease>,
    renewal: Option<Arc<Ticket>>,
    /// The answered renewal whose lease has not begun: that of the next window.
    next: Option<Arc<Ticket>>,
    /// When the query with a demand that is in flight has ended at the latest.
    busy_until: i64,
    since: i64,
    stop: i64,
    admitted: Amount,
    granted_at: i64,
    subject: String,
    /// The cluster of the last grant.
    pub cluster: Rc<str>,
    /// What a request without `max_tokens` reserves.
    pub default_completion: Option<i64>,
    /// Whether requests pass without counters while token-quota gives no answer.
    pub passes_outage: bool,
    /// The name by which the engines know the model, if it is another one.
    pub engine_model: Option<Rc<[u8]>>,
    /// What the engines do not keep of what requests use, separated by commas.
    pub unsupported: Option<String>,
    /// What requests of the endpoint are held together by.
    pub affinity: Option<Rc<Affinity>>,
    /// By which prompts are estimated.
    pub ratio: Ratio,
}

impl Account {
    /// `<namespace>/<endpoint>/<token>` of the last grant, or "".
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The present lease.
    #[must_use]
    pub fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    /// Admits no further request from the lease.
    pub fn end_lease(&mut self) {
        self.lease = None;
        self.renewal = None; // whatever ended the lease may be newer than the decision on the next one
        self.next = None;
    }

    /// Admits no further request from the lease if it has this id.
    pub fn end_lease_of(&mut self, id: &str) {
        self.lease.take_if(|lease| &*lease.id == id);
    }

    /// Whether the engines keep all that a request uses. `uses` is None for nearly all requests.
    #[must_use]
    pub fn keeps(&self, uses: Option<&str>) -> bool {
        let (Some(uses), Some(unsupported)) = (uses, self.unsupported.as_deref()) else { return true };
        !uses.split(',').any(|used| unsupported.split(',').any(|name| name == used))
    }

    /// Takes a request from the lease; None if that has ended or has not enough.
    pub fn take(&mut self, confirmations: &Confirmations, now: i64, request: Reservation) -> Option<Lease> {
        let lease = self.lease.as_mut()?;
        let counts = lease.span.begin <= now && is_valid(lease.span.stop, now, LEASE_MILLISECONDS);
        let counts = counts && confirmations.confirms(lease, now);
        if !counts || !lease.rest.has(request) {
            return None;
        }
        lease.rest.requests -= 1;
        lease.rest.prompt -= request.prompt;
        lease.rest.completion -= request.completion;
        self.admitted = self.admitted.with(request);
        Some(lease.clone())
    }

    /// Why the query of the next lease should begin, after a request took its part of the present one. None: it should not.
    #[must_use]
    pub fn renews(&self, now: i64, request: Reservation) -> Option<Due> {
        let lease = self.lease.as_ref().filter(|lease| lease.is_renewable && !lease.is_renewed)?;
        let remaining = lease.span.stop - now;
        if remaining <= 0 || is_valid(self.busy_until, now, ADMISSION_MILLISECONDS) {
            return None;
        }
        if lease.rest.is_nearly_used_up(&lease.granted.amount) || !lease.rest.has(request) {
            return Some(Due::NearlyUsedUp);
        }
        (self.next.is_none() && remaining <= lease.ahead(now)).then_some(Due::Ends(remaining))
    }

    /// Begins a renewal whose answer comes to `ticket`: its demand.
    pub fn begin_renewal(&mut self, confirmations: &Confirmations, ticket: Arc<Ticket>) -> Amount {
        let (demand, _) = self.begin_query(confirmations, ticket.sent);
        self.renewal = Some(ticket);
        demand
    }

    /// Takes a renewal that was answered, if the present lease has ended or has not enough for a request.
    pub fn take_renewal(&mut self, now: i64, request: Reservation) -> Option<Arc<Ticket>> {
        self.keep_for_later(now);
        if self.lease.as_ref().is_some_and(|lease| now < lease.span.stop && lease.rest.has(request)) {
            return None;
        }
        if let Some(ticket) = self.renewal.take_if(|ticket| ticket.is_answered()) {
            self.end_query(ticket.sent);
            return Some(ticket);
        }
        self.next.take_if(|ticket| !begins_later(ticket, now))
    }

    /// Ends the query of a lease that begins later: until then the present one may be renewed too.
    fn keep_for_later(&mut self, now: i64) {
        if let Some(ticket) = self.renewal.take_if(|ticket| begins_later(ticket, now)) {
            self.end_query(ticket.sent);
            self.next = Some(ticket);
            if let Some(lease) = &mut self.lease {
                lease.is_renewed = false;
            }
        }
    }

    /// Whether a renewal is in flight or waits to be used.
    #[must_use]
    pub const fn has_renewal(&self) -> bool {
        self.renewal.is_some() || self.next.is_some()
    }

    /// What the account will need in a second besides this request: what it admitted since the last demand, scaled to a
    /// second, and a quarter more; at least twice the lease if that was used up early. Never 0: token-quota gives a small
    /// demand more where limits are far.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    fn demand(&self, confirmations: &Confirmations, now: i64) -> Amount {
        let window = (now.min(self.stop) - self.since).max(WINDOW_MILLISECONDS);
        let admitted = self.admitted;
        let rate = admitted.requests as f64 * 1000.0 / window as f64 * DEMAND_MARGIN;
        let mut requests = (rate + 0.5).floor() as i64 - 1;
        let early = self.lease.as_ref().filter(|lease| {
            let is_nearly_used_up = lease.rest.is_nearly_used_up(&lease.granted.amount);
            let ahead = if is_nearly_used_up { AHEAD_MILLISECONDS } else { lease.ahead(now) };
            is_valid(lease.span.stop - ahead, now, LEASE_MILLISECONDS) && confirmations.confirms(lease, now)
        });
        let twice = early.map(|lease| {
            let granted = &lease.granted;
            let factor = (2 * HOLD_MILLISECONDS) as f64 / granted.milliseconds.max(HOLD_MILLISECONDS) as f64;
            (factor, granted.amount)
        });
        if let Some((factor, granted)) = twice {
            requests = requests.max((factor * granted.requests as f64).floor() as i64);
        }
        let requests = requests.clamp(1, DEMAND_LIMIT);
        let known = admitted.requests.max(1) as f64;
        let scaled = |tokens: i64, granted: i64| {
            let by_rate = tokens as f64 / known * requests as f64;
            let most = twice.map_or(by_rate, |(factor, _)| by_rate.max(factor * granted as f64));
            (most.ceil() as i64).min(COUNT_LIMIT)
        };
        let granted = twice.map_or(Amount::default(), |(_, granted)| granted);
        Amount {
            requests,
            prompt: scaled(admitted.prompt, granted.prompt),
            completion: scaled(admitted.completion, granted.completion),
        }
    }

    /// Begins a query: the demand to send, and whether `end_query` has to end it. One query at a time demands more than its
    /// request, for two seconds at most.
    pub fn begin_query(&mut self, confirmations: &Confirmations, now: i64) -> (Amount, bool) {
        if is_valid(self.busy_until, now, ADMISSION_MILLISECONDS) {
            return (Amount::default(), false);
        }
        let demand = self.demand(confirmations, now);
        self.busy_until = now + ADMISSION_MILLISECONDS;
        self.since = now;
        if let Some(lease) = &mut self.lease {
            lease.is_renewed = true;
        }
        self.admitted = Amount::default();
        (demand, true)
    }

    /// Ends the query with a demand that was `sent`.
    pub fn end_query(&mut self, sent: i64) {
        if self.busy_until == sent + ADMISSION_MILLISECONDS {
            self.busy_until = 0;
        }
    }

    /// Keeps what a grant brings; its lease began when the query was `sent`. Returns the lease, and its line for the starts
    /// file: "" if the request was admitted without counters.
    pub fn accept(
        &mut self,
        (sent, now): (i64, i64),
        round: u64,
        grant: &Grant,
        terms: Terms,
        limits: Option<Limits>,
    ) -> (Lease, String) {
        self.admitted = self.admitted.with(grant.reserved);
        let span = Span::from_query(sent, terms.milliseconds);
        let lease = self.keep((span, now), round, grant, terms, limits);
        let has_counters = grant.lease != NO_LEASE;
        let whole = terms.amount.with(grant.reserved);
        let line = if has_counters { lease_line(grant, whole, span.stop) } else { String::new() };
        (lease, line)
    }

    /// Keeps the lease of a grant, whose line is written apart.
    pub fn keep(
        &mut self,
        (span, now): (Span, i64),
        round: u64,
        grant: &Grant,
        terms: Terms,
        limits: Option<Limits>,
    ) -> Lease {
        self.subject.clone_from(&grant.subject);
        self.default_completion = Some(terms.default_completion);
        self.granted_at = now;
        let is_long = terms.milliseconds > HOLD_MILLISECONDS && terms.amount.requests > 1;
        let lease = Lease {
            id: grant.lease.as_str().into(),
            grant: format!("{}/{}", grant.subject, grant.lease).into(),
            span,
            round,
            limits,
            rest: terms.amount,
            granted: terms,
            is_renewable: is_long || terms.amount.requests >= AHEAD_REQUESTS,
            is_renewed: false,
        };
        if grant.lease == NO_LEASE {
            return lease;
        }
        self.stop = self.stop.max(span.stop);
        if terms.amount.requests > 0 {
            self.lease = Some(lease.clone());
        }
        lease
    }

    /// Stands for a lease when a request passes without counters; None if the last failure policy does not want that.
    #[must_use]
    pub fn outage_lease(&self, now: i64) -> Option<Lease> {
        let counts = is_valid(self.granted_at + OUTAGE_MILLISECONDS, now, OUTAGE_MILLISECONDS);
        (self.passes_outage && counts).then(|| Lease {
            id: NO_LEASE.into(),
            grant: format!("{}/-", self.subject).into(),
            span: Span::from_query(now, 0),
            round: 0,
            limits: None,
            rest: Amount::default(),
            granted: Terms { amount: Amount::default(), milliseconds: 0, default_completion: 0 },
            is_renewable: false,
            is_renewed: false,
        })
    }
}

/// Whether the lease of a renewal begins after `now`. A clock that was set back ends the wait for it.
fn begins_later(ticket: &Ticket, now: i64) -> bool {
    ticket.renewed().is_some_and(|renewed| is_valid(renewed.span.begin, now, LEASE_MILLISECONDS))
}
