//! Answers of the filter itself, and rejections of token-quota that it repeats for a while.

use std::rc::Rc;

use crate::amounts::number;
use crate::fault::Fault;
use crate::tables::{HOLD_MILLISECONDS, OUTAGE_MILLISECONDS, Table, is_valid};

/// A longer rejection is not repeated, in bytes.
const TEXT_BYTES: usize = 2048;

/// An answer to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u32,
    /// Headers, in lower case.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// Rejects a request for its fault.
    #[must_use]
    pub fn fault(status: u32, fault: &Fault) -> Self {
        let headers = vec![(b"content-type".to_vec(), b"application/json".to_vec())];
        Self { status, headers, body: fault.envelope().into_bytes() }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same answer some seconds later.
    fn after(&self, seconds: i64) -> Self {
        let mut later = self.clone();
        for (name, value) in &mut later.headers {
            let wait = std::str::from_utf8(value).ok().and_then(|text| number(text, 10));
            if let Some(wait) = wait.filter(|_| name == b"retry-after") {
                *value = (wait - seconds).max(1).to_string().into_bytes();
            }
        }
        later
    }

    /// The answer to a request without a key: that of token-quota.
    #[must_use]
    pub fn without_key() -> Self {
        let message = "You didn't provide an API key. Send it as `Authorization: Bearer <key>`.";
        let fault = Fault::new("missing_api_key", message);
        Self::fault(401, &fault).with("www-authenticate", "Bearer").with("x-error-token", "missing")
    }

    /// The answer while token-quota gives none.
    #[must_use]
    pub fn unavailable() -> Self {
        let fault = Fault {
            kind: "server_error",
            ..Fault::new("admission_unavailable", "Requests cannot be admitted now. Try again.")
        };
        Self::fault(503, &fault).with("retry-after", "1")
    }

    /// The answer to a client's address with too many wrong keys.
    #[must_use]
    pub fn too_many_failures() -> Self {
        Self::limited("too_many_failures", "Too many requests with wrong keys came from your address. Try again.")
    }

    /// The answer to a long body beside too many others.
    #[must_use]
    pub fn too_many_long_bodies() -> Self {
        Self::limited("too_many_long_bodies", "Too many long requests arrived at once. Send fewer at a time.")
    }

    fn limited(code: &'static str, message: &str) -> Self {
        let fault = Fault { kind: "rate_limit_error", ..Fault::new(code, message) };
        Self::fault(429, &fault).with("retry-after", "1")
    }

    /// The answer to a body that is compressed.
    #[must_use]
    pub fn compressed() -> Self {
        Self::fault(415, &Fault::new("unsupported_media_type", "Send the request body without compression."))
    }
}

/// An answer of token-quota; without a status if there was none.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// HTTP status, or 0.
    pub status: u32,
    /// Headers, in lower case.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(key, _)| key == name.as_bytes()).map(|(_, value)| value.as_slice())
    }

    /// The rejection that this is, or None.
    #[must_use]
    pub fn rejection(&self) -> Option<Reply> {
        let is_json = self.header("content-type").is_some_and(|value| value.starts_with(b"application/json"));
        let text = self.body.trim_ascii_start().strip_prefix(b"{").map(<[u8]>::trim_ascii_start);
        let is_error = text.is_some_and(|text| text.starts_with(b"\"error\""));
        if self.status < 400 || !is_json || !is_error {
            return None;
        }
        let headers = self.headers.iter().filter(|(name, _)| is_for_client(name)).cloned().collect();
        Some(Reply { status: self.status, headers, body: self.body.clone() })
    }
}

fn is_for_client(name: &[u8]) -> bool {
    matches!(name, b"content-type" | b"retry-after" | b"www-authenticate")
        || name.starts_with(b"x-ratelimit-")
        || name.starts_with(b"x-error-")
}

/// For which other requests a rejection counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All with the key.
    Key,
    /// All with the key and model.
    Model,
    /// Those of them that need at least as many tokens.
    Size,
}

/// Reads `x-arks-refusal`: milliseconds, at most a second, and scope.
#[must_use]
pub fn parse_refusal(text: &[u8]) -> Option<(i64, Scope)> {
    let (milliseconds, scope) = std::str::from_utf8(text).ok()?.split_once(',')?;
    let scope = match scope {
        "key" => Scope::Key,
        "model" => Scope::Model,
        "size" => Scope::Size,
        _ => return None,
    };
    Some((number(milliseconds, 10)?.min(HOLD_MILLISECONDS), scope))
}

struct Held {
    begin: i64,
    stop: i64,
    /// The end of the window whose limit was used up.
    window_stop: i64,
    reply: Rc<Reply>,
    prompt: i64,
    completion: i64,
}

impl Held {
    const fn is_for(&self, (prompt, completion): (i64, i64)) -> bool {
        prompt >= self.prompt && completion >= self.completion
    }
}

/// Rejections that are repeated, by key, or by key and model.
#[derive(Default)]
pub struct Rejections(Table<Held>);

impl Rejections {
    /// Keeps a rejection, for `milliseconds` and in outages for `window`, for requests that need at least so many tokens.
    pub fn hold(
        &mut self,
        key: Vec<u8>,
        (now, milliseconds, window): (i64, i64, i64),
        reply: Reply,
        (prompt, completion): (i64, i64),
    ) {
        if reply.body.len() <= TEXT_BYTES && milliseconds >= 1 {
            let (stop, window_stop) = (now + milliseconds, now + window.min(OUTAGE_MILLISECONDS));
            self.0.put(key, Held { begin: now, stop, window_stop, reply: Rc::new(reply), prompt, completion });
        }
    }

    /// The rejection to repeat to a request that needs so many tokens, or None.
    pub fn held(&mut self, key: &[u8], now: i64, needs: (i64, i64)) -> Option<Rc<Reply>> {
        let held = self.0.get(key)?;
        let applies = is_valid(held.stop, now, HOLD_MILLISECONDS) && held.is_for(needs);
        applies.then(|| Rc::clone(&held.reply))
    }

    /// The rejection to repeat while counters cannot be read: the last one by a limit whose window has not ended, with the
    /// rest of its time. None if there is none, and the failure policy decides.
    pub fn held_in_outage(&mut self, key: &[u8], now: i64, needs: (i64, i64)) -> Option<Rc<Reply>> {
        let held = self.0.get(key)?;
        let applies = is_valid(held.window_stop, now, OUTAGE_MILLISECONDS) && held.is_for(needs);
        applies.then(|| held.reply.after((now - held.begin) / 1000).into())
    }

    /// Forgets the rejection of a request that needs so many tokens: one like it was granted.
    pub fn lift(&mut self, key: &[u8], needs: (i64, i64)) {
        if let Some(held) = self.0.get(key)
            && held.is_for(needs)
        {
            (held.stop, held.window_stop) = (0, 0);
        }
    }
}

/// Whether the value of `authorization` holds one key.
#[must_use]
pub fn is_key(authorization: &[u8]) -> bool {
    let Some((scheme, key)) = authorization.split_at_checked(6) else { return false };
    let stripped = key.iter().position(|byte| *byte != b' ').map(|at| &key[at..]);
    scheme.eq_ignore_ascii_case(b"bearer")
        && key.first() == Some(&b' ')
        && stripped.is_some_and(|key| key.iter().all(|byte| matches!(byte, b'!'..=b'~')))
}
