//! Texts of JSON.

use std::fmt::Write;

/// Appends the text with its quotes.
pub fn push_text(json: &mut String, text: &str) {
    json.push('"');
    if text.bytes().any(|byte| byte < b' ' || matches!(byte, b'"' | b'\\')) {
        for character in text.chars() {
            match character {
                '"' | '\\' => json.extend(['\\', character]),
                // A String takes all that is written.
                '\0'..' ' => _ = write!(json, "\\u{:04x}", u32::from(character)),
                _ => json.push(character),
            }
        }
    } else {
        json.push_str(text);
    }
    json.push('"');
}
