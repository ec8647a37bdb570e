//! A prompt: normalised, looked up, spelled and encoded.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    tarsier_fuzz::with_model(|vocabulary, encoder| {
        let name = tarsier::prompt::vocabulary::normalise(text);
        let _ = vocabulary.find(&name);
        let _ = text.len() < 200 && encoder.encode(text).is_ok();
    });
});
