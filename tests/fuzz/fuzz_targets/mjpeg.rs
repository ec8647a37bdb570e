//! A stream of JPEGs, in pieces of any length: no byte comes out twice.
#![no_main]

use tarsier::capture::mjpeg::Cutter;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&n, rest)) = data.split_first() else {
        return;
    };
    let (mut cutter, mut total) = (Cutter::new(), 0);
    for piece in rest.chunks(1 + usize::from(n)) {
        cutter.push(piece);
        while let Some(picture) = cutter.next() {
            total += picture.len();
        }
    }
    assert!(total <= rest.len());
});
