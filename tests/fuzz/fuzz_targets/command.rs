//! A command in JSON.
#![no_main]

use tarsier::protocol::json;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = json::read_request(data);
});
