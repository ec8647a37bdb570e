//! A configuration; what was read is written, and reads again.
#![no_main]

use tarsier::run::config::Config;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(config) = Config::from_toml(text) {
        let written = config.to_toml().expect("a configuration is TOML");
        Config::from_toml(&written).expect("what was written is read");
    }
});
