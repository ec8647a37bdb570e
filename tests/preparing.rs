//! What preparing thousands of new texts costs the reports that are made meanwhile: next to nothing.

use std::{
    fs::OpenOptions,
    io::Write,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

#[path = "program/mod.rs"]
mod program;

use program::{Client, Folder, Program, root};

/// Most that the middle one of the reports may be later than without a preparation.
const COST: Duration = Duration::from_millis(5);

/// From a frame's first byte to its report, and whether a reply came before that.
fn latency(client: &mut Client, camera: &mut impl Write, frame: &[u8]) -> (Duration, bool) {
    // before it is written: who writes may lose the processor to who reads
    let began = Instant::now();
    camera.write_all(frame).expect("it reads");
    let mut replied = false;
    loop {
        let message = client.message(program::PATIENCE).expect("reports go on");
        replied |= message["type"] == "reply";
        if message["type"] == "report" {
            break (began.elapsed(), replied);
        }
    }
}

fn middle(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

#[test]
#[ignore = "a measurement, for a machine with nothing else to do: --test preparing -- --ignored --nocapture"]
fn four_thousand_new_texts_cost_the_reports_meanwhile_less_than_five_milliseconds() {
    let folder = Folder::new();
    let (socket, fifo) = (folder.text("sock"), folder.fifo("camera"));
    let photo = tarsier::frame::file::Photo::open(root().join("models/sample/coffee.jpg"));
    let photo = photo.expect("a photo");
    let source = format!("rgb24:{}:{fifo}", photo.size());
    let options = ["--source", &source, "--socket", &socket, "--prompt", "bowl"];
    let program = Program::start(&options);
    let mut client = Client::connect(&socket);
    let mut camera = OpenOptions::new();
    let mut camera = camera.write(true).open(&fifo).expect("a reader");
    let pause = Duration::from_millis(25);
    let mut calm = Vec::new();
    for _ in 0..80 {
        calm.push(latency(&mut client, &mut camera, photo.pixels()).0);
        thread::sleep(pause);
    }
    let texts: Vec<String> = (0..4000)
        .map(|i| format!("an old thing with the number {i} on its lid"))
        .collect();
    let command = json!({"id": 7, "command": "set_prompts", "prompts": texts});
    client.give(&command);
    let began = Instant::now();
    let mut busy = Vec::new();
    // the last ones are those at which the new set is taken into use
    loop {
        let (took, replied) = latency(&mut client, &mut camera, photo.pixels());
        busy.push(took);
        if replied {
            break;
        }
        assert!(
            began.elapsed() < Duration::from_secs(600),
            "{}",
            program.log()
        );
        thread::sleep(pause);
    }
    let swap = busy.iter().rev().take(2).max().copied();
    assert!(
        busy.len() > 20,
        "{} reports while it was prepared",
        busy.len()
    );
    eprintln!(
        "prepared in {:.1} s; latency p50, p90: calm {:?}, {:?}; meanwhile {:?}, {:?} ({} reports); as the new set came: {swap:?}",
        began.elapsed().as_secs_f32(),
        middle(&mut calm, 50),
        middle(&mut calm, 90),
        middle(&mut busy, 50),
        middle(&mut busy, 90),
        busy.len(),
    );
    let cost = middle(&mut busy, 50).saturating_sub(middle(&mut calm, 50));
    assert!(cost < COST, "{cost:?}");
}
