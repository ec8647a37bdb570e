//! Graphs made node by node, and running what they are lowered to.

use tract_onnx::pb::{
    AttributeProto, GraphProto, NodeProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, tensor_proto::DataType, tensor_shape_proto, type_proto,
};

use crate::{
    graph::{
        lower::{WeightsWriter, lower},
        program::{Executor, Program, View, nhwc_from_planes},
    },
    kernels::{isa::Isa, layout::LANE},
};

/// A graph under construction; every helper returns the name of what it made.
#[derive(Default)]
pub(super) struct Builder(pub(super) GraphProto);

impl Builder {
    pub(super) fn info(name: &str, kind: DataType, shape: &[i64]) -> ValueInfoProto {
        let dim = |&n: &i64| tensor_shape_proto::Dimension {
            value: Some(tensor_shape_proto::dimension::Value::DimValue(n)),
            ..Default::default()
        };
        ValueInfoProto {
            name: name.to_owned(),
            r#type: Some(TypeProto {
                value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                    elem_type: kind as i32,
                    shape: Some(TensorShapeProto {
                        dim: shape.iter().map(dim).collect(),
                    }),
                })),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    pub(super) fn input(&mut self, name: &str, kind: DataType, shape: &[i64]) -> String {
        self.0.input.push(Self::info(name, kind, shape));
        name.to_owned()
    }

    pub(super) fn constant(
        &mut self,
        name: &str,
        kind: DataType,
        dims: &[i64],
        raw: Vec<u8>,
    ) -> String {
        self.0.initializer.push(TensorProto {
            name: name.to_owned(),
            data_type: kind as i32,
            dims: dims.to_vec(),
            raw_data: raw,
            ..Default::default()
        });
        name.to_owned()
    }

    pub(super) fn node(
        &mut self,
        kind: &str,
        name: &str,
        input: &[&str],
        ints: &[(&str, &[i64])],
    ) -> String {
        self.0.node.push(NodeProto {
            name: name.to_owned(),
            op_type: kind.to_owned(),
            input: input.iter().map(|&i| i.to_owned()).collect(),
            output: vec![format!("{name}_out")],
            attribute: ints
                .iter()
                .map(|(name, values)| AttributeProto {
                    name: (*name).to_owned(),
                    ints: values.to_vec(),
                    i: values[0],
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        });
        format!("{name}_out")
    }

    /// `QuantizeLinear` and `DequantizeLinear` of an activation.
    pub(super) fn qdq(&mut self, tensor: &str, scale: f32, zero: i8) -> String {
        let s = self.constant(
            &format!("{tensor}_s"),
            DataType::Float,
            &[],
            scale.to_le_bytes().into(),
        );
        let z = self.constant(
            &format!("{tensor}_z"),
            DataType::Int8,
            &[],
            vec![zero.cast_unsigned()],
        );
        let q = self.node(
            "QuantizeLinear",
            &format!("{tensor}_q"),
            &[tensor, &s, &z],
            &[],
        );
        self.node(
            "DequantizeLinear",
            &format!("{tensor}_dq"),
            &[&q, &s, &z],
            &[],
        )
    }

    /// A dequantised constant with a scale per channel.
    pub(super) fn dequantised(
        &mut self,
        name: &str,
        kind: DataType,
        dims: &[i64],
        raw: Vec<u8>,
        scales: &[f32],
    ) -> String {
        let w = self.constant(name, kind, dims, raw);
        let raw = scales.iter().flat_map(|s| s.to_le_bytes()).collect();
        let s = self.constant(
            &format!("{name}_s"),
            DataType::Float,
            &[scales.len() as i64],
            raw,
        );
        self.node(
            "DequantizeLinear",
            &format!("{name}_dq"),
            &[&w, &s],
            &[("axis", &[0])],
        )
    }
}

/// A tensor `[c, h, w]` of signed bytes as the planes of a view.
pub(super) fn planes(view: &View, x: &[i8]) -> Vec<u8> {
    let planes = view.planes();
    let mut bytes = vec![view.zero_point; view.bytes()];
    for (c, channel) in x.chunks(planes.height * planes.width).enumerate() {
        for (i, q) in channel.iter().enumerate() {
            let (row, column) = (i / planes.width, i % planes.width);
            let at = c / LANE * planes.bytes()
                + planes.origin()
                + row * planes.row_bytes()
                + column * LANE
                + c % LANE;
            bytes[at] = q.cast_unsigned() ^ 0x80;
        }
    }
    bytes
}

/// Lowers, runs on every level, and returns the output as signed bytes `[h, w, c]`.
pub(super) fn run(graph: &GraphProto, x: &[i8]) -> Vec<i8> {
    let mut weights = WeightsWriter::default();
    let program = lower(graph, &mut weights).expect("a graph that is lowered");
    let program =
        Program::from_bytes(&program.to_bytes().expect("bytes")).expect("the same program");
    // as in the map, constants start on whole cache lines
    let words: Vec<u64> = weights
        .bytes()
        .chunks(8)
        .map(|c| {
            let mut word = [0; 8];
            word[..c.len()].copy_from_slice(c);
            u64::from_ne_bytes(word)
        })
        .collect();
    let section: &[u8] = bytemuck::cast_slice(&words);
    let input = planes(&program.inputs[0].view, x);
    let mut results = Vec::new();
    for isa in Isa::available() {
        let mut executor = Executor::new(program.clone(), section).expect("a valid program");
        let last = program.operations.len() - 1;
        let (mut found, mut outputs) = (Vec::new(), executor.outputs());
        executor.run(
            isa,
            1,
            section,
            &[&input],
            &mut [&mut outputs[0]],
            |i, y| {
                if i == last {
                    found.extend_from_slice(y);
                }
            },
        );
        assert_eq!(
            outputs[0], found,
            "the output is what the last operation wrote"
        );
        let view = &program.outputs[0].view;
        let mut output = vec![0; view.values()];
        nhwc_from_planes(view, &outputs[0], &mut output);
        results.push(bytemuck::cast_slice(&output).to_vec());
    }
    assert!(results.windows(2).all(|r| r[0] == r[1]), "levels differ");
    results.swap_remove(0)
}

pub(super) fn picture() -> Vec<i8> {
    (0..32 * 63)
        .map(|i| ((i * 73 + i / 7) % 256) as u8 as i8)
        .collect()
}
