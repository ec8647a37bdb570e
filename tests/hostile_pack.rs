//! Packs that are cut, damaged or made to do harm: opening one is an error that says where, or changes nothing; never a panic.
//!
//! Damage that a checksum sees is one half. The other half has right checksums: whoever writes a pack writes them too.

mod stuffed;

use std::{
    collections::HashMap,
    fs,
    io::{Cursor, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use tarsier::{
    Model, ModelOptions,
    frame::file::Photo,
    graph::{
        op::{Execution, Graph, model_with},
        program::{
            Activation, AveragePool, Conv, CopyPlanes, Depthwise, DepthwiseWeights, Executor, Kind,
            MaxPool, Permute, Place, Program, Upsample, UpsampleLinear, View,
        },
    },
    kernels::isa::Isa,
    labels::LabelMap,
    pack::{ALIGN, Pack},
    prompt::Request,
};
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

/// Longer than any load of a few megabytes takes, even on a busy machine.
const HANG: Duration = Duration::from_secs(60);

type Sections = Vec<(String, Vec<u8>)>;

fn default_pack() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tarsier-s.tarsier")
}

/// The bytes of the default pack.
fn whole() -> &'static [u8] {
    static WHOLE: OnceLock<Vec<u8>> = OnceLock::new();
    WHOLE.get_or_init(|| fs::read(default_pack()).expect("the default pack"))
}

fn sections() -> Sections {
    let pack = Pack::open(&default_pack()).expect("the default pack opens");
    pack.sections()
        .map(|(name, bytes)| (name.to_owned(), bytes.to_vec()))
        .collect()
}

fn section<'a>(sections: &'a mut Sections, name: &str) -> &'a mut Vec<u8> {
    let found = sections.iter_mut().find(|(n, _)| n == name);
    &mut found.expect("a section of the default pack").1
}

/// A pack with these sections and right checksums.
fn packed(sections: &Sections, align: u16) -> Vec<u8> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .with_alignment(align);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in sections {
        zip.start_file(name.as_str(), options).expect("an entry");
        zip.write_all(bytes).expect("its bytes");
    }
    zip.finish().expect("a directory").into_inner()
}

/// A file of its own for some bytes, removed afterwards.
struct File(PathBuf);

impl File {
    fn new(bytes: &[u8]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!(
            "tarsier-hostile-{}-{n}.tarsier",
            std::process::id()
        ));
        fs::write(&path, bytes).expect("a temporary file");
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Everything that is made from a pack, or why not.
fn loaded(path: &Path) -> Result<Model, String> {
    let options = ModelOptions::new().threads(1).words(Vec::new());
    options.open(path).map_err(|e| format!("{e:#}"))
}

/// One frame with a name and a sentence.
fn run(model: &mut Model) -> Result<(), String> {
    let name = model.lexicon().vocabulary().entries()[0].name.clone();
    let requests = [
        Request::Name(name),
        Request::Sentence("a small red cup".into()),
    ];
    let objects = model.pipeline().objects();
    let set = (model.lexicon()).set(&requests, objects, Some(0.01), &mut |_| true);
    let set = set.map_err(|e| e.to_string())?;
    let frame = golden_frame().frame(0);
    let stuff = model.abilities().stuff;
    let mut look = model.look(frame).map_err(|e| format!("{e:#}"))?;
    look.detect(&set).map_err(|e| format!("{e:#}"))?;
    if stuff {
        let mut map = LabelMap::default();
        look.stuff(&set, &[0, 1], Some(0.0), &mut map)
            .map_err(|e| format!("{e:#}"))?;
    }
    Ok(())
}

fn golden_frame() -> &'static Photo {
    static FRAME: OnceLock<Photo> = OnceLock::new();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/golden/frame.png");
    FRAME.get_or_init(|| Photo::open(&path).expect("the golden frame"))
}

/// Opens a hostile pack and, if it opens, runs it; `what` is named if that panics or hangs.
#[track_caller]
fn open(bytes: &[u8], what: &str, with_frame: bool) -> Result<Model, String> {
    let file = File::new(bytes);
    let clock = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut model = loaded(&file.0)?;
        if with_frame {
            run(&mut model)?;
        }
        Ok(model)
    }));
    assert!(clock.elapsed() < HANG, "{what}: took {:?}", clock.elapsed());
    result.unwrap_or_else(|_| panic!("{what}: panicked"))
}

/// The message of a pack that must be refused.
#[track_caller]
fn refused(bytes: &[u8], what: &str, words: &[&str]) {
    let Err(message) = open(bytes, what, true) else {
        panic!("{what}: was not refused");
    };
    for word in words {
        assert!(message.contains(word), "{what}: no {word:?} in: {message}");
    }
}

/// Numbers that look random and are the same in every run (xorshift64*).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }
}

// Damage that nobody meant.

#[test]
fn a_pack_cut_anywhere_is_refused_with_its_length() {
    let whole = whole();
    let mut lengths = vec![
        0,
        1,
        21,
        22,
        63,
        64,
        whole.len() - 1,
        whole.len() - 21,
        whole.len() - 22,
        whole.len() - 23,
    ];
    lengths.extend((1..51).map(|i| whole.len() * i / 51));
    for length in lengths {
        refused(
            &whole[..length],
            &format!("cut to {length}"),
            &[&format!("({length} bytes)"), "tarsier-hostile"],
        );
    }
}

/// Sections with the range of bytes that each occupies.
fn ranges() -> Vec<(String, std::ops::Range<usize>)> {
    let mut archive = ZipArchive::new(Cursor::new(whole())).expect("a ZIP archive");
    let count = archive.len();
    let range = |i| {
        let entry = archive.by_index_raw(i).expect("an entry");
        let start = entry.data_start().expect("a start") as usize;
        let name = entry.name().expect("a name").into_owned();
        (name, start..start + entry.size() as usize)
    };
    (0..count).map(range).collect()
}

#[test]
fn a_flipped_byte_in_a_section_is_refused_with_the_section_and_its_length() {
    for (i, (name, range)) in ranges().into_iter().enumerate() {
        let mut random = Random::new(i as u64);
        for at in [
            range.start,
            range.start + random.below(range.len()),
            range.end - 1,
        ] {
            let mut bytes = whole().to_vec();
            bytes[at] ^= 1 << random.below(8);
            refused(
                &bytes,
                &format!("{name} flipped at {at}"),
                &[&name, &format!("{} bytes", range.len())],
            );
        }
    }
}

/// Flips a byte; the pack is refused, or what it says is what it said before.
fn flip(at: usize, bit: usize, original: &HashMap<String, Vec<u8>>) {
    let mut bytes = whole().to_vec();
    bytes[at] ^= 1 << bit;
    let what = format!("bit {bit} of byte {at} flipped");
    if let Ok(loaded) = open(&bytes, &what, false) {
        assert_eq!(loaded.pack().sections().count(), original.len(), "{what}");
        for (name, bytes) in loaded.pack().sections() {
            assert!(
                original.get(name).is_some_and(|b| b[..] == bytes[..]),
                "{what}: {name} has changed"
            );
        }
    }
}

#[test]
fn a_flipped_byte_anywhere_is_refused_or_changes_nothing() {
    let original: HashMap<String, Vec<u8>> = sections().into_iter().collect();
    let mut random = Random::new(1);
    for _ in 0..200 {
        flip(random.below(whole().len()), random.below(8), &original);
    }
    // what lies between sections: local headers and padding
    for (_, range) in ranges() {
        for _ in 0..6 {
            flip(
                range.start.saturating_sub(1 + random.below(60)),
                random.below(8),
                &original,
            );
        }
    }
}

#[test]
fn a_flipped_byte_in_the_directory_is_refused_or_changes_nothing() {
    let original: HashMap<String, Vec<u8>> = sections().into_iter().collect();
    let directory = ranges().last().expect("sections").1.end..whole().len();
    let mut random = Random::new(2);
    for at in directory.step_by(2) {
        flip(at, random.below(8), &original);
    }
}

// Damage that somebody meant, with right checksums.

#[test]
fn a_pack_that_is_only_rewritten_opens() {
    let mut loaded =
        open(&packed(&sections(), ALIGN as u16), "rewritten", true).expect("nothing has changed");
    assert!(run(&mut loaded).is_ok());
}

#[test]
fn half_a_weights_section_is_refused_with_both_lengths() {
    let mut s = sections();
    let weights = section(&mut s, "weights.bin");
    weights.truncate(weights.len() / 2 / 64 * 64);
    let length = weights.len().to_string();
    refused(
        &packed(&s, ALIGN as u16),
        "half the weights",
        &["weights", &length],
    );
    section(&mut s, "weights.bin").clear();
    refused(
        &packed(&s, ALIGN as u16),
        "no weights",
        &["weights section of 0"],
    );
}

#[test]
fn a_graph_in_the_place_of_another_is_refused() {
    let original: HashMap<String, Vec<u8>> = sections().into_iter().collect();
    let graphs = ["backbone.onnx", "head.onnx", "sentence.onnx"];
    for to in graphs {
        for from in graphs.iter().filter(|&&from| from != to) {
            let mut s = sections();
            section(&mut s, to).clone_from(&original[*from]);
            refused(&packed(&s, ALIGN as u16), &format!("{from} as {to}"), &[]);
        }
        let mut s = sections();
        section(&mut s, to).clear();
        refused(
            &packed(&s, ALIGN as u16),
            &format!("empty {to}"),
            &[&to[..to.len() - 5]],
        );
        section(&mut s, to).extend(b"this is no protobuf, is it?");
        refused(
            &packed(&s, ALIGN as u16),
            &format!("words as {to}"),
            &[&to[..to.len() - 5]],
        );
    }
}

#[test]
fn a_missing_section_is_named() {
    for (name, _) in sections() {
        let s = sections().into_iter().filter(|(n, _)| *n != name).collect();
        refused(
            &packed(&s, ALIGN as u16),
            &format!("no {name}"),
            &[&name, "missing"],
        );
    }
}

#[test]
fn a_section_that_is_not_aligned_is_refused() {
    refused(
        &packed(&sections(), 1),
        "not aligned",
        &["manifest.json", "not on a multiple of 64"],
    );
}

#[test]
fn a_compressed_section_is_refused() {
    let mut bytes = whole().to_vec();
    let name = b"weights.bin";
    // methods in the local header, 30 bytes before the name, and in the directory, 46 before it
    let places: Vec<usize> = (0..bytes.len() - name.len())
        .filter(|&i| bytes[i..].starts_with(name))
        .collect();
    for at in places {
        if at >= 46 && bytes[at - 46..].starts_with(b"PK\x01\x02") {
            bytes[at - 46 + 10] = 8;
        } else if at >= 30 && bytes[at - 30..].starts_with(b"PK\x03\x04") {
            bytes[at - 30 + 8] = 8;
        }
    }
    refused(
        &bytes,
        "compressed",
        &["weights.bin", "where a pack stores"],
    );
}

#[test]
fn a_manifest_that_contradicts_the_rest_is_refused() {
    let text = |s: &Sections| String::from_utf8(s[0].1.clone()).expect("JSON");
    let original = sections();
    let json = text(&original);
    let changes: [(&str, &str, &[&str]); 9] = [
        (
            "\"format\": 3",
            "\"format\": 1",
            &["layout version 1", "reads 3"],
        ),
        ("\"format\": 3", "\"form\": 3", &["format"]),
        ("\"name\":", "\"title\":", &["manifest.json"]),
        ("\"input_px\": 320", "\"input_px\": 0", &["320", "0"]),
        (
            "\"input_px\": 320",
            "\"input_px\": 4294967295",
            &["4294967295"],
        ),
        ("\"embedding\": 128", "\"embedding\": 0", &["128", "0"]),
        (
            "\"embedding\": 128",
            "\"embedding\": 4294967295",
            &["128", "4294967295"],
        ),
        ("\"strides\": [", "\"strides\": [0,", &["strides"]),
        ("}", "", &["manifest.json"]),
    ];
    for (from, to, words) in changes {
        assert!(json.contains(from), "the manifest has {from}");
        let mut s = original.clone();
        s[0].1 = json.replace(from, to).into_bytes();
        refused(&packed(&s, ALIGN as u16), &format!("{from} as {to}"), words);
    }
    let mut value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    for strides in [
        vec![],
        vec![0, 0, 0, 0],
        vec![8, 16, 32],
        vec![64, 32, 16, 8],
        vec![u32::MAX; 4],
        vec![8; 1000],
    ] {
        value["strides"] = strides.clone().into();
        let mut s = original.clone();
        s[0].1 = value.to_string().into_bytes();
        refused(
            &packed(&s, ALIGN as u16),
            &format!("strides {strides:?}"),
            &["contradicts itself"],
        );
    }
}

#[test]
fn a_stuff_network_that_does_not_fit_is_refused() {
    use serde_json::json;
    let good = stuffed::sections();
    assert!(open(&stuffed::packed(&good), "a pack with stuff", true).is_ok());
    let form = |stride: u32, scale: f64| json!({"stride": stride, "scale": scale, "bias": -4.0, "threshold": 0.3});
    for (form, words) in [
        (form(0, 1.0), "stuff network"),
        (form(16, 1.0), "stuff network"),
        (form(u32::MAX, 1.0), "stuff network"),
        (form(8, 1e300), "stuff network"),
        (json!({"stride": 8}), "scale"),
        (
            json!({"stride": 8, "scale": 1.0, "bias": 0.0, "threshold": 0.3, "more": 1}),
            "more",
        ),
    ] {
        let mut s = good.clone();
        stuffed::set_stuff(&mut s, form.clone());
        refused(&stuffed::packed(&s), &form.to_string(), &[words]);
    }
    let mut s = good.clone();
    s.retain(|(name, _)| name != "stuff.onnx");
    refused(&stuffed::packed(&s), "no stuff", &["stuff.onnx", "missing"]);
    for other in ["head.onnx", "masks.onnx", "backbone.onnx", "sentence.onnx"] {
        let mut s = good.clone();
        let bytes = section(&mut s, other).clone();
        *section(&mut s, "stuff.onnx") = bytes;
        refused(&stuffed::packed(&s), &format!("{other} as stuff"), &[]);
    }
    // numbers that are wild but finite do no harm
    for (scale, bias) in [(0.0, 0.0), (3e38, -3e38), (-1e-38, 3e38)] {
        let mut s = good.clone();
        stuffed::set_stuff(
            &mut s,
            json!({"stride": 8, "scale": scale, "bias": bias, "threshold": -1.0}),
        );
        assert!(open(&stuffed::packed(&s), "wild numbers", true).is_ok());
    }
}

#[test]
fn tables_of_another_length_are_refused_with_the_lengths() {
    for name in ["vocabulary.rows", "vocabulary.parameters", "tokens.rows"] {
        let mut s = sections();
        let bytes = section(&mut s, name);
        bytes.pop();
        let length = bytes.len().to_string();
        refused(
            &packed(&s, ALIGN as u16),
            &format!("{name} one byte short"),
            &[name, &length],
        );
        section(&mut s, name).extend([0; 2]);
        refused(
            &packed(&s, ALIGN as u16),
            &format!("{name} one byte long"),
            &[name],
        );
    }
}

#[test]
fn texts_that_are_no_tables_are_refused() {
    let changes: [(&str, &[u8]); 7] = [
        ("vocabulary.tsv", b"\xff\xfe"),
        ("vocabulary.tsv", b"dog\tanimal\t\n"),
        ("vocabulary.tsv", b""),
        ("tokenizer.txt", b"\xff\xfe"),
        ("tokenizer.txt", b""),
        ("tokenizer.txt", b"[PAD]\n[UNK]\n"),
        ("tokenizer.txt", b"[PAD]\n[UNK]\nb\na\n"),
    ];
    for (name, bytes) in changes {
        let mut s = sections();
        *section(&mut s, name) = bytes.to_vec();
        // an empty table is seen by the length of its rows
        let named = name.split('.').next().expect("a stem");
        refused(
            &packed(&s, ALIGN as u16),
            &format!("{bytes:?} as {name}"),
            &[named],
        );
    }
}

#[test]
fn a_row_that_kernels_disagree_about_is_refused() {
    let mut s = sections();
    section(&mut s, "vocabulary.rows")[1000] = 0x80;
    refused(
        &packed(&s, ALIGN as u16),
        "a row with -128",
        &["vocabulary.rows", "byte 1000", "-128"],
    );
}

#[test]
fn parameters_that_are_no_numbers_do_no_harm() {
    for bits in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
        let mut s = sections();
        for value in section(&mut s, "vocabulary.parameters").chunks_exact_mut(4) {
            value.copy_from_slice(&bits.to_le_bytes());
        }
        let _ = open(
            &packed(&s, ALIGN as u16),
            &format!("parameters {bits}"),
            true,
        );
    }
}

fn program_of(onnx: &[u8]) -> Program {
    let pack = Pack::open(&default_pack()).expect("the default pack opens");
    let execution = Execution {
        isa: Isa::best(),
        threads: 1,
    };
    let graph = Graph::load("graph", onnx, |name| pack.find(name), execution).expect("a graph");
    graph.program().clone()
}

#[test]
fn programs_with_random_bytes_are_refused_or_harmless() {
    let original = sections();
    let graphs: Vec<(usize, Program, Vec<u8>, usize)> =
        ["backbone.onnx", "head.onnx", "sentence.onnx"]
            .iter()
            .map(|name| {
                let i = original
                    .iter()
                    .position(|(n, _)| n == name)
                    .expect("a graph");
                let program = program_of(&original[i].1);
                let bytes = program.to_bytes().expect("bytes");
                let at = original[i]
                    .1
                    .windows(bytes.len())
                    .position(|w| w == bytes)
                    .expect("the program in its graph");
                (i, program, bytes, at)
            })
            .collect();
    let (mut refusals, mut runs) = (0, 0);
    for seed in 0..300 {
        let mut random = Random::new(1000 + seed);
        let (i, _, program, at) = &graphs[random.below(3)];
        let mut bytes = program.clone();
        for _ in 0..=random.below(3) {
            let place = random.below(bytes.len());
            bytes[place] = random.of(&[
                0,
                1,
                0x7f,
                0x80,
                0xff,
                bytes[place].wrapping_add(1),
                bytes[place].wrapping_sub(1),
                bytes[place] ^ 0x10,
            ]);
        }
        let mut s = original.clone();
        match Program::from_bytes(&bytes) {
            // the graph's own inputs and outputs changed along
            Ok(changed) if seed % 2 == 1 => {
                s[*i].1 = model_with(&changed, "changed", "weights.bin").expect("a model")
            }
            _ => s[*i].1[*at..at + bytes.len()].copy_from_slice(&bytes),
        }
        match open(
            &packed(&s, ALIGN as u16),
            &format!("seed {seed}, {}", s[*i].0),
            true,
        ) {
            Ok(_) => runs += 1,
            Err(message) => {
                assert!(!message.is_empty());
                refusals += 1;
            }
        }
    }
    println!("{refusals} refused, {runs} ran");
    assert!(
        refusals > 0 && runs > 0,
        "{refusals} refused, {runs} ran: the mutations test nothing"
    );
}

/// Changes one number of a view to one that a careless check lets pass.
fn spoil_view(view: &mut View, random: &mut Random) {
    let wild = random.of(&[
        0,
        1,
        3,
        15,
        17,
        4095,
        4096,
        4097,
        1 << 16,
        1 << 31,
        u32::MAX - 15,
        u32::MAX,
    ]);
    match random.below(8) {
        0 => view.channels = wild,
        1 => view.height = wild,
        2 => view.width = wild,
        3 => view.border = wild,
        4 => view.image = !view.image,
        5 => view.place = Place::Arena(wild),
        6 => view.place = Place::Input(wild),
        _ => view.zero_point ^= 0x80,
    }
}

#[test]
fn programs_with_wild_numbers_are_refused_or_harmless() {
    let pack = Pack::open(&default_pack()).expect("the default pack opens");
    let weights = pack.section("weights.bin").expect("weights");
    let programs: Vec<Program> = ["backbone.onnx", "head.onnx", "sentence.onnx"]
        .iter()
        .map(|name| program_of(&pack.section(name).expect("a graph")))
        .collect();
    let (mut refusals, mut runs) = (0, 0);
    for seed in 0..3000 {
        let mut random = Random::new(5000 + seed);
        let mut program = programs[random.below(3)].clone();
        let wild = random.of(&[
            0,
            1,
            2,
            7,
            8,
            9,
            64,
            255,
            1 << 16,
            1 << 31,
            u32::MAX - 63,
            u32::MAX,
        ]);
        let at = random.below(program.operations.len());
        let op = &mut program.operations[at];
        match random.below(6) {
            0 => spoil_view(&mut op.input, &mut random),
            1 => spoil_view(&mut op.output, &mut random),
            2 => program.arena_bytes = wild,
            3 => {
                let ports = if random.below(2) == 0 {
                    &mut program.inputs
                } else {
                    &mut program.outputs
                };
                let at = random.below(ports.len());
                spoil_view(&mut ports[at].view, &mut random);
            }
            _ => {
                if let Kind::Conv(Conv {
                    window,
                    weights: constants,
                    epilogue,
                }) = &mut op.kind
                {
                    let axis = random.below(2);
                    let (c, weights) = (*constants, constants.weights);
                    match random.below(13) {
                        0 => window.kernel[axis] = wild,
                        1 => window.stride[axis] = wild,
                        2 => window.pad[axis] = wild,
                        3 => constants.weights = wild,
                        4 => constants.bias = wild,
                        5 => constants.bias_s8 = wild,
                        6 => constants.scale = wild,
                        7 => epilogue.activation = Activation::Table(wild),
                        8 => epilogue.activation = Activation::Slope(f32::from_bits(wild)),
                        9 => epilogue.clamp[axis] = wild as u8,
                        10 => epilogue.zero_point = wild as u8,
                        // the same constants for an operation that they were not made for
                        11 => {
                            let c = DepthwiseWeights {
                                weights,
                                bias: c.bias,
                                scale: c.scale,
                            };
                            op.kind = Kind::Depthwise(Depthwise {
                                window: *window,
                                weights: c,
                                epilogue: *epilogue,
                            });
                        }
                        _ => op.kind = Kind::MaxPool(MaxPool { window: *window }),
                    }
                } else {
                    op.kind = random.of(&[
                        Kind::Upsample(Upsample),
                        Kind::UpsampleLinear(UpsampleLinear),
                        Kind::Copy(CopyPlanes),
                        Kind::Permute(Permute { map: wild }),
                        Kind::AveragePool(AveragePool { scale: 0.5 }),
                    ]);
                }
            }
        }
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let Ok(mut executor) = Executor::new(program, &weights) else {
                return false;
            };
            // a run takes milliseconds; every fourth is enough
            if seed % 4 == 0 {
                let inputs: Vec<Vec<u8>> = executor
                    .program()
                    .inputs
                    .iter()
                    .map(|p| vec![7; p.view.bytes()])
                    .collect();
                let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
                let mut outputs = executor.outputs();
                let mut outputs: Vec<&mut [u8]> =
                    outputs.iter_mut().map(Vec::as_mut_slice).collect();
                executor.run(Isa::best(), 1, &weights, &inputs, &mut outputs, |_, _| ());
            }
            true
        }));
        match ran {
            Ok(true) => runs += 1,
            Ok(false) => refusals += 1,
            Err(_) => panic!("seed {seed}: panicked"),
        }
    }
    println!("{refusals} refused, {runs} accepted");
    assert!(
        refusals > 100 && runs > 100,
        "{refusals} refused, {runs} accepted: the mutations test nothing"
    );
}

#[test]
fn graphs_with_random_bytes_are_refused_or_harmless() {
    // the bytes around the program: names, shapes, attributes of the ONNX file itself
    let original = sections();
    for seed in 0..300 {
        let mut random = Random::new(9000 + seed);
        let mut s = original.clone();
        let name = random.of(&["backbone.onnx", "head.onnx", "sentence.onnx"]);
        let onnx = section(&mut s, name);
        let place = if random.below(2) == 0 {
            random.below(200)
        } else {
            onnx.len() - 1 - random.below(400)
        };
        onnx[place] = random.of(&[
            0,
            1,
            0x7f,
            0x80,
            0xff,
            onnx[place].wrapping_add(1),
            onnx[place] ^ 8,
        ]);
        let _ = open(
            &packed(&s, ALIGN as u16),
            &format!("seed {seed}: byte {place} of {name}"),
            true,
        );
    }
}

/// What `src/pack/map.rs` says that a copy costs: run with `--ignored --nocapture what_a_copy`.
#[test]
#[ignore = "a measurement"]
fn what_a_copy_costs_in_time_and_memory() {
    let rss = |key: &str| {
        let status = std::fs::read_to_string("/proc/self/status").expect("a status");
        let line = status.lines().find(|l| l.starts_with(key)).expect("a line");
        let number = line.split_whitespace().nth(1).expect("a number");
        number.parse::<i64>().expect("a number")
    };
    let all = || ["RssAnon:", "RssFile:"].map(rss);
    let quickest = |open: &dyn Fn() -> Pack| {
        let times = (0..101).map(|_| {
            let begin = std::time::Instant::now();
            drop(open());
            begin.elapsed()
        });
        times.min()
    };
    let mapped = || Pack::open(&default_pack()).expect("a pack");
    let copied = || {
        let held = Pack::open_copy(&default_pack(), true);
        held.expect("a pack").pack
    };
    let ways: [(&str, &dyn Fn() -> Pack); 2] = [("mapped", &mapped), ("copied", &copied)];
    for (name, open) in ways {
        let time = quickest(open);
        let before = all();
        let pack = open();
        let after = all();
        let grown = [after[0] - before[0], after[1] - before[1]];
        println!(
            "{name}: {time:?}, RssAnon {:+} kB, RssFile {:+} kB",
            grown[0], grown[1]
        );
        drop(pack);
    }
}
