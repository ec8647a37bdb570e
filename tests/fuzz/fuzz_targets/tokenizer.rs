//! A table of subwords.
#![no_main]

use tarsier::text::Tokenizer;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(lines) = std::str::from_utf8(data) else {
        return;
    };
    let _ = Tokenizer::from_lines(lines);
});
