//! A lease counts by itself for a second after its query. One that is valid for longer counts after that while
//! `/v1/changes` confirms once in the same time that nothing has ended it.

use std::sync::Arc;

use crate::leases::{Account, Lease};
use crate::rejections::Answer;
use crate::renewals::ChangesTicket;
use crate::tables::{ADMISSION_MILLISECONDS, COUNT_LIMIT, HOLD_MILLISECONDS, Table, is_valid};

/// So long before it has to, a query confirms all leases, in milliseconds.
const CONFIRM_MILLISECONDS: i64 = 300;
const NOTHING: &[u8] = b"-";
const EVERYTHING: &[u8] = b"*";

/// What a worker knows from its last query of changes.
pub struct Confirmations {
    sent: i64,
    life: Vec<u8>,
    /// Leases of an earlier round have ended.
    pub round: u64,
    busy_until: i64,
    retry_at: i64,
    renewal: Option<Arc<ChangesTicket>>,
}

impl Default for Confirmations {
    fn default() -> Self {
        Self { sent: 0, life: NOTHING.to_vec(), round: 0, busy_until: 0, retry_at: 0, renewal: None }
    }
}

impl Confirmations {
    /// What the next query presents as `x-arks-life`.
    #[must_use]
    pub fn life(&self) -> &[u8] {
        &self.life
    }

    /// Whether a lease counts now.
    #[must_use]
    pub fn confirms(&self, lease: &Lease, now: i64) -> bool {
        lease.round == self.round
            && (is_valid(lease.span.sent + HOLD_MILLISECONDS, now, HOLD_MILLISECONDS)
                || is_valid(self.sent + HOLD_MILLISECONDS, now, HOLD_MILLISECONDS))
    }

    /// Whether `/v1/changes` should be queried before a request uses the lease, because that does not count without, or
    /// ahead of that, while requests still pass. A worker's first answer ends all leases, because nothing shows which
    /// changes and counters they know of: so it is queried with the first of them.
    #[must_use]
    pub fn is_needed(&self, lease: Option<&Lease>, now: i64) -> bool {
        let Some(lease) = lease else { return false };
        if now >= lease.span.stop || lease.span.stop - lease.span.sent <= HOLD_MILLISECONDS || lease.round != self.round
        {
            return false;
        }
        if is_valid(self.retry_at, now, HOLD_MILLISECONDS) {
            return false;
        }
        if !self.confirms(lease, now) {
            return true;
        }
        let known = lease.span.sent.max(self.sent) + HOLD_MILLISECONDS;
        let is_due = (self.life == NOTHING || known - now <= CONFIRM_MILLISECONDS) && lease.span.stop > known;
        is_due && !is_valid(self.busy_until, now, ADMISSION_MILLISECONDS)
    }

    /// Begins a query: the value of `x-arks-since`. A clock that was set back shows no time.
    pub fn begin(&mut self, now: i64) -> i64 {
        self.renewal = None; // this query contains what that one may have
        self.busy_until = now + ADMISSION_MILLISECONDS;
        let since = now - self.sent;
        if since < 0 { COUNT_LIMIT } else { since.min(COUNT_LIMIT) }
    }

    /// Begins a query that no request waits for: the value of `x-arks-since`, and where the answer is expected.
    pub fn begin_renewal(&mut self, now: i64) -> (i64, Arc<ChangesTicket>) {
        let since = self.begin(now);
        let ticket = Arc::new(ChangesTicket::new(now));
        self.renewal = Some(Arc::clone(&ticket));
        (since, ticket)
    }

    /// Takes the answer to a query that no request waited for, once it is there.
    pub fn use_renewal(&mut self, accounts: &mut Table<Account>, now: i64) {
        if let Some(ticket) = self.renewal.take_if(|ticket| ticket.answer().is_some()) {
            self.confirm(accounts, (ticket.sent, now), ticket.answer().and_then(read_changes));
        }
    }

    /// Ends a query whose client has left.
    pub fn abandon(&mut self) {
        self.busy_until = 0;
    }

    /// Takes the answer to a query that was `sent`: `life`, and what has `ended`: `-`, `*` or subjects with spaces between
    /// them. Without an answer requests query admission for a while, as token-quota may be away.
    pub fn confirm(&mut self, accounts: &mut Table<Account>, (sent, now): (i64, i64), answer: Option<(&[u8], &[u8])>) {
        self.busy_until = 0;
        let Some((life, ended)) = answer else {
            self.retry_at = now + HOLD_MILLISECONDS;
            return;
        };
        if life != self.life || ended == EVERYTHING {
            self.round += 1;
        } else if ended != NOTHING {
            end_leases(accounts, ended);
        }
        self.life = life.to_vec();
        self.sent = sent;
    }
}

/// The life, and what has ended; None without an answer.
#[must_use]
pub fn read_changes(answer: &Answer) -> Option<(&[u8], &[u8])> {
    answer.header("x-arks-life").zip(answer.header("x-arks-ended")).filter(|_| answer.status == 200)
}

/// Ends the leases with one of these subjects.
fn end_leases(accounts: &mut Table<Account>, ended: &[u8]) {
    let ended = String::from_utf8_lossy(ended);
    let subjects: std::collections::HashSet<&str> = ended.split_ascii_whitespace().collect();
    for account in accounts.values() {
        let mut parts = account.subject().split('/');
        let (Some(namespace), Some(endpoint), Some(token)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let names = [
            format!("namespace:{namespace}"),
            format!("token:{namespace}/{token}"),
            format!("endpoint:{namespace}/{endpoint}"),
        ];
        if names.iter().any(|name| subjects.contains(name.as_str())) {
            account.end_lease();
        }
    }
}
