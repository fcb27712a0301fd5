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
const NO_TOOLS: &str = "unsupported_parameter";
/// How vLLM begins a text about length, which passes: it has the numbers.
const LENGTH: &[u8] = b"\"This model's maximum context length is ";

static ERROR_KEYS: LazyLock<Keys> =
    LazyLock::new(|| Keys::default().and(&["error", "object", "message", "type", "param", "detail"]));
static FIELDS: LazyLock<Keys> =
    LazyLock::new(|| Keys::default().and(&["message", "type", "param", "code", "msg", "n_prompt_tokens", "n_ctx"]));

/// Signs of an engine's inside: of a fault in Python, and of Pydantic's texts about the engine's own objects.
const INSIDE: [&str; 2] = ["Traceback", "errors.pydantic.dev"];

/// How a message shows a fault of the client, whatever its status.
enum Sign {
    Has(&'static str),
    Begins(&'static str),
}

/// How Dynamo's frontend begins a text about a body that is no request, which ends with the position in the body.
const NOT_A_REQUEST: &str = "Failed to deserialize the JSON body into the target type: ";
/// How SGLang begins a text about a schema, before the line of its compiler: `[10:20:30] /project/cpp/a.cc:41: reason`.
const NO_GRAMMAR: &str = "Failed to compile json grammar: ";
/// How Dynamo's frontend begins a text about a value that it does not take.
const NOT_VALID: &str = "Validation: ";

/// Signs of faults, each with its code, and its parameter if the engine names none.
const FAULTS: [(Sign, Option<&str>, Option<&str>); 23] = [
    (Sign::Has("context size"), Some(TOO_LONG), None),
    (Sign::Has("context length"), Some(TOO_LONG), None),
    (Sign::Has("maximum model length"), Some(TOO_LONG), None),
    (Sign::Has("longer than the model"), Some(TOO_LONG), None),
    (Sign::Has("greater than max_model_len"), Some(TOO_LONG), Some("max_tokens")),
    (Sign::Has("too large to process"), Some(TOO_LONG), None),
    (Sign::Has("input is not supported"), Some(NO_CONTENT), None),
    (Sign::Has("not a multimodal model"), Some(NO_CONTENT), None),
    (Sign::Has("only supports text input"), Some(NO_CONTENT), None),
    (Sign::Has("At most 0 "), Some(NO_CONTENT), None),
    // FastAPI has no such path: vLLM of 2026 has /v1/embeddings only for models that make some.
    (Sign::Begins("Not Found\""), Some(NO_OPERATION), None),
    (Sign::Begins("Route not found"), Some(NO_OPERATION), None),
    (Sign::Has("does not support Embeddings"), Some(NO_OPERATION), None),
    (Sign::Has("does not support embeddings"), Some(NO_OPERATION), None),
    (Sign::Has("not appear to be an embedding model"), Some(NO_OPERATION), None),
    (Sign::Has("does not support Chat"), Some(NO_OPERATION), None),
    (Sign::Has("does not support Completions"), Some(NO_OPERATION), None),
    (Sign::Has("--tool-call-parser"), Some(NO_TOOLS), Some("tools")),
    (Sign::Begins("Failed to parse tools"), None, Some("tools")),
    (Sign::Begins("Failed to parse messages"), None, Some("messages")),
    (Sign::Begins("Cannot use both json_schema and grammar"), None, Some("grammar")),
    (Sign::Begins("Cannot use custom grammar"), None, Some("grammar")),
    (Sign::Begins("Unknown reasoning format"), None, Some("reasoning_format")),
];

/// The values of an engine's error, as they are written in JSON.
type Fields<'text> = HashMap<&'static str, &'text [u8]>;

/// Status and body for the client of an engine's error; `None` if it can pass as it is. `prompt`: the member of the
/// request that has its prompt.
#[must_use]
pub fn openai_error(status: u16, text: &[u8], prompt: &str) -> Option<(u16, Vec<u8>)> {
    let fields = read_fields(text);
    if is_openai(&fields) {
        return None;
    }
    let fault = fields.get("message").filter(|value| is_text(value)).and_then(|value| find_fault(&value[1..]));
    let fault = fault.or((status == 501).then_some((Some(NO_OPERATION), None)));
    Some(match (fault, status) {
        (Some((Some(TOO_LONG), None)), _) => {
            let param = too_long(&fields, prompt);
            (400, client_fault(&fields, Some(TOO_LONG), Some(&param)))
        }
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
        Some(NO_TOOLS) => "\"The engine of this model does not take tools.\"".to_owned(),
        Some(_) => "\"This model does not support this operation.\"".to_owned(),
        None => safe_message(fields).unwrap_or_else(|| NOT_READ.to_owned()),
    };
    let param = param.map_or_else(|| "null".to_owned(), |param| format!("\"{param}\""));
    error(&message, "invalid_request_error", &param, code)
}

/// The parameter that makes a request too long: the prompt, unless the engine names the number of tokens of the answer.
fn too_long(fields: &Fields, prompt: &str) -> String {
    let named = param_of(fields);
    let named = named.trim_matches('"');
    if ["max_tokens", "max_completion_tokens"].contains(&named) { named.to_owned() } else { prompt.to_owned() }
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
    let message = fields.get("message").filter(|value| is_text(value) && value.len() >= 3)?;
    let text = String::from_utf8_lossy(message);
    let text = match read_validation(&text) {
        Some((Some(param), reason)) => format!("\"Invalid '{param}': {reason}.\""),
        Some((None, reason)) => format!("\"{reason}\""),
        None => format!("\"{}\"", reason_of(&text[1..text.len() - 1])),
    };
    let is_inside = |sign: &str| text.contains(sign);
    let is_safe = text.len() <= TEXT_LIMIT && !has_path(text.as_bytes()) && !INSIDE.into_iter().any(is_inside);
    is_safe.then_some(text)
}

/// The reason in an engine's text: without the parameter and its value, which vLLM adds and which have their own member
/// here, and without what Dynamo and SGLang put around it.
fn reason_of(text: &str) -> &str {
    if let Some((_, rest)) = text.split_once(NO_GRAMMAR) {
        return rest.split_once(": ").map_or(rest, |(_, reason)| reason).trim_end_matches("\\n");
    }
    if let Some(rest) = text.strip_prefix(NOT_A_REQUEST) {
        return rest.rsplit_once(" at line ").map_or(rest, |(reason, _)| reason);
    }
    let text = text.strip_prefix(NOT_VALID).unwrap_or(text);
    text.split_once(" (parameter=").map_or(text, |(reason, _)| reason)
}

/// The parameter and the reason of the first fault in a text of Pydantic, as vLLM and SGLang pass it on: `'loc': 'body.n'`
/// or `'loc': ('body', 'n')`, and `'msg': '...'`.
fn read_validation(message: &str) -> Option<(Option<String>, &str)> {
    let (_, found) = message.split_once("'loc': ")?;
    let (place, found) = found.split_once(", 'msg': ")?;
    let (quote, reason) =
        found.strip_prefix('\'').map_or(("\\\"", found.strip_prefix("\\\"")), |rest| ("'", Some(rest)));
    let (reason, _) = reason?.split_once(quote)?;
    Some((path_of(place), reason.strip_prefix("Value error, ").unwrap_or(reason)))
}

/// The parameter as OpenAI writes it (`messages[0].role`), of `body.messages.0.Message.role` or
/// `('body', 'messages', 0, 'Message', 'role')`. Names of classes begin with a capital or have other signs.
fn path_of(place: &str) -> Option<String> {
    let mut path = String::new();
    for part in place.split(['.', ',']).map(|part| part.trim_matches([' ', '\'', '"', '(', ')'])) {
        if part.starts_with(|first: char| first.is_ascii_digit()) {
            path = format!("{path}[{part}]");
        } else if part != "body" && part.starts_with(|first: char| first.is_ascii_lowercase()) && is_name(part) {
            path = if path.is_empty() { part.to_owned() } else { format!("{path}.{part}") };
        }
    }
    (!path.is_empty()).then_some(path)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
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
    let message = fields.get("message").map(|value| String::from_utf8_lossy(value.get(1..).unwrap_or_default()));
    if let Some((Some(param), _)) = message.as_deref().and_then(read_validation) {
        return format!("\"{param}\"");
    }
    if let Some(param) = fields.get("param").filter(|value| is_text(value)) {
        return String::from_utf8_lossy(param).into_owned();
    }
    let name = message.as_deref().and_then(named_param);
    name.map_or_else(|| "null".to_owned(), |name| format!("\"{name}\""))
}

/// The parameter that a message begins with, where engines name one. Dynamo writes `Max tokens` for `max_tokens`.
fn named_param(message: &str) -> Option<String> {
    const PLACES: [(&str, &str); 7] = [
        ("Field '", "'"),
        ("'", "' "),
        ("\\\"", "\\\" "),
        ("Invalid ", ":"),
        ("", " must "),
        ("", " is \\\""),
        ("", " is too large"),
    ];
    if message.starts_with(NO_GRAMMAR) {
        return Some("response_format".to_owned());
    }
    let (message, is_dynamos) = message.strip_prefix(NOT_VALID).map_or((message, false), |rest| (rest, true));
    PLACES.iter().find_map(|(before, after)| {
        let (name, _) = message.strip_prefix(before)?.split_once(after)?;
        let name = if is_dynamos { name.to_ascii_lowercase().replace(' ', "_") } else { name.to_owned() };
        is_name(&name).then_some(name)
    })
}

fn length_message(fields: &Fields) -> String {
    if let Some(message) = safe_message(fields).filter(|message| message.as_bytes().starts_with(LENGTH)) {
        return message;
    }
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
