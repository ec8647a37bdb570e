//! Where bytes wait until a message is whole: on the heap, or in a place of fixed size.

use alloc::vec::Vec;

/// Room for the bytes of one message.
pub trait Buffer {
    /// What has come.
    fn bytes(&mut self) -> &mut [u8];
    /// Adds bytes; where they do not fit, nothing is added and the answer is `false`.
    fn add(&mut self, more: &[u8]) -> bool;
    /// Forgets what has come.
    fn clear(&mut self);
}

impl Buffer for Vec<u8> {
    fn bytes(&mut self) -> &mut [u8] {
        self
    }

    fn add(&mut self, more: &[u8]) -> bool {
        self.extend_from_slice(more);
        true
    }

    fn clear(&mut self) {
        self.clear();
    }
}

/// Room for `N` bytes, without a heap.
#[derive(Clone, Debug)]
pub struct Fixed<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Fixed<N> {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: [0; N],
            length: 0,
        }
    }
}

impl<const N: usize> Default for Fixed<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Buffer for Fixed<N> {
    fn bytes(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.length).unwrap_or_default()
    }

    fn add(&mut self, more: &[u8]) -> bool {
        let end = self.length + more.len();
        match self.bytes.get_mut(self.length..end) {
            Some(place) => {
                place.copy_from_slice(more);
                self.length = end;
                true
            }
            None => false,
        }
    }

    fn clear(&mut self) {
        self.length = 0;
    }
}
