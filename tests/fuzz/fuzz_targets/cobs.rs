//! Frames of the serial line, in pieces of any length, what they carry, and the commands inside them.
#![no_main]

use tarsier_wire::{
    binary::{self, Payload},
    frame::Deframer,
    json,
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&n, rest)) = data.split_first() else {
        return;
    };
    let mut deframer = Deframer::new();
    for piece in rest.chunks(1 + usize::from(n)) {
        deframer.push(piece, |frame| {
            if let Ok(frame) = frame
                && let Ok(Payload::Command(command)) = binary::read(&frame)
            {
                let _ = json::read_request(command);
            }
        });
    }
});
