//! Hostile clients and hostile streams, beside a client that behaves: the program as it runs on a robot.
//!
//! Some seconds each, or as long as `TARSIER_SOAK_S` says. Then the bars are those that are promised: the client's rate stays within
//! 3 % of what it was, its commands are answered within 100 ms, and resident memory stays below what is computed. A short run, which
//! shares its machine with other tests, has wider ones. What the machine itself costs is measured beside: an echo between two threads
//! of this test waits for a processor as the program does.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    process::Command as Process,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

#[path = "program/mod.rs"]
mod program;

use program::{Client, Folder, Program, root};

/// How long a soak lasts, and whether it was asked for.
fn soak() -> (Duration, bool) {
    let asked = std::env::var("TARSIER_SOAK_S").ok();
    let seconds = asked
        .as_ref()
        .map_or(10, |s| s.parse().expect("a number of seconds"));
    (Duration::from_secs(seconds), asked.is_some())
}

/// Texts that no table and no cache has.
fn new_texts(count: usize) -> Vec<String> {
    (0..count)
        .map(|i| format!("a wooden thing beside the number {i}"))
        .collect()
}

/// The most memory that a configuration may need, in kB.
fn computed_kb(config: &str, socket: &str) -> f64 {
    let options = [
        "run",
        "--config",
        config,
        "--socket",
        socket,
        "--check-config",
    ];
    let done = Process::new(env!("CARGO_BIN_EXE_tarsier"))
        .current_dir(root())
        .env_remove("TARSIER_PACK")
        .args(options)
        .output()
        .expect("it runs");
    let text = String::from_utf8(done.stdout).expect("text");
    let (_, rest) = text.split_once("memory: up to ").expect("a line of memory");
    let (number, _) = rest.split_once('M').expect("a number of megabytes");
    number.parse::<f64>().expect("a number") * 1024.0
}

/// An echo on a thread of its own: what it takes to be woken twice on this machine now.
struct Echo(UnixStream);

impl Echo {
    fn start() -> Self {
        let (own, mut other) = UnixStream::pair().expect("a pair");
        thread::spawn(move || {
            let mut byte = [0];
            while other.read_exact(&mut byte).is_ok() && other.write_all(&byte).is_ok() {}
        });
        Self(own)
    }

    fn take(&mut self) -> Duration {
        let began = Instant::now();
        let mut byte = [7];
        self.0.write_all(&byte).expect("it listens");
        self.0.read_exact(&mut byte).expect("it answers");
        began.elapsed()
    }
}

/// Times, sorted.
struct Times(Vec<Duration>);

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    fn percentile(&self, percent: usize) -> Duration {
        let at = (self.0.len() * percent).div_ceil(100).max(1) - 1;
        self.0[at]
    }

    fn words(&self) -> String {
        let [p50, p99, most] = [50, 99, 100].map(|p| self.percentile(p).as_secs_f64() * 1e3);
        format!("p50 {p50:.1}, p99 {p99:.1}, slowest {most:.1} ms")
    }
}

/// What a client that behaves sees.
struct Seen {
    answers: Times,
    echoes: Times,
    /// Reports a second.
    rate: f64,
}

/// Asks every few milliseconds, for so long, and counts reports meanwhile.
fn behave(client: &mut Client, lasts: Duration) -> Seen {
    let mut echo = Echo::start();
    let (mut answers, mut echoes) = (Vec::new(), Vec::new());
    let sequence = |client: &mut Client| {
        let report = client.report();
        (
            report["header"]["seq"].as_u64().expect("a number"),
            Instant::now(),
        )
    };
    let (first, began) = sequence(client);
    while began.elapsed() < lasts {
        let asked = Instant::now();
        client.command(json!({"command": "hello"}));
        answers.push(asked.elapsed());
        echoes.push(echo.take());
        thread::sleep(Duration::from_millis(20));
    }
    // of those that wait the last
    while client.message(Duration::from_millis(1)).is_some() {}
    let (last, ended) = sequence(client);
    Seen {
        answers: Times::of(answers),
        echoes: Times::of(echoes),
        rate: (last - first) as f64 / (ended - began).as_secs_f64(),
    }
}

/// The bars, and the numbers in the log.
#[track_caller]
fn hold(what: &str, calm: &Seen, hostile: &Seen, program: &Program, computed_kb: f64, long: bool) {
    let peak: f64 = (program.status("VmHWM:").trim_end_matches(" kB"))
        .parse()
        .expect("kB");
    for (when, seen) in [("before", calm), (what, hostile)] {
        eprintln!(
            "{when}: {:.2} reports/s; {} answers: {}; an echo: {}",
            seen.rate,
            seen.answers.0.len(),
            seen.answers.words(),
            seen.echoes.words()
        );
    }
    eprintln!("peak {peak} kB of {computed_kb} kB computed");
    assert!(peak < computed_kb, "{peak} kB of {computed_kb} kB");
    let (rate, late) = if long { (0.97, 100) } else { (0.8, 1000) };
    assert!(
        hostile.rate >= calm.rate * rate,
        "{:.2} of {:.2} reports/s",
        hostile.rate,
        calm.rate
    );
    // what the machine makes of an echo is not the program's doing
    let late = Duration::from_millis(late) + hostile.echoes.percentile(100);
    let slowest = hostile.answers.percentile(100);
    assert!(slowest <= late, "{slowest:?} of {late:?}");
}

/// What a hostile client does for as long as it may.
type Attack = fn(&str, &AtomicBool);

fn connected(path: &str) -> Option<UnixStream> {
    let stream = UnixStream::connect(path).ok()?;
    stream
        .set_write_timeout(Some(Duration::from_millis(200)))
        .ok()?;
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .ok()?;
    Some(stream)
}

fn again(path: &str, stop: &AtomicBool, mut once: impl FnMut(&mut UnixStream) -> bool) {
    while !stop.load(Relaxed) {
        let Some(mut stream) = connected(path) else {
            thread::sleep(Duration::from_millis(20));
            continue;
        };
        while !stop.load(Relaxed) && once(&mut stream) {}
    }
}

/// Reads what has come and throws it away.
fn swallow(stream: &mut UnixStream) -> bool {
    let mut bytes = [0; 65_536];
    !matches!(stream.read(&mut bytes), Ok(0))
}

const ATTACKS: [(&str, Attack); 7] = [
    ("floods and reads", |path, stop| {
        let many = "{\"id\":1,\"command\":\"hello\"}\n".repeat(500);
        again(path, stop, |s| {
            s.write_all(many.as_bytes()).is_ok() | swallow(s)
        });
    }),
    ("floods and never reads", |path, stop| {
        let many = "{\"command\":\"get_prompts\",\"count\":65536}\n".repeat(500);
        again(path, stop, |s| {
            // until it is read no further
            while s.write_all(many.as_bytes()).is_ok() && !stop.load(Relaxed) {}
            thread::sleep(Duration::from_secs(1));
            false
        });
    }),
    (
        "sends lines of a megabyte, and longer ones",
        |path, stop| {
            let long = format!(
                "{{\"command\":\"enrol\",\"name\":\"{}\"",
                "x".repeat(1 << 20)
            );
            let group = json!({"command": "set_prompts", "prompts": [{"text": "cup", "group": "g".repeat(1_000_000)}]});
            let lines = format!("{long}\n{group}\n");
            again(path, stop, |s| {
                s.write_all(lines.as_bytes()).is_ok() | swallow(s)
            });
        },
    ),
    (
        "asks for 65,536 prompts and 4,000 new texts",
        |path, stop| {
            let many: Vec<String> = (0..65_536).map(|i| format!("{i:x}")).collect();
            let many = json!({"command": "set_prompts", "prompts": many});
            let new = json!({"command": "add_prompts", "prompts": new_texts(4000)});
            let lines = format!("{many}\n{new}\n");
            again(path, stop, |s| {
                s.write_all(lines.as_bytes()).is_ok() | swallow(s)
            });
        },
    ),
    ("half-closes and leaves", |path, stop| {
        again(path, stop, |s| {
            let _ = s.write_all(b"{\"command\":\"telemetry\"}\n{\"command\":\"self_test\"}\n");
            let _ = s.shutdown(std::net::Shutdown::Write);
            swallow(s);
            false
        });
    }),
    ("sends garbage", |path, stop| {
        let garbage: Vec<u8> = (0..100_000_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        again(path, stop, |s| s.write_all(&garbage).is_ok() | swallow(s));
    }),
    ("opens many connections and is silent", |path, stop| {
        while !stop.load(Relaxed) {
            let all: Vec<_> = (0..100).filter_map(|_| connected(path)).collect();
            thread::sleep(Duration::from_millis(300));
            drop(all);
        }
    }),
];

#[test]
fn beside_hostile_clients_one_that_behaves_is_served_and_memory_stays_bounded() {
    let (lasts, long) = soak();
    let folder = Folder::new();
    let socket = folder.text("sock");
    let config = folder.file(
        "c.toml",
        "rate.fps = 10.0\nprompts.list = [\"bowl\"]\ntelemetry.period_s = 1.0\n[source]\nkind = \"files\"\npath = \"models/sample/coffee.jpg\"\nrepeat = true\nfps = 50.0\n",
    );
    let mut program = Program::start(&["--config", &config, "--socket", &socket]);
    let mut client = Client::connect(&socket);
    client.report();
    let calm = behave(&mut client, (lasts / 4).min(Duration::from_secs(60)));
    let stop = AtomicBool::new(false);
    let hostile = thread::scope(|scope| {
        for (_, attack) in ATTACKS {
            let (socket, stop) = (&socket, &stop);
            scope.spawn(move || attack(socket, stop));
        }
        let seen = behave(&mut client, lasts);
        stop.store(true, Relaxed);
        seen
    });
    client.report();
    let computed = computed_kb(&config, &socket);
    hold(
        "beside hostile clients",
        &calm,
        &hostile,
        &program,
        computed,
        long,
    );
    assert_eq!(client.telemetry()["state"], "running");
    program.signal("TERM");
    assert!(program.end().success(), "{}", program.log());
}

/// What a hostile stream has between good pictures.
struct Damage {
    name: &'static str,
    bytes: Vec<u8>,
    /// How many of the good pictures behind it may be lost with it.
    costs: u64,
}

/// Numbers that look like chance and are the same every time.
struct Noise(u32);

impl Noise {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as usize % below
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next(256) as u8).collect()
    }
}

/// A JPEG of noise: as long as one of its size can be.
fn noisy(width: u32, height: u32, noise: &mut Noise) -> Vec<u8> {
    let pixels = noise.bytes((width * height * 3) as usize);
    let mut bytes = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 100)
        .encode(&pixels, width, height, image::ExtendedColorType::Rgb8)
        .expect("a picture");
    bytes
}

/// A picture that says it has another size.
fn resized(jpeg: &[u8], width: u16, height: u16) -> Vec<u8> {
    let mut bytes = jpeg.to_vec();
    let frame = jpeg
        .windows(2)
        .position(|w| matches!(w, [0xFF, 0xC0..=0xC2]));
    let at = frame.expect("a frame header");
    bytes[at + 5..at + 7].copy_from_slice(&height.to_be_bytes());
    bytes[at + 7..at + 9].copy_from_slice(&width.to_be_bytes());
    bytes
}

fn damages(good: &[u8]) -> Vec<Damage> {
    let mut noise = Noise(1);
    let mut all = Vec::new();
    let mut add = |name, bytes, costs| all.push(Damage { name, bytes, costs });
    for _ in 0..4 {
        let mut flipped = good.to_vec();
        for _ in 0..20 {
            let at = 2 + noise.next(good.len() - 2);
            flipped[at] ^= 1 << noise.next(8);
        }
        add("flipped bits", flipped, 1);
    }
    for _ in 0..4 {
        let end = 2 + noise.next(good.len() - 2);
        add("a picture that is cut", good[..end].to_vec(), 1);
    }
    let mut garbage = noise.bytes(300_000);
    for _ in 0..30_000 {
        let at = noise.next(garbage.len() - 1);
        garbage[at] = 0xFF;
        garbage[at + 1] = [0xD8, 0xD9, 0xDA, 0x00, 0xC4, 0xFF][noise.next(6)];
    }
    add("garbage", garbage, 1);
    // a length that leads on, again and again, and no scan
    let mut header = vec![0xFF, 0xD8];
    while header.len() < 12 << 20 {
        header.extend([0xFF, 0xE1, 0xFF, 0xFF]);
        header.resize(header.len() + 65_533, 0x41);
    }
    add("a header without end", header, 2);
    let scan = good.windows(2).position(|w| w == [0xFF, 0xDA]);
    let scan = scan.expect("a scan");
    let mut endless = good[..scan + 200].to_vec();
    endless.resize(12 << 20, 0x55);
    add("a scan without end", endless, 2);
    let starts = [0xFF, 0xD8, 0xFF, 0xDA, 0x00, 0x02].repeat(100_000);
    add("starts and nothing else", starts, 1);
    add("a bomb", resized(good, 65_535, 65_535), 0);
    add("a bomb within the limit", resized(good, 1_200, 800), 0);
    let small = noisy(96, 64, &mut noise);
    add("another size, twice", small.repeat(2), 0);
    // believed after three, and so is what comes then
    let large = noisy(1_200, 800, &mut noise);
    add(
        "the largest that there may be, until it is believed",
        large.repeat(4),
        2,
    );
    let scans = fs::read(root().join("tests/data/decoding/scans.jpg")).expect("a picture");
    add("several scans", scans.repeat(2), 0);
    let mut texts = good[..2].to_vec();
    for _ in 0..40 {
        texts.extend([0xFF, 0xE2, 0xFF, 0xFF]);
        texts.extend(b"ICC_PROFILE\0\x01\x01");
        texts.resize(texts.len() + 65_533 - 14, 0x42);
    }
    texts.extend(&good[2..]);
    add("profiles of megabytes", texts, 1);
    all
}

#[test]
fn a_hostile_stream_costs_no_more_than_what_is_damaged_and_memory_stays_bounded() {
    let (lasts, long) = soak();
    let folder = Folder::new();
    let (socket, fifo) = (folder.text("sock"), folder.fifo("camera"));
    let config = folder.file(
        "c.toml",
        format!("limits.pixels = 960000\nprompts.list = [\"bowl\"]\ntask = {{ masks = true, panoptic = true }}\n[source]\nkind = \"mjpeg\"\npath = \"{fifo}\"\n"),
    );
    let mut program = Program::start(&["--config", &config, "--socket", &socket]);
    let mut client = Client::connect(&socket);
    let good = fs::read(root().join("models/sample/coffee.jpg")).expect("a photo");
    let damages = damages(&good);
    let (stop, hostile) = (AtomicBool::new(false), AtomicBool::new(false));
    let (calm, seen, sent) = thread::scope(|scope| {
        let camera = scope.spawn(|| {
            let mut camera = fs::OpenOptions::new()
                .write(true)
                .open(&fifo)
                .expect("a reader");
            let (mut sent, mut may_be_lost) = (0_u64, 0_u64);
            let mut due = Instant::now();
            for damage in damages.iter().cycle() {
                if hostile.load(Relaxed) {
                    camera.write_all(&damage.bytes).expect("it reads");
                    // a false length reaches so far
                    camera.write_all(&[0; 140_000]).expect("it reads");
                    may_be_lost += damage.costs;
                }
                for _ in 0..8 {
                    if stop.load(Relaxed) {
                        return (sent, may_be_lost);
                    }
                    camera.write_all(&good).expect("it reads");
                    sent += u64::from(hostile.load(Relaxed));
                    due = (due + Duration::from_millis(100)).max(Instant::now());
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                }
            }
            unreachable!("it goes round")
        });
        let calm = behave(&mut client, (lasts / 4).min(Duration::from_secs(60)));
        hostile.store(true, Relaxed);
        let before = client.telemetry()["frames"].as_u64().expect("a number");
        let seen = behave(&mut client, lasts);
        stop.store(true, Relaxed);
        let (sent, may_be_lost) = camera.join().expect("a camera");
        let after = client.telemetry()["frames"].as_u64().expect("a number");
        (calm, seen, (sent, may_be_lost, after - before))
    });
    let (sent, may_be_lost, reported) = sent;
    let telemetry = client.telemetry();
    let names: Vec<&str> = damages.iter().map(|d| d.name).collect();
    eprintln!(
        "{sent} good pictures between {} kinds of damage ({}), {may_be_lost} of them may be lost with it, {reported} reports; {}",
        damages.len(),
        names.join(", "),
        telemetry["dropped"]
    );
    let computed = computed_kb(&config, &socket);
    hold(
        "within a hostile stream",
        &calm,
        &Seen {
            rate: calm.rate,
            ..seen
        },
        &program,
        computed,
        long,
    );
    let (share, damaged) = (
        if long { 0.97 } else { 0.8 },
        &telemetry["dropped"]["damaged"],
    );
    assert!(
        reported as f64 >= (sent - may_be_lost) as f64 * share,
        "{reported} reports of {sent} good pictures, {may_be_lost} of which may be lost"
    );
    assert!(damaged.as_u64().is_some_and(|n| n > 3), "{telemetry}");
    program.signal("TERM");
    assert!(program.end().success(), "{}", program.log());
}

/// A PNG as large as is allowed, in the widest form that there is.
fn wide_png(side: u32, noise: &mut Noise) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side, side);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Sixteen);
    let mut writer = encoder.write_header().expect("a header");
    let row = noise.bytes(side as usize * 8);
    let pixels: Vec<u8> = row
        .iter()
        .cycle()
        .take(row.len() * side as usize)
        .copied()
        .collect();
    writer.write_image_data(&pixels).expect("a picture");
    writer.finish().expect("a picture");
    bytes
}

#[test]
fn hostile_photos_cost_no_more_memory_than_is_computed() {
    let folder = Folder::new();
    let socket = folder.text("sock");
    fs::create_dir(folder.path("photos")).expect("a folder");
    let mut noise = Noise(2);
    let side = 1_400;
    let good = fs::read(root().join("models/sample/coffee.jpg")).expect("a photo");
    let scans = fs::read(root().join("tests/data/decoding/scans.jpg")).expect("a photo");
    for (name, bytes) in [
        ("a.png", wide_png(side, &mut noise)),
        ("b.png", wide_png(side + 20, &mut noise)),
        ("c.jpg", noisy(side, side, &mut noise)),
        ("d.jpg", resized(&good, 65_535, 65_535)),
        ("e.jpg", resized(&good, 1_400, 1_400)),
        ("f.jpg", scans),
        ("g.png", noise.bytes(1 << 20)),
        ("h.jpg", good),
    ] {
        fs::write(folder.path("photos").join(name), bytes).expect("a file");
    }
    let config = folder.file(
        "c.toml",
        format!(
            "limits.pixels = {}\ntask = {{ masks = true, panoptic = true, everything = true }}\n[source]\nkind = \"files\"\npath = \"{}\"\nrepeat = true\n",
            side * side,
            folder.text("photos")
        ),
    );
    let mut program = Program::start(&["--config", &config, "--socket", &socket]);
    let mut client = Client::connect(&socket);
    (0..12).for_each(|_| drop(client.report()));
    let peak: f64 = (program.status("VmHWM:").trim_end_matches(" kB"))
        .parse()
        .expect("kB");
    let computed = computed_kb(&config, &socket);
    eprintln!("peak {peak} kB of {computed} kB computed");
    assert!(peak < computed, "{peak} kB of {computed} kB");
    let telemetry = client.telemetry();
    let damaged = telemetry["dropped"]["damaged"].as_u64();
    assert!(damaged.is_some_and(|n| n >= 4), "{telemetry}");
    program.signal("TERM");
    assert!(program.end().success(), "{}", program.log());
}
