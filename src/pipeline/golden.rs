//! The self-test: what a pack's own frame must come to, on this machine, with these kernels.

use std::{fmt, path::Path};

use sha2::{Digest, Sha256};

use super::Pipeline;
use crate::{
    error::Error,
    frame::{FrameError, file::Photo},
    pack::{Pack, PackError},
};

/// Why the golden frame could not be run, or did not come to what it must.
#[derive(Debug)]
#[non_exhaustive]
pub enum GoldenError {
    /// The pack has no golden frame.
    Pack(PackError),
    /// It is no picture.
    Frame(FrameError),
    /// It could not be run.
    Pipeline(Error),
    /// It came to something else.
    Differs {
        /// The digest in the manifest.
        stated: String,
        /// The digest here.
        found: String,
    },
}

impl fmt::Display for GoldenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pack(e) => e.fmt(f),
            Self::Frame(e) => e.fmt(f),
            Self::Pipeline(e) => write!(f, "{e:#}"),
            Self::Differs { stated, found } => write!(
                f,
                "the golden frame gives {found}, the manifest says {stated}"
            ),
        }
    }
}

impl std::error::Error for GoldenError {}

/// SHA-256, hexadecimal, of the head's outputs on the pack's golden frame.
///
/// # Errors
///
/// [`GoldenError`] if there is no such frame or it cannot be run.
pub fn digest(pack: &Pack, pipeline: &mut Pipeline) -> Result<String, GoldenError> {
    let png = pack.section("golden.png").map_err(GoldenError::Pack)?;
    let image = Photo::decode(Path::new("golden.png"), &png).map_err(GoldenError::Frame)?;
    let look = pipeline
        .look(&image.frame(0))
        .map_err(GoldenError::Pipeline)?;
    let outputs = look.raw_outputs();
    // it is nobody's frame
    pipeline.forget();
    Ok(hex(&outputs.concat()))
}

/// Runs the golden frame and compares with the manifest.
///
/// # Errors
///
/// [`GoldenError::Differs`] with both digests, or why it could not be run.
pub fn check(pack: &Pack, pipeline: &mut Pipeline) -> Result<(), GoldenError> {
    let (stated, found) = (pack.manifest().golden.clone(), digest(pack, pipeline)?);
    if stated == found {
        return Ok(());
    }
    Err(GoldenError::Differs { stated, found })
}

/// SHA-256 of some bytes, hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}
