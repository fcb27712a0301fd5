//! Visits of all members of an object or a list, each byte of which is read once.

use crate::json::{after_rest, after_space, after_string, after_value};

/// Whether the value is a list that is not empty.
#[must_use]
pub fn has_elements(value: &[u8]) -> bool {
    value[0] == b'[' && value.get(after_space(value, 1)) != Some(&b']')
}

/// Calls `visit` with the key, as it is written, and the position of the value of each member of the object at `at`, as
/// far as it can be read. `visit` returns the position after the value. Returns the position after the object.
pub fn each_member<'text>(
    text: &'text [u8],
    at: usize,
    mut visit: impl FnMut(&'text [u8], usize) -> Option<usize>,
) -> Option<usize> {
    if text.get(at) != Some(&b'{') {
        return None;
    }
    let mut from = after_space(text, at + 1);
    while text.get(from) == Some(&b'"') {
        let after_key = after_string(text, from)?;
        let key = &text[from + 1..after_key - 1];
        from = after_space(text, after_key);
        if text.get(from) != Some(&b':') {
            break;
        }
        from = after_space(text, from + 1);
        let Some(after) = visit(key, from) else { break };
        from = after_space(text, after);
        if text.get(from) != Some(&b',') {
            break;
        }
        from = after_space(text, from + 1);
    }
    after_rest(text, from, b'}')
}

/// The position of the value that the object at `at` has under `name`, the last one if there are several, and the
/// position after the object.
#[must_use]
pub fn member(text: &[u8], at: usize, name: &[u8]) -> (Option<usize>, Option<usize>) {
    let mut found = None;
    let after = each_member(text, at, |key, value| {
        if key == name {
            found = Some(value);
        }
        after_value(text, value)
    });
    (found, after)
}

/// Calls `visit` with the position of each object in the list at `at`, up to the first element that is none. `visit`
/// returns the position after the object. Returns the position after the list.
pub fn each_object(text: &[u8], at: usize, mut visit: impl FnMut(usize) -> Option<usize>) -> Option<usize> {
    if text.get(at) != Some(&b'[') {
        return None;
    }
    let mut from = after_space(text, at + 1);
    while text.get(from) == Some(&b'{') {
        from = after_space(text, visit(from)?);
        if text.get(from) != Some(&b',') {
            break;
        }
        from = after_space(text, from + 1);
    }
    after_rest(text, from, b']')
}
