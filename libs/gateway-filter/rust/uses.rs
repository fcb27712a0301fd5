//! What a request wants that not every engine keeps; `arks.contracts.uses` lists the names. Most requests have none.

use std::collections::BTreeSet;

use memchr::memmem;

use crate::json::{Object, after_value};
use crate::members::each_member;
use crate::schema;

/// Top-level keys of such wants, besides `response_format`.
pub const KEYS: [&str; 8] =
    ["tool_choice", "functions", "function_call", "modalities", "web_search_options", "echo", "suffix", "dimensions"];

/// The names of a request's uses, sorted, separated by commas.
#[must_use]
pub fn of(text: &[u8], object: &Object) -> Option<String> {
    let mut found = BTreeSet::new();
    for (key, range) in object.members() {
        let value = &text[range.clone()];
        if key == "response_format" {
            find_in_format(text, range.start, &mut found);
        } else if let Some(name) = use_of(key, value) {
            found.insert(name);
        }
    }
    (!found.is_empty()).then(|| found.into_iter().collect::<Vec<_>>().join(","))
}

fn use_of(key: &str, value: &[u8]) -> Option<&'static str> {
    if value == b"null" {
        return None;
    }
    match key {
        "tool_choice" => (value[0] == b'{').then_some("tool_choice.name"),
        "functions" | "function_call" => Some("functions"),
        "modalities" => memmem::find(value, b"\"audio\"").map(|_| "audio"),
        "web_search_options" => Some("web_search"),
        "echo" => (value == b"true").then_some("echo"),
        "suffix" => (value != b"\"\"").then_some("suffix"),
        "dimensions" => Some("dimensions"),
        _ => None,
    }
}

/// Collects the uses in a strict schema of `response_format`, whose value starts at `at`.
fn find_in_format(text: &[u8], at: usize, found: &mut BTreeSet<&'static str>) {
    let (mut outer, mut is_strict, mut schema) = (None, false, None);
    each_member(text, at, |key, value| {
        if key == b"json_schema" {
            outer = Some(value);
        }
        after_value(text, value)
    });
    let Some(outer) = outer else { return };
    each_member(text, outer, |key, value| {
        let after = after_value(text, value)?;
        match key {
            b"strict" => is_strict = &text[value..after] == b"true",
            b"schema" => schema = Some(value),
            _ => {}
        }
        Some(after)
    });
    if let Some(schema) = schema.filter(|_| is_strict) {
        schema::find_uses(text, schema, found);
    }
}
