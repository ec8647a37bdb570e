//! A camera's JPEG: header walk and decoder.
#![no_main]

use tarsier::capture::picture::{Decoder, Form, Picture};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut picture = Picture::default();
    picture.form = Form::Jpeg;
    picture.bytes = data.to_vec();
    let _ = Decoder::new(1 << 22).frame(&picture, None);
});
