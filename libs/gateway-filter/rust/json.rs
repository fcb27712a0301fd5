//! Reading JSON without a tree.
//!
//! For an accepted body this reader finds the same values of the wanted keys as every JSON parser, because both agree on
//! where each string and each nested value ends: strings end at the first quote that is not escaped, brackets pair up by
//! kind, and outside of strings there are only JSON's own characters (no comments, no single quotes, no byte order mark,
//! no UTF-16, no NUL). At the top level every key is plain ASCII without escapes, a wanted key occurs once and in its own
//! spelling (no `Stream`, no `maxTokens`, which a lenient parser may accept), and nothing follows the object.
//!
//! Not checked, because it cannot move those ends: escapes and characters inside strings, the order of commas and colons
//! inside nested values, spelling of numbers and names of values that are not wanted. The engine rejects those.

use std::collections::HashMap;
use std::ops::Range;

use memchr::memchr2;

use crate::fault::Fault;

/// The deepest nesting of a value that is read.
pub const DEPTH_LIMIT: usize = 200;
/// The most members of an object that is read.
pub const MEMBERS_LIMIT: usize = 1000;

/// Most objects have fewer members that are read: a list that grows is copied.
const USUAL_MEMBERS: usize = 8;

pub(crate) const NOT_JSON: u8 = 0;
const PLAIN: u8 = 1;
pub(crate) const OPENING: u8 = 2;
pub(crate) const CLOSING: u8 = 3;
pub(crate) const QUOTE: u8 = 4;

/// The kind of each byte outside of strings.
pub(crate) static KINDS: [u8; 256] = kinds();

const fn kinds() -> [u8; 256] {
    let mut kinds = [NOT_JSON; 256];
    let mut byte = 0;
    while byte < 128 {
        #[allow(clippy::cast_possible_truncation)]
        let character = byte as u8;
        if is_literal(character) || matches!(character, b':' | b',' | b' ' | b'\t' | b'\r' | b'\n') {
            kinds[byte] = PLAIN;
        }
        byte += 1;
    }
    kinds[b'{' as usize] = OPENING;
    kinds[b'[' as usize] = OPENING;
    kinds[b'}' as usize] = CLOSING;
    kinds[b']' as usize] = CLOSING;
    kinds[b'"' as usize] = QUOTE;
    kinds
}

const fn is_literal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'.' | b'-')
}

/// The fault of a body that is no JSON object.
#[must_use]
pub fn invalid() -> Fault {
    Fault::new("invalid_json", "The request body is not a valid JSON object.")
}

/// The position of the first byte from `at` on that is not white space.
#[must_use]
pub fn after_space(text: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\r' | b'\n') = text.get(at) {
        at += 1;
    }
    at
}

/// The position after the string that starts at `at`.
#[must_use]
pub fn after_string(text: &[u8], at: usize) -> Option<usize> {
    let mut from = at + 1;
    loop {
        let found = from + memchr2(b'"', b'\\', text.get(from..)?)?;
        if text[found] == b'"' {
            return Some(found + 1);
        }
        from = found + 2;
    }
}

/// The position after the object or array that starts at `at`.
#[must_use]
pub fn after_nested(text: &[u8], at: usize) -> Option<usize> {
    after_rest(text, at + 1, closing_of(*text.get(at)?))
}

/// The position after the object or array that ends with the bracket `closing`, from a position in it that is outside of
/// strings and of what is nested in it.
#[must_use]
pub fn after_rest(text: &[u8], mut from: usize, closing: u8) -> Option<usize> {
    let mut due = [closing; DEPTH_LIMIT];
    let mut depth = 1;
    loop {
        let byte = *text.get(from)?;
        match KINDS[usize::from(byte)] {
            PLAIN => from += 1,
            QUOTE => from = after_string(text, from)?,
            OPENING if depth < DEPTH_LIMIT => {
                due[depth] = closing_of(byte);
                depth += 1;
                from += 1;
            }
            CLOSING if due[depth - 1] == byte => {
                depth -= 1;
                from += 1;
                if depth == 0 {
                    return Some(from);
                }
            }
            _ => return None,
        }
    }
}

/// The closing bracket of each kind is two after the opening one.
pub(crate) const fn closing_of(opening: u8) -> u8 {
    opening.wrapping_add(2)
}

/// The position after the value that starts at `at`.
#[must_use]
pub fn after_value(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at)? {
        b'"' => after_string(text, at),
        b'{' | b'[' => after_nested(text, at),
        _ => {
            let length = text[at..].iter().take_while(|byte| is_literal(**byte)).count();
            (length > 0).then_some(at + length)
        }
    }
}

/// What a key at the top level of an object means.
#[derive(Clone, Copy)]
enum Meaning {
    Wanted(&'static str),
    Refused(&'static str),
}

/// The keys of an object that are read or refused.
#[derive(Default)]
pub struct Keys {
    meanings: HashMap<&'static [u8], Meaning>,
    squashed: HashMap<Vec<u8>, &'static str>,
}

impl Keys {
    /// Keys that are read, in their own spelling; any other spelling that a lenient parser accepts is a fault.
    #[must_use]
    pub fn strict(keys: &[&'static str]) -> Self {
        let mut made = Self::default();
        for key in keys {
            made.meanings.insert(key.as_bytes(), Meaning::Wanted(key));
            made.squashed.insert(squash(key.as_bytes()), key);
        }
        made
    }

    /// The same keys, and others that are read. With a separator in them, any other spelling is another key.
    #[must_use]
    pub fn and(self, keys: &[&'static str]) -> Self {
        self.with(keys, Meaning::Wanted)
    }

    /// The same keys, and others that must not be there with a value; spellings as in `and`.
    #[must_use]
    pub fn without(self, keys: &[&'static str]) -> Self {
        self.with(keys, Meaning::Refused)
    }

    fn with(mut self, keys: &[&'static str], meaning: fn(&'static str) -> Meaning) -> Self {
        for key in keys {
            self.meanings.insert(key.as_bytes(), meaning(key));
            if !key.contains('_') {
                self.squashed.insert(key.as_bytes().to_vec(), key);
            }
        }
        self
    }

    fn meaning(&self, key: &[u8]) -> Result<Option<Meaning>, Fault> {
        if let Some(meaning) = self.meanings.get(key) {
            return Ok(Some(*meaning));
        }
        if key.iter().all(|byte| byte.is_ascii_lowercase() || *byte == b'_') && !self.squashed.contains_key(key) {
            return Ok(None);
        }
        if key.iter().any(|byte| !matches!(byte, b' '..=b'~') || *byte == b'\\') {
            return Err(Fault::new("invalid_json", "Keys at the top level must be plain ASCII without escapes."));
        }
        match self.squashed.get(&squash(key)) {
            Some(meant) if is_other_spelling(key) || !key.contains(&b'_') => {
                Err(Fault::of(meant, "misspelled_key", "The key must be spelled as it is named here."))
            }
            _ => Ok(None),
        }
    }
}

fn is_other_spelling(key: &[u8]) -> bool {
    key.iter().any(|byte| byte.is_ascii_uppercase() || *byte == b'-')
}

fn squash(key: &[u8]) -> Vec<u8> {
    key.iter().filter(|byte| !matches!(byte, b'_' | b'-')).map(u8::to_ascii_lowercase).collect()
}

/// Where the wanted members of an object are.
pub struct Object {
    members: Vec<(&'static str, Range<usize>)>,
    /// The position of the object's last brace.
    pub closing: usize,
}

impl Object {
    /// First byte, and the one after the last, of the value of a key.
    #[must_use]
    pub fn range(&self, key: &str) -> Option<Range<usize>> {
        self.members.iter().find(|(name, _)| *name == key).map(|(_, range)| range.clone())
    }

    /// The value of a key as it is written.
    #[must_use]
    pub fn text<'text>(&self, text: &'text [u8], key: &str) -> Option<&'text [u8]> {
        self.range(key).map(|range| &text[range])
    }

    /// Keys and ranges of the members that were read, in their order.
    pub fn members(&self) -> impl Iterator<Item = (&'static str, &Range<usize>)> {
        self.members.iter().map(|(key, range)| (*key, range))
    }
}

/// Reads the object that starts at `at`. What follows it is not looked at.
///
/// # Errors
///
/// Returns the fault of an object that is none, or has a key that it must not have.
pub fn read_object(text: &[u8], at: usize, keys: &Keys) -> Result<Object, Fault> {
    let mut object = Object { members: Vec::with_capacity(USUAL_MEMBERS), closing: 0 };
    let mut from = after_space(text, at + 1);
    if text.get(from) == Some(&b'}') {
        object.closing = from;
        return Ok(object);
    }
    for _ in 0..MEMBERS_LIMIT {
        let next = read_member(text, from, keys, &mut object)?;
        let comma = after_space(text, next);
        match text.get(comma) {
            Some(b'}') => {
                object.closing = comma;
                return Ok(object);
            }
            Some(b',') => from = after_space(text, comma + 1),
            _ => break,
        }
    }
    Err(invalid())
}

/// Reads the member whose key starts at `at`. Returns the position after it.
fn read_member(text: &[u8], at: usize, keys: &Keys, object: &mut Object) -> Result<usize, Fault> {
    if text.get(at) != Some(&b'"') {
        return Err(invalid());
    }
    let after_key = after_string(text, at).ok_or_else(invalid)?;
    let meaning = keys.meaning(&text[at + 1..after_key - 1])?;
    if let Some(Meaning::Wanted(key) | Meaning::Refused(key)) = meaning
        && object.range(key).is_some()
    {
        return Err(Fault::of(key, "duplicate_key", "The key occurs twice."));
    }
    let colon = after_space(text, after_key);
    if text.get(colon) != Some(&b':') {
        return Err(invalid());
    }
    let value = after_space(text, colon + 1);
    let after = after_value(text, value).ok_or_else(invalid)?;
    match meaning {
        Some(Meaning::Refused(key)) if &text[value..after] != b"null" => {
            return Err(Fault::of(key, "unsupported_parameter", "The gateway does not take this parameter."));
        }
        Some(Meaning::Wanted(key) | Meaning::Refused(key)) => object.members.push((key, value..after)),
        None => {}
    }
    Ok(after)
}
