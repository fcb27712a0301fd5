//! Keywords of JSON schemas that not every engine's grammar keeps.

use std::collections::BTreeSet;

use crate::json::{DEPTH_LIMIT, after_value};
use crate::members::{each_member, each_object};

/// Of one schema with all that is in it; more are not looked at.
const MEMBERS_LIMIT: usize = 10_000;

/// How the value of a keyword holds schemas.
#[derive(Clone, Copy)]
enum Inner {
    One,
    List,
    Map,
}

/// Collects the uses in the schema at `at`.
pub fn find_uses(text: &[u8], at: usize, found: &mut BTreeSet<&'static str>) {
    Walk { text, found, members: 0 }.schema(at, 1);
}

struct Walk<'text, 'found> {
    text: &'text [u8],
    found: &'found mut BTreeSet<&'static str>,
    members: usize,
}

impl<'text> Walk<'text, '_> {
    /// Walks through the schema at `at`. Returns the position after it.
    fn schema(&mut self, at: usize, depth: usize) -> Option<usize> {
        let text = self.text;
        if depth > DEPTH_LIMIT || text.get(at) != Some(&b'{') {
            return after_value(text, at);
        }
        let mut seen = Seen::default();
        let after = each_member(text, at, |key, value| self.member(key, value, depth, &mut seen));
        self.found.extend(seen.uses());
        after
    }

    /// Looks at one member of a schema. Returns the position after its value.
    fn member(&mut self, key: &'text [u8], at: usize, depth: usize, seen: &mut Seen<'text>) -> Option<usize> {
        let inner = inner_of(key).filter(|_| matches!(self.text.get(at), Some(b'{' | b'[')));
        let after = if inner.is_some() { at } else { after_value(self.text, at)? };
        self.members += 1;
        if self.members > MEMBERS_LIMIT {
            return after_value(self.text, at);
        }
        self.found.extend(use_of(key));
        if let Some(inner) = inner {
            return self.inner(inner, at, depth + 1);
        }
        let value = &self.text[at..after];
        if key == b"pattern" && value[0] == b'"' && is_hard(value) {
            self.found.insert("schema.pattern");
        }
        seen.add(key, value);
        Some(after)
    }

    /// Walks through the schemas that the value of a keyword holds. Returns the position after the value.
    fn inner(&mut self, inner: Inner, at: usize, depth: usize) -> Option<usize> {
        let text = self.text;
        match (inner, text.get(at)) {
            (Inner::One, _) => self.schema(at, depth),
            (Inner::List, Some(b'[')) => each_object(text, at, |element| self.schema(element, depth)),
            (Inner::Map, Some(b'{')) => each_member(text, at, |_, value| self.schema(value, depth)),
            _ => after_value(text, at),
        }
    }
}

/// Members of one schema that have uses together.
#[derive(Default)]
struct Seen<'text> {
    format: Option<&'text [u8]>,
    kind: Option<&'text [u8]>,
    pattern: Option<&'text [u8]>,
    unique_items: Option<&'text [u8]>,
    has_bounds: bool,
    has_lengths: bool,
}

impl<'text> Seen<'text> {
    fn add(&mut self, key: &[u8], value: &'text [u8]) {
        match key {
            b"format" => self.format = Some(value),
            b"type" => self.kind = Some(value),
            b"pattern" => self.pattern = Some(value),
            b"uniqueItems" => self.unique_items = Some(value),
            b"minimum" | b"maximum" | b"exclusiveMinimum" | b"exclusiveMaximum" => self.has_bounds = true,
            b"minLength" | b"maxLength" => self.has_lengths = true,
            _ => {}
        }
    }

    fn uses(&self) -> impl Iterator<Item = &'static str> {
        let uses = [
            ("schema.format", self.format.is_some_and(|format| !is_usual_format(format))),
            ("schema.uniqueItems", self.unique_items == Some(b"true")),
            ("schema.number", self.has_bounds && self.kind != Some(b"\"integer\"")),
            ("schema.length", self.has_lengths && (self.pattern.is_some() || self.format.is_some())),
        ];
        uses.into_iter().filter_map(|(name, is_used)| is_used.then_some(name))
    }
}

/// How a keyword holds schemas, if it does.
fn inner_of(key: &[u8]) -> Option<Inner> {
    match key {
        b"items" | b"additionalProperties" | b"not" | b"if" | b"then" | b"else" | b"contains" | b"propertyNames" => {
            Some(Inner::One)
        }
        b"anyOf" | b"oneOf" | b"allOf" | b"prefixItems" => Some(Inner::List),
        b"properties" | b"patternProperties" | b"$defs" | b"definitions" | b"dependentSchemas" => Some(Inner::Map),
        _ => None,
    }
}

/// The use of a keyword that has one with any value.
fn use_of(key: &[u8]) -> Option<&'static str> {
    Some(match key {
        b"multipleOf" => "schema.multipleOf",
        b"minProperties" => "schema.minProperties",
        b"maxProperties" => "schema.maxProperties",
        b"patternProperties" => "schema.patternProperties",
        b"propertyNames" => "schema.propertyNames",
        b"contains" => "schema.contains",
        b"not" => "schema.not",
        b"if" => "schema.if",
        b"dependentRequired" => "schema.dependentRequired",
        b"dependentSchemas" => "schema.dependentSchemas",
        _ => return None,
    })
}

fn is_usual_format(format: &[u8]) -> bool {
    matches!(format, b"\"date\"" | b"\"time\"" | b"\"date-time\"") || format.starts_with(b"\"uuid")
}

/// Whether a pattern, as JSON, has what a simple grammar has not: escapes of classes, assertions, no anchors.
fn is_hard(pattern: &[u8]) -> bool {
    let is_anchored = pattern.len() >= 4 && pattern.starts_with(b"\"^") && pattern.ends_with(b"$\"");
    !is_anchored
        || pattern.windows(3).any(|each| each.starts_with(b"(?") && each[2] != b':')
        || has_hard_escape(pattern)
}

/// Whether a pattern, as JSON, has an escape of a letter or a digit, or one of JSON's own but of `/` and quotes. A
/// backslash of the pattern is two in JSON.
fn has_hard_escape(pattern: &[u8]) -> bool {
    let mut rest = pattern;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        rest = &rest[at + 1..];
        match rest {
            [b'\\', escaped, ..] if escaped.is_ascii_alphanumeric() => return true,
            [b'\\', ..] => rest = &rest[1..],
            [b'/' | b'"', ..] => {}
            _ => return true,
        }
    }
    false
}
