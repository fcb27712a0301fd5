//! Faults of a body that are certain before its end: the rest of it is neither kept nor read.
//!
//! Finds what [`crate::request::read_request`] rejects as no JSON object, with the same bounds, and nothing else, in time
//! that is linear in each part. A body without such a fault is read as a whole at its end.

use memchr::{memchr, memchr2};

use crate::fault::Fault;
use crate::json::{CLOSING, DEPTH_LIMIT, KINDS, MEMBERS_LIMIT, NOT_JSON, OPENING, QUOTE, closing_of, invalid};

/// A body whose parts arrive one after the other.
#[derive(Debug, Default)]
pub struct Early {
    /// The closing brackets that are due, outermost first.
    due: Vec<u8>,
    in_string: bool,
    is_escaped: bool,
    has_ended: bool,
    commas: usize,
}

impl Early {
    /// Takes the next part of the body.
    ///
    /// # Errors
    ///
    /// Returns the fault of a body that no further part can make valid. It must not get another part after that.
    pub fn feed(&mut self, part: &[u8]) -> Result<(), Fault> {
        if memchr(0, part).is_some() {
            return Err(invalid());
        }
        let mut at = 0;
        while at < part.len() {
            at = if self.in_string { self.string(part, at) } else { self.byte(part[at]).map(|()| at + 1)? };
        }
        Ok(())
    }

    /// Follows a string from `at`. Returns the position after it, or the end of the part.
    fn string(&mut self, part: &[u8], mut at: usize) -> usize {
        if std::mem::take(&mut self.is_escaped) {
            at += 1;
        }
        while let Some(found) = memchr2(b'"', b'\\', &part[at..]).map(|found| at + found) {
            if part[found] == b'"' {
                self.in_string = false;
                return found + 1;
            }
            at = found + 2;
            if at > part.len() {
                self.is_escaped = true; // what it escapes is in the next part
                break;
            }
        }
        part.len()
    }

    /// Takes a byte outside of strings.
    fn byte(&mut self, byte: u8) -> Result<(), Fault> {
        let depth = self.due.len();
        if depth == 0 {
            return self.outside(byte);
        }
        match KINDS[usize::from(byte)] {
            QUOTE => self.in_string = true,
            OPENING if depth <= DEPTH_LIMIT => self.due.push(closing_of(byte)),
            CLOSING if self.due.last() == Some(&byte) => {
                self.due.pop();
                self.has_ended = depth == 1;
            }
            NOT_JSON | OPENING | CLOSING => return Err(invalid()),
            _ if depth == 1 && byte == b',' => {
                self.commas += 1;
                if self.commas >= MEMBERS_LIMIT {
                    return Err(invalid());
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes a byte before or after the object.
    fn outside(&mut self, byte: u8) -> Result<(), Fault> {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => Ok(()),
            b'{' if !self.has_ended => {
                self.due.push(b'}');
                Ok(())
            }
            _ => Err(invalid()),
        }
    }
}
