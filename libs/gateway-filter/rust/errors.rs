//! Errors of engines, which differ in their shape, status and code. The client gets OpenAI's: faults of its request are
//! 4xx, because SDKs repeat 5xx, and texts about the engine's inside do not pass.

use std::collections::HashMap;
use std::sync::LazyLock;

use memchr::memmem::find;

use crate::json::{Keys, after_space, after_value, read_object};

/// Bytes of an engine's message; a longer one is replaced.
const TEXT_LIMIT: usize = 2000;
const NOT_READ: &str = "\"The engine did not take the request.\"";
const BUSY: &str = "\"The model has too many requests. Try again.\"";
const FAILED: &str = "\"The engine could not answer this request.\"";
const TOO_LONG: &str = "context_length_exceeded";
const NO_CONTENT: &str = "unsupported_content";
const NO_OPERATION: &str = "unsupported_operation";

static ERROR_KEYS: LazyLock<Keys> =
    LazyLock::new(|| Keys::default().and(&["error", "object", "message", "type", "param", "detail"]));
static FIELDS: LazyLock<Keys> =
    LazyLock::new(|| Keys::default().and(&["message", "type", "param", "code", "msg", "n_prompt_tokens", "n_ctx"]));

/// How a message shows a fault of the client, whatever its status.
enum Sign {
    Has(&'static str),
    Begins(&'static str),
}

/// Signs of faults, each with its code, and its parameter if the engine names none.
const FAULTS: [(Sign, Option<&str>, Option<&str>); 17] = [
    (Sign::Has("context size"), Some(TOO_LONG), None),
    (Sign::Has("context length"), Some(TOO_LONG), None),
    (Sign::Has("maximum model length"), Some(TOO_LONG), None),
    (Sign::Has("longer than the model"), Some(TOO_LONG), None),
    (Sign::Has("too large to process"), Some(TOO_LONG), None),
    (Sign::Has("input is not supported"), Some(NO_CONTENT), None),
    (Sign::Has("not a multimodal model"), Some(NO_CONTENT), None),
    (Sign::Has("At most 0 "), Some(NO_CONTENT), None),
    (Sign::Has("does not support Embeddings"), Some(NO_OPERATION), None),
    (Sign::Has("does not support embeddings"), Some(NO_OPERATION), None),
    (Sign::Has("does not support Chat"), Some(NO_OPERATION), None),
    (Sign::Has("does not support Completions"), Some(NO_OPERATION), None),
    (Sign::Begins("Failed to parse tools"), None, Some("tools")),
    (Sign::Begins("Failed to parse messages"), None, Some("messages")),
    (Sign::Begins("Cannot use both json_schema and grammar"), None, Some("grammar")),
    (Sign::Begins("Cannot use custom grammar"), None, Some("grammar")),
    (Sign::Begins("Unknown reasoning format"), None, Some("reasoning_format")),
];

/// The values of an engine's error, as they are written in JSON.
type Fields<'text> = HashMap<&'static str, &'text [u8]>;

/// Status and body for the client of an engine's error; `None` if it can pass as it is.
#[must_use]
pub fn openai_error(status: u16, text: &[u8]) -> Option<(u16, Vec<u8>)> {
    let fields = read_fields(text);
    if is_openai(&fields) {
        return None;
    }
    let fault = fields.get("message").filter(|value| is_text(value)).and_then(|value| find_fault(&value[1..]));
    let fault = fault.or((status == 501).then_some((Some(NO_OPERATION), None)));
    Some(match (fault, status) {
        (Some((code, param)), _) => (400, client_fault(&fields, code, param)),
        (None, 429) => (429, error(BUSY, "server_error", "null", Some("engine_overloaded"))),
        (None, 401 | 403 | 407 | 500..) => {
            (status.max(500), error(FAILED, "server_error", "null", Some("engine_error")))
        }
        (None, _) => {
            let message = safe_message(&fields).unwrap_or_else(|| NOT_READ.to_owned());
            let status = if status == 422 { 400 } else { status };
            (status, error(&message, "invalid_request_error", &param_of(&fields), None))
        }
    })
}

fn client_fault(fields: &Fields, code: Option<&str>, param: Option<&str>) -> Vec<u8> {
    let message = match code {
        Some(TOO_LONG) => length_message(fields),
        Some(NO_CONTENT) => "\"This model does not take images, audio or video.\"".to_owned(),
        Some(_) => "\"This model does not support this operation.\"".to_owned(),
        None => safe_message(fields).unwrap_or_else(|| NOT_READ.to_owned()),
    };
    let param = param.map_or_else(|| "null".to_owned(), |param| format!("\"{param}\""));
    error(&message, "invalid_request_error", &param, code)
}

fn error(message: &str, kind: &str, param: &str, code: Option<&str>) -> Vec<u8> {
    let code = code.map_or_else(|| "null".to_owned(), |code| format!("\"{code}\""));
    format!(r#"{{"error":{{"message":{message},"type":"{kind}","param":{param},"code":{code}}}}}"#).into_bytes()
}

/// The values of an engine's error: of llama.cpp's and vLLM's object `error`, of the flat object of SGLang and older
/// versions of vLLM, or of a list of faults (FastAPI).
fn read_fields(text: &[u8]) -> Fields<'_> {
    let Some(brace) = text.iter().position(|byte| *byte == b'{') else { return Fields::new() };
    let Ok(outer) = read_object(text, brace, &ERROR_KEYS) else { return Fields::new() };
    let mut at = outer.range("error").or_else(|| outer.range("detail")).map_or(brace, |range| range.start);
    if text.get(at) == Some(&b'[') {
        at = after_space(text, at + 1);
    }
    if text.get(at) != Some(&b'{') {
        let message = after_value(text, at).map_or(&[][..], |end| &text[at..end]);
        return Fields::from([("message", message)]);
    }
    let Ok(object) = read_object(text, at, &FIELDS) else { return Fields::new() };
    let mut fields: Fields = object.members().map(|(key, range)| (key, &text[range.clone()])).collect();
    if let Some(message) = fields.get("msg").copied() {
        fields.entry("message").or_insert(message);
    }
    fields
}

fn is_text(value: &[u8]) -> bool {
    value.len() >= 2 && value[0] == b'"'
}

/// Whether an error has OpenAI's shape already.
fn is_openai(fields: &Fields) -> bool {
    let is_text_at = |key| fields.get(key).is_some_and(|value| is_text(value));
    let is_null_or_text = |key| fields.get(key).is_some_and(|value| *value == b"null" || is_text(value));
    is_text_at("message") && is_text_at("type") && is_null_or_text("code") && is_null_or_text("param")
}

fn find_fault(message: &[u8]) -> Option<(Option<&'static str>, Option<&'static str>)> {
    let message = &message[..message.len().min(TEXT_LIMIT)];
    let fault = FAULTS.iter().find(|(sign, _, _)| match sign {
        Sign::Has(text) => find(message, text.as_bytes()).is_some(),
        Sign::Begins(text) => message.starts_with(text.as_bytes()),
    });
    fault.map(|(_, code, param)| (*code, *param))
}

/// An engine's message, or `None` if it has none that may pass: no paths, nothing of its inside.
fn safe_message(fields: &Fields) -> Option<String> {
    let message = fields.get("message").filter(|value| is_text(value) && (3..=TEXT_LIMIT).contains(&value.len()))?;
    if has_path(message) || find(message, b"Traceback").is_some() {
        return None;
    }
    Some(String::from_utf8_lossy(message).into_owned())
}

/// Whether a text has a path with a directory.
fn has_path(text: &[u8]) -> bool {
    let is_before = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'`' | b'(' | b'=');
    let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    text.windows(2).enumerate().filter(|(_, pair)| is_before(pair[0]) && pair[1] == b'/').any(|(at, _)| {
        let name = text[at + 2..].iter().take_while(is_name).count();
        name > 0 && text.get(at + 2 + name) == Some(&b'/')
    })
}

/// The parameter at fault, as JSON.
fn param_of(fields: &Fields) -> String {
    if let Some(param) = fields.get("param").filter(|value| is_text(value)) {
        return String::from_utf8_lossy(param).into_owned();
    }
    let message = fields.get("message").map(|value| String::from_utf8_lossy(value.get(1..).unwrap_or_default()));
    let name = message.as_deref().and_then(named_param);
    name.map_or_else(|| "null".to_owned(), |name| format!("\"{name}\""))
}

/// The parameter that a message begins with, where engines name one.
fn named_param(message: &str) -> Option<&str> {
    const PLACES: [(&str, &str); 4] = [("Field '", "'"), ("'", "' "), ("\\\"", "\\\" "), ("Invalid ", ":")];
    PLACES.iter().find_map(|(before, after)| {
        let (name, _) = message.strip_prefix(before)?.split_once(after)?;
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        is_name.then_some(name)
    })
}

fn length_message(fields: &Fields) -> String {
    let count = |key| {
        let digits = fields.get(key).and_then(|value| std::str::from_utf8(value).ok());
        digits.filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    match (count("n_ctx"), count("n_prompt_tokens")) {
        (Some(most), Some(length)) => {
            format!("\"This model's maximum context length is {most} tokens, and the request has {length}.\"")
        }
        _ => "\"The request is longer than the context of this model.\"".to_owned(),
    }
}
