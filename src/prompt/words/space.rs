//! What the rows of words mean: digests of what a pack does, by which packs are told apart.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{SentenceEncoder, SentenceError};
use crate::pack::{Pack, hex};

/// What the sentences' space is recognised by.
const PROBES: [&str; 3] = [
    "person",
    "a red cup on the table",
    "the dog, left of the door",
];

/// What rows mean: digests by which spaces are told apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Space {
    /// Numbers of a row.
    pub embedding: u32,
    /// Of the encoder's vectors for some sentences, hexadecimal.
    pub sentences: String,
    /// Of the network's outputs for the golden frame, hexadecimal.
    pub objects: String,
}

impl Space {
    /// That of a pack.
    ///
    /// # Errors
    ///
    /// [`SentenceError`] if the encoder fails, which a checked pack's does not.
    pub fn of(pack: &Pack, encoder: &mut SentenceEncoder) -> Result<Self, SentenceError> {
        let mut digest = Sha256::new();
        for text in PROBES {
            // not by the cache: this is what says whether one may be believed
            let unit = encoder.encoded(text)?;
            digest.update(bytemuck::cast_slice::<i8, u8>(&unit.values));
            digest.update(unit.factor.to_le_bytes());
        }
        let manifest = pack.manifest();
        Ok(Self {
            embedding: manifest.embedding,
            sentences: hex(&digest.finalize()),
            objects: manifest.golden.clone(),
        })
    }
}
