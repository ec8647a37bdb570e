//! What names and texts mean to a pack: its vocabulary, the user's own words, its sentence encoder
//! and what that has encoded before, as one.
//!
//! A copy shares all of it, so that prompts can be made on another thread than that which looks at
//! frames; words that are added to a copy are the copy's.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use super::{
    PromptError, PromptSet, Request, Row,
    cache::SentenceCache,
    limits::SetLimits,
    nested,
    sentence::{SentenceEncoder, SentenceError},
    vocabulary::{Entry, Vocabulary},
    words::{Space, Words, WordsError},
};
use crate::{
    graph::op::Execution,
    pack::{Pack, PackError},
    quant::Quant,
};

/// The vocabulary and the sentence encoder of a pack.
#[derive(Clone, Debug)]
pub struct Lexicon {
    vocabulary: Arc<Vocabulary>,
    encoder: Arc<Mutex<SentenceEncoder>>,
    /// What rows of its words lie in, once somebody has asked: telling it takes three sentences.
    space: OnceLock<Space>,
}

impl Lexicon {
    /// That of a pack, without any words of the user's own.
    ///
    /// `cache` is the folder in which encoded sentences are kept; none: each is encoded anew.
    ///
    /// # Errors
    ///
    /// [`PackError::Section`] if a section is missing or does not fit the others.
    pub fn open(
        pack: &Pack,
        execution: Execution,
        cache: Option<&Path>,
    ) -> Result<Self, PackError> {
        let mut encoder = SentenceEncoder::open(pack, execution)?;
        if let Some(folder) = cache {
            encoder.remember(SentenceCache::open(folder, pack));
        }
        Ok(Self {
            vocabulary: Arc::new(Vocabulary::open(pack)?),
            encoder: Arc::new(Mutex::new(encoder)),
            space: OnceLock::new(),
        })
    }

    /// Makes the encoder anew: a panic may have left a text half done in it. A copy keeps the old
    /// one.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn renew(&mut self, pack: &Pack, execution: Execution) -> Result<(), PackError> {
        let mut encoder = SentenceEncoder::open(pack, execution)?;
        if let Some(cache) = self.encoder().forget_cache() {
            encoder.remember(cache);
        }
        self.encoder = Arc::new(Mutex::new(encoder));
        Ok(())
    }

    /// Names and words.
    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The same, to add words to; copies keep what they have.
    pub fn vocabulary_mut(&mut self) -> &mut Vocabulary {
        Arc::make_mut(&mut self.vocabulary)
    }

    /// The encoder; who else encodes waits meanwhile.
    pub fn encoder(&self) -> MutexGuard<'_, SentenceEncoder> {
        // one that a thread left behind is whole: a text is encoded or not
        self.encoder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The space that words of a pack lie in, which is the one that this is of.
    ///
    /// # Errors
    ///
    /// [`PackError::Section`] if the encoder fails, which a checked pack's does not.
    pub fn space(&self, pack: &Pack) -> Result<Space, PackError> {
        if let Some(space) = self.space.get() {
            return Ok(space.clone());
        }
        let space = Space::of(pack, &mut self.encoder()).map_err(|e| PackError::Section {
            section: "sentence.onnx".into(),
            reason: e.to_string(),
        })?;
        Ok(self.space.get_or_init(|| space).clone())
    }

    /// Adds the words of a file; returns how many there are.
    ///
    /// # Errors
    ///
    /// [`WordsError`] if it is missing, damaged, or of another pack; nothing is added then.
    pub fn add_words(&mut self, pack: &Pack, file: &Path) -> Result<usize, WordsError> {
        let words = Words::open(file)?;
        let space = self.space(pack).map_err(WordsError::File)?;
        self.vocabulary_mut().extend(&words, &space)?;
        log::info!("words {}: {}", file.display(), words.words().len());
        Ok(words.words().len())
    }

    /// What a text means: a word of the user's own here as everywhere, else what is encoded.
    ///
    /// # Errors
    ///
    /// [`SentenceError`] if it cannot be encoded.
    pub fn meaning(&self, text: &str) -> Result<Row, SentenceError> {
        let own = self.vocabulary.own(text);
        own.map_or_else(|| self.encoder().encode(text), Ok)
    }

    /// Names of the vocabulary, as requests.
    pub fn names(&self, which: impl Fn(&Entry) -> bool) -> Vec<Request> {
        let entries = self.vocabulary.entries().iter().filter(|e| which(e));
        entries.map(|e| Request::Name(e.name.clone())).collect()
    }

    /// A prompt set of some requests, none inside another, of no more than the default
    /// [limits](SetLimits) allow.
    ///
    /// `objects` is how the head quantises object embeddings. `threshold` is the least score of a
    /// detection for all prompts; without it each row's own holds. `go_on` is asked before each
    /// request, with its index.
    ///
    /// # Errors
    ///
    /// [`PromptError`] for the first request that cannot be served; [`PromptError::Stopped`] where
    /// `go_on` says no.
    pub fn set(
        &self,
        requests: &[Request],
        objects: Quant,
        threshold: Option<f32>,
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<PromptSet, PromptError> {
        let mut encode = |text: &str| self.encoder().encode(text);
        let requests = (requests, SetLimits::default());
        self.set_by(requests, &mut encode, objects, threshold, go_on)
    }

    /// The same with other limits, and rows of texts from anywhere, such as an earlier set.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub fn set_by(
        &self,
        requests: (&[Request], SetLimits),
        encode: &mut dyn FnMut(&str) -> Result<Row, SentenceError>,
        objects: Quant,
        threshold: Option<f32>,
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<PromptSet, PromptError> {
        PromptSet::new(
            requests,
            &self.vocabulary,
            encode,
            objects,
            threshold,
            go_on,
        )
    }

    /// The same, where a request may be one inside another: `door > handle`.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set), and [`PromptError::Nested`].
    pub fn prompts(
        &self,
        requests: &[Request],
        objects: Quant,
        threshold: Option<f32>,
        go_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<PromptSet, PromptError> {
        let unfolded = nested::unfold(requests)?;
        let mut each = |i: usize| go_on(unfolded.places[i]);
        let counted = |position: usize| unfolded.places[position - 1] + 1;
        let mut set = (self.set(&unfolded.requests, objects, threshold, &mut each))
            .map_err(|e| e.counted(counted))?;
        set.nested = unfolded.nested(set.prompts().iter().map(|p| p.name.as_str()));
        Ok(set)
    }

    /// Keeps on disk what was encoded, if there is a cache and nobody is encoding.
    pub fn save(&self) {
        if let Ok(mut encoder) = self.encoder.try_lock() {
            encoder.save();
        }
    }
}
