//! The text of a request. Reservations are derived from its bytes. Media in base64 and what steers the form of the
//! answer are not text.

use std::sync::LazyLock;

use memchr::{memchr, memchr_iter, memmem};

use crate::json::{Keys, Object, after_nested, read_object};
use crate::ratio::PromptBytes;

const BYTES_A_TOKEN: usize = 4;
/// A shorter body counts as text entirely.
const LOOK_BYTES: usize = 1024;
/// In one body; others count as text, so that the time of the search is bounded.
const MEDIA_LIMIT: usize = 100;
/// Quotes in a body that are looked at before it is searched for media: with more of them the searches cost less.
const QUOTES_LIMIT: usize = 1000;
/// What vision models make of about a megapixel; a shorter picture counts by its bytes.
const PICTURE_TOKENS: usize = 1024;
/// Of audio and video: half of what models make of 64 kbit/s.
const MEDIA_BYTES_A_TOKEN: usize = 256;
/// From a data URL's key to its data.
const URL_BYTES: usize = 120;

/// Top-level keys whose values are no part of a prompt: engines read a schema or a grammar as rules.
pub const RULE_KEYS: [&str; 13] = [
    "response_format",
    "json_schema",
    "grammar",
    "structured_outputs",
    "guided_json",
    "guided_regex",
    "guided_grammar",
    "guided_choice",
    "regex",
    "ebnf",
    "structural_tag",
    "logit_bias",
    "metadata",
];
const MEDIA_KEYS: [&[u8]; 6] = [b"url", b"image_url", b"audio_url", b"video_url", b"image", b"file_data"];
static AUDIO_KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::strict(&["data"]));

/// The bytes of a body that count as text, at least 1. `taken`: bytes of text that are not in `text`.
#[must_use]
pub fn bytes(text: &[u8], object: &Object, taken: usize) -> PromptBytes {
    let bytes = text.len() + taken;
    if bytes < LOOK_BYTES {
        return PromptBytes { all: bytes as u64, media: 0 };
    }
    let rules: usize = RULE_KEYS.iter().filter_map(|key| object.range(key)).map(|range| range.len()).sum();
    let mut media = Media::default();
    if may_have_media(text) {
        media.find_urls(text);
        media.find_audio(text);
    }
    let all = bytes.saturating_sub(rules + media.spare).max(1);
    PromptBytes { all: all as u64, media: media.counted.min(all) as u64 }
}

/// False: the body has neither a data URL nor audio, because both are beside a quote. The look at the few quotes of a
/// long text costs a quarter of the two searches.
#[must_use]
pub fn may_have_media(text: &[u8]) -> bool {
    let mut quotes = memchr_iter(b'"', text);
    let is_beside = |at: usize| text[at + 1..].starts_with(b"data:") || text[..at].ends_with(b"_audio");
    quotes.by_ref().take(QUOTES_LIMIT).any(is_beside) || quotes.next().is_some()
}

/// Bytes of media in a body.
#[derive(Default)]
struct Media {
    /// Those that count for no token.
    spare: usize,
    counted: usize,
}

impl Media {
    fn add(&mut self, bytes: usize, is_picture: bool) {
        let tokens = if is_picture { PICTURE_TOKENS } else { bytes.div_ceil(MEDIA_BYTES_A_TOKEN) };
        let counted = bytes.min(BYTES_A_TOKEN * tokens);
        self.counted += counted;
        self.spare += bytes - counted;
    }

    /// Adds the data URLs in a body.
    fn find_urls(&mut self, text: &[u8]) {
        const START: &[u8] = b";base64,";
        let mut from = 0;
        for _ in 0..MEDIA_LIMIT {
            let Some(at) = find(text, START, from) else { break };
            let stop = memchr(b'"', &text[at..]).map_or(text.len(), |length| at + length);
            if let Some(is_picture) = medium_before(&text[at.saturating_sub(URL_BYTES)..at]) {
                self.add(stop - at, is_picture);
            }
            from = stop;
        }
    }

    /// Adds each `"input_audio": {"data": ...}`.
    fn find_audio(&mut self, text: &[u8]) {
        const END: &[u8] = b"_audio\"";
        let mut from = 0;
        for _ in 0..MEDIA_LIMIT {
            let Some(at) = find(text, END, from) else { break };
            from = at + 1;
            let Some(brace) = audio_at(text, at + END.len()) else { continue };
            if let Ok(audio) = read_object(text, brace, &AUDIO_KEYS) {
                if let Some(range) = audio.range("data") {
                    self.add(range.len() - 1, false);
                }
                from = audio.closing;
            } else {
                // Each byte is read once more at most, also if such objects are nested.
                let Some(after) = after_nested(text, brace) else { break };
                from = after;
            }
        }
    }
}

/// Whether the medium is a picture, if these bytes end with the key of one and the start of its data URL, up to its
/// parameters.
fn medium_before(text: &[u8]) -> Option<bool> {
    let is_subtype = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'.' | b';' | b'=' | b'-');
    let rest = trim_end(text, is_subtype).strip_suffix(b"/")?;
    let rest = rest.strip_suffix(b"\\").unwrap_or(rest);
    let kind_at = trim_end(rest, |byte| byte.is_ascii_alphabetic()).len();
    let (rest, kind) = rest.split_at(kind_at);
    let rest = rest.strip_suffix(b"\"data:")?;
    let rest = trim_end(rest, is_space).strip_suffix(b":")?;
    let rest = trim_end(rest, is_space).strip_suffix(b"\"")?;
    let key_at = trim_end(rest, |byte| byte.is_ascii_lowercase() || byte == b'_').len();
    let is_medium = !kind.is_empty() && rest[..key_at].ends_with(b"\"") && MEDIA_KEYS.contains(&&rest[key_at..]);
    is_medium.then_some(kind == b"image")
}

/// Where the value of the key that ends before `after_key` is, if the key is `input_audio` and the value an object.
fn audio_at(text: &[u8], after_key: usize) -> Option<usize> {
    if !text[..after_key].ends_with(b"\"input_audio\"") {
        return None;
    }
    let colon = after_any_space(text, after_key);
    let brace = after_any_space(text, colon + 1);
    (text.get(colon) == Some(&b':') && text.get(brace) == Some(&b'{')).then_some(brace)
}

/// The position of the first byte from `at` on that is no white space, of JSON or other.
pub(crate) fn after_any_space(text: &[u8], mut at: usize) -> usize {
    while text.get(at).is_some_and(|byte| is_space(*byte)) {
        at += 1;
    }
    at
}

fn find(text: &[u8], searched: &[u8], from: usize) -> Option<usize> {
    memmem::find(&text[from..], searched).map(|found| from + found)
}

fn trim_end(text: &[u8], is_trimmed: impl Fn(u8) -> bool) -> &[u8] {
    let kept = text.iter().rposition(|byte| !is_trimmed(*byte)).map_or(0, |at| at + 1);
    &text[..kept]
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}
