//! A pack in use, tested before it is trusted; the one before it if it fails.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::{
    detect::Settings,
    graph::op::Execution,
    pack::{Pack, PackError, previous_of},
    pipeline::{
        Pipeline, PipelineError,
        golden::{self, GoldenError},
    },
    prompt::{sentence::SentenceEncoder, vocabulary::Vocabulary},
};

/// A pack and everything that was made from it.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) pack: Pack,
    pub(super) pipeline: Pipeline,
    pub(super) vocabulary: Vocabulary,
    pub(super) encoder: SentenceEncoder,
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
}

impl EngineError {
    /// Whether there is no such file.
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Pack(PackError::Open { .. }))
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pack(e) => e.fmt(f),
            Self::Pipeline(e) => e.fmt(f),
            Self::Golden(e) => write!(f, "self-test: {e}"),
        }
    }
}

impl std::error::Error for EngineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Pack(e) => Some(e),
            Self::Pipeline(e) => Some(e),
            Self::Golden(e) => Some(e),
        }
    }
}

impl Engine {
    /// Opens a pack and runs its golden frame.
    pub(super) fn open(
        path: &Path,
        execution: Execution,
        settings: Settings,
    ) -> Result<Self, EngineError> {
        let pack = Pack::open(path).map_err(EngineError::Pack)?;
        let mut engine = Self {
            pipeline: Pipeline::open(&pack, execution, settings).map_err(EngineError::Pipeline)?,
            vocabulary: Vocabulary::open(&pack).map_err(EngineError::Pack)?,
            encoder: SentenceEncoder::open(&pack, execution).map_err(EngineError::Pack)?,
            pack,
        };
        engine.self_test().map_err(EngineError::Golden)?;
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
    ) -> Result<(Self, Option<(PathBuf, EngineError)>), EngineError> {
        let failed = match Self::open(path, execution, settings) {
            Ok(engine) => return Ok((engine, None)),
            Err(e) => e,
        };
        let previous = previous_of(path);
        match Self::open(&previous, execution, settings) {
            Ok(engine) => Ok((engine, Some((previous, failed)))),
            Err(e) => {
                if !e.is_missing() {
                    log::error!("previous pack: {e}");
                }
                Err(failed)
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
