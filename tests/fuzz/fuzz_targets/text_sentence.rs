//! A line of the text protocol, as it is and with a right checksum.
#![no_main]

use tarsier_wire::nmea::{self, Sentence};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    nmea::SentenceReader::new().push(data, |_| ());
    let body: Vec<u8> = data
        .iter()
        .copied()
        .filter(|b| !b"\n$".contains(b))
        .collect();
    let sum = body.iter().fold(0, |sum, byte| sum ^ byte);
    let line = [b"$", &body[..], format!("*{sum:02X}").as_bytes()].concat();
    let _ = nmea::read_request(&line);
    let _ = Sentence::read(&line);
});
