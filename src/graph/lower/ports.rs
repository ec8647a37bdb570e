//! What a program takes and gives: the inputs and outputs of its graph.

use tract_onnx::pb::{
    NodeProto, ValueInfoProto, tensor_proto::DataType, tensor_shape_proto::dimension, type_proto,
};

use super::{
    Lowering,
    tensor::{Tensor, Value},
    window::MAX_SIDE,
};
use crate::{
    graph::qdq::{LowerError, SignedQuant, refuse},
    kernels::layout::LANE,
};

/// The border of planes that cross a program's edge: what 3×3 kernels need, on both sides of it.
const EDGE_BORDER: u32 = 1;

impl<'a> Lowering<'a> {
    /// Graph inputs that are s8 already: features of another program.
    pub(super) fn quantised_inputs(&mut self) -> Result<(), LowerError> {
        for input in &self.graph.input {
            let (kind, shape) = type_of(input)?;
            if kind == DataType::Int8 as i32 {
                let reads =
                    |n: &&NodeProto| n.op_type == "DequantizeLinear" && n.input[0] == input.name;
                let Some(reader) = self.graph.node.iter().find(reads) else {
                    return refuse(&input.name, "is s8 but nothing dequantises it");
                };
                let quant = self.qdq.activation(reader)?;
                self.add_input(&input.name, &input.name, shape, quant)?;
            }
        }
        Ok(())
    }

    /// A graph input that this `QuantizeLinear` quantises.
    pub(super) fn float_input(
        &mut self,
        node: &'a NodeProto,
        quant: SignedQuant,
    ) -> Result<(), LowerError> {
        let name = &node.input[0];
        let Some(input) = self.graph.input.iter().find(|i| i.name == *name) else {
            return refuse(&node.name, format!("quantises {name}, which nothing makes"));
        };
        self.add_input(&input.name, &node.output[0], type_of(input)?.1, quant)
    }

    fn add_input(
        &mut self,
        name: &str,
        key: &'a str,
        shape: [u32; 3],
        quant: SignedQuant,
    ) -> Result<(), LowerError> {
        let count = self.tensors.iter().filter(|t| t.input.is_some()).count() as u32;
        let mut tensor = Tensor::new(name, shape, quant);
        (tensor.input, tensor.border) = (Some(count), EDGE_BORDER);
        let channels = tensor.channels;
        if channels > 4 && !channels.is_multiple_of(LANE as u32) {
            return refuse(
                name,
                format!("{channels} channels: planes hold sixteens, images up to 4"),
            );
        }
        let value = Value::whole(self.tensors.len(), channels);
        self.by_name.insert(key, value);
        self.tensors.push(tensor);
        Ok(())
    }

    /// The tensors that leave, each in a buffer of its own.
    pub(super) fn outputs(&mut self) -> Result<(), LowerError> {
        for output in &self.graph.output {
            let name = output.name.as_str();
            let quantised = self.by_name.get(name);
            let border = if quantised.is_some() { EDGE_BORDER } else { 0 };
            let value = quantised.or_else(|| self.dequantised(name)).cloned();
            let (Some(producer), Some(value)) = (self.qdq.producer(name), value) else {
                return refuse(name, "this output is not a quantised or dequantised result");
            };
            let mut tensor = self.whole(&producer.name, value);
            let t = &self.tensors[tensor];
            if t.within.is_some() || t.input.is_some() || t.output.is_some() {
                tensor = self.copy(&producer.name, tensor);
            }
            let index = self.outputs.len() as u32;
            let t = &mut self.tensors[tensor];
            (t.output, t.border) = (Some(index), t.border.max(border));
            self.outputs.push((name.to_owned(), tensor));
        }
        Ok(())
    }
}

/// Element type and `[C, H, W]` of a graph input of shape `[1, C, H, W]`.
fn type_of(info: &ValueInfoProto) -> Result<(i32, [u32; 3]), LowerError> {
    let Some(type_proto::Value::TensorType(t)) =
        info.r#type.as_ref().and_then(|t| t.value.as_ref())
    else {
        return refuse(&info.name, "is not a tensor");
    };
    let dims = t.shape.iter().flat_map(|s| &s.dim);
    let dims: Vec<i64> = dims
        .map(|d| match d.value {
            Some(dimension::Value::DimValue(n)) => n,
            _ => 0,
        })
        .collect();
    match dims.as_slice() {
        &[1, c, h, w] if [c, h, w].iter().all(|n| (1..=MAX_SIDE).contains(n)) => {
            Ok((t.elem_type, [c, h, w].map(|n| n as u32)))
        }
        _ => refuse(
            &info.name,
            format!("has shape {dims:?}; [1, C, H, W] with fixed sizes is lowered"),
        ),
    }
}
