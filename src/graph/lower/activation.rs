//! Functions of one quantised tensor, as tables: the value for each of 256 bytes.
//!
//! Whatever chain of operators stands between a `DequantizeLinear` and the next `QuantizeLinear`,
//! if all of it depends on one tensor, the chain is evaluated here for every byte, and the
//! operation that makes the tensor stores the results instead of its own. So SiLU, hard-swish and
//! leaky ReLU cost the same, and nothing is approximated: dequantise, compute, quantise is what the
//! graph says.

use tract_onnx::pb::NodeProto;

use super::{Lowering, Site, Value, fused::DEFAULT_SLOPE};
use crate::graph::{
    program::{Activation, Add, Conv, Depthwise, Kind},
    qdq::{LowerError, SignedQuant, attribute_float, floats, refuse},
};

/// Whether an operator of one input can be part of such a function; `Mul` can besides.
pub(super) fn is_function(op_type: &str) -> bool {
    function(op_type).is_some()
}

/// Of one variable, given the attributes `alpha` and `beta`.
type Function = fn(f64, Option<f64>, Option<f64>) -> f64;

/// What an operator of one variable computes.
fn function(op_type: &str) -> Option<Function> {
    Some(match op_type {
        "Relu" => |x, _, _| x.max(0.0),
        "LeakyRelu" => |x, alpha, _| {
            if x < 0.0 {
                alpha.unwrap_or(f64::from(DEFAULT_SLOPE)) * x
            } else {
                x
            }
        },
        "Sigmoid" => |x, _, _| 1.0 / (1.0 + libm::exp(-x)),
        "Tanh" => |x, _, _| libm::tanh(x),
        "HardSigmoid" => {
            |x, alpha, beta| (alpha.unwrap_or(0.2) * x + beta.unwrap_or(0.5)).clamp(0.0, 1.0)
        }
        "HardSwish" => |x, _, _| x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        _ => return None,
    })
}

/// A function of one tensor: its values for the bytes -128..=127, and how often its expression
/// reads the tensor.
struct Expression<'a> {
    /// Name of the tensor's quantised form.
    source: &'a str,
    values: Vec<f64>,
    reads: usize,
}

impl<'a> Lowering<'a> {
    /// The function whose last node is the site's becomes the table of the operation before it.
    pub(super) fn activation(&mut self, site: Site<'a>) -> Result<(), LowerError> {
        let Expression {
            source,
            values,
            reads,
        } = self.expression(site.node)?;
        let value: Value = self.by_name[source].clone();
        let only_here = reads == self.readers(source);
        let mut latest_first = self.drafts.iter_mut().rev();
        let draft = latest_first.find(|d| d.output == value.tensor);
        let table = draft.and_then(|d| match &mut d.kind {
            Kind::Conv(Conv { epilogue, .. })
            | Kind::Depthwise(Depthwise { epilogue, .. })
            | Kind::Add(Add { epilogue, .. }) => Some(&mut epilogue.activation),
            _ => None,
        });
        let Some(table @ Activation::None) = table.filter(|_| only_here) else {
            return site.refuse(format!(
                "is a function of {source}, which is read elsewhere too or not made by a \
                 convolution or addition"
            ));
        };
        let bytes: Vec<u8> = values
            .iter()
            .map(|&v| nearest_byte(v, site.quant))
            .collect();
        *table = Activation::Table(self.weights.put(&bytes));
        self.tensors[value.tensor].quant = site.quant;
        self.by_name.remove(source);
        self.by_name.insert(site.key, value);
        Ok(())
    }

    fn expression(&self, node: &'a NodeProto) -> Result<Expression<'a>, LowerError> {
        if node.op_type == "Mul" {
            return self.product(node);
        }
        let Some(f) = function(&node.op_type) else {
            return refuse(
                &node.name,
                format!(
                    "operator {} between quantised tensors is not lowered",
                    node.op_type
                ),
            );
        };
        let mut x = self.operand(node, &node.input[0])?;
        let (alpha, beta) = (
            attribute_float(node, "alpha"),
            attribute_float(node, "beta"),
        );
        for v in &mut x.values {
            *v = f(*v, alpha, beta);
        }
        Ok(x)
    }

    /// Two functions of one tensor, or one times a constant.
    fn product(&self, node: &'a NodeProto) -> Result<Expression<'a>, LowerError> {
        let constant = |name: &str| match self.qdq.constant(name).and_then(floats) {
            Ok(values) if values.len() == 1 => Some(f64::from(values[0])),
            _ => None,
        };
        let [a, b] = node.input.as_slice() else {
            return refuse(
                &node.name,
                format!("multiplies {} tensors", node.input.len()),
            );
        };
        for (x, factor) in [(a, constant(b)), (b, constant(a))] {
            if let Some(factor) = factor {
                let mut x = self.operand(node, x)?;
                x.values.iter_mut().for_each(|v| *v *= factor);
                return Ok(x);
            }
        }
        let (mut a, b) = (self.operand(node, a)?, self.operand(node, b)?);
        if a.source != b.source {
            return refuse(
                &node.name,
                format!("multiplies {} and {}", a.source, b.source),
            );
        }
        for (v, w) in a.values.iter_mut().zip(&b.values) {
            *v *= w;
        }
        a.reads += b.reads;
        Ok(a)
    }

    fn operand(&self, node: &NodeProto, name: &'a str) -> Result<Expression<'a>, LowerError> {
        let Some(producer) = self.qdq.producer(name) else {
            return refuse(&node.name, format!("reads {name}, which is not quantised"));
        };
        if producer.op_type != "DequantizeLinear" {
            return self.expression(producer);
        }
        let source = producer.input[0].as_str();
        let Some(value) = self.by_name.get(source) else {
            return refuse(
                &node.name,
                format!("reads {source}, which is not made yet or already replaced"),
            );
        };
        let quant = self.tensor(value).quant;
        let real = |q: i8| f64::from(quant.dequantise(q));
        Ok(Expression {
            source,
            values: (i8::MIN..=i8::MAX).map(real).collect(),
            reads: 1,
        })
    }

    /// How many inputs of nodes, and outputs of the graph, are a dequantised form of `tensor`.
    fn readers(&self, tensor: &str) -> usize {
        let reads = |n: &&NodeProto| n.op_type == "DequantizeLinear" && n.input[0] == tensor;
        let forms = self.graph.node.iter().filter(reads).map(|n| &n.output[0]);
        let count = |form: &String| {
            let inputs = self.graph.node.iter().flat_map(|n| &n.input);
            inputs.filter(|i| *i == form).count()
                + self.graph.output.iter().filter(|o| o.name == *form).count()
        };
        forms.map(count).sum::<usize>()
            + self
                .graph
                .output
                .iter()
                .filter(|o| o.name == tensor)
                .count()
    }
}

/// The unsigned byte that stands for a value most closely; saturates, ties to even.
///
/// In `f64`, unlike [`Quant::quantise`](crate::quant::Quant::quantise): the table is what the graph
/// says, not what a kernel would compute.
fn nearest_byte(value: f64, quant: SignedQuant) -> u8 {
    let q = (value / f64::from(quant.scale)).round_ties_even() + f64::from(quant.zero_point);
    (q.clamp(-128.0, 127.0) as i8).cast_unsigned() ^ 0x80
}
