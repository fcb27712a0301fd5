//! Reading a request's body: the model, and what tokens are reserved for.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memchr;

use crate::affinity::Places;
use crate::fault::Fault;
use crate::json::{Keys, Object, after_space, invalid, read_object};
use crate::members::has_elements;
use crate::outline::Outline;
use crate::ratio::PromptBytes;
use crate::stream_options::Edit;
use crate::{prompts, stream_options, text, uses};

const MODEL_BYTES: usize = 256;
/// More than any model's context.
const TOKENS_LIMIT: u32 = 10_000_000;
const CHOICES_LIMIT: u32 = 128; // OpenAI's own limit, as the next one
const LOGPROBS_LIMIT: u32 = 20;

/// A shorter body is copied: that costs less than two reads of it.
pub const PARTS_BYTES: usize = 32 * 1024;

const LIMIT_KEYS: [&str; 3] = ["max_completion_tokens", "max_tokens", "n_predict"];
/// By which clients of OpenAI's API name requests that share a cache.
const SESSION_KEY: &str = "prompt_cache_key";
/// Engines make as many answers as the largest of them.
const ANSWER_KEYS: [&str; 3] = ["n", "n_cmpl", "best_of"];
const KEYS: &str = "model stream stream_options prompt messages input tools logprobs top_logprobs n n_cmpl best_of \
     max_completion_tokens max_tokens n_predict";
/// Keys by which a client would choose a replica's rank, slot, adapter, template or place in the queue, move its cache,
/// or hide usage: of SGLang, of vLLM and Dynamo, and of llama.cpp.
const REFUSED_KEYS: &str = "bootstrap_host bootstrap_port bootstrap_room data_parallel_rank routed_dp_rank disagg_prefill_dp_rank rid \
     lora_path session_params custom_logit_processor custom_params extra_key return_hidden_states \
     return_routed_experts session_id ngram_corpus_id custom_labels logits_processors kv_transfer_params ec_transfer_params vllm_xargs request_id priority chat_template nvext \
     id_slot lora response_fields";

static REQUEST_KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let words = |text: &'static str| text.split_ascii_whitespace().collect::<Vec<_>>();
    Keys::strict(&words(KEYS)).and(&uses::KEYS).and(&text::RULE_KEYS).and(&[SESSION_KEY]).without(&words(REFUSED_KEYS))
});

/// A change of a body by which a stream requests usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It becomes another body.
    Body(Vec<u8>),
    /// Its last brace, at this position, becomes a comma, and `stream_options::USAGE_END` follows: no other byte moves.
    End(usize),
}

/// What the gateway reads in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The requested model's name, as it is written.
    pub model: Vec<u8>,
    /// Whether the client wants a stream.
    pub stream: bool,
    /// The largest limit of an answer's tokens; `None` without a limit.
    pub max_tokens: Option<u64>,
    /// Answers to all prompts, if more than one.
    pub answers: Option<u32>,
    /// Answers to each prompt, if there is more than one answer.
    pub copies: Option<u32>,
    /// Names of `arks.contracts.uses`, sorted, separated by commas.
    pub uses: Option<String>,
    /// Bytes that count as text, and as media.
    pub bytes: PromptBytes,
    /// How the body for the engine differs from the client's, if at all.
    pub change: Option<Change>,
    /// The changes that make a stream of a request without one, if the engine needs that.
    pub as_stream: Vec<Edit>,
    /// Where the value of `model`, with its quotes, is in the body for the engine.
    pub model_at: Range<usize>,
    /// Where the client's body has what holds requests together.
    pub places: Places,
}

/// Reads the body of a request.
///
/// # Errors
///
/// Returns the fault for the client if the body is no JSON object or has a value that the gateway refuses.
pub fn read_request(body: &[u8]) -> Result<Request, Fault> {
    let object = read_document(body)?;
    request_of(body, &object, 0)
}

/// Reads the body of a request that came in several parts, without a copy of the whole. `None` if that needs one: the body
/// has a fault, is short or in one part, or has long strings that are no messages or prompt.
#[must_use]
pub fn read_parts(parts: &[&[u8]]) -> Option<Request> {
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    if parts.len() < 2 || bytes < PARTS_BYTES {
        return None;
    }
    let outline = Outline::of(parts)?;
    let object = read_document(&outline.text).ok()?;
    if !outline.is_cut_only_in(&texts(&outline.text, &object)) || text::may_have_media(&outline.text) {
        return None;
    }
    let request = request_of(&outline.text, &object, outline.taken()).ok()?;
    let is_of_outline = matches!(request.change, Some(Change::Body(_)));
    (!is_of_outline).then(|| request.moved(&outline))
}

/// Where the object has messages and prompts of which the reader looks at no more than the beginning.
fn texts(text: &[u8], object: &Object) -> Vec<Range<usize>> {
    let is_read = |(key, first): (&str, u8)| match key {
        "messages" | "input" => matches!(first, b'"' | b'['),
        "prompt" => first == b'"',
        _ => false,
    };
    let members = object.members().filter(|(key, range)| is_read((*key, text[range.start])));
    members.map(|(_, range)| range.clone()).collect()
}

/// The request of a body, or of an outline from which so many bytes of text are taken.
fn request_of(body: &[u8], object: &Object, taken: usize) -> Result<Request, Fault> {
    let values = Values { text: body, object };
    let model = read_model(&values)?.to_vec();
    let stream = read_stream(&values)?;
    let max_tokens = read_token_limit(&values)?;
    let (answers, copies) = read_answers(&values)?;
    fault_of_values(&values)?;
    let edit = stream_options::edit(body, object, stream)?;
    let model_at = object.range("model").unwrap_or_default();
    Ok(Request {
        model,
        stream,
        max_tokens: max_tokens.map(u64::from),
        answers: (answers > 1).then_some(answers),
        copies: (answers > 1).then_some(copies),
        uses: uses::of(body, object),
        bytes: text::bytes(body, object, taken),
        model_at: edit.as_ref().map_or(model_at.clone(), |edit| edit.moved(model_at)),
        change: edit.map(|edit| match edit.start() {
            closing if closing == object.closing => Change::End(closing),
            _ => Change::Body(edit.apply(body)),
        }),
        as_stream: if stream { Vec::new() } else { stream_options::as_stream(object) },
        places: Places {
            session: object.range(SESSION_KEY).unwrap_or_default(),
            prompt: object.range("messages").or_else(|| object.range("prompt")).unwrap_or_default(),
        },
    })
}

impl Request {
    /// The same request, with positions in the body instead of its outline.
    fn moved(mut self, outline: &Outline) -> Self {
        if let Some(Change::End(at)) = &mut self.change {
            *at = outline.position(*at);
        }
        self.as_stream = self.as_stream.iter().map(|edit| edit.in_body(outline)).collect();
        self.model_at = outline.range(&self.model_at);
        self.places.session = outline.range(&self.places.session);
        self.places.prompt = outline.range(&self.places.prompt);
        self
    }
}

/// Bytes outside of `!` to `~`, and `%`, as %XX.
#[must_use]
pub fn percent_encode(text: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(text.len());
    for byte in text {
        if byte.is_ascii_graphic() && *byte != b'%' {
            encoded.push(char::from(*byte));
        } else {
            encoded.push('%');
            encoded.push(char::from(DIGITS[usize::from(byte >> 4)]));
            encoded.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    encoded
}

/// Reads the object that is all of a body.
fn read_document(body: &[u8]) -> Result<Object, Fault> {
    let at = after_space(body, 0);
    if body.get(at) != Some(&b'{') {
        return Err(invalid());
    }
    let object = read_object(body, at, &REQUEST_KEYS)?;
    let is_whole = after_space(body, object.closing + 1) == body.len() && memchr(0, body).is_none();
    if is_whole { Ok(object) } else { Err(invalid()) }
}

/// The wanted values of a body.
struct Values<'body> {
    text: &'body [u8],
    object: &'body Object,
}

impl<'body> Values<'body> {
    /// The value of a key as it is written; null counts as absent, as in OpenAI's API.
    fn get(&self, key: &str) -> Option<&'body [u8]> {
        self.object.text(self.text, key).filter(|value| *value != b"null")
    }

    /// The whole number of a key, if it has one.
    fn count(&self, key: &'static str, least: u32, most: u32) -> Result<Option<u32>, Fault> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match parse_count(value) {
            Some(count) if (least..=most).contains(&count) => Ok(Some(count)),
            _ => Err(invalid_value(key, format!("`{key}` must be a whole number from {least} to {most}."))),
        }
    }
}

fn invalid_value(param: &'static str, message: impl Into<String>) -> Fault {
    Fault::of(param, "invalid_value", message)
}

/// A whole number of at most eight digits, without a zero before it.
fn parse_count(value: &[u8]) -> Option<u32> {
    let is_plain = matches!(value.len(), 1..=8) && value.iter().all(u8::is_ascii_digit);
    if !is_plain || (value.len() > 1 && value[0] == b'0') {
        return None;
    }
    Some(value.iter().fold(0, |count, digit| count * 10 + u32::from(digit - b'0')))
}

fn read_model<'body>(values: &Values<'body>) -> Result<&'body [u8], Fault> {
    let Some([b'"', model @ .., b'"']) = values.get("model") else {
        return Err(invalid_value("model", "`model` must be given, as a string."));
    };
    let is_plain = !model.iter().any(|byte| byte.is_ascii_control() || *byte == b'\\');
    if model.is_empty() || model.len() > MODEL_BYTES || !is_plain {
        let message = format!("`model` must have 1 to {MODEL_BYTES} bytes, without escapes.");
        return Err(invalid_value("model", message));
    }
    Ok(model)
}

fn read_stream(values: &Values) -> Result<bool, Fault> {
    match values.get("stream") {
        None | Some(b"false") => Ok(false),
        Some(b"true") => Ok(true),
        Some(_) => Err(invalid_value("stream", "`stream` must be true or false.")),
    }
}

/// The largest limit of all spellings: engines differ in which of them wins. Some read 0 as unlimited, so a request with
/// a 0 counts as one without a limit.
fn read_token_limit(values: &Values) -> Result<Option<u32>, Fault> {
    let mut limit = None;
    let mut is_unlimited = false;
    for key in LIMIT_KEYS {
        let count = values.count(key, 0, TOKENS_LIMIT)?;
        is_unlimited |= count == Some(0);
        limit = limit.max(count);
    }
    Ok(limit.filter(|_| !is_unlimited))
}

/// The number of answers to all prompts, and to each. An empty prompt ends SGLang 0.4 for all clients, and llama.cpp never
/// ends copies of one, and loses a slot; vLLM, Dynamo and newer versions of SGLang refuse it.
fn read_answers(values: &Values) -> Result<(u32, u32), Fault> {
    let mut copies = 1;
    for key in ANSWER_KEYS {
        copies = copies.max(values.count(key, 1, CHOICES_LIMIT)?.unwrap_or(1));
    }
    let prompts = prompts::read(values.text, values.object);
    if prompts.has_empty {
        return Err(invalid_value("prompt", "`prompt` must not be empty."));
    }
    Ok((prompts.count.saturating_mul(copies), copies))
}

/// Refuses values that OpenAI refuses and engines take.
fn fault_of_values(values: &Values) -> Result<(), Fault> {
    for key in ["messages", "input"] {
        if values.object.range(key).is_some_and(|range| prompts::is_empty(values.text, range.start)) {
            return Err(Fault::of(key, "empty_array", format!("`{key}` must not be empty.")));
        }
    }
    let chooses = !matches!(values.get("tool_choice"), None | Some(b"\"none\"" | b"\"auto\""));
    if chooses && !has_tools(values) {
        return Err(invalid_value("tool_choice", "`tool_choice` is for requests with `tools`."));
    }
    // A count for completions. SGLang ends, for all clients, at one that is larger than its vocabulary.
    if !matches!(values.get("logprobs"), Some(b"true" | b"false")) {
        values.count("logprobs", 0, LOGPROBS_LIMIT)?;
    }
    let count = values.count("top_logprobs", 0, LOGPROBS_LIMIT)?;
    if count.unwrap_or(0) > 0 && values.get("logprobs") != Some(b"true") {
        return Err(invalid_value("top_logprobs", "`top_logprobs` is for requests with `logprobs: true`."));
    }
    Ok(())
}

fn has_tools(values: &Values) -> bool {
    values.get("tools").is_some_and(has_elements)
}
