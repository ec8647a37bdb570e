//! A pack in use, tested before it is trusted; the one before it if it fails.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use crate::{
    detect::{Settings, exemplar::Background},
    graph::op::Execution,
    pack::{Held, Pack, PackError, Stamp as FileStamp, previous_of},
    pipeline::{
        Pipeline, PipelineError,
        golden::{self, GoldenError},
    },
    prompt::{
        Row,
        cache::{SentenceCache, default_folder},
        sentence::{SentenceEncoder, SentenceError},
        vocabulary::Vocabulary,
        words::{Space, Word, Words, WordsError, words_of},
    },
    quant::Quant,
};

use super::{
    config::{Config, PromptsConfig},
    limits::Limits,
};

/// A pack and everything that was made from it.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) pack: Pack,
    pub(super) pipeline: Pipeline,
    pub(super) vocabulary: Arc<Vocabulary>,
    /// Whoever prepares a prompt set has it; the loop itself asks it for nothing once it has started.
    pub(super) encoder: Arc<Mutex<SentenceEncoder>>,
    /// What objects are on the whole, for those.
    pub(super) background: Option<Background>,
    /// Words that were shown since the program started.
    pub(super) enrolled: Vec<Word>,
    /// Why the words beside the pack, which nobody asked for by name, are not used.
    pub(super) without_words: Option<String>,
    /// The file that the pack was read from, as it was then.
    file: (PathBuf, FileStamp),
    /// How it was found last, if it is not as it was, and what that came to.
    last_look: Option<(Option<FileStamp>, Option<FileChange>)>,
    /// The files of words, and what tells whether they were written anew.
    words: Vec<(PathBuf, Stamp)>,
}

/// What prompt sets and tasks are made with, beside the loop too.
#[derive(Clone, Debug)]
pub(super) struct Kit {
    pub(super) vocabulary: Arc<Vocabulary>,
    pub(super) encoder: Arc<Mutex<SentenceEncoder>>,
    pub(super) objects: Quant,
    pub(super) limits: Limits,
    /// The pack's name and version.
    pub(super) name: String,
    /// Whether the pack has the networks for masks, for stuff, for sentences that mean one object.
    pub(super) segments: bool,
    pub(super) covers: bool,
    pub(super) grounds: bool,
    /// And for whether something is in the picture at all.
    pub(super) senses: bool,
}

impl Kit {
    /// The row of a text.
    pub(super) fn encode(&self, text: &str) -> Result<Row, SentenceError> {
        lock(&self.encoder).encode(text)
    }
}

/// An encoder that a thread left behind is whole: a text is encoded or not.
pub(super) fn lock(encoder: &Mutex<SentenceEncoder>) -> MutexGuard<'_, SentenceEncoder> {
    encoder.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Length and time of a file, if it is there.
type Stamp = Option<(u64, Option<SystemTime>)>;

fn stamp(path: &Path) -> Stamp {
    let file = std::fs::metadata(path).ok()?;
    Some((file.len(), file.modified().ok()))
}

/// What became of a pack's file while it is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FileChange {
    /// Another file has its name: somebody installed a pack.
    Replaced,
    /// It is gone or has another content.
    Bad(String),
}

/// Why a pack is not used.
#[derive(Debug)]
#[non_exhaustive]
pub enum EngineError {
    /// It does not open, or a section does not fit.
    Pack(PackError),
    /// Others may write to its file, and the configuration does not allow that.
    Exposed(PathBuf, String),
    /// Its graphs do not run.
    Pipeline(PipelineError),
    /// Its golden frame does not come to what it must.
    Golden(GoldenError),
    /// It is larger than the configuration's limits allow.
    Limit(String),
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
            Self::Exposed(path, why) => write!(
                f,
                "pack {}: {why}; mend that (chmod go-w, chown) \
                 or say engine.allow_writable_pack = true",
                path.display()
            ),
            Self::Pipeline(e) => e.fmt(f),
            Self::Golden(e) => write!(f, "self-test: {e}"),
            Self::Limit(why) => f.write_str(why),
            Self::Words(path, e) => write!(f, "words {}: {e}", path.display()),
        }
    }
}

impl std::error::Error for EngineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Exposed(..) => None,
            Self::Pack(e) => Some(e),
            Self::Pipeline(e) => Some(e),
            Self::Golden(e) => Some(e),
            Self::Limit(_) => None,
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
        config: &Config,
    ) -> Result<Self, EngineError> {
        let Held {
            pack,
            stamp,
            exposed,
        } = Pack::open_copy(path, true).map_err(EngineError::Pack)?;
        match exposed {
            Some(why) if !config.engine.allow_writable_pack => {
                return Err(EngineError::Exposed(path.to_owned(), why));
            }
            _ => {}
        }
        let (limits, config) = (&config.limits, &config.prompts);
        let (sections, most) = (pack.sections().count(), limits.sections);
        if sections > most as usize {
            let why = format!("the pack has {sections} sections; up to {most} are taken");
            return Err(EngineError::Limit(why));
        }
        let mut engine = Self {
            pipeline: Pipeline::open(&pack, execution, settings).map_err(EngineError::Pipeline)?,
            vocabulary: Arc::new(Vocabulary::open(&pack).map_err(EngineError::Pack)?),
            encoder: Arc::new(Mutex::new(
                SentenceEncoder::open(&pack, execution).map_err(EngineError::Pack)?,
            )),
            background: Background::open(&pack).map_err(EngineError::Pack)?,
            enrolled: Vec::new(),
            without_words: None,
            file: (path.to_owned(), stamp),
            last_look: None,
            words: Vec::new(),
            pack,
        };
        for graph in engine.pipeline.graphs() {
            let program = graph.program();
            let (operations, mmacs) = (program.operations.len(), program.macs());
            for (what, found, most) in [
                ("operations", operations as u64, limits.operations),
                (
                    "million multiply-accumulates",
                    mmacs.div_ceil(1_000_000),
                    limits.mmacs,
                ),
            ] {
                if found > most.into() {
                    let why = format!("a network has {found} {what}; up to {most} are taken");
                    return Err(EngineError::Limit(why));
                }
            }
        }
        engine.self_test().map_err(EngineError::Golden)?;
        engine.add_words(path, config)?;
        if let (true, Some(folder)) = (config.cache, default_folder()) {
            let cache = SentenceCache::open(&folder, &engine.pack);
            lock(&engine.encoder).remember(cache);
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
        config: &Config,
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

    /// Makes the graphs anew from the pack that is open, and tests them: a panic may have left a
    /// frame half done in them.
    pub(super) fn again(
        &mut self,
        execution: Execution,
        settings: Settings,
    ) -> Result<(), EngineError> {
        let pipeline = Pipeline::open(&self.pack, execution, settings);
        self.pipeline = pipeline.map_err(EngineError::Pipeline)?;
        let mut encoder =
            SentenceEncoder::open(&self.pack, execution).map_err(EngineError::Pack)?;
        if let Some(cache) = lock(&self.encoder).forget_cache() {
            encoder.remember(cache);
        }
        // one that a preparation has in hand goes with it
        self.encoder = Arc::new(Mutex::new(encoder));
        self.self_test().map_err(EngineError::Golden)
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
                    let own = Space::of(&self.pack, &mut lock(&self.encoder));
                    let bad = |e: crate::prompt::sentence::SentenceError| PackError::Section {
                        section: "sentence.onnx".into(),
                        reason: e.to_string(),
                    };
                    space.insert(own.map_err(|e| EngineError::Pack(bad(e)))?)
                }
            };
            let vocabulary = Arc::make_mut(&mut self.vocabulary);
            let added = Words::open(&file)
                .and_then(|words| vocabulary.extend(&words, space).map(|()| words));
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

    /// What became of the file that the pack was read from, if it is not as it was. That another
    /// file has its name is as it should be, and [`FileChange::Replaced`].
    pub(super) fn file_change(&mut self) -> Option<FileChange> {
        let (path, was) = &mut self.file;
        let now = FileStamp::at(path).ok();
        if now == Some(*was) {
            self.last_look = None;
            return None;
        }
        // who is still writing is let finish, and a file is read once for every change of it
        let last = self.last_look.replace((now, None));
        match last {
            Some((then, verdict)) if then == now => {
                if let Some(verdict) = verdict {
                    self.last_look = Some((now, Some(verdict.clone())));
                    return Some(verdict);
                }
            }
            _ => return last.and_then(|(_, verdict)| verdict),
        }
        let verdict = match now {
            None => FileChange::Bad(format!("{} is gone", path.display())),
            Some(now) if !now.same_file(was) => FileChange::Replaced,
            // a touched file and one with another name beside are no others
            Some(now) if std::fs::read(&path).is_ok_and(|bytes| bytes == self.pack.file()) => {
                *was = now;
                self.last_look = None;
                return None;
            }
            Some(now) => FileChange::Bad(format!(
                "{} was written into ({} bytes were read from it, {} are in it now)",
                path.display(),
                self.pack.file().len(),
                now.bytes()
            )),
        };
        self.last_look = Some((now, Some(verdict.clone())));
        Some(verdict)
    }

    /// Whether a file of words was written, made or removed since.
    pub(super) fn words_changed(&self) -> bool {
        self.words.iter().any(|(path, was)| stamp(path) != *was)
    }

    /// What was shown, and the network that it was shown to.
    pub(super) fn keepsake(&self) -> (String, Vec<Word>) {
        (self.pack.manifest().golden.clone(), self.enrolled.clone())
    }

    /// Takes over what was shown to another engine, if its network is the same.
    pub(super) fn adopt(&mut self, (golden, enrolled): &(String, Vec<Word>)) {
        if self.pack.manifest().golden != *golden {
            for word in enrolled {
                log::warn!("\"{}\" was shown to another network", word.name);
            }
            return;
        }
        for word in enrolled {
            match Arc::make_mut(&mut self.vocabulary).insert(word) {
                Ok(_) => self.enrolled.push(word.clone()),
                Err(e) => log::warn!("{e}"),
            }
        }
    }

    /// What prompt sets and tasks are made with.
    pub(super) fn kit(&self, limits: &Limits) -> Kit {
        Kit {
            vocabulary: Arc::clone(&self.vocabulary),
            encoder: Arc::clone(&self.encoder),
            objects: self.pipeline.objects(),
            limits: limits.clone(),
            name: self.name(),
            segments: self.pipeline.segments(),
            covers: self.pipeline.covers(),
            grounds: self.pipeline.grounds(),
            senses: self.pipeline.senses(),
        }
    }

    /// Writes what the encoder's cache has learnt, unless somebody is encoding.
    pub(super) fn save(&self) {
        if let Ok(mut encoder) = self.encoder.try_lock() {
            encoder.save();
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
