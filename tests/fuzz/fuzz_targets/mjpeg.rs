//! A stream of JPEGs, in pieces of any length: no byte comes out twice.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&n, rest)) = data.split_first() else {
        return;
    };
    assert!(tarsier::capture::cut(rest, 1 + usize::from(n)) <= rest.len());
});
