//! How many bytes of text make a token, measured on the answers to one key's requests for one model. No other key's
//! requests change it, so no client can make another one's reservations too small or too large.

/// Of texts in Latin letters; before anything is measured.
const USUAL: f64 = 4.0;
/// Byte-level vocabularies never make more tokens than bytes.
const LEAST: f64 = 1.0;
/// Text of escapes (`\u4e2d`) has as many. The higher this is, the more can a client exceed a limit of tokens by dense
/// text after thin text.
const MOST: f64 = 8.0;
/// Shorter prompts consist of the chat template and the body's own keys more than of text.
const MEASURED_BYTES: u64 = 512;
/// The ratio follows a smaller one at once, and a larger one by this part of the difference: a reservation that is too
/// small exceeds limits, one that is too large returns with the answer.
const RISE: f64 = 1.0 / 16.0;

/// Bytes of text a token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio(f64);

impl Default for Ratio {
    fn default() -> Self {
        Self(USUAL)
    }
}

/// What of a request makes prompt tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PromptBytes {
    /// Bytes of text, and those that media count as.
    pub all: u64,
    /// Of these, what media count as: `USUAL` bytes a token, whatever text takes.
    pub media: u64,
}

impl PromptBytes {
    /// The bytes by which a ratio can be measured: those of text without media, for one answer; else 0.
    #[must_use]
    pub const fn measurable(self, has_one_answer: bool) -> u64 {
        if self.media == 0 && has_one_answer { self.all } else { 0 }
    }
}

impl Ratio {
    /// Takes what an engine has counted for so many bytes of text.
    #[allow(clippy::cast_precision_loss)] // of more than 2^53 bytes
    pub fn measure(&mut self, bytes: u64, tokens: u64) {
        if bytes < MEASURED_BYTES || tokens == 0 {
            return;
        }
        let measured = (bytes as f64 / tokens as f64).clamp(LEAST, MOST);
        self.0 = if measured < self.0 { measured } else { RISE.mul_add(measured - self.0, self.0) };
    }

    /// The tokens of a prompt, rounded up, at least 1.
    #[must_use]
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // as above
    pub fn tokens(self, bytes: PromptBytes) -> u64 {
        let text = bytes.all.saturating_sub(bytes.media) as f64;
        ((text / self.0 + bytes.media as f64 / USUAL).ceil() as u64).max(1)
    }
}
