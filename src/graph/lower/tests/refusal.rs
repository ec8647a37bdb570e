//! Graphs that must be refused, by the name of the node.

use tract_onnx::pb::{GraphProto, NodeProto, TensorProto, tensor_proto::DataType};

use super::{
    builder::Builder,
    concatenation::nested_concatenations,
    convolution::{NOTHING, one_convolution, parameters},
    foreign::Q,
    gate::gated,
};
use crate::graph::lower::{WeightsWriter, lower};

const PADS: (&str, &[i64]) = ("pads", &[1, 1, 1, 1]);

/// What is said of a graph that is refused.
#[track_caller]
fn refused(graph: &GraphProto) -> String {
    let lowered = lower(graph, &mut WeightsWriter::default());
    lowered.expect_err("refused").to_string()
}

/// The constant of a graph that has this name.
fn constant<'a>(graph: &'a mut GraphProto, name: &str) -> &'a mut TensorProto {
    let found = graph.initializer.iter_mut().find(|t| t.name == name);
    found.expect("a constant")
}

#[test]
fn an_operator_or_attribute_that_is_not_lowered_is_refused_by_name() {
    let weights = parameters(16, 32, 3).0;
    let mut graph = one_convolution(&weights, NOTHING, &[PADS]);
    graph.node.push(NodeProto {
        name: "odd one".into(),
        op_type: "Softmax".into(),
        ..Default::default()
    });
    assert_eq!(
        refused(&graph),
        "cannot lower odd one: operator Softmax is not lowered"
    );

    let dilated = [PADS, ("dilations", &[2, 2])];
    let message = refused(&one_convolution(&weights, NOTHING, &dilated));
    assert!(
        message.contains("conv") && message.contains("dilated"),
        "{message}"
    );
    let grouped = [PADS, ("group", &[32])];
    let message = refused(&one_convolution(&weights, NOTHING, &grouped));
    assert!(
        message.contains("dense and depthwise convolution"),
        "{message}"
    );
}

#[test]
fn a_slope_that_no_epilogue_has_is_refused_with_the_slope() {
    let weights = parameters(16, 32, 3).0;
    for (kind, slope) in [("LeakyRelu", 1.5), ("LeakyRelu", -0.1), ("PRelu", f32::NAN)] {
        let message = refused(&one_convolution(&weights, (kind, slope), &[PADS]));
        assert!(
            message.contains(&format!("a slope of {slope}")),
            "{message}"
        );
    }
    let mut graph = one_convolution(&weights, ("PRelu", 0.5), &[PADS]);
    let slope = constant(&mut graph, "slope");
    slope.dims[0] = 2;
    slope.raw_data.extend(0.25f32.to_le_bytes());
    let message = refused(&graph);
    assert!(message.contains("2 slopes"), "{message}");
}

#[test]
fn constants_that_kernels_cannot_multiply_are_refused() {
    let weights = parameters(16, 32, 3).0;
    let mut extreme = weights.clone();
    extreme[40] = -128;
    let message = refused(&one_convolution(&extreme, NOTHING, &[PADS]));
    assert!(message.contains("weight -128"), "{message}");

    let mut graph = one_convolution(&weights, NOTHING, &[PADS]);
    constant(&mut graph, "b_s").raw_data[3] ^= 1;
    let message = refused(&graph);
    assert!(message.contains("is not input × weight scale"), "{message}");

    let mut graph = one_convolution(&weights, NOTHING, &[PADS]);
    graph.initializer.retain(|t| t.name != "w");
    assert_eq!(refused(&graph), "cannot lower w: is not a constant");
}

#[test]
fn parts_of_a_concatenation_with_another_scale_are_refused() {
    let mut graph = nested_concatenations();
    constant(&mut graph, "second_out_s").raw_data = 0.06f32.to_le_bytes().into();
    let message = refused(&graph);
    assert!(
        message.contains("second") && message.contains("quantise them alike"),
        "{message}"
    );
}

#[test]
fn a_product_of_two_pictures_is_a_function_or_refused() {
    // of a tensor with itself, made by no convolution
    let message = refused(&gated("itself"));
    assert!(message.contains("cannot lower product"), "{message}");
}

#[test]
fn a_function_of_a_tensor_that_is_read_elsewhere_is_refused() {
    let mut b = Builder::default();
    let x = b.input("x", DataType::Float, &[1, 16, 4, 4]);
    let x = b.qdq(&x, Q.0, Q.1);
    let (y, _) = b.convolution("conv", &x, [16, 16, 1, 1], 1);
    let raw = b.qdq(&y, Q.0, Q.1);
    let y = b.node("HardSwish", "swish", &[&raw], &[]);
    let y = b.qdq(&y, Q.0, Q.1);
    let y = b.node("Add", "add", &[&raw, &y], &[]);
    let y = b.qdq(&y, Q.0, Q.1);
    b.0.output.push(Builder::info(&y, DataType::Float, &[]));
    let message = refused(&b.0);
    assert!(
        message.contains("swish") && message.contains("read elsewhere"),
        "{message}"
    );
}
