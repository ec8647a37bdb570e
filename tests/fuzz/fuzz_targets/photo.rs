//! A photo of any format.
#![no_main]

use tarsier::frame::file::ImageFile;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = ImageFile::decode("photo".as_ref(), data);
});
