//! What is known of a running Tarsier, as lines of text.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use tarsier_wire::{
    Drops, Event, Message, Reply, Report, json,
    report::{BoundingBox, Detection, PresenceCounts, PresenceState},
};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Over how long frames per second are counted.
const LATELY: Duration = Duration::from_secs(3);

/// Columns of a name, at least; the rest of the table has a fixed width.
const NAME: usize = 16;

/// Columns of the table behind the name.
const NUMBERS: usize = 50;

/// Columns for directions, where there are any.
const SIGHTS: usize = 17;

/// What was last heard.
#[derive(Debug)]
pub(super) struct View {
    path: String,
    version: String,
    state: String,
    /// The last report's line, whose texts stay in it.
    report: Option<Vec<u8>>,
    came: VecDeque<Instant>,
    lost: u64,
    temperature: Option<f32>,
    said: String,
}

impl View {
    pub(super) fn new(path: String) -> Self {
        Self {
            path,
            version: String::new(),
            state: "connected".into(),
            report: None,
            came: VecDeque::new(),
            lost: 0,
            temperature: None,
            said: String::new(),
        }
    }

    pub(super) const fn has_report(&self) -> bool {
        self.report.is_some()
    }

    /// Takes one line of the socket; what is no message is passed over.
    pub(super) fn take(&mut self, line: &[u8]) {
        let event = match json::read(line) {
            Ok(Message::Report(_)) => {
                self.came.push_back(Instant::now());
                self.report = Some(line.to_owned());
                return;
            }
            Ok(Message::Reply(Reply::Error { text, .. })) => {
                self.said = text;
                return;
            }
            Ok(Message::Reply(Reply::Ack { .. })) => {
                self.said.clear();
                return;
            }
            Ok(Message::Event(event)) => event,
            Err(_) => return,
        };
        match event {
            Event::Hello { version, .. } => {
                self.version = version;
                (self.lost, self.said) = (0, String::new());
                self.state = "connected".into();
            }
            Event::State { to, why, .. } => {
                self.said = format!("{}: {why}", to.name());
                self.state = to.name().into();
            }
            Event::PromptsChanged { version, count } => {
                self.said = format!("prompts version {version}: {count}");
            }
            Event::Fault { part, text } => self.said = format!("{part}: {text}"),
            Event::Scene(happening) => {
                let (what, score) = (&happening.class_id, happening.score);
                self.said = format!("{what} {}: {score:.2}", happening.kind.name());
            }
            Event::Telemetry(telemetry) => self.temperature = telemetry.temperature_c,
            Event::Lost { count, .. } => self.lost += count,
        }
    }

    /// The connection is gone; what was last seen stays, as what it is.
    pub(super) fn lose(&mut self, why: &str) {
        self.state = "not connected".into();
        self.said = format!("connection lost ({why}); trying again");
        self.came.clear();
    }

    /// The table, cut to so many columns and rows.
    pub(super) fn lines(&mut self, columns: usize, rows: usize) -> Vec<String> {
        let fps = self.fps();
        let report = (self.report.as_deref()).and_then(|line| match json::read(line) {
            Ok(Message::Report(report)) => Some(report),
            _ => None,
        });
        let mut lines = vec![format!(
            "tarsier {}  {}  {}",
            self.version, self.state, self.path
        )];
        if let Some(report) = &report {
            let Drops {
                late,
                damaged,
                failed,
            } = report.dropped;
            let temperature = self
                .temperature
                .map_or_else(String::new, |t| format!("  {t:.0} °C"));
            lines.push(format!(
                "frame {}  {}x{}  {fps:.1} fps  latency {:.1} ms{temperature}  prompts v{}",
                report.header.seq,
                report.width,
                report.height,
                f64::from(report.latency_us) / 1000.0,
                report.prompts_version
            ));
            lines.push(format!(
                "dropped: late {late}, damaged {damaged}, failed {failed}; not read here {}",
                self.lost
            ));
        } else {
            lines.push("no report yet".into());
        }
        lines.push(printable(&self.said));
        lines.extend(report.as_ref().and_then(presence));
        if let Some(report) = &report {
            let sights = report.has_sights();
            let numbers = NUMBERS + if sights { SIGHTS } else { 0 };
            let name = columns.saturating_sub(numbers).clamp(NAME, 40);
            // the head, a table's head, and a line for what has no room
            let room = rows.saturating_sub(lines.len() + 2);
            lines.push(format!(
                "{}  score      x      y  width height  track{}",
                fitted("what", name),
                if sights { "  bearing  range" } else { "" }
            ));
            let row = |_, detection: &Detection<'_>| lines.push(row(detection, name));
            report.detections.each(room, row);
            let more = report.detections.len().saturating_sub(room) + report.crowded as usize;
            if more > 0 {
                lines.push(format!("and {more} more"));
            } else if report.detections.is_empty() {
                lines.push("nothing found".into());
            }
        }
        lines.truncate(rows);
        lines.iter().map(|line| cut(line, columns)).collect()
    }

    fn fps(&mut self) -> f64 {
        let now = Instant::now();
        while self.came.front().is_some_and(|at| now - *at > LATELY) {
            self.came.pop_front();
        }
        let first = self
            .came
            .front()
            .map_or(0.0, |at| (now - *at).as_secs_f64());
        // n reports are n - 1 intervals and what has passed since the last
        if self.came.len() < 2 {
            return 0.0;
        }
        (self.came.len() - 1) as f64 / first.max(1e-3)
    }
}

/// One line of which names are there, which are doubtful, and how many of each are not named.
fn presence(report: &Report<'_>) -> Option<String> {
    let PresenceCounts {
        there,
        unsure,
        not_there,
    } = report.presence_counts?;
    if there + unsure + not_there == 0 {
        return None;
    }
    let mut parts = Vec::new();
    for (state, words, count) in [
        (PresenceState::There, "there", there),
        (PresenceState::Unsure, "unsure", unsure),
        (PresenceState::NotThere, "not there", not_there),
    ] {
        let mut named = Vec::new();
        if let Some(names) = &report.presence {
            names.each(usize::MAX, |_, name| {
                if name.state == state {
                    named.push(format!("{} {:.2}", printable(&name.class_id), name.score));
                }
            });
        }
        let more = (count as usize).saturating_sub(named.len());
        if more > 0 {
            named.push(format!("{more} more"));
        }
        if !named.is_empty() {
            parts.push(format!("{words}: {}", named.join(", ")));
        }
    }
    Some(parts.join("; "))
}

fn row(detection: &Detection<'_>, name: usize) -> String {
    let [what] = &detection.results;
    let BoundingBox {
        center,
        size_x,
        size_y,
    } = &detection.bbox;
    let (score, id) = (what.score, detection.id);
    let id = id.map_or_else(String::new, |id| id.to_string());
    let mut row = format!(
        "{}{}{score:5.2} {:6.0} {:6.0} {size_x:6.0} {size_y:6.0}  {}",
        fitted(&printable(&what.class_id), name),
        // its score is too low, and its track goes on
        if detection.continued { " ~" } else { "  " },
        center.x,
        center.y,
        id
    );
    if let Some(sight) = &detection.sight {
        let gap = 5usize.saturating_sub(id.len());
        let range = sight
            .range_m
            .map_or_else(String::new, |m| format!("{m:.1} m"));
        row.push_str(&format!(
            "{:gap$}  {:6.1}° {range:>6}",
            "", sight.bearing_deg
        ));
    }
    row
}

/// A text without anything that a terminal would obey.
fn printable(text: &str) -> String {
    let shown = |c: char| match c {
        // these turn the direction of all that follows
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '·',
        c if c.width().is_none() => '·',
        c => c,
    };
    text.chars().map(shown).collect()
}

/// A text cut or filled to so many columns.
fn fitted(text: &str, columns: usize) -> String {
    let mut text = cut(text, columns);
    let width = text.width();
    text.extend(std::iter::repeat_n(' ', columns.saturating_sub(width)));
    text
}

/// As much of a text as so many columns hold; Chinese characters take two.
fn cut(text: &str, columns: usize) -> String {
    let mut left = columns;
    let fits = |c: &char| {
        let width = c.width().unwrap_or(0);
        let fits = width <= left;
        left = left.saturating_sub(width);
        fits
    };
    text.chars().take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(names: &[&str]) -> Vec<u8> {
        let detections: Vec<_> = names
            .iter()
            .map(|name| {
                json!({"bbox":{"center":{"x":320.5,"y":240.0},"size_x":100.0,"size_y":160.0},
                    "results":[{"class_id":name,"score":0.875}]})
            })
            .collect();
        let report = json!({"type":"report","header":{"seq":1234},"prompts_version":3,"latency_us":21500,"width":640,
            "height":480,"dropped":{"late":2,"damaged":1,"failed":0},"crowded":0,"detections":detections});
        report.to_string().into_bytes()
    }

    fn view(lines: &[&[u8]]) -> View {
        let mut view = View::new("/run/s".into());
        lines.iter().for_each(|line| view.take(line));
        view
    }

    #[test]
    fn a_report_is_a_head_and_a_row_for_each_detection() {
        let hello = br#"{"type":"event","event":"hello","wire":1,"version":"0.1.0","run":7}"#;
        let state =
            br#"{"type":"event","event":"state","from":"starting","to":"running","why":"ready"}"#;
        let lost = br#"{"type":"event","event":"lost","count":17,"others":0}"#;
        let mut view = view(&[hello, state, lost, lost, &report(&["person", "coffee cup"])]);
        let lines = view.lines(80, 24);
        assert_eq!(lines[0], "tarsier 0.1.0  running  /run/s");
        assert!(
            lines[1].starts_with("frame 1234  640x480") && lines[1].contains("latency 21.5 ms")
        );
        assert_eq!(
            lines[2],
            "dropped: late 2, damaged 1, failed 0; not read here 34"
        );
        assert_eq!(lines[3], "running: ready");
        let words = |line: &str| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            words(&lines[5]),
            ["person", "0.88", "320", "240", "100", "160"]
        );
        assert!(lines[6].starts_with("coffee cup  "));
        assert_eq!(lines[4].find("score"), lines[5].find(" 0.88"));
    }

    #[test]
    fn tracks_and_directions_have_columns() {
        let report = json!({"type":"report","width":640,"height":480,"detections":[
            {"bbox":{"center":{"x":320.0,"y":240.0},"size_x":100.0,"size_y":160.0},"results":[{"class_id":"person","score":0.875}],
             "id":"7","continued":true,"sight":{"bearing_deg":-12.34,"elevation_deg":1.0,"range_m":2.55,"range_sd_m":0.2}},
            {"bbox":{},"results":[{"class_id":"kite","score":0.5}],"sight":{"bearing_deg":3.0,"elevation_deg":30.0}}]});
        let mut view = view(&[report.to_string().as_bytes()]);
        let lines = view.lines(90, 24);
        let (head, rows) = lines[4..].split_first().expect("a table");
        assert!(head.ends_with("track  bearing  range"), "{head}");
        assert!(
            rows[0].contains(" ~ 0.88") && !rows[1].contains('~'),
            "{rows:?}"
        );
        assert!(
            rows[0].ends_with("7       -12.3°  2.5 m")
                || rows[0].ends_with("7       -12.3°  2.6 m"),
            "{rows:?}"
        );
        assert!(rows[1].trim_end().ends_with("3.0°"), "{rows:?}");
    }

    #[test]
    fn the_table_keeps_to_the_terminal_and_says_what_has_no_room() {
        let names: Vec<String> = (0..50)
            .map(|i| format!("猫 number {i} of a long name"))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut view = view(&[&report(&names)]);
        for (columns, rows) in [(80, 24), (40, 10), (10, 5), (1, 1), (200, 60)] {
            let lines = view.lines(columns, rows);
            assert!(lines.len() <= rows, "{columns}x{rows}: {lines:?}");
            assert!(
                lines.iter().all(|l| l.width() <= columns),
                "{columns}x{rows}: {lines:?}"
            );
        }
        assert_eq!(
            view.lines(80, 24).last().map(String::as_str),
            Some("and 32 more")
        );
        assert_eq!(view.lines(80, 60).len(), 4 + 1 + 50);
    }

    #[test]
    fn names_cannot_command_the_terminal() {
        let mut view = view(&[&report(&["\u{1b}[2Jcleared\r\n\u{9b}0m\u{202e}"])]);
        let lines = view.lines(80, 24);
        assert!(
            lines.iter().all(|l| !l.contains(char::is_control)),
            "{lines:?}"
        );
        assert!(lines[5].starts_with("·[2Jcleared···0m·"), "{lines:?}");
    }

    #[test]
    fn presence_is_a_line_and_a_change_is_said() {
        let report = json!({"type":"report","presence":[
            {"class_id":"person","state":"there","score":0.93,"change":"appeared"},
            {"class_id":"cup\u{1b}","state":"unsure","score":0.3}],
            "presence_counts":{"there":1,"unsure":1,"not_there":78}});
        let event = br#"{"type":"event","event":"scene","kind":"appeared","class_id":"person","score":0.93}"#;
        let mut view = view(&[report.to_string().as_bytes(), event]);
        let lines = view.lines(80, 24);
        assert_eq!(lines[3], "person appeared: 0.93");
        assert_eq!(
            lines[4],
            "there: person 0.93; unsure: cup· 0.30; not there: 78 more"
        );
        assert!(lines[5].starts_with("what "), "{lines:?}");
    }

    #[test]
    fn what_is_no_message_changes_nothing() {
        let mut view = view(&[
            b"",
            b"{",
            b"[1]",
            br#"{"type":"news"}"#,
            br#"{"type":"report","detections":7}"#,
        ]);
        assert!(!view.has_report());
        assert_eq!(view.lines(80, 24)[1], "no report yet");
        view.take(&report(&[]));
        assert_eq!(
            view.lines(80, 24).last().map(String::as_str),
            Some("nothing found")
        );
        view.lose("closed");
        assert!(view.lines(80, 24)[0].contains("not connected"));
    }
}
