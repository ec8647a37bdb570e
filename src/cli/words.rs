//! Words of the user's own on the command line: which files, and boxes that are shown.

use std::path::{Path, PathBuf};

use tarsier::{
    Model,
    detect::exemplar::{self, Showing},
    frame::file::Photo,
    geometry::{BBox, Crop},
    prompt::{
        cache::default_folder,
        words::{WordsError, words_of},
    },
};

use super::{Engine, Failure, code_of, exit, fail};

/// A box in a photo, in its pixels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shown {
    photo: PathBuf,
    bbox: BBox,
}

/// A box in a photo, and what to call what is in it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NamedShown {
    shown: Shown,
    name: String,
}

impl std::str::FromStr for Shown {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (photo, region) = text
            .rsplit_once('@')
            .ok_or("PHOTO@x,y,width,height is expected")?;
        let bbox = bbox(region).ok_or_else(|| {
            format!("{region:?} is no box: x,y,width,height in pixels are expected, such as 12,40,200,150")
        })?;
        Ok(Self {
            photo: photo.into(),
            bbox,
        })
    }
}

impl std::str::FromStr for NamedShown {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // names and paths may have any of these characters: the box is where it makes sense
        for (at, _) in text.match_indices('@').rev() {
            let Some((region, name)) = text[at + 1..].split_once('=') else {
                continue;
            };
            if let Some(bbox) = bbox(region) {
                return Ok(Self {
                    shown: Shown {
                        photo: text[..at].into(),
                        bbox,
                    },
                    name: name.trim().to_owned(),
                });
            }
        }
        Err("PHOTO@x,y,width,height=NAME is expected, such as desk.jpg@12,40,200,150=my-mug".into())
    }
}

fn bbox(text: &str) -> Option<BBox> {
    let numbers: Option<Vec<f32>> = text.split(',').map(|n| n.trim().parse().ok()).collect();
    match *numbers? {
        [x, y, width, height] if [x, y, width, height].iter().all(|v| v.is_finite()) => {
            let whole = x >= 0.0 && y >= 0.0 && width > 0.0 && height > 0.0;
            whole.then(|| BBox::new(x, y, x + width, y + height))
        }
        _ => None,
    }
}

/// What the boxes show, in the network's terms.
pub(crate) fn look<'a>(
    model: &mut Model,
    boxes: impl IntoIterator<Item = &'a Shown>,
) -> Result<Vec<Showing>, Failure> {
    let showing = |shown: &Shown| {
        let Shown { photo, bbox } = shown;
        let image = Photo::open(photo).map_err(|e| fail(code_of(&e), e))?;
        let inside = bbox.clip(Crop::of(image.size()));
        if inside.is_empty() {
            let message = format!(
                "{}: the box at {},{} lies outside the photo of {}",
                photo.display(),
                bbox.x0,
                bbox.y0,
                image.size()
            );
            return Err(fail(exit::USAGE, message));
        }
        let objects = model.look(&image)?.objects();
        exemplar::show(&objects, inside)
            .map_err(|e| fail(exit::DATA, format!("{}: {e}", photo.display())))
    };
    boxes.into_iter().map(showing).collect()
}

/// A file of words, and how it failed.
pub(crate) fn failure(path: &Path, e: &WordsError) -> Failure {
    let code = match e {
        e if e.is_missing() => exit::NO_INPUT,
        WordsError::File(tarsier::pack::PackError::Open { .. }) => exit::NO_INPUT,
        WordsError::Write(e) if e.kind() == std::io::ErrorKind::StorageFull => exit::IO,
        WordsError::Write(_) => exit::CANNOT_CREATE,
        _ => exit::DATA,
    };
    fail(code, format!("words {}: {e}", path.display()))
}

impl Engine {
    /// The files of words to use, those that must be there and the one that may be.
    pub(super) fn words_files(&self) -> Vec<PathBuf> {
        if self.no_words {
            return Vec::new();
        }
        if !self.words.is_empty() {
            return self.words.clone();
        }
        let beside = words_of(&self.path());
        if beside.exists() {
            vec![beside]
        } else {
            Vec::new()
        }
    }

    /// Where encoded sentences are kept, if anywhere.
    pub(super) fn cache(&self) -> Option<PathBuf> {
        if self.no_cache {
            None
        } else {
            default_folder()
        }
    }
}

/// Makes names of what is shown, for this run.
pub(crate) fn show(model: &mut Model, exemplars: &[NamedShown]) -> Result<(), Failure> {
    for (i, NamedShown { name, .. }) in exemplars.iter().enumerate() {
        if exemplars[..i].iter().any(|before| before.name == *name) {
            continue;
        }
        let boxes = exemplars.iter().filter(|e| e.name == *name);
        let showings = look(model, boxes.map(|e| &e.shown))?;
        // whoever shows something means that, whatever else is called so
        let word = model.word(name, &showings);
        let inserted = model.lexicon_mut().vocabulary_mut().insert(&word);
        inserted.map_err(|e| fail(exit::USAGE, format!("--exemplar {name}: {e}")))?;
    }
    Ok(())
}

impl NamedShown {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_is_found_whatever_characters_the_path_and_the_name_have() {
        let named: NamedShown = "a@b=c/x.jpg@1,2,30,40.5=my=mug@home"
            .parse()
            .expect("a box");
        assert_eq!(named.name, "my=mug@home");
        assert_eq!(named.shown.photo, PathBuf::from("a@b=c/x.jpg"));
        assert_eq!(named.shown.bbox, BBox::new(1.0, 2.0, 31.0, 42.5));
        for wrong in [
            "x.jpg",
            "x.jpg@1,2,3=mug",
            "x.jpg@1,2,3,4",
            "x.jpg@1,2,0,4=mug",
            "x.jpg@-1,2,3,4=mug",
            "x.jpg@1,2,3,nan=mug",
        ] {
            assert!(wrong.parse::<NamedShown>().is_err(), "{wrong}");
        }
    }
}
