//! A photo of any format.
#![no_main]

use tarsier::frame::file::Photo;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = Photo::decode("photo".as_ref(), data);
});
