//! A lowered program, and its run on small tensors.
#![no_main]

use tarsier::graph::program::{Executor, Program};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(program) = Program::from_bytes(data) else {
        return;
    };
    let weights = vec![1; 1 << 16];
    let _ = Executor::new(program, &weights);
});
