//! Tarsier.
fn main() {}
