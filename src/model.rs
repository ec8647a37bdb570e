//! A model: a pack and everything that is made of it, put together in one place.
//!
//! ```text
//! file ─▶ Pack ─┬─▶ Pipeline (networks, buffers, threads) ──▶ look(frame)
//!               ├─▶ Lexicon (names, own words, sentence encoder, cache) ──▶ prompts(texts)
//!               └─▶ Background (what objects are on the whole) ──▶ show(boxes)
//! ```

use std::path::{Path, PathBuf};

use crate::{
    detect::{
        Settings,
        exemplar::{self, Background, Showing},
    },
    error::{Error, ErrorKind},
    frame::Frame,
    graph::op::Execution,
    kernels::Isa,
    pack::Pack,
    pipeline::{Abilities, Look, Pipeline, golden},
    prompt::{
        PromptSet, Request, Row,
        lexicon::Lexicon,
        words::{Origin, Word, words_of},
    },
    team::Team,
};

/// How a model is opened.
///
/// ```no_run
/// # fn main() -> Result<(), tarsier::Error> {
/// let model = tarsier::ModelOptions::new().threads(2).self_test(true).open("models/tarsier-s.tarsier")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ModelOptions {
    isa: Isa,
    threads: usize,
    settings: Settings,
    words: Option<Vec<PathBuf>>,
    cache: Option<PathBuf>,
    self_test: bool,
    limits: ModelLimits,
    /// Threads that are there already.
    team: Option<Team>,
}

/// The largest model that is opened; without limits any that this machine holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelLimits {
    /// Sections of the file.
    pub sections: usize,
    /// Operations of one network.
    pub operations: usize,
    /// Millions of multiply-accumulates of one network.
    pub mmacs: u64,
}

impl Default for ModelLimits {
    fn default() -> Self {
        Self {
            sections: usize::MAX,
            operations: usize::MAX,
            mmacs: u64::MAX,
        }
    }
}

impl Default for ModelOptions {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            isa: Isa::best(),
            threads: cores.min(4),
            settings: Settings::default(),
            words: None,
            cache: None,
            self_test: false,
            limits: ModelLimits::default(),
            team: None,
        }
    }
}

impl ModelOptions {
    /// The best instruction set, a thread for each core up to four, the words beside the model's
    /// file if there are any, no cache, no self-test.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The instruction set of the kernels; results do not depend on it.
    #[must_use]
    pub const fn isa(mut self, isa: Isa) -> Self {
        self.isa = isa;
        self
    }

    /// How many threads look at a frame, the calling one among them; results do not depend on it.
    #[must_use]
    pub const fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// How boxes are chosen.
    #[must_use]
    pub const fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// The files of the user's own words; none at all with an empty list. Otherwise those of the
    /// file beside the model that is called like it, with `.words` at the end, if it is there.
    #[must_use]
    pub fn words(mut self, files: Vec<PathBuf>) -> Self {
        self.words = Some(files);
        self
    }

    /// The folder in which encoded sentences are kept from run to run, if any:
    /// [`default_folder`](crate::prompt::cache::default_folder) is that of the command line.
    #[must_use]
    pub fn cache(mut self, folder: Option<PathBuf>) -> Self {
        self.cache = folder;
        self
    }

    /// Whether the model's own frame is run first, and compared with what it must come to.
    #[must_use]
    pub const fn self_test(mut self, wanted: bool) -> Self {
        self.self_test = wanted;
        self
    }

    /// The largest model that is opened.
    #[must_use]
    pub const fn limits(mut self, limits: ModelLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Threads that other models use too; who of several looks at a frame at the same time as
    /// another has one thread.
    #[must_use]
    pub(crate) fn team(mut self, team: Team) -> Self {
        self.team = Some(team);
        self
    }

    /// Opens the model in a file.
    ///
    /// # Errors
    ///
    /// An [`Error`] of any kind but [`Prompt`](ErrorKind::Prompt) and [`Photo`](ErrorKind::Photo).
    pub fn open(self, path: impl AsRef<Path>) -> Result<Model, Error> {
        let path = path.as_ref();
        self.open_pack(Pack::open(path)?, path)
    }

    /// The same of a pack that is open; `path` is what errors call it.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_pack(self, pack: Pack, path: &Path) -> Result<Model, Error> {
        let Self { isa, settings, .. } = self;
        let of = |e: Error| e.of(format_args!("pack {}", path.display()));
        self.limits.sections(&pack).map_err(of)?;
        let team = match self.team {
            Some(team) => team,
            None => Team::new(self.threads).map_err(|e| {
                let what = format!("cannot start {} threads", self.threads);
                Error::new(ErrorKind::Threads, e).of(what)
            })?,
        };
        let threads = team.threads();
        let execution = Execution { isa, threads };
        let pipeline = Pipeline::open(&pack, isa, &team, settings).map_err(of)?;
        self.limits.graphs(&pipeline).map_err(of)?;
        let lexicon = Lexicon::open(&pack, execution, self.cache.as_deref());
        let mut model = Model {
            pipeline,
            lexicon: lexicon.map_err(|e| of(e.into()))?,
            background: Background::open(&pack).map_err(|e| of(e.into()))?,
            pack,
            team,
            isa,
        };
        if self.self_test {
            model.self_test()?;
        }
        let beside = || Some(words_of(path)).filter(|p| p.exists());
        let files = self.words.unwrap_or_else(|| beside().into_iter().collect());
        for file in files {
            model.add_words(&file)?;
        }
        log::info!(
            "pack {} ({}), {} on {threads} thread(s){}",
            path.display(),
            model.name(),
            isa.level(),
            if self.self_test {
                ", self-test passed"
            } else {
                ""
            }
        );
        Ok(model)
    }
}

impl ModelLimits {
    fn sections(&self, pack: &Pack) -> Result<(), Error> {
        let (sections, most) = (pack.sections().count(), self.sections);
        if sections > most {
            let why = format!("the pack has {sections} sections; up to {most} are taken");
            return Err(Error::new(ErrorKind::Limit, why));
        }
        Ok(())
    }

    fn graphs(&self, pipeline: &Pipeline) -> Result<(), Error> {
        for graph in pipeline.graphs() {
            let program = graph.program();
            let operations = program.operations.len() as u64;
            let mmacs = program.macs().div_ceil(1_000_000);
            for (what, found, most) in [
                ("operations", operations, self.operations as u64),
                ("million multiply-accumulates", mmacs, self.mmacs),
            ] {
                if found > most {
                    let why = format!("a network has {found} {what}; up to {most} are taken");
                    return Err(Error::new(ErrorKind::Limit, why));
                }
            }
        }
        Ok(())
    }
}

/// A pack, and everything that is made of it.
#[derive(Debug)]
pub struct Model {
    pack: Pack,
    pipeline: Pipeline,
    lexicon: Lexicon,
    /// What objects are on the whole, for those that are shown.
    background: Option<Background>,
    team: Team,
    isa: Isa,
}

impl Model {
    /// Opens the model in a file, as [`ModelOptions::new`] has it.
    ///
    /// # Errors
    ///
    /// As [`ModelOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        ModelOptions::new().open(path)
    }

    /// Makes prompts of names and sentences: of names of the vocabulary, of words of the user's own,
    /// and of any text, which is encoded. `door > handle` is a handle on a door:
    /// [`Findings::inside`](crate::pipeline::Findings::inside).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Prompt`] for the first that cannot be used.
    pub fn prompts<R: Into<Request>>(
        &self,
        requests: impl IntoIterator<Item = R>,
    ) -> Result<PromptSet, Error> {
        let _sitting = self.team.sit();
        let requests: Vec<Request> = requests.into_iter().map(Into::into).collect();
        let objects = self.pipeline.objects();
        let made = (self.lexicon).prompts(&requests, objects, None, &mut |_| true);
        self.lexicon.save();
        Ok(made?)
    }

    /// Sees a frame: everything that is asked of the look comes from this one run of the network.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] if a graph fails, which a checked pack's does not.
    pub fn look<'m>(&'m mut self, frame: impl Into<Frame<'m>>) -> Result<Look<'m>, Error> {
        self.pipeline.look(&frame.into())
    }

    /// What a sentence means, for [`Look::ground`]; a word of the user's own means here what it
    /// means everywhere.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Prompt`] if it cannot be encoded.
    pub fn sentence(&self, text: &str) -> Result<Row, Error> {
        let meaning = self.lexicon.meaning(text);
        meaning
            .map_err(|e| Error::new(ErrorKind::Prompt, e).of(format_args!("sentence \"{text}\"")))
    }

    /// Adds the words of a file; returns how many there are.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Words`] or [`ErrorKind::Missing`]; nothing is added then.
    pub fn add_words(&mut self, file: &Path) -> Result<usize, Error> {
        let added = self.lexicon.add_words(&self.pack, file);
        added.map_err(|e| Error::from(e).of(format_args!("words {}", file.display())))
    }

    /// A word for what boxes show: what else is called so is hidden by it.
    ///
    /// # Panics
    ///
    /// If no box is shown.
    #[must_use]
    pub fn word(&self, name: &str, showings: &[Showing]) -> Word {
        let row = exemplar::row(
            showings,
            self.background.as_ref(),
            self.lexicon.vocabulary(),
        );
        let origin = Origin::Exemplars(showings.len() as u32);
        let mut word = Word::new(name, origin, Some(row));
        word.replaces = true;
        word
    }

    /// Runs the model's own frame and compares with what it must come to.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::SelfTest`] with both digests, or why it could not be run.
    pub fn self_test(&mut self) -> Result<(), Error> {
        golden::check(&self.pack, &mut self.pipeline)
            .map_err(|e| Error::new(ErrorKind::SelfTest, e).of("self-test"))
    }

    /// Makes networks and encoder anew, as after a panic, which may have left a frame half done in
    /// them, and tests them.
    ///
    /// # Errors
    ///
    /// As [`self_test`](Self::self_test).
    pub(crate) fn renew(&mut self, settings: Settings) -> Result<(), Error> {
        self.pipeline = Pipeline::open(&self.pack, self.isa, &self.team, settings)?;
        self.lexicon.renew(&self.pack, self.execution())?;
        self.self_test()
    }

    /// Name and version.
    #[must_use]
    pub fn name(&self) -> String {
        let manifest = self.pack.manifest();
        format!("{} {}", manifest.name, manifest.version)
    }

    /// What it has networks for, beside detection.
    #[must_use]
    pub const fn abilities(&self) -> Abilities {
        self.pipeline.abilities()
    }

    /// How it runs.
    #[must_use]
    pub fn execution(&self) -> Execution {
        Execution {
            isa: self.isa,
            threads: self.team.threads(),
        }
    }

    /// The file.
    #[must_use]
    pub const fn pack(&self) -> &Pack {
        &self.pack
    }

    /// The networks.
    #[must_use]
    pub const fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// The same, for who keeps order among looks otherwise.
    pub(crate) const fn pipeline_mut(&mut self) -> &mut Pipeline {
        &mut self.pipeline
    }

    /// Names, words and sentences.
    #[must_use]
    pub const fn lexicon(&self) -> &Lexicon {
        &self.lexicon
    }

    /// The same, to add words.
    pub const fn lexicon_mut(&mut self) -> &mut Lexicon {
        &mut self.lexicon
    }
}
