//! A pack with a network for stuff: the default pack, or, while that has none, one made of it.
//!
//! The head's object embeddings of the finest level are a vector for every place of stride 8, from the same features: cut out of the
//! head, they are a stuff network, if not a trained one.

#![allow(dead_code)] // each test program uses its part

use std::{
    fs,
    io::{Cursor, Write},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use serde_json::json;
use tarsier::{
    graph::{
        op::{Execution, Graph, model_with},
        program::{Place, Program},
    },
    kernels::isa::Isa,
    pack::{ALIGN, Pack, manifest::Manifest},
};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

pub(crate) type Sections = Vec<(String, Vec<u8>)>;

pub(crate) fn default_pack() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tarsier-s.tarsier")
}

/// The part of the head that makes the finest embeddings.
fn network(pack: &Pack) -> Program {
    let onnx = pack.section("head.onnx").expect("a head");
    let execution = Execution {
        isa: Isa::best(),
        threads: 1,
    };
    let head = Graph::load("head", &onnx, |name| pack.find(name), execution).expect("a graph");
    let mut program = head.program().clone();
    program.outputs.truncate(1);
    program
        .operations
        .retain(|op| !matches!(op.output.place, Place::Output(output, _) if output > 0));
    program
}

/// The sections of a pack with stuff; the manifest is the first.
pub(crate) fn sections() -> Sections {
    let pack = Pack::open(&default_pack()).expect("the default pack opens");
    let mut sections: Sections = (pack.sections())
        .map(|(name, bytes)| (name.to_owned(), bytes.to_vec()))
        .collect();
    if pack.manifest().stuff.is_some() {
        return sections;
    }
    let model = model_with(&network(&pack), "stuff", "weights.bin").expect("a model");
    sections.push(("stuff.onnx".into(), model));
    set_stuff(
        &mut sections,
        json!({"stride": 8, "scale": 3.0, "bias": -4.0, "threshold": 0.3}),
    );
    sections
}

/// Writes another form of stuff into the manifest.
pub(crate) fn set_stuff(sections: &mut Sections, form: serde_json::Value) {
    let (_, manifest) = (sections.iter_mut())
        .find(|(name, _)| name == "manifest.json")
        .expect("a manifest");
    let mut json: serde_json::Value = serde_json::from_slice(manifest).expect("JSON");
    json["stuff"] = form;
    *manifest = serde_json::to_vec(&json).expect("JSON");
    let _ = Manifest::from_json(manifest); // whether it is one is the pack's business
}

/// A pack with these sections and right checksums.
pub(crate) fn packed(sections: &Sections) -> Vec<u8> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .with_alignment(ALIGN as u16);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in sections {
        zip.start_file(name.as_str(), options).expect("an entry");
        zip.write_all(bytes).expect("its bytes");
    }
    zip.finish().expect("a directory").into_inner()
}

/// The file of a pack with stuff, made once for a test program.
pub(crate) fn pack() -> &'static Path {
    static PACK: OnceLock<PathBuf> = OnceLock::new();
    PACK.get_or_init(|| {
        let pack = Pack::open(&default_pack()).expect("the default pack opens");
        if pack.manifest().stuff.is_some() {
            return default_pack();
        }
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stuffed.tarsier");
        // other test programs may write the same bytes at the same time
        let new = path.with_extension(std::process::id().to_string());
        fs::write(&new, packed(&sections())).expect("a temporary file");
        fs::rename(&new, &path).expect("a temporary file");
        path
    })
}
