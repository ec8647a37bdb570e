//! A pack's manifest; what was read is written.
#![no_main]

use tarsier::pack::manifest::Manifest;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(manifest) = Manifest::from_json(data) {
        let _ = manifest.to_json();
    }
});
