//! Reads a QDQ ONNX graph: constants, and what `QuantizeLinear` and `DequantizeLinear` say about
//! each tensor.
//!
//! Nothing is computed here beyond following `Identity` from a constant to its user.

use std::{collections::HashMap, fmt};

use tract_onnx::pb::{GraphProto, NodeProto, TensorProto, tensor_proto::DataType};

use crate::quant::Quant;

/// Why a graph cannot be lowered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LowerError {
    /// The node or tensor.
    pub node: String,
    /// What is wrong with it or missing.
    pub reason: String,
}

impl fmt::Display for LowerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot lower {}: {}", self.node, self.reason)
    }
}

impl std::error::Error for LowerError {}

pub(super) fn refuse<T>(node: &str, reason: impl Into<String>) -> Result<T, LowerError> {
    Err(LowerError {
        node: node.to_owned(),
        reason: reason.into(),
    })
}

/// A graph with its constants and producers indexed.
pub(super) struct Qdq<'a> {
    constants: HashMap<&'a str, &'a TensorProto>,
    producers: HashMap<&'a str, &'a NodeProto>,
}

/// Scales and zero points of one Q or DQ node.
pub(super) struct Parameters {
    /// One, or one per output channel.
    pub(super) scales: Vec<f32>,
    /// As many as scales; empty if the node has none (all zero).
    pub(super) zero_points: Vec<i32>,
}

/// The real numbers that an activation's signed bytes stand for, as ONNX states them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SignedQuant {
    pub(super) scale: f32,
    pub(super) zero_point: i8,
}

impl SignedQuant {
    /// The unsigned byte that stands for zero in a program's planes.
    pub(super) const fn unsigned_zero(self) -> u8 {
        Quant::from_signed(self.scale, self.zero_point).zero_point
    }

    /// The real number of a signed byte.
    pub(super) fn dequantise(self, q: i8) -> f32 {
        Quant::from_signed(self.scale, self.zero_point).dequantise(q.cast_unsigned() ^ 0x80)
    }
}

impl<'a> Qdq<'a> {
    /// Indexes a graph.
    pub(super) fn new(graph: &'a GraphProto) -> Self {
        let mut constants: HashMap<&str, &TensorProto> = graph
            .initializer
            .iter()
            .map(|t| (t.name.as_str(), t))
            .collect();
        let mut producers = HashMap::new();
        for node in &graph.node {
            for output in &node.output {
                producers.insert(output.as_str(), node);
            }
            match node.op_type.as_str() {
                "Constant" => {
                    if let Some(t) = node.attribute.iter().find_map(|a| a.t.as_ref()) {
                        constants.insert(&node.output[0], t);
                    }
                }
                // exporters share constants through Identity; nodes are in topological order
                "Identity" => {
                    if let Some(&t) = constants.get(node.input[0].as_str()) {
                        constants.insert(&node.output[0], t);
                    }
                }
                _ => {}
            }
        }
        Self {
            constants,
            producers,
        }
    }

    /// The node that makes a tensor.
    pub(super) fn producer(&self, tensor: &str) -> Option<&'a NodeProto> {
        self.producers.get(tensor).copied()
    }

    /// A constant by name.
    pub(super) fn constant(&self, name: &str) -> Result<&'a TensorProto, LowerError> {
        match self.constants.get(name) {
            Some(t) => Ok(t),
            None => refuse(name, "is not a constant"),
        }
    }

    /// The quantised constant behind a `DequantizeLinear`, if `tensor` is one, with its parameters.
    pub(super) fn dequantised_constant(
        &self,
        tensor: &str,
    ) -> Result<(&'a TensorProto, Parameters), LowerError> {
        match self.producer(tensor) {
            Some(n) if n.op_type == "DequantizeLinear" => {
                Ok((self.constant(&n.input[0])?, self.parameters(n)?))
            }
            Some(n) => refuse(
                tensor,
                format!(
                    "comes from {}, not from DequantizeLinear of a constant",
                    n.op_type
                ),
            ),
            None => refuse(tensor, "is not a dequantised constant"),
        }
    }

    /// Scale and zero point of a Q or DQ node.
    pub(super) fn parameters(&self, node: &NodeProto) -> Result<Parameters, LowerError> {
        let scales = floats(self.constant(&node.input[1])?)?;
        let zero_points = match node.input.get(2).filter(|n| !n.is_empty()) {
            Some(name) => integers(self.constant(name)?)?,
            None => Vec::new(),
        };
        if let Some(bad) = scales.iter().find(|s| !(s.is_finite() && **s > 0.0)) {
            return refuse(&node.name, format!("scale {bad}"));
        }
        Ok(Parameters {
            scales,
            zero_points,
        })
    }

    /// Scale and zero point of an activation: one of each, signed 8 bits.
    pub(super) fn activation(&self, node: &NodeProto) -> Result<SignedQuant, LowerError> {
        let p = self.parameters(node)?;
        if let Some(name) = node.input.get(2).filter(|n| !n.is_empty()) {
            let kind = self.constant(name)?.data_type;
            if kind != DataType::Int8 as i32 {
                return refuse(
                    &node.name,
                    format!(
                        "activations of ONNX type {kind}; s8 ({}) is lowered",
                        DataType::Int8 as i32
                    ),
                );
            }
        }
        match (p.scales.as_slice(), p.zero_points.as_slice()) {
            (&[scale], &[]) => Ok(SignedQuant {
                scale,
                zero_point: 0,
            }),
            (&[scale], &[zero]) => match i8::try_from(zero) {
                Ok(zero_point) => Ok(SignedQuant { scale, zero_point }),
                Err(_) => refuse(&node.name, format!("zero point {zero}")),
            },
            (s, z) => refuse(
                &node.name,
                format!(
                    "{} scales and {} zero points for one activation",
                    s.len(),
                    z.len()
                ),
            ),
        }
    }
}

/// The values of an s8, u8, i32 or (small) i64 tensor.
pub(super) fn integers(t: &TensorProto) -> Result<Vec<i32>, LowerError> {
    let raw = &t.raw_data;
    let from_raw = |size: usize, read: fn(&[u8]) -> i32| {
        raw.chunks_exact(size).map(read).collect::<Vec<i32>>()
    };
    let values = match DataType::try_from(t.data_type) {
        Ok(DataType::Int8 | DataType::Uint8 | DataType::Int32) if raw.is_empty() => {
            t.int32_data.clone()
        }
        Ok(DataType::Int8) => from_raw(1, |b| i32::from(b[0].cast_signed())),
        Ok(DataType::Uint8) => from_raw(1, |b| i32::from(b[0])),
        Ok(DataType::Int64) if raw.is_empty() => t.int64_data.iter().map(|&v| v as i32).collect(),
        Ok(DataType::Int64) => from_raw(8, |b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])),
        Ok(DataType::Int32) => from_raw(4, |b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])),
        _ => return refuse(&t.name, format!("integers of ONNX type {}", t.data_type)),
    };
    complete(t, values)
}

/// The values of an f32 tensor.
pub(super) fn floats(t: &TensorProto) -> Result<Vec<f32>, LowerError> {
    if t.data_type != DataType::Float as i32 {
        return refuse(&t.name, format!("floats of ONNX type {}", t.data_type));
    }
    let values = if t.raw_data.is_empty() {
        t.float_data.clone()
    } else {
        let read = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        t.raw_data.chunks_exact(4).map(read).collect()
    };
    complete(t, values)
}

fn complete<T>(t: &TensorProto, values: Vec<T>) -> Result<Vec<T>, LowerError> {
    let expected: i64 = t.dims.iter().product();
    if usize::try_from(expected) != Ok(values.len()) {
        return refuse(
            &t.name,
            format!(
                "holds {} values, its shape {:?} {expected}",
                values.len(),
                t.dims
            ),
        );
    }
    Ok(values)
}

/// An integer-list attribute, or its default.
pub(super) fn attribute_ints(node: &NodeProto, name: &str, default: &[i64]) -> Vec<i64> {
    let found = node.attribute.iter().find(|a| a.name == name);
    found.map_or_else(|| default.to_vec(), |a| a.ints.clone())
}

/// An integer attribute, or its default.
pub(super) fn attribute_int(node: &NodeProto, name: &str, default: i64) -> i64 {
    node.attribute
        .iter()
        .find(|a| a.name == name)
        .map_or(default, |a| a.i)
}

/// A float attribute, if the node has it.
pub(super) fn attribute_float(node: &NodeProto, name: &str) -> Option<f64> {
    let found = node.attribute.iter().find(|a| a.name == name);
    found.map(|a| f64::from(a.f))
}

/// A string attribute, or its default.
pub(super) fn attribute_string(node: &NodeProto, name: &str, default: &str) -> String {
    let found = node.attribute.iter().find(|a| a.name == name);
    found.map_or_else(
        || default.to_owned(),
        |a| String::from_utf8_lossy(&a.s).into_owned(),
    )
}
