//! Sentence prompts: text to a row, on the device, through the same int8 engine as pictures.
//!
//! ```text
//! text -> subword ids -> rows of a mapped i8 table -> convolutions over the words -> mean over the words -> unit length -> i8
//! ```
//!
//! The encoder is a picture of one row: 32 pixels, one per token. The mean is taken here because it runs over the real tokens
//! only. Sums are integers and the few float operations are in a fixed order, so every CPU makes the same row.

use std::fmt;

use tract_onnx::prelude::{IntoTValue, IntoTensor, Tensor, tvec};

use super::{Row, UnitRow, cache::SentenceCache, limits::MAX_TEXT};
use crate::{
    graph::op::{Execution, Graph, GraphError},
    kernels::layout::LANE,
    pack::{Pack, PackError, map::Bytes},
    text::{MAX_TOKENS, PADDING, TextError, Tokenizer},
};

/// Why a sentence could not be encoded.
#[derive(Debug)]
#[non_exhaustive]
pub enum SentenceError {
    /// It has no word.
    Text(TextError),
    /// It has words, but none that the model knows.
    Unknown,
    /// It has so many bytes, more than [`MAX_TEXT`].
    Long(usize),
    /// The encoder failed.
    Graph(GraphError),
}

impl fmt::Display for SentenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(e) => e.fmt(f),
            Self::Unknown => f.write_str("the model knows none of its words"),
            Self::Long(bytes) => write!(f, "has {bytes} bytes; up to {MAX_TEXT} are taken"),
            Self::Graph(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for SentenceError {}

/// The sentence encoder of a pack.
#[derive(Debug)]
pub struct SentenceEncoder {
    tokenizer: Tokenizer<String>,
    tokens: Bytes,
    width: usize,
    graph: Graph,
    scale: f32,
    bias: f32,
    threshold: f32,
    cache: Option<SentenceCache>,
}

/// How the encoder reads a text: what [`SentenceEncoder::spell`] says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spelling {
    /// The pieces, in order; `##` stands before what continues a word, `[UNK]` for what has no piece.
    pub pieces: Vec<String>,
    /// How many of them are `[UNK]`: they say nothing to the model.
    pub unknown: usize,
    /// The text is longer than the encoder reads; the rest is not among the pieces.
    pub truncated: bool,
}

impl Spelling {
    /// Words that are written in three pieces or more: no word that the encoder was taught much about, so its vector is a guess.
    pub fn odd(&self) -> impl Iterator<Item = &[String]> {
        let words = self.pieces.chunk_by(|_, next| next.starts_with("##"));
        words.filter(|pieces| pieces.len() > 2)
    }
}

impl SentenceEncoder {
    /// Reads the encoder of a pack.
    ///
    /// # Errors
    ///
    /// [`PackError::Section`] if a section is missing or does not fit the others.
    pub fn open(pack: &Pack, execution: Execution) -> Result<Self, PackError> {
        let wrong = |section: &str, reason: String| PackError::Section {
            section: section.to_owned(),
            reason,
        };
        let onnx = pack.section("sentence.onnx")?;
        let graph = Graph::load("sentence", &onnx, |name| pack.find(name), execution)
            .map_err(|e| wrong("sentence.onnx", e.to_string()))?;
        let (inputs, outputs) = (&graph.program().inputs, &graph.program().outputs);
        let manifest = pack.manifest();
        let width = manifest.text.unwrap_or(manifest.embedding);
        let fits = match (inputs.as_slice(), outputs.as_slice()) {
            ([x], [y]) => {
                let tokens = (1, MAX_TOKENS as u32);
                (x.view.height, x.view.width) == tokens
                    && (y.view.height, y.view.width) == tokens
                    && !x.view.image
                    && y.view.channels == width
            }
            _ => false,
        };
        if !fits {
            let reason = format!("does not take {MAX_TOKENS} tokens to as many vectors of {width}");
            return Err(wrong("sentence.onnx", reason));
        }
        let width = inputs[0].view.channels as usize;
        let tokenizer = Tokenizer::from_lines(pack.text("tokenizer.txt")?)
            .map_err(|e| wrong("tokenizer.txt", e.to_string()))?;
        let tokens = pack.section("tokens.rows")?;
        if tokens.len() != tokenizer.tokens() * width {
            let reason = format!(
                "{} bytes for {} tokens of {width}",
                tokens.len(),
                tokenizer.tokens()
            );
            return Err(wrong("tokens.rows", reason));
        }
        Ok(Self {
            tokenizer,
            tokens,
            width,
            graph,
            scale: manifest.alignment_scale,
            bias: manifest.alignment_bias,
            threshold: manifest.threshold,
            cache: None,
        })
    }

    /// Looks texts up in a cache from now on, and keeps there what it encodes.
    pub fn remember(&mut self, cache: SentenceCache) {
        self.cache = Some(cache);
    }

    /// Takes the cache away, for another encoder of the same pack.
    pub fn forget_cache(&mut self) -> Option<SentenceCache> {
        self.cache.take()
    }

    /// Writes what the cache has learnt, if there is one.
    ///
    /// That it cannot be written is said in the log, and is no error: nothing but time is lost.
    pub fn save(&mut self) {
        if let Some(cache) = &mut self.cache {
            cache.save();
        }
    }

    /// How a text is read, without encoding it.
    ///
    /// # Errors
    ///
    /// [`SentenceError::Text`] if it has no word.
    pub fn spell(&self, text: &str) -> Result<Spelling, SentenceError> {
        let mut ids = heapless::Vec::new();
        let encoded = self
            .tokenizer
            .encode(text, &mut ids)
            .map_err(SentenceError::Text)?;
        let piece = |&id| self.tokenizer.token(id).unwrap_or_default().to_owned();
        Ok(Spelling {
            pieces: ids.iter().map(piece).collect(),
            unknown: encoded.unknown,
            truncated: encoded.truncated,
        })
    }

    /// Encodes one text.
    ///
    /// A text longer than 32 tokens is cut there, with a warning.
    ///
    /// # Errors
    ///
    /// [`SentenceError`] if it has no word, none that the model knows, more than [`MAX_TEXT`] bytes, or the graph fails.
    pub fn encode(&mut self, text: &str) -> Result<Row, SentenceError> {
        let UnitRow { values, factor } = self.unit(text)?;
        Ok(Row {
            values,
            scale: factor * self.scale,
            bias: self.bias,
            threshold: self.threshold,
        })
    }

    /// The vector of one text, without the alignment's factor and shift: what is kept of a text.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    pub fn unit(&mut self, text: &str) -> Result<UnitRow, SentenceError> {
        if text.len() > MAX_TEXT {
            return Err(SentenceError::Long(text.len()));
        }
        if let Some(known) = self.cache.as_mut().and_then(|cache| cache.find(text)) {
            return Ok(known);
        }
        let row = self.encoded(text)?;
        if let Some(cache) = &mut self.cache {
            cache.insert(text, &row);
        }
        Ok(row)
    }

    pub(super) fn encoded(&mut self, text: &str) -> Result<UnitRow, SentenceError> {
        let mut ids = heapless::Vec::new();
        let encoded = self
            .tokenizer
            .encode(text, &mut ids)
            .map_err(SentenceError::Text)?;
        if encoded.unknown == ids.len() {
            return Err(SentenceError::Unknown);
        }
        if encoded.truncated {
            log::warn!("sentence \"{text}\" is cut after {MAX_TOKENS} tokens");
        }
        let input = self.planes(&ids);
        let outputs = self
            .graph
            .run(tvec!(input.into_tvalue()))
            .map_err(SentenceError::Graph)?;
        let port = &self.graph.program().outputs[0];
        let (planes, zero) = (port.view.planes(), i32::from(port.view.zero_point));
        let mut sums = vec![0i32; port.view.channels as usize];
        let blocks = outputs[0].as_bytes().chunks_exact(planes.bytes());
        for (plane, sums) in blocks.zip(sums.chunks_mut(LANE)) {
            let words = plane[planes.origin()..].chunks_exact(LANE);
            for word in words.take(ids.len()) {
                for (sum, &q) in sums.iter_mut().zip(word) {
                    *sum += i32::from(q) - zero;
                }
            }
        }
        Ok(unit(&sums))
    }

    /// The tokens' rows in planes, as the encoder's input.
    fn planes(&self, ids: &[u16]) -> Tensor {
        let view = &self.graph.program().inputs[0].view;
        let planes = view.planes();
        let mut bytes = vec![view.zero_point; view.bytes()];
        for place in 0..MAX_TOKENS {
            let id = usize::from(ids.get(place).copied().unwrap_or(PADDING));
            let row = &self.tokens[id * self.width..(id + 1) * self.width];
            for (block, part) in row.chunks(LANE).enumerate() {
                let at = block * planes.bytes() + planes.origin() + place * LANE;
                for (to, q) in bytes[at..].iter_mut().zip(part) {
                    *to = q ^ 0x80;
                }
            }
        }
        let array = tract_onnx::prelude::tract_ndarray::ArrayD::from_shape_vec(
            view.tensor_shape().to_vec(),
            bytes,
        );
        array.map_or_else(
            |_| unreachable!("made to the view's size"),
            IntoTensor::into_tensor,
        )
    }
}

/// Unit length, as i8 with a factor of its own.
fn unit(sums: &[i32]) -> UnitRow {
    let length = sums
        .iter()
        .map(|&s| s as f32 * s as f32)
        .sum::<f32>()
        .sqrt()
        .max(1.0);
    let largest = sums
        .iter()
        .map(|s| s.unsigned_abs())
        .max()
        .unwrap_or(0)
        .max(1) as f32;
    let step = largest / 127.0;
    UnitRow {
        values: sums
            .iter()
            .map(|&s| (s as f32 / step).round_ties_even() as i8)
            .collect(),
        factor: step / length,
    }
}
