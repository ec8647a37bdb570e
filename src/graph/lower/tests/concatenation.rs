//! Concatenations side by side and inside one another.

use tract_onnx::pb::{GraphProto, tensor_proto::DataType};

use super::{
    builder::{Builder, picture, planes},
    convolution::IN,
};
use crate::{
    graph::{
        lower::{WeightsWriter, lower},
        program::{Executor, Kind, nhwc_from_planes},
    },
    kernels::isa::Isa,
};

/// `[32, 7, 9]`: the input twice and upsampled twice, side by side and inside one another.
pub(super) fn nested_concatenations() -> GraphProto {
    let mut b = Builder::default();
    let x = b.input("x", DataType::Float, &[1, 32, 7, 9]);
    let x = b.qdq(&x, IN.0, IN.1);
    let scales = b.constant(
        "up",
        DataType::Float,
        &[4],
        [1f32, 1.0, 2.0, 2.0]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect(),
    );
    let up = b.node("Resize", "resize", &[&x, "", &scales], &[]);
    let up = b.qdq(&up, IN.0, IN.1);
    let first = b.node("Concat", "first", &[&up, &up], &[("axis", &[1])]);
    let first = b.qdq(&first, IN.0, IN.1);
    let second = b.node("Concat", "second", &[&up, &first], &[("axis", &[1])]);
    let second = b.qdq(&second, IN.0, IN.1);
    b.0.output
        .push(Builder::info(&second, DataType::Float, &[]));
    b.0
}

#[test]
fn a_tensor_that_is_in_two_concatenations_is_copied_and_nothing_else_moves() {
    let x = picture();
    let graph = nested_concatenations();
    let program = lower(&graph, &mut WeightsWriter::default()).expect("a graph that is lowered");
    let copies = program
        .operations
        .iter()
        .filter(|op| matches!(op.kind, Kind::Copy(_)))
        .count();
    assert_eq!(
        (program.operations.len(), copies),
        (3, 2),
        "one upsampling, two copies"
    );
    let found = {
        let view = program.outputs[0].view;
        assert_eq!(view.tensor_shape(), [6, 14, 18, 16]);
        let output = view;
        let mut executor = Executor::new(program.clone(), &[]).expect("a valid program");
        let input = planes(&program.inputs[0].view, &x);
        let mut outputs = executor.outputs();
        executor.run(
            Isa::best(),
            1,
            &[],
            &[&input],
            &mut [&mut outputs[0]],
            |_, _| (),
        );
        let mut out = vec![0; 14 * 18 * 96];
        nhwc_from_planes(&output, &outputs[0], &mut out);
        out
    };
    for (i, &byte) in found.iter().enumerate() {
        let (pixel, c) = (i / 96, i % 96);
        let (y, x_) = (pixel / 18 / 2, pixel % 18 / 2);
        assert_eq!(
            byte.cast_signed(),
            x[(c % 32 * 7 + y) * 9 + x_],
            "pixel {pixel}, channel {c}"
        );
    }
}
