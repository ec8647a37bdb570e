//! Tarsier.
pub mod build;
pub mod detect;
pub mod draw;
pub mod frame;
pub mod geometry;
pub mod graph;
pub mod kernels;
pub mod pack;
pub mod pipeline;
pub mod prompt;
pub mod quant;
pub mod report;
pub mod scene;
pub mod text;
