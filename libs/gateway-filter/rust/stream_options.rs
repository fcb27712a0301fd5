//! The request for usage in a stream: engines must report it, and clients need not want it.

use std::ops::Range;
use std::sync::LazyLock;

use crate::fault::Fault;
use crate::json::{Keys, Object, after_space, read_object};
use crate::outline::Outline;

const KEY: &str = "stream_options";
/// Bytes of a comma, the key and its colon.
const OPTIONS_AT: usize = KEY.len() + 4;
/// What requests usage at the end of a body, in which a comma replaces the last brace: nothing before it moves.
pub const USAGE_END: &[u8] = br#""stream_options":{"include_usage":true}}"#;
static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::strict(&["include_usage"]));

/// A change of a body: other bytes in a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    at: Range<usize>,
    with: &'static [u8],
}

impl Edit {
    /// The body with the change.
    #[must_use]
    pub fn apply(&self, body: &[u8]) -> Vec<u8> {
        apply_all(std::slice::from_ref(self), body)
    }

    /// The change where another one before it adds `more` bytes and takes `fewer`.
    #[must_use]
    pub fn shifted(&self, more: usize, fewer: usize) -> Self {
        Self { at: self.at.start + more - fewer..self.at.end + more - fewer, with: self.with }
    }

    /// The change in the body that has this outline.
    #[must_use]
    pub fn in_body(&self, outline: &Outline) -> Self {
        Self { at: outline.range(&self.at), with: self.with }
    }

    /// The length with the change of a body that has this one without it.
    #[must_use]
    pub const fn length_after(&self, length: usize) -> usize {
        length + self.with.len() - (self.at.end - self.at.start)
    }

    /// The position of its first byte.
    #[must_use]
    pub const fn start(&self) -> usize {
        self.at.start
    }

    /// Where a range that the change does not touch is after it.
    #[must_use]
    pub fn moved(&self, range: Range<usize>) -> Range<usize> {
        if range.start < self.at.end {
            return range;
        }
        let moved = |at: usize| at + self.with.len() - self.at.len();
        moved(range.start)..moved(range.end)
    }
}

/// The changes by which the body of a request without `stream` becomes one for a stream with usage.
#[must_use]
pub fn as_stream(object: &Object) -> Vec<Edit> {
    const STREAM: &[u8] = br#","stream":true"#;
    const OPTIONS: &[u8] = br#","stream_options":{"include_usage":true}"#;
    const BOTH: &[u8] = br#","stream":true,"stream_options":{"include_usage":true}"#;
    let (stream, options) = (object.range("stream"), object.range(KEY));
    let lacking = match (&stream, &options) {
        (None, None) => Some(BOTH),
        (None, Some(_)) => Some(STREAM),
        (Some(_), None) => Some(OPTIONS),
        (Some(_), Some(_)) => None,
    };
    let mut edits: Vec<Edit> = stream.map(|at| Edit { at, with: b"true" }).into_iter().collect();
    edits.extend(options.map(|at| Edit { at, with: &OPTIONS[OPTIONS_AT..] }));
    edits.extend(lacking.map(|with| Edit { at: object.closing..object.closing, with }));
    edits.sort_by_key(|edit| edit.at.start);
    edits
}

/// The body with changes that are in the order of their places.
#[must_use]
pub fn apply_all(edits: &[Edit], body: &[u8]) -> Vec<u8> {
    let (mut changed, mut from) = (Vec::with_capacity(body.len() + 64), 0);
    for edit in edits {
        changed.extend_from_slice(body.get(from..edit.at.start).unwrap_or_default());
        changed.extend_from_slice(edit.with);
        from = edit.at.end;
    }
    changed.extend_from_slice(body.get(from..).unwrap_or_default());
    changed
}

/// The body with a request for usage in place of its last brace, which is at `at`.
#[cfg(feature = "testing")]
#[must_use]
pub fn with_usage(body: &[u8], at: usize) -> Vec<u8> {
    [&body[..at], b",", &body[at + 1..], USAGE_END].concat()
}

/// The change by which a stream's body requests usage; `None` if it does, or is for no stream.
///
/// # Errors
///
/// Returns the fault of options without a stream, and of options that are no object or have an invalid `include_usage`.
pub fn edit(body: &[u8], object: &Object, stream: bool) -> Result<Option<Edit>, Fault> {
    let options = object.range(KEY);
    let value = options.clone().map(|range| &body[range]);
    if !stream {
        return match value {
            None | Some(b"null") => Ok(None),
            Some(_) => Err(invalid("`stream_options` is for requests with `stream: true`.")),
        };
    }
    let (at, with) = match (options, value) {
        (Some(range), Some(b"null")) => (range, &br#"{"include_usage":true}"#[..]),
        (Some(range), Some(_)) => return edit_of_options(body, range.start),
        _ => (object.closing..object.closing, &br#","stream_options":{"include_usage":true}"#[..]),
    };
    Ok(Some(Edit { at, with }))
}

/// As `edit`, of the options that start at `at`.
fn edit_of_options(body: &[u8], at: usize) -> Result<Option<Edit>, Fault> {
    let read = if body.get(at) == Some(&b'{') { read_object(body, at, &KEYS).ok() } else { None };
    let Some(options) = read else {
        return Err(invalid("`stream_options` must be a valid object."));
    };
    let Some(range) = options.range("include_usage") else {
        let is_empty = after_space(body, at + 1) == options.closing;
        let with: &[u8] = if is_empty { br#""include_usage":true"# } else { br#""include_usage":true,"# };
        return Ok(Some(Edit { at: at + 1..at + 1, with }));
    };
    match &body[range.clone()] {
        b"true" => Ok(None),
        b"false" | b"null" => Ok(Some(Edit { at: range, with: b"true" })),
        _ => Err(invalid("`stream_options.include_usage` must be true or false.")),
    }
}

fn invalid(message: &str) -> Fault {
    Fault::of(KEY, "invalid_value", message)
}
