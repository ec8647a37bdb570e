//! A pack in use, tested before it is trusted; the one before it if it fails.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::{
    detect::Settings,
    error::{Error, ErrorKind},
    graph::op::Execution,
    model::{Model, ModelLimits, ModelOptions},
    pack::{Held, Pack, Stamp as FileStamp, previous_of},
    pipeline::Abilities,
    prompt::{
        cache::default_folder,
        lexicon::Lexicon,
        words::{Word, words_of},
    },
    quant::Quant,
    team::Team,
};

use super::{
    config::{Config, PromptsConfig},
    limits::Limits,
};

/// A model, and what the loop knows of it besides.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) model: Model,
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

/// What a model runs with: the threads are those of every model that the loop opens.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) execution: Execution,
    pub(super) team: Team,
}

impl Run {
    /// Starts the threads.
    pub(super) fn start(execution: Execution) -> io::Result<Self> {
        let team = Team::new(execution.threads)?;
        Ok(Self { execution, team })
    }
}

/// What prompt sets and tasks are made with, beside the loop too.
#[derive(Clone, Debug)]
pub(super) struct Kit {
    pub(super) lexicon: Lexicon,
    pub(super) objects: Quant,
    pub(super) limits: Limits,
    /// The pack's name and version.
    pub(super) name: String,
    /// What the pack has networks for.
    pub(super) able: Abilities,
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
    /// It does not open, is too large, does not run, or its words do not fit.
    Model(Error),
    /// Others may write to its file, and the configuration does not allow that.
    Exposed(PathBuf, String),
}

impl EngineError {
    /// Whether there is no such file.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Model(e) if e.kind() == ErrorKind::Missing)
    }

    /// Whether it is larger than the configuration's limits allow.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::Model(e) if e.kind() == ErrorKind::Limit)
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model(e) => write!(f, "{e:#}"),
            Self::Exposed(path, why) => write!(
                f,
                "pack {}: {why}; mend that (chmod go-w, chown) \
                 or say engine.allow_writable_pack = true",
                path.display()
            ),
        }
    }
}

impl std::error::Error for EngineError {}

impl From<Error> for EngineError {
    fn from(e: Error) -> Self {
        Self::Model(e)
    }
}

impl Engine {
    /// Opens a pack with its words and runs its golden frame.
    pub(super) fn open(
        path: &Path,
        run: &Run,
        settings: Settings,
        config: &Config,
    ) -> Result<Self, EngineError> {
        let Held {
            pack,
            stamp,
            exposed,
        } = Pack::open_copy(path, true).map_err(Error::from)?;
        match exposed {
            Some(why) if !config.engine.allow_writable_pack => {
                return Err(EngineError::Exposed(path.to_owned(), why));
            }
            _ => {}
        }
        let (limits, config) = (&config.limits, &config.prompts);
        let options = ModelOptions::new()
            .isa(run.execution.isa)
            .team(run.team.clone())
            .settings(settings)
            .words(Vec::new())
            .cache(default_folder().filter(|_| config.cache))
            .self_test(true)
            .limits(ModelLimits {
                sections: limits.sections as usize,
                operations: limits.operations as usize,
                mmacs: limits.mmacs.into(),
            });
        let mut engine = Self {
            model: options.open_pack(pack, path)?,
            enrolled: Vec::new(),
            without_words: None,
            file: (path.to_owned(), stamp),
            last_look: None,
            words: Vec::new(),
        };
        engine.add_words(path, config)?;
        Ok(engine)
    }

    /// Opens a pack, or, if that fails, the one that was in use before it; then also why it failed.
    pub(super) fn open_or_previous(
        path: &Path,
        run: &Run,
        settings: Settings,
        config: &Config,
    ) -> Result<(Self, Option<(PathBuf, EngineError)>), EngineError> {
        let failed = match Self::open(path, run, settings, config) {
            Ok(engine) => return Ok((engine, None)),
            Err(e) => e,
        };
        let previous = previous_of(path);
        match Self::open(&previous, run, settings, config) {
            Ok(engine) => Ok((engine, Some((previous, failed)))),
            Err(e) => {
                if !e.is_missing() {
                    log::error!("previous pack: {e}");
                }
                Err(failed)
            }
        }
    }

    /// Adds the words that the configuration names, or those beside the pack: without the latter the loop goes on.
    fn add_words(&mut self, pack: &Path, config: &PromptsConfig) -> Result<(), EngineError> {
        let asked = config.words.clone();
        let files = asked.clone().unwrap_or_else(|| vec![words_of(pack)]);
        // also of a file that is not there: it may come
        self.words = files.iter().map(|f| (f.clone(), stamp(f))).collect();
        for file in files {
            if asked.is_none() && !file.exists() {
                continue;
            }
            match self.model.add_words(&file) {
                Ok(_) => {}
                Err(e) if asked.is_some() => return Err(e.into()),
                Err(e) => self.without_words = Some(format!("{e:#}")),
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
            Some(now)
                if std::fs::read(&path).is_ok_and(|bytes| bytes == self.model.pack().file()) =>
            {
                *was = now;
                self.last_look = None;
                return None;
            }
            Some(now) => FileChange::Bad(format!(
                "{} was written into ({} bytes were read from it, {} are in it now)",
                path.display(),
                self.model.pack().file().len(),
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
        (
            self.model.pack().manifest().golden.clone(),
            self.enrolled.clone(),
        )
    }

    /// Takes over what was shown to another engine, if its network is the same.
    pub(super) fn adopt(&mut self, (golden, enrolled): &(String, Vec<Word>)) {
        if self.model.pack().manifest().golden != *golden {
            for word in enrolled {
                log::warn!("\"{}\" was shown to another network", word.name);
            }
            return;
        }
        for word in enrolled {
            match self.model.lexicon_mut().vocabulary_mut().insert(word) {
                Ok(_) => self.enrolled.push(word.clone()),
                Err(e) => log::warn!("{e}"),
            }
        }
    }

    /// What prompt sets and tasks are made with.
    pub(super) fn kit(&self, limits: &Limits) -> Kit {
        Kit {
            lexicon: self.model.lexicon().clone(),
            objects: self.model.pipeline().objects(),
            limits: limits.clone(),
            name: self.model.name(),
            able: self.model.abilities(),
        }
    }
}
