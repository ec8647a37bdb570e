//! The weights section while it is being written.

use std::collections::HashMap;

use crate::graph::plan::ALIGN;

/// A weights section being written; equal constants are stored once.
#[derive(Debug, Default)]
pub struct WeightsWriter {
    bytes: Vec<u8>,
    known: HashMap<Vec<u8>, u32>,
}

impl WeightsWriter {
    /// The section so far.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds a part, unless one like it is there, and says where it starts.
    pub(crate) fn put(&mut self, part: &[u8]) -> u32 {
        if let Some(&at) = self.known.get(part) {
            return at;
        }
        self.bytes
            .resize(self.bytes.len().next_multiple_of(ALIGN as usize), 0);
        let at = self.bytes.len() as u32;
        self.bytes.extend_from_slice(part);
        self.known.insert(part.to_vec(), at);
        at
    }
}
