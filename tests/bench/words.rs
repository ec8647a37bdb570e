//! What words cost, measured on this machine: `cargo bench --bench words`.
//!
//! | part | bar |
//! |---|---|
//! | making the set of 80 and of all names | less than one frame |
//! | frames with 80 and with all names, by turns | all names at most 5 % more |
//! | 1,000 sentences, encoded and from the cache | |
//! | a row from a box that is shown | |
//!
//! One thread. Numbers, not tests: they need a machine with nothing else to do. Times are medians.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use tarsier::{
    detect::{
        Settings,
        exemplar::{self, Background},
    },
    frame::file::ImageFile,
    geometry::BBox,
    graph::op::Execution,
    kernels::isa::Isa,
    pack::Pack,
    pipeline::Pipeline,
    prompt::{
        PromptSet, Request, cache::SentenceCache, sentence::SentenceEncoder, vocabulary::Vocabulary,
    },
    scene::Report,
};

/// Repetitions of what takes a millisecond.
const TIMES: usize = 40;

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

fn timed(mut work: impl FnMut()) -> Duration {
    let clock = Instant::now();
    work();
    clock.elapsed()
}

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let execution = Execution {
        isa: Isa::best(),
        threads: 1,
    };
    let pack = Pack::open(&root.join("models/tarsier-s.tarsier")).expect("the default pack");
    let vocabulary = Vocabulary::open(&pack).expect("names");
    let encoder = || SentenceEncoder::open(&pack, execution).expect("an encoder");
    let mut pipeline = Pipeline::open(&pack, execution, Settings::default()).expect("a pipeline");
    let image = ImageFile::open(&root.join("models/sample/astronaut.jpg")).expect("a photo");
    let objects = pipeline.objects();
    let set = |requests: &[Request], encoder: &mut SentenceEncoder| {
        PromptSet::new(requests, &vocabulary, encoder, objects, None, |_| ()).expect("a set")
    };

    let entries = vocabulary.entries().iter();
    let all: Vec<Request> = entries.map(|e| Request::Name(e.name.clone())).collect();
    let few = &all[..80];
    let sets = [set(few, &mut encoder()), set(&all, &mut encoder())];
    let mut report = Report::new(0, image.captured, image.size);
    let mut frames = [Vec::new(), Vec::new()];
    // by turns, so that whatever else the machine does falls on both
    for _ in 0..TIMES {
        for (prompts, times) in sets.iter().zip(&mut frames) {
            times.push(timed(|| {
                let frame = image.frame(0).expect("a frame");
                pipeline
                    .detect(&frame, prompts, &mut report)
                    .expect("a report");
            }));
        }
    }
    let [with_few, with_all] = frames.map(median);
    println!(
        "a frame with {} names {with_few:.2} ms, with {} {with_all:.2} ms: {:+.1} %",
        sets[0].prompts().len(),
        sets[1].prompts().len(),
        100.0 * (with_all / with_few - 1.0)
    );
    let mut one = encoder();
    for requests in [&all[..1], few, &all] {
        let times = (0..TIMES).map(|_| timed(|| drop(set(requests, &mut one))));
        let time = median(times.collect());
        println!(
            "making a set of {} names {time:.3} ms: {:.2} of a frame",
            requests.len(),
            time / with_few
        );
    }

    let folder = std::env::temp_dir().join(format!("tarsier-words-{}", std::process::id()));
    let texts: Vec<Request> = (all.iter().take(1000).enumerate())
        .map(|(i, name)| Request::Sentence(format!("the {} number {i} on the left", name.text())))
        .collect();
    let plain = timed(|| drop(set(&texts, &mut encoder())));
    let mut learning = encoder();
    learning.remember(SentenceCache::open(&folder, &pack));
    let first = timed(|| {
        set(&texts, &mut learning);
        learning.save();
    });
    let cached = timed(|| {
        let mut encoder = encoder();
        encoder.remember(SentenceCache::open(&folder, &pack));
        set(&texts, &mut encoder);
    });
    println!(
        "1,000 sentences: encoded {:.0} ms, encoded and kept {:.0} ms, from the cache {:.1} ms, opening the encoder included",
        plain.as_secs_f64() * 1e3,
        first.as_secs_f64() * 1e3,
        cached.as_secs_f64() * 1e3
    );
    let _ = std::fs::remove_dir_all(&folder);

    let background = Background::open(&pack).expect("statistics");
    let person = BBox::new(7.0, 5.0, 373.0, 512.0);
    let times = (0..TIMES).map(|_| {
        timed(|| {
            let frame = image.frame(0).expect("a frame");
            let found = pipeline.objects_in(&frame).expect("objects");
            let showing = exemplar::show(&found, person).expect("an object");
            std::hint::black_box(exemplar::row(&[showing], background.as_ref(), &vocabulary));
        })
    });
    let time = median(times.collect());
    println!(
        "a row from a box {time:.2} ms: {:.2} of a frame",
        time / with_few
    );
}
