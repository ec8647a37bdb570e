//! A program that feeds links with reports, as the real one does, without a camera or a model: for tests of clients.
//!
//! It is this test program again, told by an argument in the environment: cargo then needs to build nothing else.
//!
//! Options: `--socket PATH`, `--activated PATH`, `--serial TTY`, `--json TTY`, `--text TTY`, `--reports N`, `--fps N`. It waits
//! until every link is open and has a client, then sends N reports (default: no end), and ends. Commands are acknowledged.

use std::{
    process::{Child, Command as Process, Stdio},
    sync::Arc,
    time::Duration,
};

use tarsier::{
    link::{LinkConfig, Links, SerialConfig, SocketConfig, TextConfig, config::Payload},
    protocol::{Answer, Command, Event, Outgoing, Reply, State, WIRE_VERSION},
};

use super::report;

const ARGUMENTS: &str = "TARSIER_TEST_FEED";

/// The program; its options are one text, separated by spaces.
pub(crate) fn feeder(options: &str) -> Process {
    let mut program = Process::new(std::env::current_exe().expect("this program"));
    program
        .args(["--ignored", "--exact", "feed::program", "--nocapture"])
        .env(ARGUMENTS, options);
    program
}

/// The program as it runs, without a test program's chatter; it ends when this is dropped.
pub(crate) fn feed(options: &str) -> Feeding {
    let child = feeder(options).stdout(Stdio::null()).spawn();
    child.expect("the feeder").into()
}

/// A program that is killed when its test is over.
pub(crate) struct Feeding(Child);

impl From<Child> for Feeding {
    fn from(child: Child) -> Self {
        Self(child)
    }
}

impl Drop for Feeding {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "the program that other tests run"]
fn program() {
    let options = std::env::var(ARGUMENTS).expect("options");
    let (mut configs, mut reports, mut fps) = (Vec::new(), u64::MAX, 100.0);
    let mut arguments = options.split(' ').map(str::to_owned);
    while let Some(option) = arguments.next() {
        let value = arguments.next().expect("every option has a value");
        let serial = |format| SerialConfig {
            speed: 4_000_000,
            format,
            heartbeat_ms: 100,
            ..SerialConfig::new(&value)
        };
        let config = match option.as_str() {
            "--socket" => LinkConfig::Socket(SocketConfig::new(&value)),
            "--activated" => LinkConfig::Socket(SocketConfig {
                activation: true,
                ..SocketConfig::new(&value)
            }),
            "--serial" => LinkConfig::Serial(serial(Payload::Binary)),
            "--json" => LinkConfig::Serial(serial(Payload::Json)),
            "--text" => LinkConfig::Text(TextConfig::new(&value)),
            "--reports" => {
                reports = value.parse().expect("a number");
                continue;
            }
            "--fps" => {
                fps = value.parse().expect("a number");
                continue;
            }
            _ => panic!("no option {option}"),
        };
        configs.push(config);
    }
    let links = Links::start(&configs).expect("links");
    let state = Event::State {
        from: State::Starting,
        to: State::Running,
        why: "a test".into(),
    };
    links.publish(&Outgoing::Event(Arc::new(state)));
    while links.health().iter().any(|l| l.clients == 0) {
        std::thread::sleep(Duration::from_millis(2));
    }
    for sequence in 0..reports {
        let envelope = report::envelope(links.run(), sequence, (sequence % 5) as usize);
        links.publish(&Outgoing::Report(Arc::new(envelope)));
        answer(&links);
        links.wait(Duration::from_secs_f64(1.0 / fps));
        answer(&links);
    }
}

fn answer(links: &Links) {
    for (origin, request) in links.commands() {
        let answer = match request.command {
            Command::Hello {} => Answer::Hello {
                wire: WIRE_VERSION,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                run: links.run(),
                pack: "none".into(),
                prompts_version: 1,
                prompts: report::NAMES.len() as u32,
            },
            Command::GetPrompts { from, count } => Answer::Prompts {
                prompts_version: 1,
                count: report::NAMES.len() as u32,
                from,
                names: report::NAMES
                    .into_iter()
                    .skip(from as usize)
                    .take(count as usize)
                    .map(str::to_owned)
                    .collect(),
            },
            _ => Answer::Done,
        };
        let id = request.id;
        links.reply(origin, Reply::Ack { id, answer });
    }
}
