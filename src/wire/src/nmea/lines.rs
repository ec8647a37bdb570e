//! Sentences, found in bytes as they come.

use alloc::vec::Vec;

use super::{MAX_COMMAND, read_request};
use crate::{
    buffer::{Buffer, Fixed},
    command::Request,
    reply::Reply,
};

/// Finds lines in bytes: one is over at a line feed, and begins at its last `$`. They wait in `B`: on
/// the heap [`MAX_COMMAND`] bytes at most, or in a [`Fixed`] place; a longer one is passed over.
#[derive(Debug, Default)]
pub struct Lines<B = Vec<u8>> {
    line: B,
    length: usize,
    overflown: bool,
}

impl Lines {
    /// A reader that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            line: Vec::new(),
            length: 0,
            overflown: false,
        }
    }
}

impl<const N: usize> Lines<Fixed<N>> {
    /// A reader that has seen nothing and allocates nothing.
    #[must_use]
    pub const fn fixed() -> Self {
        Self {
            line: Fixed::new(),
            length: 0,
            overflown: false,
        }
    }
}

#[cfg(test)]
impl Lines {
    /// Bytes that it holds.
    pub(super) fn kept(&self) -> usize {
        self.line.len()
    }
}

impl<B: Buffer> Lines<B> {
    /// Takes some bytes and hands over each line that they complete, without its line feed; nothing
    /// where one was too long, or cut short by the next.
    pub fn push(&mut self, bytes: &[u8], mut take: impl FnMut(Option<&[u8]>)) {
        for &byte in bytes {
            match byte {
                b'\n' if self.overflown => take(None),
                b'\n' if self.length > 0 => take(Some(self.line.bytes())),
                b'\n' => {}
                // the line before it was cut short
                b'$' if self.length > 0 => take(None),
                _ => {
                    self.append(byte);
                    continue;
                }
            }
            self.clear();
            if byte == b'$' {
                self.append(byte);
            }
        }
    }

    fn append(&mut self, byte: u8) {
        if self.length < MAX_COMMAND && self.line.add(&[byte]) {
            self.length += 1;
        } else {
            self.overflown = true;
        }
    }

    /// Forgets what has come of a line, as after a line was lost.
    pub fn clear(&mut self) {
        self.line.clear();
        self.length = 0;
        self.overflown = false;
    }
}

/// Finds commands in bytes.
#[derive(Debug, Default)]
pub struct SentenceReader {
    pub(super) lines: Lines,
}

impl SentenceReader {
    /// A reader that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        let lines = Lines::new();
        Self { lines }
    }

    /// Takes some bytes and hands over each command that they complete; the error is the reply to one that makes no sense, or
    /// none where not even the checksum is right: who knows who sent that.
    pub fn push(&mut self, bytes: &[u8], mut take: impl FnMut(Result<Request, Option<Reply>>)) {
        self.lines.push(bytes, |line| match line {
            Some(line) => take(read_request(line)),
            None => take(Err(None)),
        });
    }

    /// Forgets what has come of a line, as after a line was lost.
    pub fn clear(&mut self) {
        self.lines.clear();
    }
}
