//! The outline of a body that came in several parts: the body without the insides of its long strings.
//!
//! Envoy keeps a long body as pieces of 16 KiB. The reader takes one slice, and a copy of the whole body costs more than
//! to read it: it also drives the body out of the processor's cache, from which the kernel then takes it.
//!
//! What is cut has no quote and no NUL, begins and ends between escapes, and does not touch the bytes beside a quote. So
//! strings and nested values end at the same bytes of the body, and what the reader finds beside quotes it finds here.

use std::ops::Range;

use memchr::{memchr, memchr3};

/// Bytes beside a quote that are kept: more than the reader looks at.
const EDGE_BYTES: usize = 64;
/// Fewer bytes are not worth a cut.
const CUT_BYTES: usize = 128;
/// A longer outline would cost more than the copy: this much, and a part of the body so far.
const OUTLINE_BYTES: usize = 8 * 1024;
const OUTLINE_PART: usize = 4;

/// A body without the insides of its long strings.
#[derive(Debug, Default)]
pub struct Outline {
    /// What is kept.
    pub text: Vec<u8>,
    cuts: Vec<Cut>,
    in_string: bool,
    is_escaped: bool,
}

#[derive(Debug)]
struct Cut {
    /// The position in the outline of the byte after it.
    at: usize,
    /// Bytes that this cut and those before it have taken.
    taken: usize,
}

impl Outline {
    /// The outline of a body. `None` if most of it would be kept, or a string has a NUL.
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Option<Self> {
        let mut outline = Self { text: Vec::with_capacity(OUTLINE_BYTES), ..Self::default() };
        let mut bytes = 0;
        for part in parts {
            let mut at = 0;
            while at < part.len() {
                at = if outline.in_string { outline.string(part, at)? } else { outline.outside(part, at) };
            }
            bytes += part.len();
            if outline.text.len() > OUTLINE_BYTES + bytes / OUTLINE_PART {
                return None;
            }
        }
        Some(outline)
    }

    /// Bytes that all cuts have taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.cuts.last().map_or(0, |cut| cut.taken)
    }

    /// Where a position of the outline is in the body.
    #[must_use]
    pub fn position(&self, at: usize) -> usize {
        let before = self.cuts.partition_point(|cut| cut.at <= at);
        at + before.checked_sub(1).map_or(0, |last| self.cuts[last].taken)
    }

    /// Where a range of the outline is in the body.
    #[must_use]
    pub fn range(&self, range: &Range<usize>) -> Range<usize> {
        self.position(range.start)..self.position(range.end)
    }

    /// Whether all cuts are within these ranges of the outline.
    #[must_use]
    pub fn is_cut_only_in(&self, ranges: &[Range<usize>]) -> bool {
        self.cuts.iter().all(|cut| ranges.iter().any(|range| range.start < cut.at && cut.at < range.end))
    }

    /// Keeps what is outside of strings. Returns the position after the next quote, or the end of the part.
    fn outside(&mut self, part: &[u8], at: usize) -> usize {
        let quote = memchr(b'"', &part[at..]);
        self.in_string = quote.is_some();
        let end = quote.map_or(part.len(), |length| at + length + 1);
        self.text.extend_from_slice(&part[at..end]);
        end
    }

    /// Follows a string from `at`. Returns the position after it, or the end of the part.
    fn string(&mut self, part: &[u8], at: usize) -> Option<usize> {
        let (mut begin, mut from, mut cut_from) = (at, at, at + EDGE_BYTES);
        if std::mem::take(&mut self.is_escaped) {
            if part[at] == 0 {
                return None;
            }
            from += 1;
        }
        while let Some(found) = memchr3(b'"', b'\\', 0, &part[from..]).map(|length| from + length) {
            match (part[found], part.get(found + 1)) {
                (b'"', _) => {
                    self.keep_edges(&part[begin..=found], cut_from - begin);
                    self.in_string = false;
                    return Some(found + 1);
                }
                (0, _) | (_, Some(0)) => return None,
                (_, None) => {
                    self.is_escaped = true; // what it escapes is in the next part
                    break;
                }
                (_, Some(b'"')) => {
                    self.keep_edges(&part[begin..found + 2], cut_from - begin);
                    begin = found + 2;
                    cut_from = begin + EDGE_BYTES;
                }
                (_, Some(_)) if found + 1 == cut_from => cut_from += 1,
                (_, Some(_)) => {}
            }
            from = found + 2;
        }
        self.keep_edges(&part[begin..], cut_from - begin);
        Some(part.len())
    }

    /// Keeps the edges of a piece of a string, and what is between them if that is short. `from`: the end of the first
    /// edge, which is between escapes.
    fn keep_edges(&mut self, piece: &[u8], from: usize) {
        let to = piece.len().saturating_sub(EDGE_BYTES);
        if to < from + CUT_BYTES {
            self.text.extend_from_slice(piece);
            return;
        }
        let escapes = piece[from..to].iter().rev().take_while(|byte| **byte == b'\\').count();
        let to = to + escapes % 2;
        self.text.extend_from_slice(&piece[..from]);
        self.cuts.push(Cut { at: self.text.len(), taken: self.taken() + to - from });
        self.text.extend_from_slice(&piece[to..]);
    }
}

#[cfg(test)]
mod tests {
    use super::{EDGE_BYTES, Outline};

    fn outline(parts: &[&[u8]]) -> Outline {
        Outline::of(parts).expect("an outline")
    }

    #[test]
    fn positions_are_those_of_the_body() {
        let inside: Vec<u8> = (b'a'..=b'w').cycle().take(1000).collect();
        let body = [br#"{"a":""#.as_slice(), &inside, br#"","b":""#, &inside, b"\"}"].concat();
        let found = outline(&[&body[..300], &body[300..]]);
        assert_eq!(found.text.len() + found.taken(), body.len());
        assert!(found.taken() > 1000);
        for (at, byte) in found.text.iter().enumerate() {
            assert_eq!(body[found.position(at)], *byte);
        }
        assert_eq!(found.position(found.text.len()), body.len());
    }

    #[test]
    fn bytes_beside_quotes_are_kept() {
        let inside = [&[b'x'; 500], br#"\"data:"#.as_slice(), &[b'y'; 500], b"_audio"].concat();
        let body = [b"\"".as_slice(), &inside, b"\""].concat();
        let found = outline(&[&body]);
        let text = String::from_utf8(found.text).expect("ASCII");
        assert!(text.contains(r#"\"data:y"#) && text.ends_with("_audio\""));
        assert!(text.len() <= 4 * EDGE_BYTES + 20);
    }
}
