//! The packs in the repository against onnxruntime, operation by operation, on every level that this CPU has.
//!
//! `models/golden/<pack>.tsv` are written by `models/recipe/tarsier_recipe/packs/golden.py`; the last column says where onnxruntime itself leaves
//! exact arithmetic. No tolerance is needed here: the programs are exact.

use std::{collections::HashMap, path::Path};

use sha2::{Digest, Sha256};
use tarsier::{
    ModelOptions, build,
    frame::{file::Photo, letterbox::Letterboxer},
    geometry::{Crop, Fit, Shrink, Size},
    graph::{
        op::{Execution, Graph},
        program::{Executor, Program, nhwc_from_planes},
    },
    kernels::{isa::Isa, layout::LANE},
    pack::Pack,
    text::Tokenizer,
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

const PACKS: [&str; 2] = ["tarsier-s", "tarsier-n"];

fn pack(name: &str) -> Pack {
    Pack::open(&root().join(format!("models/{name}.tarsier"))).expect("a pack of the repository")
}

fn tensors(name: &str) -> String {
    std::fs::read_to_string(root().join(format!("models/golden/{name}.tsv"))).expect("golden file")
}

/// Digest by (graph, node), and the ids of the golden sentence.
fn golden(text: &str) -> (HashMap<(String, String), String>, Vec<u16>) {
    let mut ids = Vec::new();
    let mut digests = HashMap::new();
    for line in text.lines() {
        if let Some(list) = line.strip_prefix("# ids: ") {
            ids = list
                .split(' ')
                .map(|id| id.parse().expect("an id"))
                .collect();
        }
        if line.starts_with('#') {
            continue;
        }
        let columns: Vec<&str> = line.split('\t').collect();
        digests.insert(
            (columns[0].to_owned(), columns[1].to_owned()),
            columns[3].to_owned(),
        );
    }
    (digests, ids)
}

/// Runs a graph's program on planes and compares every convolution; returns the outputs' planes.
fn compare(
    name: &str,
    graph: &Graph,
    isa: Isa,
    threads: usize,
    inputs: &[Vec<u8>],
    digests: &HashMap<(String, String), String>,
) -> Vec<Vec<u8>> {
    let program: &Program = graph.program();
    let mut executor = Executor::new(program.clone(), graph.weights()).expect("a valid program");
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    let mut compared = 0;
    let mut outputs = executor.outputs();
    let mut buffers: Vec<&mut [u8]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    executor.run(
        isa,
        threads,
        graph.weights(),
        &inputs,
        &mut buffers,
        |i, planes| {
            let op = &program.operations[i];
            let Some(expected) = digests.get(&(name.to_owned(), op.name.clone())) else {
                assert_eq!(op.macs(), 0, "{name} {} has no golden tensor", op.name);
                return;
            };
            let v = &op.output;
            let mut hwc = vec![0; v.values()];
            nhwc_from_planes(v, planes, &mut hwc);
            let found: String = Sha256::digest(&hwc)
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect();
            assert_eq!(&found, expected, "{name} {} on {}", op.name, isa.level());
            compared += 1;
        },
    );
    let expected = digests.keys().filter(|(graph, _)| graph == name).count();
    assert_eq!(compared, expected, "tensors compared in {name}");
    outputs
}

fn load(pack: &Pack, name: &str, execution: Execution) -> Graph {
    let onnx = pack.section(&format!("{name}.onnx")).expect("a graph");
    Graph::load(name, &onnx, |section| pack.find(section), execution).expect("a graph that loads")
}

#[test]
fn every_int8_tensor_of_tarsier_s_equals_onnxruntimes_on_every_level() {
    every_int8_tensor_equals_onnxruntimes("tarsier-s");
}

#[test]
fn every_int8_tensor_of_tarsier_n_equals_onnxruntimes_on_every_level() {
    every_int8_tensor_equals_onnxruntimes("tarsier-n");
}

fn every_int8_tensor_equals_onnxruntimes(name: &str) {
    let pack = pack(name);
    let (digests, ids) = golden(&tensors(name));
    let image = Photo::open(root().join("models/golden/frame.png")).expect("the golden frame");
    // the corner of the picture that needs no resizing
    let side = pack.manifest().input_px;
    let size = Size::new(side, side);
    let (whole, mut pixels) = (image.frame(0), Vec::new());
    let frame = whole.cut(Crop::of(size), &mut pixels).expect("a corner");
    for isa in Isa::available() {
        for threads in [1, 3] {
            let execution = Execution { isa, threads };
            let backbone = load(&pack, "backbone", execution);
            let view = backbone.program().inputs[0].view;
            let mut letterboxer = Letterboxer::new(
                Size::new(view.width, view.height),
                Fit::Letterbox,
                Shrink::Area,
                view.border as usize,
                [view.zero_point; 3],
            );
            let mut plane = vec![0; letterboxer.plane_bytes()];
            letterboxer.write(&frame, &mut plane);
            let features = compare("backbone", &backbone, isa, threads, &[plane], &digests);
            compare(
                "head",
                &load(&pack, "head", execution),
                isa,
                threads,
                &features,
                &digests,
            );

            let stuff = pack.manifest().stuff.map(|_| ("stuff", 0));
            for (name, first) in [("masks", 0), ("presence", 1)].into_iter().chain(stuff) {
                let graph = load(&pack, name, execution);
                compare(name, &graph, isa, threads, &features[first..], &digests);
            }

            let ground = load(&pack, "ground", execution);
            let view = ground.program().inputs[0].view;
            let (planes, mut state) = (view.planes(), 1u32);
            let mut objects = vec![view.zero_point; view.bytes()];
            for channel in 0..view.channels as usize {
                for pixel in 0..planes.height * planes.width {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let (row, column) = (pixel / planes.width, pixel % planes.width);
                    let at = planes.origin() + row * planes.row_bytes() + column * LANE;
                    objects[channel / LANE * planes.bytes() + at + channel % LANE] =
                        (state >> 24) as u8;
                }
            }
            compare("ground", &ground, isa, threads, &[objects], &digests);

            let sentence = load(&pack, "sentence", execution);
            let view = sentence.program().inputs[0].view;
            let tokens = pack.section("tokens.rows").expect("token rows");
            let mut planes = vec![view.zero_point; view.bytes()];
            for place in 0..32 {
                let id = usize::from(ids.get(place).copied().unwrap_or(0));
                for channel in 0..view.channels as usize {
                    let at = channel / LANE * view.planes().bytes()
                        + view.planes().origin()
                        + place * LANE
                        + channel % LANE;
                    planes[at] = tokens[id * view.channels as usize + channel] ^ 0x80;
                }
            }
            compare("sentence", &sentence, isa, threads, &[planes], &digests);
        }
    }
}

#[test]
fn the_golden_sentence_has_the_recipes_tokens() {
    let text = tensors("tarsier-s");
    let sentence = text
        .lines()
        .find_map(|l| l.strip_prefix("# sentence: "))
        .expect("a sentence");
    let pack = pack("tarsier-s");
    let lines = pack.text("tokenizer.txt").expect("a tokenizer");
    let mut ids = heapless::Vec::new();
    Tokenizer::from_lines(lines)
        .expect("a tokenizer")
        .encode(sentence, &mut ids)
        .expect("words");
    assert_eq!(ids.as_slice(), golden(&text).1);
}

#[test]
fn the_whole_pipeline_through_tract_gives_the_manifests_digest_on_every_level() {
    for name in PACKS {
        let pack = pack(name);
        for isa in Isa::available() {
            build::verify(&pack, isa).unwrap_or_else(|e| panic!("{name}, {}: {e}", isa.level()));
        }
    }
}

#[test]
fn results_do_not_depend_on_level_or_threads() {
    let path = root().join("models/tarsier-s.tarsier");
    let image = Photo::open(root().join("models/sample/astronaut.jpg")).expect("a sample");
    let mut results = Vec::new();
    for isa in Isa::available() {
        for threads in [1, 2, 5] {
            let options = ModelOptions::new().isa(isa).threads(threads);
            let mut model = options.open(&path).expect("a model");
            assert_eq!(model.execution(), Execution { isa, threads });
            let frame = image.frame(0);
            // more than once: who does what differs from time to time
            for _ in 0..3 {
                results.push(model.look(frame).expect("a look").raw_outputs());
            }
        }
    }
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
}
