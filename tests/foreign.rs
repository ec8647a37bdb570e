//! Networks with the operators of other families (PicoDet, RTMDet, YOLOX, NanoDet), small and of
//! random weights, against the outputs that their QDQ graphs come to.
//!
//! `models/recipe/tarsier_recipe/foreign/fixtures.py` writes `tests/data/foreign`: the graphs, and in
//! `tensors.tsv` the digest of each output, computed exactly from random bytes; its last column says how far
//! onnxruntime is from that. `TARSIER_FOREIGN=folder` compares another folder that the script
//! wrote, of networks of full size.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use prost::Message;
use sha2::{Digest, Sha256};
use tarsier::{
    graph::{
        lower::{WeightsWriter, lower},
        program::{Executor, nhwc_from_planes},
    },
    kernels::isa::Isa,
};
use tract_onnx::pb::ModelProto;

/// SHA-256, the first 12 bytes in hexadecimal digits, of each network's program and of its weights
/// section. A pack that is built again from the same graphs is the same file.
const LOWERED: [(&str, [&str; 2]); 3] = [
    (
        "mixed",
        ["f31ab155b0e0e138ae8c8b05", "f52c274a4f1c7f4fbb6fc282"],
    ),
    (
        "picodet",
        ["317745fb212914e4dbe3a2e7", "e380c1d77617e060996eafd0"],
    ),
    (
        "rtmdet",
        ["dc57f726e76dbfd117449fa6", "b8546350428757bf1aed9e46"],
    ),
];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn a_graph_is_lowered_to_the_same_bytes_as_ever() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/foreign");
    for (network, expected) in LOWERED {
        let bytes = fs::read(folder.join(format!("{network}.onnx"))).expect("a network");
        let model = ModelProto::decode(&bytes[..]).expect("ONNX");
        let mut weights = WeightsWriter::default();
        let program = lower(&model.graph.expect("a graph"), &mut weights).expect("a program");
        let program = program.to_bytes().expect("bytes");
        let found = [&program, weights.bytes()].map(|part| hex(&Sha256::digest(part)[..12]));
        assert_eq!(found, expected, "{network}");
    }
}

/// Digests of outputs by network and output.
fn golden(folder: &Path) -> BTreeMap<String, BTreeMap<String, String>> {
    let text = fs::read_to_string(folder.join("tensors.tsv")).expect("the golden file");
    let mut found = BTreeMap::<_, BTreeMap<_, _>>::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        let network = found.entry(columns[0].to_owned()).or_default();
        network.insert(columns[1].to_owned(), columns[3].to_owned());
    }
    found
}

#[test]
fn networks_of_other_families_equal_their_graphs_on_every_level() {
    let folder = env::var_os("TARSIER_FOREIGN").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/foreign"),
        PathBuf::from,
    );
    let golden = golden(&folder);
    assert!(!golden.is_empty(), "no networks in {}", folder.display());
    for (network, digests) in golden {
        let bytes = fs::read(folder.join(format!("{network}.onnx"))).expect("a network");
        let model = ModelProto::decode(&bytes[..]).expect("ONNX");
        let mut weights = WeightsWriter::default();
        let program = lower(&model.graph.expect("a graph"), &mut weights)
            .unwrap_or_else(|e| panic!("{network}: {e}"));
        // as in the map, constants start on whole cache lines
        let mut words = vec![0_u64; weights.bytes().len().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut words)[..weights.bytes().len()]
            .copy_from_slice(weights.bytes());
        let section: &[u8] = bytemuck::cast_slice(&words);

        let view = program.inputs[0].view;
        assert!(view.image, "{network} starts with a picture");
        let (mut picture, mut state) = (vec![view.zero_point; view.bytes()], 1_u32);
        let row_bytes = (view.width + 2 * view.border) as usize * view.pixel_bytes();
        for channel in 0..view.channels as usize {
            for row in 0..view.height as usize {
                for column in 0..view.width as usize {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let border = view.border as usize;
                    let at = (row + border) * row_bytes + (column + border) * view.pixel_bytes();
                    picture[at + channel] = (state >> 24) as u8;
                }
            }
        }
        for (isa, threads) in Isa::available().flat_map(|isa| [(isa, 1), (isa, 3)]) {
            let mut executor = Executor::new(program.clone(), section).expect("a valid program");
            let mut outputs = executor.outputs();
            let mut buffers: Vec<&mut [u8]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
            executor.run(isa, threads, section, &[&picture], &mut buffers, |_, _| ());
            assert_eq!(program.outputs.len(), digests.len(), "outputs of {network}");
            for (port, planes) in program.outputs.iter().zip(&outputs) {
                let mut hwc = vec![0; port.view.values()];
                nhwc_from_planes(&port.view, planes, &mut hwc);
                let found = hex(&Sha256::digest(&hwc));
                let level = isa.level();
                assert_eq!(
                    found, digests[&port.name],
                    "{network} {} on {level}",
                    port.name
                );
            }
        }
    }
}
