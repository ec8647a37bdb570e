//! Sentences, read where they lie.

use core::str::FromStr;

use super::{Numbers, Sentence, SentenceError, body};
use crate::{
    event::State,
    happening::Source,
    report::{BoundingBox, Change, Point, PresenceCounts, PresenceState, Sight},
};

impl<'a> Sentence<'a> {
    /// Reads a sentence, with or without its carriage return, without its line feed. Fields behind
    /// those that are known are passed over, but for sentences that end in words.
    ///
    /// # Errors
    ///
    /// [`SentenceError`].
    pub fn read(line: &'a [u8]) -> Result<Self, SentenceError> {
        let body = body(line).ok_or(SentenceError::Checksum)?;
        let body = core::str::from_utf8(body).map_err(|_| SentenceError::Fields)?;
        let body = body.strip_prefix("TS").ok_or(SentenceError::Name)?;
        let (name, rest) = match body.split_once(',') {
            Some((name, rest)) => (name, Some(rest)),
            None => (body, None),
        };
        let fields = &mut Fields(rest);
        match name {
            "REP" => Self::report(fields),
            "DET" => Self::detection(fields),
            "TRK" => Self::tracks(fields),
            "SMO" => Self::smoothed(fields),
            "CON" => Self::continued(fields),
            "DIR" => Self::sight(fields),
            "PRC" => Self::presence_counts(fields),
            "PRE" => Self::presence(fields),
            "EVT" => Self::happening(fields),
            "HEL" => Self::hello(fields),
            "STA" => Self::state(fields),
            "PRM" => Self::prompts_changed(fields),
            "FLT" => fields.words().map(|text| Self::Fault { text }),
            "TEL" => Self::telemetry(fields),
            "LST" => Self::lost(fields),
            "HBT" => Self::heartbeat(fields),
            "ACK" => Self::done(fields),
            "ERR" => Self::error(fields),
            "NAM" => Self::name(fields),
            "PRA" => Self::name_presence(fields),
            _ => return Err(SentenceError::Name),
        }
        .ok_or(SentenceError::Fields)
    }

    fn report(f: &mut Fields<'a>) -> Option<Self> {
        Some(Self::Report {
            sequence: f.number()?,
            found: f.number()?,
            prompts_version: f.number()?,
            captured_ms: f.number()?,
            latency_us: f.number()?,
        })
    }

    fn detection(f: &mut Fields<'a>) -> Option<Self> {
        Some(Self::Detection {
            sequence: f.number()?,
            index: f.number()?,
            prompt: f.number()?,
            score: f.number()?,
            bbox: BoundingBox {
                center: Point {
                    x: f.number()?,
                    y: f.number()?,
                },
                size_x: f.number()?,
                size_y: f.number()?,
            },
            name: f.words()?,
        })
    }

    fn tracks(f: &mut Fields<'a>) -> Option<Self> {
        Some(Self::Tracks {
            sequence: f.number()?,
            first: f.number()?,
            ids: Numbers(f.words()?),
        })
    }

    fn smoothed(f: &mut Fields<'a>) -> Option<Self> {
        Some(Self::Smoothed {
            sequence: f.number()?,
            first: f.number()?,
            scores: Numbers(f.words()?),
        })
    }

    fn continued(f: &mut Fields<'a>) -> Option<Self> {
        Some(Self::Continued {
            sequence: f.number()?,
            first: f.number()?,
        })
    }

    fn sight(f: &mut Fields<'a>) -> Option<Self> {
        Some(Self::Sight {
            sequence: f.number()?,
            index: f.number()?,
            sight: Sight {
                bearing_deg: f.number()?,
                elevation_deg: f.number()?,
                range_m: f.optional()?,
                range_sd_m: f.optional()?,
            },
        })
    }

    fn presence_counts(f: &mut Fields<'a>) -> Option<Self> {
        Some(Self::PresenceCounts {
            sequence: f.number()?,
            counts: PresenceCounts {
                there: f.number()?,
                unsure: f.number()?,
                not_there: f.number()?,
            },
        })
    }

    fn presence(f: &mut Fields<'a>) -> Option<Self> {
        Some(Self::Presence {
            sequence: f.number()?,
            index: f.number()?,
            prompt: f.number()?,
            state: f.among(&PresenceState::ALL, PresenceState::name)??,
            score: f.number()?,
            change: f.among(&Change::ALL, Change::name)?,
            name: f.words()?,
        })
    }

    fn happening(f: &mut Fields<'a>) -> Option<Self> {
        Some(Self::Happening {
            sequence: f.number()?,
            captured_ms: f.number()?,
            kind: f.among(&Change::ALL, Change::name)??,
            source: f.among(&Source::ALL, Source::name)??,
            prompt: f.number()?,
            score: f.number()?,
            track: f.optional()?,
            name: f.words()?,
        })
    }

    fn hello(f: &mut Fields<'a>) -> Option<Self> {
        Some(Self::Hello {
            wire: f.number()?,
            run: f.number()?,
            version: f.words()?,
        })
    }

    fn state(f: &mut Fields<'a>) -> Option<Self> {
        Some(Self::State {
            state: f.among(&State::ALL, State::name)??,
            why: f.words()?,
        })
    }

    fn prompts_changed(f: &mut Fields<'a>) -> Option<Self> {
        Some(Self::PromptsChanged {
            version: f.number()?,
            count: f.number()?,
        })
    }

    fn telemetry(f: &mut Fields<'a>) -> Option<Self> {
        Some(Self::Telemetry {
            fps: f.number()?,
            latency_p50_us: f.number()?,
            latency_p99_us: f.number()?,
            rss_kib: f.number()?,
            temperature_c: f.optional()?,
            dropped: f.number()?,
        })
    }

    fn lost(f: &mut Fields<'a>) -> Option<Self> {
        Some(Self::Lost {
            reports: f.number()?,
            others: f.number()?,
        })
    }

    fn heartbeat(f: &mut Fields<'a>) -> Option<Self> {
        Some(Self::Heartbeat {
            state: f.among(&State::ALL, State::name)?,
            sent: f.number()?,
            lost: f.number()?,
        })
    }

    fn done(f: &mut Fields<'a>) -> Option<Self> {
        Some(Self::Done {
            id: f.number()?,
            answer: f.words(),
        })
    }

    fn error(f: &mut Fields<'a>) -> Option<Self> {
        Some(Self::Error {
            id: f.number()?,
            code: f.number()?,
            text: f.words()?,
        })
    }

    fn name(f: &mut Fields<'a>) -> Option<Self> {
        Some(Self::Name {
            id: f.number()?,
            prompt: f.number()?,
            name: f.words()?,
        })
    }

    fn name_presence(f: &mut Fields<'a>) -> Option<Self> {
        Some(Self::NamePresence {
            id: f.number()?,
            prompt: f.number()?,
            state: f.among(&PresenceState::ALL, PresenceState::name)??,
            score: f.number()?,
            name: f.words()?,
        })
    }
}

/// What is left of a sentence; none behind its last field.
struct Fields<'a>(Option<&'a str>);

impl<'a> Fields<'a> {
    /// The next field.
    fn field(&mut self) -> Option<&'a str> {
        let rest = self.0?;
        match rest.split_once(',') {
            Some((field, rest)) => {
                self.0 = Some(rest);
                Some(field)
            }
            None => self.0.take(),
        }
    }

    fn number<T: FromStr>(&mut self) -> Option<T> {
        self.field()?.parse().ok()
    }

    /// A number or an empty field.
    fn optional<T: FromStr>(&mut self) -> Option<Option<T>> {
        match self.field()? {
            "" => Some(None),
            field => field.parse().ok().map(Some),
        }
    }

    /// One of some words, or an empty field.
    fn among<T: Copy>(&mut self, all: &[T], name: fn(T) -> &'static str) -> Option<Option<T>> {
        match self.field()? {
            "" => Some(None),
            field => (all.iter().copied())
                .find(|one| name(*one) == field)
                .map(Some),
        }
    }

    /// All that is left.
    fn words(&mut self) -> Option<&'a str> {
        self.0.take()
    }
}
