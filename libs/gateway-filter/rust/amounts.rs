//! Amounts of requests and tokens: what a request reserves, and what token-quota answers.

use crate::tables::COUNT_LIMIT;

/// Stands for the lease of a request that passes without counters.
pub const NO_LEASE: &str = "-";
/// The longest validity of a lease, in milliseconds.
pub const LEASE_MILLISECONDS: i64 = 60_000;
/// A lease is renewed ahead when such a part of it remains.
const AHEAD_PART: i64 = 16;

/// Requests, prompt tokens and completion tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Number of requests.
    pub requests: i64,
    /// Prompt tokens.
    pub prompt: i64,
    /// Completion tokens.
    pub completion: i64,
}

impl Amount {
    pub(crate) const fn has(&self, request: Reservation) -> bool {
        self.requests >= 1 && self.prompt >= request.prompt && self.completion >= request.completion
    }

    /// This and one more request.
    pub(crate) const fn with(self, request: Reservation) -> Self {
        Self {
            requests: self.requests + 1,
            prompt: self.prompt + request.prompt,
            completion: self.completion + request.completion,
        }
    }

    /// Whether a sixteenth of `whole` is more than what remains here.
    pub(crate) const fn is_nearly_used_up(&self, whole: &Self) -> bool {
        self.requests * AHEAD_PART < whole.requests
            || self.prompt * AHEAD_PART < whole.prompt
            || self.completion * AHEAD_PART < whole.completion
    }
}

/// The tokens that one request reserves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reservation {
    /// Prompt tokens.
    pub prompt: i64,
    /// Completion tokens.
    pub completion: i64,
}

/// The value of `x-arks-grant`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// `<namespace>/<endpoint>/<token>`.
    pub subject: String,
    /// The lease's id; `-`: admitted without counters.
    pub lease: String,
    /// What the request itself reserves.
    pub reserved: Reservation,
}

/// The value of `x-arks-lease`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What the lease holds besides the request that demanded it.
    pub amount: Amount,
    /// Validity after the query was sent.
    pub milliseconds: i64,
    /// What a request without `max_tokens` reserves for each answer.
    pub default_completion: i64,
}

/// Reads `x-arks-grant`; None if it is not understood.
#[must_use]
pub fn parse_grant(text: &[u8]) -> Option<Grant> {
    let text = std::str::from_utf8(text).ok()?;
    let parts: Vec<&str> = text.split('/').collect();
    let [namespace, endpoint, token, lease, prompt, completion] = parts[..] else { return None };
    let has_names =
        [namespace, endpoint, token].iter().all(|name| !name.is_empty() && !name.contains(char::is_control));
    let is_lease = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase() || byte == b'-';
    if !has_names || lease.is_empty() || !lease.bytes().all(is_lease) {
        return None;
    }
    let reserved = Reservation { prompt: number(prompt, 10)?, completion: number(completion, 10)? };
    Some(Grant { subject: format!("{namespace}/{endpoint}/{token}"), lease: lease.to_owned(), reserved })
}

/// Reads `x-arks-grant` of a token-quota of 0.1.0, which this gateway may reach during an upgrade: it has no lease, and
/// covers its request only.
#[must_use]
pub fn parse_grant_before_leases(text: &[u8]) -> Option<Grant> {
    let (text, completion) = std::str::from_utf8(text).ok()?.rsplit_once('/')?;
    let (names, prompt) = text.rsplit_once('/')?;
    parse_grant(format!("{names}/{NO_LEASE}/{prompt}/{completion}").as_bytes())
}

/// What such a grant brings, which has no `x-arks-lease`.
pub const TERMS_BEFORE_LEASES: Terms =
    Terms { amount: Amount { requests: 0, prompt: 0, completion: 0 }, milliseconds: 0, default_completion: 512 };

/// Reads `x-arks-lease`; None if it is not understood.
#[must_use]
pub fn parse_terms(text: &[u8]) -> Option<Terms> {
    let text = std::str::from_utf8(text).ok()?;
    let parts = text.split(',').map(|part| number(part, 15)).collect::<Option<Vec<i64>>>()?;
    let [requests, prompt, completion, milliseconds, default_completion] = parts[..] else { return None };
    Some(Terms {
        amount: Amount { requests, prompt, completion },
        milliseconds: milliseconds.min(LEASE_MILLISECONDS),
        default_completion,
    })
}

/// A number of at most so many digits.
pub(crate) fn number(text: &str, digits: usize) -> Option<i64> {
    let is_number = !text.is_empty() && text.len() <= digits && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// What a request wants, as far as reservations depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Tokens of its prompt, by a `Ratio`.
    pub prompt: u64,
    /// The most completion tokens of each answer, if given.
    pub max_tokens: Option<u64>,
    /// Number of answers.
    pub answers: u32,
    /// Embeddings have no completion.
    pub is_embedding: bool,
}

/// The tokens that a request from a lease reserves (its completion is None without a default), and the completion that it
/// needs at least, by which rejections are repeated: token-quota reserves less for a request without `max_tokens` when
/// limits are nearly used up. The rule is that of `estimate.py`.
#[must_use]
pub fn estimate(wish: Wish, default_completion: Option<i64>) -> (i64, Option<i64>, i64) {
    let prompt = i64::try_from(wish.prompt).unwrap_or(COUNT_LIMIT).min(COUNT_LIMIT);
    if wish.is_embedding {
        return (prompt, Some(0), 0);
    }
    let answers = i64::from(wish.answers);
    if let Some(most) = wish.max_tokens {
        let completion = i64::try_from(most).unwrap_or(COUNT_LIMIT).saturating_mul(answers).min(COUNT_LIMIT);
        return (prompt, Some(completion), completion);
    }
    (prompt, default_completion.map(|default| default.saturating_mul(answers).min(COUNT_LIMIT)), answers)
}
