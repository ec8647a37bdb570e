//! What lies in a folder, all of it: photos to look at, and what is none, with the reason.
//!
//! ```text
//! entry ─▶ hidden? ─▶ photo, by its first bytes or its name ─▶ photos
//!              │                  └─ dead link, FIFO, foreign format, folder … ─▶ others, each with why
//!              └─▶ hidden (`._photo.jpg` is a Mac's note about a photo)
//! ```
//!
//! Every entry is in exactly one of the three lists, so that whoever looks at the photos can say
//! what was not looked at.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{
    FrameError,
    file::{format_of, missing},
    sniff,
};
use crate::input::special;

/// How a folder is gone through.
#[derive(Clone, Debug, Default)]
pub struct Walk {
    /// Folders in it too, and those in them.
    pub recursive: bool,
    /// Folders that are none of it, as [`Path::canonicalize`] has them: where copies of the photos
    /// go.
    pub own: Vec<PathBuf>,
}

/// What a path leads to.
#[derive(Debug, Default)]
pub struct Listing {
    /// Photos in the order of their paths, byte by byte; a damaged one is found out when it is
    /// opened.
    pub photos: Vec<PathBuf>,
    /// What is no photo or cannot be read, and why.
    pub others: Vec<FrameError>,
    /// Entries whose names start with a dot.
    pub hidden: Vec<PathBuf>,
}

impl Walk {
    /// The photo that a path is (`-` is one on standard input), or all entries of a folder. A folder
    /// is not descended into unless asked for; links are followed, but into no folder twice.
    ///
    /// # Errors
    ///
    /// [`FrameError::Read`] if the path cannot be read, [`FrameError::Url`] and
    /// [`FrameError::Pattern`] if it is one and no file, [`FrameError::Special`] if it is neither
    /// file nor folder.
    pub fn list(&self, path: &Path) -> Result<Listing, FrameError> {
        let mut listing = Listing::default();
        if path == Path::new("-") {
            listing.photos.push(path.to_owned());
            return Ok(listing);
        }
        let about = path
            .metadata()
            .map_err(|e| missing(path, &e).unwrap_or_else(|| unreadable(path, e)))?;
        if about.is_dir() {
            let mut visited = HashSet::new();
            visited.extend(path.canonicalize());
            self.descend(path, &mut visited, &mut listing)?;
        } else if let Some(kind) = special(about.file_type()) {
            return Err(no_photo(path, kind));
        } else {
            listing.photos.push(path.to_owned());
        }
        Ok(listing)
    }

    fn descend(
        &self,
        folder: &Path,
        visited: &mut HashSet<PathBuf>,
        listing: &mut Listing,
    ) -> Result<(), FrameError> {
        let failed = |e| unreadable(folder, e);
        let entries: io::Result<Vec<PathBuf>> = folder
            .read_dir()
            .map_err(failed)?
            .map(|entry| Ok(entry?.path()))
            .collect();
        let mut entries = entries.map_err(failed)?;
        entries.sort();
        for entry in entries {
            let name = entry.file_name().unwrap_or_default();
            if name.as_encoded_bytes().starts_with(b".") {
                listing.hidden.push(entry);
                continue;
            }
            let other = match entry.metadata() {
                Err(e) => Some(unreadable(&entry, e)),
                Ok(about) if about.is_dir() => {
                    let other = self.folder(&entry, visited, listing);
                    listing.others.extend(other);
                    continue;
                }
                Ok(about) => match special(about.file_type()) {
                    Some(kind) => Some(no_photo(&entry, kind)),
                    None => other(&entry),
                },
            };
            match other {
                Some(why) => listing.others.push(why),
                None => listing.photos.push(entry),
            }
        }
        Ok(())
    }

    /// Goes through a folder in a folder; what it is instead, if that is not wanted.
    fn folder(
        &self,
        folder: &Path,
        visited: &mut HashSet<PathBuf>,
        listing: &mut Listing,
    ) -> Option<FrameError> {
        let real = match folder.canonicalize() {
            Ok(real) => real,
            Err(e) => return Some(unreadable(folder, e)),
        };
        if self.own.contains(&real) {
            return None;
        }
        if !self.recursive {
            return Some(FrameError::Folder {
                path: folder.to_owned(),
            });
        }
        if !visited.insert(real) {
            log::info!("{} was gone through already", folder.display());
            return None;
        }
        self.descend(folder, visited, listing).err()
    }
}

/// The images that a path means: the file itself, or the images of a folder.
///
/// A folder is not descended into. Its images come in the order of their names,
/// byte by byte. A file counts as an image if its first bytes say so, or if its
/// name ends as those of images do, also of formats that are not read: a photo that
/// is damaged, of another format or behind a dead link is to be an error when it is
/// opened, not to be passed over in silence. Names that start with a dot are
/// passed over (`._photo.jpg` is a Mac's note about a photo).
///
/// # Errors
///
/// [`FrameError::Read`] if the path or the folder cannot be read;
/// [`FrameError::Url`] and [`FrameError::Pattern`] if it is one and no file;
/// [`FrameError::NoImages`] if a folder has none.
pub fn images(path: &Path) -> Result<Vec<PathBuf>, FrameError> {
    let listing = Walk::default().list(path)?;
    if listing.photos.is_empty() {
        return Err(FrameError::NoImages {
            path: path.to_owned(),
        });
    }
    Ok(listing.photos)
}

/// Endings of names that people give to photos, whether they are read or not.
const ENDINGS: [&str; 21] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff", "pnm", "ppm", "pgm",
    "pbm", "qoi", "avif", "heic", "heif", "jxl", "jp2", "dng",
];

fn is_named_image(path: &Path) -> bool {
    path.extension()
        .and_then(OsStr::to_str)
        .is_some_and(|end| ENDINGS.iter().any(|known| end.eq_ignore_ascii_case(known)))
}

/// Why a regular file is not taken for a photo; none: it is.
fn other(file: &Path) -> Option<FrameError> {
    // by its name too: a damaged photo is to be an error when it is opened
    if is_named_image(file) {
        return None;
    }
    let mut start = Vec::with_capacity(512);
    let read = File::open(file).and_then(|opened| opened.take(512).read_to_end(&mut start));
    match read {
        Err(e) => Some(unreadable(file, e)),
        Ok(_) if format_of(&start).is_some() => None,
        Ok(0) => Some(FrameError::Empty {
            path: file.to_owned(),
        }),
        Ok(_) => Some(FrameError::NotAnImage {
            path: file.to_owned(),
            looks_like: sniff::looks_like(&start),
        }),
    }
}

fn no_photo(path: &Path, kind: &'static str) -> FrameError {
    FrameError::Special {
        path: path.to_owned(),
        kind,
    }
}

/// A path that the system does not give; of a dead link, where it leads.
fn unreadable(path: &Path, error: io::Error) -> FrameError {
    let source = match path.read_link() {
        Ok(to) if error.kind() == io::ErrorKind::NotFound => {
            let words = format!("a link to {}, which is not there", to.display());
            io::Error::new(io::ErrorKind::NotFound, words)
        }
        _ => error,
    };
    FrameError::Read {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn every_entry_is_in_one_list_and_links_in_a_circle_end() {
        let root = std::env::temp_dir().join(format!("tarsier-{}-walk", std::process::id()));
        let below = root.join("below");
        fs::create_dir_all(&below).expect("a folder");
        let png = b"\x89PNG\r\n\x1a\n0123456789";
        for (name, bytes) in [
            ("b.jpg", b"words".as_slice()),
            ("a", png),
            ("notes.txt", b"words"),
            ("empty.txt", b""),
            (".hidden.jpg", png),
            ("below/c.png", png),
        ] {
            fs::write(root.join(name), bytes).expect("a file");
        }
        symlink(root.join("gone.jpg"), root.join("dead.jpg")).expect("a link");
        symlink(&root, below.join("up")).expect("a link");
        let flat = Walk::default().list(&root).expect("a folder");
        assert_eq!(flat.photos, [root.join("a"), root.join("b.jpg")]);
        assert_eq!(flat.hidden, [root.join(".hidden.jpg")]);
        let others: Vec<String> = flat.others.iter().map(ToString::to_string).collect();
        for (found, words) in others.iter().zip([
            "below is a folder",
            "dead.jpg: a link to",
            "empty.txt is empty",
            "notes.txt is a text",
        ]) {
            assert!(found.contains(words), "{words}: {others:?}");
        }
        assert_eq!(others.len(), 4, "{others:?}");
        let walk = Walk {
            recursive: true,
            ..Walk::default()
        };
        let deep = walk.list(&root).expect("a folder");
        assert_eq!(deep.photos.len(), 3, "{:?}", deep.photos);
        assert_eq!(deep.photos[2], below.join("c.png"));
        assert_eq!(deep.others.len(), 3, "{:?}", deep.others);
        let own = vec![below.canonicalize().expect("a folder")];
        let walk = Walk { own, ..walk };
        assert_eq!(walk.list(&root).expect("a folder").photos.len(), 2);
        fs::remove_dir_all(&root).expect("ours");
    }

    /// A folder of this test's own.
    fn folder(test: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("tarsier-{}-{test}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary folder");
        path
    }

    #[test]
    fn a_folder_lists_its_images_by_name_and_not_its_folders() {
        let folder = folder("list");
        for name in ["b.jpg", "a.JPEG", "no-ending", ".hidden.jpg"] {
            fs::write(folder.join(name), b"\xFF\xD8\xFF\xE0\x00\x10JFIF").expect("a file");
        }
        fs::write(folder.join("damaged.png"), b"").expect("a file");
        fs::write(folder.join("notes.txt"), b"milk").expect("a file");
        fs::create_dir(folder.join("more.jpg")).expect("a folder");
        let names: Vec<_> = images(&folder)
            .expect("images")
            .iter()
            .map(|path| path.file_name().expect("a name").to_owned())
            .collect();
        assert_eq!(names, ["a.JPEG", "b.jpg", "damaged.png", "no-ending"]);
        fs::remove_dir_all(&folder).expect("ours");
    }

    #[test]
    fn a_folder_without_images_is_an_error_and_a_file_means_itself() {
        let folder = folder("none");
        let notes = folder.join("notes.txt");
        fs::write(&notes, b"milk").expect("a file");
        let error = images(&folder).expect_err("no images");
        assert!(matches!(error, FrameError::NoImages { .. }), "{error}");
        assert_eq!(images(&notes).expect("the file"), [notes]);
        assert!(matches!(
            images(&folder.join("missing")),
            Err(FrameError::Read { .. })
        ));
        fs::remove_dir_all(&folder).expect("ours");
    }
}
