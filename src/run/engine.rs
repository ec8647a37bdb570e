//! A pack in use, tested before it is trusted; the one before it if it fails.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::{
    detect::{Settings, exemplar::Background},
    graph::op::Execution,
    pack::{Pack, PackError, previous_of},
    pipeline::{
        Pipeline, PipelineError,
        golden::{self, GoldenError},
    },
    prompt::{
        cache::{SentenceCache, default_folder},
        sentence::SentenceEncoder,
        vocabulary::Vocabulary,
        words::{Space, Word, Words, WordsError, words_of},
    },
};

use super::config::PromptsConfig;

/// A pack and everything that was made from it.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) pack: Pack,
    pub(super) pipeline: Pipeline,
    pub(super) vocabulary: Vocabulary,
    pub(super) encoder: SentenceEncoder,
    /// What objects are on the whole, for those.
    pub(super) background: Option<Background>,
    /// Words that were shown since the program started.
    pub(super) enrolled: Vec<Word>,
    /// Why the words beside the pack, which nobody asked for by name, are not used.
    pub(super) without_words: Option<String>,
    /// The files of words, and what tells whether they were written anew.
    words: Vec<(PathBuf, Stamp)>,
}

/// Length and time of a file, if it is there.
type Stamp = Option<(u64, Option<SystemTime>)>;

fn stamp(path: &Path) -> Stamp {
    let file = std::fs::metadata(path).ok()?;
    Some((file.len(), file.modified().ok()))
}

/// Why a pack is not used.
#[derive(Debug)]
#[non_exhaustive]
pub enum EngineError {
    /// It does not open, or a section does not fit.
    Pack(PackError),
    /// Its graphs do not run.
    Pipeline(PipelineError),
    /// Its golden frame does not come to what it must.
    Golden(GoldenError),
    /// Words that the configuration names cannot be used with it.
    Words(PathBuf, WordsError),
}

impl EngineError {
    /// Whether there is no such file.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Pack(e) => matches!(e, PackError::Open { .. }),
            Self::Words(_, e) => e.is_missing(),
            _ => false,
        }
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pack(e) => e.fmt(f),
            Self::Pipeline(e) => e.fmt(f),
            Self::Golden(e) => write!(f, "self-test: {e}"),
            Self::Words(path, e) => write!(f, "words {}: {e}", path.display()),
        }
    }
}

impl std::error::Error for EngineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Pack(e) => Some(e),
            Self::Pipeline(e) => Some(e),
            Self::Golden(e) => Some(e),
            Self::Words(_, e) => Some(e),
        }
    }
}

impl Engine {
    /// Opens a pack with its words and runs its golden frame.
    pub(super) fn open(
        path: &Path,
        execution: Execution,
        settings: Settings,
        config: &PromptsConfig,
    ) -> Result<Self, EngineError> {
        let pack = Pack::open(path).map_err(EngineError::Pack)?;
        let mut engine = Self {
            pipeline: Pipeline::open(&pack, execution, settings).map_err(EngineError::Pipeline)?,
            vocabulary: Vocabulary::open(&pack).map_err(EngineError::Pack)?,
            encoder: SentenceEncoder::open(&pack, execution).map_err(EngineError::Pack)?,
            background: Background::open(&pack).map_err(EngineError::Pack)?,
            enrolled: Vec::new(),
            without_words: None,
            words: Vec::new(),
            pack,
        };
        engine.self_test().map_err(EngineError::Golden)?;
        engine.add_words(path, config)?;
        if let (true, Some(folder)) = (config.cache, default_folder()) {
            let cache = SentenceCache::open(&folder, &engine.pack);
            engine.encoder.remember(cache);
        }
        let manifest = engine.pack.manifest();
        log::info!(
            "pack {} ({} {}), {} on {} thread(s), self-test passed",
            path.display(),
            manifest.name,
            manifest.version,
            execution.isa.level(),
            execution.threads
        );
        Ok(engine)
    }

    /// Opens a pack, or, if that fails, the one that was in use before it; then also why it failed.
    pub(super) fn open_or_previous(
        path: &Path,
        execution: Execution,
        settings: Settings,
        config: &PromptsConfig,
    ) -> Result<(Self, Option<(PathBuf, EngineError)>), EngineError> {
        let failed = match Self::open(path, execution, settings, config) {
            Ok(engine) => return Ok((engine, None)),
            Err(e) => e,
        };
        let previous = previous_of(path);
        match Self::open(&previous, execution, settings, config) {
            Ok(engine) => Ok((engine, Some((previous, failed)))),
            Err(e) => {
                if !e.is_missing() {
                    log::error!("previous pack: {e}");
                }
                Err(failed)
            }
        }
    }

    /// Adds the words that the configuration names, or those beside the pack.
    fn add_words(&mut self, pack: &Path, config: &PromptsConfig) -> Result<(), EngineError> {
        let asked = config.words.clone();
        let files = asked.clone().unwrap_or_else(|| vec![words_of(pack)]);
        // also of a file that is not there: it may come
        self.words = files.iter().map(|f| (f.clone(), stamp(f))).collect();
        let mut space = None;
        for file in files {
            if asked.is_none() && !file.exists() {
                continue;
            }
            let space = match &space {
                Some(space) => space,
                None => {
                    let own = Space::of(&self.pack, &mut self.encoder);
                    let bad = |e: crate::prompt::sentence::SentenceError| PackError::Section {
                        section: "sentence.onnx".into(),
                        reason: e.to_string(),
                    };
                    space.insert(own.map_err(|e| EngineError::Pack(bad(e)))?)
                }
            };
            let added = Words::open(&file)
                .and_then(|words| self.vocabulary.extend(&words, space).map(|()| words));
            match added {
                Ok(words) => log::info!("words {}: {}", file.display(), words.words().len()),
                Err(e) if asked.is_some() => return Err(EngineError::Words(file, e)),
                Err(e) => {
                    self.without_words = Some(EngineError::Words(file, e).to_string());
                }
            }
        }
        Ok(())
    }

    /// Whether a file of words was written, made or removed since.
    pub(super) fn words_changed(&self) -> bool {
        self.words.iter().any(|(path, was)| stamp(path) != *was)
    }

    /// Takes over what was shown to another engine, if its network is the same.
    pub(super) fn adopt(&mut self, before: &Self) {
        if self.pack.manifest().golden != before.pack.manifest().golden {
            for word in &before.enrolled {
                log::warn!("\"{}\" was shown to another network", word.name);
            }
            return;
        }
        for word in &before.enrolled {
            match self.vocabulary.insert(word) {
                Ok(_) => self.enrolled.push(word.clone()),
                Err(e) => log::warn!("{e}"),
            }
        }
    }

    /// Runs the golden frame and compares.
    pub(super) fn self_test(&mut self) -> Result<(), GoldenError> {
        golden::check(&self.pack, &mut self.pipeline)
    }

    /// Name and version.
    pub(super) fn name(&self) -> String {
        let manifest = self.pack.manifest();
        format!("{} {}", manifest.name, manifest.version)
    }
}
