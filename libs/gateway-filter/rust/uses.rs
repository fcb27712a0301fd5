//! What a request wants that not every engine keeps; `arks.contracts.uses` lists the names. Most requests have none.

use std::collections::BTreeSet;
use std::ops::Range;

use memchr::memmem;

use crate::json::{Object, after_value};
use crate::members::{each_member, each_object, has_elements, member};
use crate::schema;

const TOOLS: &str = "tools";

/// Top-level keys of such wants, besides `response_format`.
pub const KEYS: [&str; 12] = [
    "tool_choice",
    "tools",
    "functions",
    "function_call",
    "modalities",
    "web_search_options",
    "echo",
    "suffix",
    "dimensions",
    "store",
    "service_tier",
    "logprobs",
];

/// The names of a request's uses, sorted, separated by commas.
#[must_use]
pub fn of(text: &[u8], object: &Object) -> Option<String> {
    let mut found = BTreeSet::new();
    let mut may_call = true;
    for (key, range) in object.members() {
        let value = &text[range.clone()];
        if key == "response_format" {
            find_in_format(text, range.start, &mut found);
            let is_chat = object.range("messages").is_some();
            if !is_chat && object.range("prompt").is_some() && has_form(text, range.start) {
                found.insert("completions.response_format");
            }
        } else if key == "tools" {
            if has_elements(value) {
                found.insert(TOOLS);
            }
            find_in_tools(text, range.clone(), &mut found);
        } else if let Some(name) = use_of(key, value) {
            found.insert(name);
        }
        may_call &= key != "tool_choice" || value != b"\"none\"";
    }
    if !may_call {
        found.remove(TOOLS); // no call is wanted, so nothing is dropped
    }
    (!found.is_empty()).then(|| found.into_iter().collect::<Vec<_>>().join(","))
}

fn use_of(key: &str, value: &[u8]) -> Option<&'static str> {
    if value == b"null" {
        return None;
    }
    match key {
        "tool_choice" if value == b"\"required\"" => Some("tool_choice.required"),
        "tool_choice" => (value[0] == b'{').then_some("tool_choice.name"),
        "functions" | "function_call" => Some("functions"),
        "modalities" => memmem::find(value, b"\"audio\"").map(|_| "audio"),
        "web_search_options" => Some("web_search"),
        "echo" => (value == b"true").then_some("echo"),
        "suffix" => (value != b"\"\"").then_some("suffix"),
        "dimensions" => Some("dimensions"),
        "store" => (value == b"true").then_some("store"),
        "service_tier" => (value != b"\"auto\"" && value != b"\"default\"").then_some("service_tier"),
        "logprobs" => value[0].is_ascii_digit().then_some("completions.logprobs"), // chat has a truth instead
        _ => None,
    }
}

/// Whether the `response_format` that starts at `at` wants anything but text.
fn has_form(text: &[u8], at: usize) -> bool {
    let mut is_text = false;
    each_member(text, at, |key, value| {
        let after = after_value(text, value)?;
        is_text |= key == b"type" && &text[value..after] == b"\"text\"";
        Some(after)
    });
    !is_text && text.get(at) == Some(&b'{')
}

/// Collects the uses in the strict schemas of tools.
fn find_in_tools(text: &[u8], tools: Range<usize>, found: &mut BTreeSet<&'static str>) {
    if memmem::find(&text[tools.clone()], b"\"strict\"").is_none() {
        return;
    }
    each_object(text, tools.start, |tool| {
        let (function, after) = member(text, tool, b"function");
        if let Some(function) = function {
            find_in_strict(text, function, b"parameters", found);
        }
        after
    });
}

/// Collects the uses in a strict schema of `response_format`, whose value starts at `at`.
fn find_in_format(text: &[u8], at: usize, found: &mut BTreeSet<&'static str>) {
    if let (Some(outer), _) = member(text, at, b"json_schema") {
        find_in_strict(text, outer, b"schema", found);
    }
}

/// Collects the uses in the schema that the object at `at` has under `name`, if it is strict.
fn find_in_strict(text: &[u8], at: usize, name: &[u8], found: &mut BTreeSet<&'static str>) {
    let (mut is_strict, mut schema) = (false, None);
    each_member(text, at, |key, value| {
        let after = after_value(text, value)?;
        if key == b"strict" {
            is_strict = &text[value..after] == b"true";
        } else if key == name {
            schema = Some(value);
        }
        Some(after)
    });
    if let Some(schema) = schema.filter(|_| is_strict) {
        schema::find_uses(text, schema, found);
    }
}
