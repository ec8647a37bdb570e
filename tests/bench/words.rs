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
    ModelOptions, Report,
    detect::exemplar,
    frame::file::Photo,
    geometry::BBox,
    pack::Pack,
    prompt::{Request, lexicon::Lexicon},
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
    let path = root.join("models/tarsier-s.tarsier");
    let options = ModelOptions::new().threads(1).words(Vec::new());
    let mut model = options.open(&path).expect("the default pack");
    let execution = model.execution();
    let pack = Pack::open(&path).expect("the default pack");
    let lexicon =
        |cache: Option<&Path>| Lexicon::open(&pack, execution, cache).expect("an encoder");
    let image = Photo::open(root.join("models/sample/astronaut.jpg")).expect("a photo");
    let objects = model.pipeline().objects();
    let set = |requests: &[Request], lexicon: &Lexicon| {
        (lexicon.set(requests, objects, None, &mut |_| true)).expect("a set")
    };

    let one = lexicon(None);
    let all = one.names(|_| true);
    let few = &all[..80];
    let sets = [set(few, &one), set(&all, &one)];
    let mut report = Report::new(0, image.captured, image.size());
    let mut frames = [Vec::new(), Vec::new()];
    // by turns, so that whatever else the machine does falls on both
    for _ in 0..TIMES {
        for (prompts, times) in sets.iter().zip(&mut frames) {
            times.push(timed(|| {
                let frame = image.frame(0);
                let mut look = model.look(frame).expect("a look");
                let found = look.detect_into(prompts, &mut report);
                found.expect("a report");
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
    for requests in [&all[..1], few, &all] {
        let times = (0..TIMES).map(|_| timed(|| drop(set(requests, &one))));
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
    let plain = timed(|| drop(set(&texts, &lexicon(None))));
    let learning = lexicon(Some(&folder));
    let first = timed(|| {
        set(&texts, &learning);
        learning.save();
    });
    let cached = timed(|| drop(set(&texts, &lexicon(Some(&folder)))));
    println!(
        "1,000 sentences: encoded {:.0} ms, encoded and kept {:.0} ms, from the cache {:.1} ms, opening the encoder included",
        plain.as_secs_f64() * 1e3,
        first.as_secs_f64() * 1e3,
        cached.as_secs_f64() * 1e3
    );
    let _ = std::fs::remove_dir_all(&folder);

    let person = BBox::new(7.0, 5.0, 373.0, 512.0);
    let times = (0..TIMES).map(|_| {
        timed(|| {
            let frame = image.frame(0);
            let found = model.look(frame).expect("a look").objects();
            let showing = exemplar::show(&found, person).expect("an object");
            std::hint::black_box(model.word("shown", &[showing]));
        })
    });
    let time = median(times.collect());
    println!(
        "a row from a box {time:.2} ms: {:.2} of a frame",
        time / with_few
    );
}
