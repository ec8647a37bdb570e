//! Tarsier.
pub mod detect;
pub mod draw;
pub mod frame;
pub mod geometry;
pub mod kernels;
pub mod quant;
pub mod report;
pub mod scene;
pub mod text;
