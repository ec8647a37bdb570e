//! A command in JSON, and any other message.
#![no_main]

use tarsier_wire::json;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(request) = json::read_request(data) {
        let mut line = Vec::new();
        json::write_request(&request, &mut line);
        assert_eq!(json::read_request(&line), Ok(request));
    }
    let _ = json::read(data);
});
