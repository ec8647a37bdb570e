//! A pack: its directory and sections.
#![no_main]

use tarsier::pack::Pack;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = Pack::open(&tarsier_fuzz::file(data));
});
