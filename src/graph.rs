//! Graphs: from standard QDQ ONNX to an int8 program, and its execution in a tract plan.
//!
//! ```text
//! host:    QDQ ONNX --lower--> ONNX with Int8Program nodes + packed weights   (`tarsier pack build`)
//! device:  that ONNX --tract-onnx--> plan; Int8Program runs on borrowed weights
//! ```
//!
//! | file | does |
//! |---|---|
//! | [`program`] | what a program is, and running it over its arena |
//! | [`qdq`] | reads the constants and quantisation parameters of a QDQ graph |
//! | [`lower`] | int8 subgraph to program |
//! | [`plan`] | where each buffer lies in the arena |
//! | [`op`] | the ONNX node, the tract operator, and [`op::Graph`]: a plan ready to run |
//!
//! Lowering reads ONNX rather than tract's typed graph: there quantisation is still what the standard says, while
//! tract has already rewritten it (per-channel dequantisation into cast, subtract, multiply; pointwise convolution into
//! einsum). tract stays the parser, the type checker and the host of everything that is not lowered.

pub mod lower;
pub mod op;
pub mod plan;
pub mod program;
pub mod qdq;
