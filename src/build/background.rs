//! What objects look like to a pack's network on the whole: measured on photos, and added to the pack for exemplars.

use std::path::{Path, PathBuf};

use super::{BuildError, write};
use crate::{
    detect::{Settings, exemplar::Background},
    frame::file::Photo,
    kernels::Isa,
    pack::Pack,
    pipeline::{Pipeline, golden::hex},
    team::Team,
};

/// Looks at photos, and writes a pack that also has the mean and the covariance of the objects in them
/// ([`Background`]); returns its size in bytes. `output` may be the pack itself: it is replaced by rename.
///
/// # Errors
///
/// [`BuildError`] if the pack does not open or the new one cannot be written, which leaves what was there; photos that
/// cannot be read are left out with a line in the log, and none at all is an error.
pub fn add_background(
    pack: &Path,
    photos: &[PathBuf],
    output: &Path,
    mut progress: impl FnMut(usize),
) -> Result<u64, BuildError> {
    let opened = Pack::open(pack).map_err(BuildError::Pack)?;
    let (isa, team) = (Isa::best(), Team::default());
    let pipeline = Pipeline::open(&opened, isa, &team, Settings::default());
    let mut pipeline = pipeline.map_err(BuildError::Pipeline)?;
    let mut sums = Background::sums(opened.manifest().embedding as usize);
    for (i, photo) in photos.iter().enumerate() {
        progress(i);
        let image = match Photo::open(photo) {
            Ok(image) => image,
            Err(e) => {
                log::warn!("{e}");
                continue;
            }
        };
        let look = pipeline
            .look(&image.frame(0))
            .map_err(BuildError::Pipeline)?;
        for object in look.objects() {
            sums.add(&object.embedding);
        }
    }
    let Some(background) = sums.finish() else {
        return Err(BuildError::Content {
            path: pack.to_owned(),
            reason: "no object is in the photos".into(),
        });
    };
    let mut manifest = opened.manifest().clone();
    let old = opened.sections();
    let mut sections: Vec<(&str, Vec<u8>)> = old
        .filter(|(name, _)| *name != "manifest.json" && *name != Background::SECTION)
        .map(|(name, bytes)| (name, bytes.to_vec()))
        .collect();
    let bytes = background.to_bytes();
    manifest
        .sha256
        .insert(Background::SECTION.into(), hex(&bytes));
    sections.push((Background::SECTION, bytes));
    write(output, &manifest, &sections)
}
