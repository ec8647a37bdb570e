//! What a frame allocates once everything is warm: our stages nothing, tract a constant few for each graph that it runs.
//!
//! Alone in its program, because it counts what every thread of it allocates.

// a global allocator cannot be written without it
#![allow(unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tarsier::{
    ModelOptions,
    frame::file::Photo,
    geometry::{
        BBox,
        camera::{Camera, CameraConfig},
    },
    graph::op::{Execution, Graph},
    kernels::Isa,
    pack::Pack,
    prompt::Request,
    scene::Report,
    track::{
        self, Tracker,
        presence::{self, Bounds, Roll},
    },
};
use tract_onnx::prelude::{TValue, Tensor};

static COUNT: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call goes to the system's allocator as it came; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above, and `at` came from there.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of each of the last ten of fifteen calls.
fn counted(mut call: impl FnMut()) -> Vec<usize> {
    let counts = (0..15).map(|_| {
        let before = COUNT.load(Ordering::Relaxed);
        call();
        COUNT.load(Ordering::Relaxed) - before
    });
    let counts: Vec<usize> = counts.collect();
    counts[5..].to_vec()
}

/// Zeros in the shape of each input of a graph.
fn zeros(graph: &Graph) -> Vec<Arc<Tensor>> {
    let ports = graph.program().inputs.iter();
    ports
        .map(|p| Arc::new(Tensor::zero::<u8>(&p.view.tensor_shape()).expect("a tensor")))
        .collect()
}

#[test]
fn a_frame_allocates_what_tract_does_and_nothing_else() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pack = Pack::open(&root.join("models/tarsier-s.tarsier")).expect("the default pack");
    let execution = Execution {
        isa: Isa::best(),
        threads: 1,
    };
    let (mut of_graphs, mut of_presence) = (0, 0);
    for name in ["backbone", "head", "presence"] {
        let onnx = pack.section(&format!("{name}.onnx")).expect("a graph");
        let mut graph = Graph::load(name, &onnx, |s| pack.find(s), execution).expect("it loads");
        let inputs = zeros(&graph);
        let counts = counted(|| {
            let inputs = inputs.iter().map(|t| TValue::from_const(Arc::clone(t)));
            drop(graph.run(inputs.collect()).expect("it runs"));
        });
        // not only a constant number: none of its bytes grow with the picture
        assert!(counts.iter().all(|&c| c == counts[0]), "{name}: {counts:?}");
        println!("{name}: {} allocations by tract", counts[0]);
        match name {
            "presence" => of_presence = counts[0],
            _ => of_graphs += counts[0],
        }
    }
    assert!(of_graphs < 64, "{of_graphs} allocations by tract");

    for threads in [1, 2] {
        let [counts, followed, sensed] = whole_frame(root, threads);
        println!("whole frame on {threads} thread(s): {counts:?}, followed: {followed:?}");
        println!("with presence: {sensed:?}");
        assert_eq!(counts, vec![of_graphs; 10], "our stages allocate");
        assert_eq!(followed, vec![of_graphs; 10], "following allocates");
        let all = of_graphs + of_presence;
        assert_eq!(sensed, vec![all; 10], "watching presence allocates");
    }
}

/// Allocations of each of some frames with 300 prompts; then of frames that are followed and seen through a camera;
/// then of frames whose presence is watched.
fn whole_frame(root: &Path, threads: usize) -> [Vec<usize>; 3] {
    let options = ModelOptions::new().threads(threads).words(Vec::new());
    let model = options.open(root.join("models/tarsier-s.tarsier"));
    let mut model = model.expect("a model");
    let names = (model.lexicon().vocabulary().entries().iter()).map(|e| e.name.clone());
    let requests: Vec<Request> = (["cup".into(), "bowl".into()].into_iter())
        .chain(names.filter(|n| n != "cup" && n != "bowl").take(298))
        .map(Request::Name)
        .collect();
    let objects = model.pipeline().objects();
    let prompts = (model.lexicon()).set(&requests, objects, Some(0.05), &mut |_| true);
    let prompts = prompts.expect("prompts");
    let image = Photo::open(root.join("models/sample/coffee.jpg")).expect("a photo");
    let frame = image.frame(0);
    let mut report = Report::new(0, image.captured, image.size());
    let counts = counted(|| {
        let mut look = model.look(frame).expect("a look");
        let found = look.detect_into(&prompts, &mut report);
        found.expect("a report");
    });
    assert!(!report.detections.is_empty(), "nothing was selected");
    // the same, followed and seen through a camera
    let mut tracker = Tracker::new(track::Settings::default());
    let camera = Camera::new(&CameraConfig::with_fov(60.0), image.size()).expect("a camera");
    let whole = BBox::new(
        0.0,
        0.0,
        image.size().width as f32,
        image.size().height as f32,
    );
    let mut ns = 0;
    let followed = counted(|| {
        let mut look = model.look(frame).expect("a look");
        let found = look.detect_into(&prompts, &mut report);
        ns += 50_000_000;
        found.expect("a report").follow(&mut tracker, ns, &[]);
        report.sight(&camera, &whole);
    });
    assert!(
        report.tracks.iter().any(|id| *id != 0),
        "nothing is followed"
    );
    let mut roll = Roll::new(presence::Settings {
        bounds: Bounds::from_enter(0.5),
        frames: 3,
        dwell_s: 0.0,
        hold_s: 5.0,
    });
    roll.renumber(prompts.prompts().iter().map(|_| None));
    let boxed = vec![false; prompts.prompts().len()];
    let sensed = counted(|| {
        let mut look = model.look(frame).expect("a look");
        let found = look.detect_into(&prompts, &mut report);
        found.expect("a report").presence().expect("presences");
        ns += 50_000_000;
        report.presence_counts = roll.update(ns, &mut report.presences, &boxed);
    });
    assert!(report.presence_counts.not_there > 0, "nothing is settled");
    [counts, followed, sensed]
}
