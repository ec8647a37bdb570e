//! A file of a user's words.
#![no_main]

use tarsier::prompt::words::Words;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = Words::open(&tarsier_fuzz::file(data));
});
