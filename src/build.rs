//! Builds a pack on the host from what the recipe exported.
//!
//! | in the folder | content |
//! |---|---|
//! | `manifest.json` | the manifest; digests and `built_by` are filled in here |
//! | `backbone_qdq.onnx`, `head_qdq.onnx`, `sentence_qdq.onnx` | standard QDQ graphs |
//! | `masks_qdq.onnx`, `presence_qdq.onnx`, `stuff_qdq.onnx` | where the manifest speaks of them: from the features |
//! | `ground_qdq.onnx` | where the manifest speaks of grounding: objects beside a sentence to a logit each |
//! | `vocabulary.tsv` | a line per name: name, `thing` or `stuff`, synonyms separated by `\|` |
//! | `vocabulary.f32` | f32 little-endian `[names, D]`, unit length |
//! | `parameters.f32` | if there: f32 `[names, 3]`, a name's own factor and shift of its logits and least score, where the manifest's are not meant |
//! | `names.f32` | of a closed vocabulary: f32 `[names, T]`, the names in the space of sentences |
//! | `tokenizer.txt` | a subword per line |
//! | `tokens.f32` | f32 little-endian `[subwords, E]` |
//! | `golden.png` | the self-test's frame |
//!
//! What the folder lacks comes from another pack, if one is given: a stage that was trained again, other thresholds
//! or another vocabulary need none of the rest.

use std::{
    fmt, fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use prost::Message;
use tract_onnx::pb::ModelProto;

use crate::{
    detect::Settings,
    error::Error,
    files::{self, Replacement, keep_as},
    frame::FrameError,
    graph::{
        lower::{WeightsWriter, lower},
        op::model_with,
        program::{Program, ProgramError},
        qdq::LowerError,
    },
    kernels::isa::{Isa, Level},
    pack::{Pack, PackError, container, manifest::Manifest, previous_of},
    pipeline::{
        Pipeline,
        golden::{self, GoldenError, hex},
    },
    prompt::PARAMETERS,
    team::Team,
};

pub mod background;
mod base;

use base::Base;

/// Why a pack could not be built or did not pass its checks.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// A file could not be read or written.
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The pack could not be written.
    Output {
        /// The pack.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file's content is wrong.
    Content {
        /// The file.
        path: PathBuf,
        /// How.
        reason: String,
    },
    /// A graph cannot be lowered.
    Lower {
        /// The file.
        path: PathBuf,
        /// Why.
        source: LowerError,
    },
    /// A program could not be encoded.
    Program(ProgramError),
    /// The golden frame cannot be read.
    Golden(FrameError),
    /// The built pack does not open.
    Pack(PackError),
    /// The built pack does not run.
    Pipeline(Error),
    /// A digest differs from the manifest's.
    Digest {
        /// The section, or `golden` for the result of the golden frame.
        section: String,
        /// What the manifest says.
        stated: String,
        /// What was found.
        found: String,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, source } | Self::Output { path, source } => {
                write!(f, "{}: {source}", path.display())
            }
            Self::Content { path, reason } => write!(f, "{}: {reason}", path.display()),
            Self::Lower { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Program(e) => e.fmt(f),
            Self::Golden(e) => e.fmt(f),
            Self::Pack(e) => e.fmt(f),
            Self::Pipeline(e) => write!(f, "{e:#}"),
            Self::Digest {
                section,
                stated,
                found,
            } => write!(
                f,
                "{section} has SHA-256 {found}, the manifest says {stated}"
            ),
        }
    }
}

impl std::error::Error for BuildError {}

/// Lowers and packs a folder of exported files into `output`, which is replaced by rename; returns its size in bytes. What
/// the folder lacks is taken from `base`, another pack.
///
/// # Errors
///
/// [`BuildError`] naming the file and what is wrong with it. `output` is untouched then.
pub fn build(folder: &Path, base: Option<&Pack>, output: &Path) -> Result<u64, BuildError> {
    let base = base.map(|pack| Base { pack });
    let read = |name: &str| {
        let path = folder.join(name);
        match fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let other = base.as_ref().and_then(|base| base.file(name));
                other.ok_or(BuildError::File { path, source: e })
            }
            read => read.map_err(|source| BuildError::File { path, source }),
        }
    };
    let content = |name: &str, reason: String| BuildError::Content {
        path: folder.join(name),
        reason,
    };
    let mut manifest =
        Manifest::from_json(&read("manifest.json")?).map_err(|e| content("manifest.json", e))?;
    manifest.built_by = format!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));

    let mut sections: Vec<(&str, Vec<u8>)> = Vec::new();
    let mut weights = WeightsWriter::default();
    let mut sentence = None;
    for (name, section) in [
        ("backbone", "backbone.onnx"),
        ("head", "head.onnx"),
        ("masks", "masks.onnx"),
        ("presence", "presence.onnx"),
        ("stuff", "stuff.onnx"),
        ("ground", "ground.onnx"),
        ("sentence", "sentence.onnx"),
    ] {
        let asked = match name {
            "masks" => manifest.masks.is_some(),
            "presence" => manifest.presence.is_some(),
            "stuff" => manifest.stuff.is_some(),
            "ground" => manifest.ground.is_some(),
            _ => true,
        };
        if !asked {
            continue;
        }
        let file = format!("{name}_qdq.onnx");
        let others = base.as_ref().filter(|_| !folder.join(&file).exists());
        let program = match others {
            Some(base) => base.program(name, &mut weights)?,
            None => {
                let model = ModelProto::decode(&read(&file)?[..])
                    .map_err(|e| content(&file, e.to_string()))?;
                let graph = model
                    .graph
                    .ok_or_else(|| content(&file, "has no graph".into()))?;
                lower(&graph, &mut weights).map_err(|source| BuildError::Lower {
                    path: folder.join(&file),
                    source,
                })?
            }
        };
        sections.push((
            section,
            model_with(&program, name, "weights.bin").map_err(BuildError::Program)?,
        ));
        sentence = Some(program);
    }
    sections.push(("weights.bin", weights.bytes().to_vec()));

    let table = read("vocabulary.tsv")?;
    let names = table
        .split(|&b| b == b'\n')
        .filter(|l| !l.is_empty())
        .count();
    let vectors = floats(&read("vocabulary.f32")?);
    let dimension = manifest.embedding as usize;
    if dimension == 0 {
        return Err(content("manifest.json", "embedding is 0".into()));
    }
    if vectors.len() != names * dimension {
        return Err(content(
            "vocabulary.f32",
            format!("{} floats for {names} names of {dimension}", vectors.len()),
        ));
    }
    // the base's are of the base's names
    let all_names = folder.join("vocabulary.tsv").exists();
    let own = if folder.join("parameters.f32").exists() || (base.is_some() && !all_names) {
        floats(&read("parameters.f32")?)
    } else {
        let common = [
            manifest.alignment_scale,
            manifest.alignment_bias,
            manifest.threshold,
        ];
        common.repeat(names)
    };
    if own.len() != names * PARAMETERS || !own.iter().all(|v| v.is_finite()) {
        let reason = format!("not {names} times {PARAMETERS} finite floats");
        return Err(content("parameters.f32", reason));
    }
    let (rows, parameters) = vocabulary(&vectors, dimension, &own);
    sections.push(("vocabulary.tsv", table));
    sections.push(("vocabulary.rows", rows));
    sections.push(("vocabulary.parameters", parameters));
    if let Some(width) = manifest.text {
        let vectors = floats(&read("names.f32")?);
        if vectors.len() != names * width as usize {
            let reason = format!("{} floats for {names} names of {width}", vectors.len());
            return Err(content("names.f32", reason));
        }
        let rows = vectors
            .chunks_exact(width.max(1) as usize)
            .flat_map(|v| i8_row(v).0);
        sections.push(("vocabulary.text", rows.collect()));
    }

    sections.push(("tokenizer.txt", read("tokenizer.txt")?));
    let tokens = floats(&read("tokens.f32")?);
    sections.push(("tokens.rows", token_rows(&tokens, sentence.as_ref())));
    sections.push(("golden.png", read("golden.png")?));
    let same_objects =
        ["backbone_qdq.onnx", "head_qdq.onnx"].map(|file| !folder.join(file).exists());
    if let (Some(base), [true, true]) = (&base, same_objects) {
        sections.extend(base.background());
    }

    manifest.sha256 = sections
        .iter()
        .map(|(n, bytes)| ((*n).to_owned(), hex(bytes)))
        .collect();
    // the golden digest needs a pack that runs: it is written once without, run, and written again
    let temporary = written(output, &manifest, &sections, |first| {
        golden_of(&Pack::open(first).map_err(BuildError::Pack)?)
    });
    manifest.golden = temporary?;
    write(output, &manifest, &sections)
}

/// Compares every section with the manifest and runs the golden frame.
///
/// # Errors
///
/// [`BuildError::Digest`] for the first difference, or why the frame could not be run.
pub fn verify(pack: &Pack, isa: Isa) -> Result<(), BuildError> {
    let stated = &pack.manifest().sha256;
    let digest = |section: &str, stated: &str, found: String| {
        if stated == found {
            return Ok(());
        }
        Err(BuildError::Digest {
            section: section.to_owned(),
            stated: stated.to_owned(),
            found,
        })
    };
    for (name, bytes) in pack.sections().filter(|(name, _)| *name != "manifest.json") {
        digest(
            name,
            stated.get(name).map_or("nothing", String::as_str),
            hex(bytes),
        )?;
    }
    digest("golden", &pack.manifest().golden, golden_with(pack, isa)?)
}

/// Checks a pack and puts it where one is used, by renaming: who has the old one mapped keeps it, and nobody ever sees half a
/// file. The old one is kept beside it ([`previous_of`]), to be used if the new one fails its self-test.
///
/// The pack is read once, and what was read is what is checked and written: nothing that happens to
/// `from` meanwhile gets in. A symbolic link is not followed.
///
/// # Errors
///
/// As [`verify`], and if a file cannot be written; then the old one is still in place.
pub fn install(from: &Path, to: &Path, isa: Isa) -> Result<(), BuildError> {
    let held = Pack::open_copy(from, false).map_err(BuildError::Pack)?;
    verify(&held.pack, isa)?;
    let failed = |source| BuildError::Output {
        path: to.to_owned(),
        source,
    };
    let mut new = Replacement::begin(to).map_err(failed)?;
    new.file().write_all(held.pack.file()).map_err(failed)?;
    // `run` refuses a pack that others may write to
    let mode = new.file().metadata().map_err(failed)?.permissions().mode();
    let mode = fs::Permissions::from_mode(mode & 0o755);
    new.file().set_permissions(mode).map_err(failed)?;
    if to.exists() {
        keep_as(to, &previous_of(to)).map_err(failed)?;
    }
    new.commit().map_err(failed)
}

/// The digest of the head's outputs on the golden frame, by the specification's kernels.
fn golden_of(pack: &Pack) -> Result<String, BuildError> {
    let scalar = Isa::available().find(|isa| isa.level() == Level::Scalar);
    golden_with(pack, scalar.unwrap_or_else(Isa::best))
}

fn golden_with(pack: &Pack, isa: Isa) -> Result<String, BuildError> {
    let pipeline = Pipeline::open(pack, isa, &Team::default(), Settings::default());
    let mut pipeline = pipeline.map_err(BuildError::Pipeline)?;
    golden::digest(pack, &mut pipeline).map_err(|e| match e {
        GoldenError::Pack(e) => BuildError::Pack(e),
        GoldenError::Frame(e) => BuildError::Golden(e),
        GoldenError::Pipeline(e) => BuildError::Pipeline(e),
        GoldenError::Differs { stated, found } => BuildError::Digest {
            section: "golden".into(),
            stated,
            found,
        },
    })
}

fn write(
    path: &Path,
    manifest: &Manifest,
    sections: &[(&str, Vec<u8>)],
) -> Result<u64, BuildError> {
    let bytes = bytes_of(path, manifest, sections)?;
    files::replace(path, &bytes).map_err(|source| BuildError::Output {
        path: path.to_owned(),
        source,
    })?;
    Ok(bytes.len() as u64)
}

/// What `look` says of a pack that is written beside `path` for it, and is gone afterwards.
fn written<T>(
    path: &Path,
    manifest: &Manifest,
    sections: &[(&str, Vec<u8>)],
    look: impl FnOnce(&Path) -> Result<T, BuildError>,
) -> Result<T, BuildError> {
    let bytes = bytes_of(path, manifest, sections)?;
    let file = |source| BuildError::Output {
        path: path.to_owned(),
        source,
    };
    let mut beside = Replacement::begin(path).map_err(file)?;
    beside.file().write_all(&bytes).map_err(file)?;
    look(beside.path())
}

fn bytes_of(
    path: &Path,
    manifest: &Manifest,
    sections: &[(&str, Vec<u8>)],
) -> Result<Vec<u8>, BuildError> {
    let json = manifest.to_json().map_err(|reason| BuildError::Content {
        path: path.to_owned(),
        reason,
    })?;
    let all = std::iter::once(("manifest.json", json.as_bytes()))
        .chain(sections.iter().map(|(n, b)| (*n, &b[..])));
    container::bytes_of(all).map_err(|source| BuildError::Output {
        path: path.to_owned(),
        source,
    })
}

/// Unit vectors to i8 rows; a row's factor, shift and threshold as little-endian floats, its step folded into the factor.
fn vocabulary(vectors: &[f32], dimension: usize, own: &[f32]) -> (Vec<u8>, Vec<u8>) {
    let (mut rows, mut parameters) = (Vec::new(), Vec::new());
    for (vector, own) in vectors
        .chunks_exact(dimension)
        .zip(own.chunks_exact(PARAMETERS))
    {
        let (row, step) = i8_row(vector);
        rows.extend(row);
        for value in [step * own[0], own[1], own[2]] {
            parameters.extend(value.to_le_bytes());
        }
    }
    (rows, parameters)
}

/// A vector as i8, and the step between two of them.
fn i8_row(vector: &[f32]) -> (Vec<u8>, f32) {
    let largest = vector.iter().fold(f32::MIN_POSITIVE, |m, v| m.max(v.abs()));
    let step = largest / 127.0;
    let byte = |v: &f32| ((v / step).round_ties_even() as i8).cast_unsigned();
    (vector.iter().map(byte).collect(), step)
}

/// Token vectors in the quantisation of the sentence encoder's input.
fn token_rows(tokens: &[f32], sentence: Option<&Program>) -> Vec<u8> {
    let Some(port) = sentence.and_then(|p| p.inputs.first()) else {
        return Vec::new();
    };
    let quantise = |v: &f32| {
        let q = (v / port.scale).round_ties_even() + f32::from(port.view.zero_point) - 128.0;
        (q as i8).cast_unsigned()
    };
    tokens.iter().map(quantise).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_times_its_factor_is_the_vector_times_the_names_own() {
        let vectors = [0.6, -0.8, 1.0, 0.0];
        let own = [2.0, -1.0, 0.4, 3.0, -2.0, 0.7];
        let (rows, parameters) = vocabulary(&vectors, 2, &own);
        let parameters = floats(&parameters);
        for (i, (vector, row)) in vectors.chunks(2).zip(rows.chunks(2)).enumerate() {
            let [factor, shift, least] = [0, 1, 2].map(|k| parameters[i * PARAMETERS + k]);
            assert_eq!([shift, least], [own[i * 3 + 1], own[i * 3 + 2]]);
            for (v, r) in vector.iter().zip(row) {
                let was = own[i * 3] * v;
                assert!((f32::from(r.cast_signed()) * factor - was).abs() < 0.01 * own[i * 3]);
            }
        }
    }
}
