//! What the targets share: a file with the given bytes, and the small pack's table and encoder.

use std::{fs, path::PathBuf};

use tarsier::{
    graph::op::Execution,
    kernels::isa::Isa,
    pack::Pack,
    prompt::{lexicon::Lexicon, sentence::SentenceEncoder, vocabulary::Vocabulary},
};

/// Writes the bytes into a file of this process's own, in memory where the system has such a place.
///
/// # Panics
///
/// If it cannot be written.
#[must_use]
pub fn file(data: &[u8]) -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    };
    let path = folder.join(format!("tarsier-fuzz-{}", std::process::id()));
    fs::write(&path, data).expect("a file");
    path
}

thread_local! {
    static MODEL: Lexicon = {
        let pack = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/tarsier-n.tarsier");
        let pack = Pack::open(pack.as_ref()).expect("the small pack");
        let execution = Execution { isa: Isa::best(), threads: 1 };
        Lexicon::open(&pack, execution, None).expect("a table and an encoder")
    };
}

/// Calls with the small pack's vocabulary and sentence encoder.
pub fn with_model(work: impl FnOnce(&Vocabulary, &mut SentenceEncoder)) {
    MODEL.with(|lexicon| work(lexicon.vocabulary(), &mut lexicon.encoder()));
}
