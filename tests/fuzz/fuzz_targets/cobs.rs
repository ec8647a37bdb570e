//! Frames of the serial line, in pieces of any length, and the commands inside them.
#![no_main]

use tarsier::protocol::{frame::Deframer, json};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&n, rest)) = data.split_first() else {
        return;
    };
    let mut deframer = Deframer::new();
    for piece in rest.chunks(1 + usize::from(n)) {
        deframer.push(piece, |frame| {
            let _ = frame.map(|frame| json::read_request(frame.payload).is_ok());
        });
    }
});
