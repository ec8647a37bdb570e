//! Tensors while their program is being made, and values: channels of a tensor as the graph sees
//! them.

use tract_onnx::pb::NodeProto;

use super::{Draft, Lowering, Site};
use crate::{
    graph::{
        program::{Kind, Permute, Place, View},
        qdq::{LowerError, SignedQuant, refuse},
    },
    kernels::layout::LANE,
};

/// A quantised activation while its program is being made.
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) channels: u32,
    pub(super) height: u32,
    pub(super) width: u32,
    pub(super) quant: SignedQuant,
    /// Border that its readers need.
    pub(super) border: u32,
    /// Index among the inputs of the program.
    pub(super) input: Option<u32>,
    /// Index among its outputs.
    pub(super) output: Option<u32>,
    /// The concatenation it is part of, and its first plane there.
    pub(super) within: Option<(usize, u32)>,
    /// The operation that writes it.
    pub(super) first: u32,
    /// The last operation that reads it.
    pub(super) last: u32,
}

impl Tensor {
    pub(super) fn new(name: &str, [channels, height, width]: [u32; 3], quant: SignedQuant) -> Self {
        Self {
            name: name.to_owned(),
            channels,
            height,
            width,
            quant,
            border: 0,
            input: None,
            output: None,
            within: None,
            first: 0,
            last: 0,
        }
    }

    pub(super) const fn shape(&self) -> [u32; 3] {
        [self.channels, self.height, self.width]
    }

    pub(super) const fn blocks(&self) -> u32 {
        self.channels.div_ceil(LANE as u32)
    }

    /// Whether its pixels have 4 bytes: an input of so few channels.
    pub(super) const fn is_image(&self) -> bool {
        self.input.is_some() && self.channels <= 4
    }

    pub(super) const fn view(&self, place: Place) -> View {
        View {
            place,
            channels: self.channels,
            height: self.height,
            width: self.width,
            border: self.border,
            image: self.is_image(),
            zero_point: self.quant.unsigned_zero(),
        }
    }

    /// Its view before every tensor has its place.
    pub(super) const fn unplaced(&self) -> View {
        self.view(Place::Arena(0))
    }
}

/// A tensor as the graph sees it: which channels of a buffer's planes it is made of, in order.
#[derive(Clone)]
pub(super) struct Value {
    pub(super) tensor: usize,
    pub(super) lanes: Vec<u16>,
}

impl Value {
    pub(super) fn whole(tensor: usize, channels: u32) -> Self {
        Self {
            tensor,
            lanes: (0..channels as u16).collect(),
        }
    }

    pub(super) const fn channels(&self) -> usize {
        self.lanes.len()
    }
}

impl<'a> Lowering<'a> {
    /// The value behind the dequantised input `i` of a node.
    pub(super) fn input(&self, node: &NodeProto, i: usize) -> Result<Value, LowerError> {
        let Some(name) = node.input.get(i) else {
            return refuse(&node.name, format!("has no input {i}"));
        };
        match self.dequantised(name) {
            Some(value) => Ok(value.clone()),
            None => refuse(
                &node.name,
                format!("input {name} is not a dequantised activation"),
            ),
        }
    }

    /// The value whose dequantised form has this name.
    pub(super) fn dequantised(&self, name: &str) -> Option<&Value> {
        let producer = self.qdq.producer(name)?;
        (producer.op_type == "DequantizeLinear")
            .then(|| self.by_name.get(producer.input[0].as_str()))?
    }

    /// The tensor that a value's channels lie in.
    pub(super) fn tensor(&self, value: &Value) -> &Tensor {
        &self.tensors[value.tensor]
    }

    /// A new tensor that the next operation writes.
    pub(super) fn new_tensor(&mut self, name: &str, shape: [u32; 3], quant: SignedQuant) -> usize {
        let next = self.drafts.len() as u32;
        let mut tensor = Tensor::new(name, shape, quant);
        (tensor.first, tensor.last) = (next, next);
        self.tensors.push(tensor);
        self.tensors.len() - 1
    }

    /// The tensor of a site; its value has these lanes, or all of its own.
    pub(super) fn define(
        &mut self,
        site: &Site<'a>,
        shape: [u32; 3],
        lanes: Option<Vec<u16>>,
    ) -> usize {
        let tensor = self.new_tensor(&site.node.name, shape, site.quant);
        let value = match lanes {
            Some(lanes) => Value { tensor, lanes },
            None => Value::whole(tensor, shape[0]),
        };
        self.by_name.insert(site.key, value);
        tensor
    }

    /// The next operation: reads one or two tensors, writes `output`.
    pub(super) fn push(
        &mut self,
        name: &str,
        (input, second): (usize, Option<usize>),
        output: usize,
        kind: Kind,
    ) {
        for read in std::iter::once(input).chain(second) {
            self.tensors[read].last = self.drafts.len() as u32;
        }
        self.drafts.push(Draft {
            name: name.to_owned(),
            input,
            second,
            output,
            kind,
        });
    }

    /// Refuses an operation between tensors of different quantisation that only moves bytes.
    pub(super) fn alike(&self, site: &Site<'_>, value: &Value) -> Result<(), LowerError> {
        let (t, quant) = (self.tensor(value), site.quant);
        if t.quant == quant {
            return Ok(());
        }
        site.refuse(format!(
            "input {} has scale {} and zero point {}, the output {} and {}: quantise them alike",
            t.name, t.quant.scale, t.quant.zero_point, quant.scale, quant.zero_point
        ))
    }

    /// The value as a tensor of exactly its channels, in order.
    pub(super) fn whole(&mut self, name: &str, value: Value) -> usize {
        let t = self.tensor(&value);
        let in_order = (0..).zip(&value.lanes).all(|(i, &lane)| i == lane);
        if in_order && value.channels() == t.channels as usize {
            return value.tensor;
        }
        let shape = [value.channels() as u32, t.height, t.width];
        let output = self.new_tensor(name, shape, t.quant);
        let mut map = value.lanes;
        map.resize(map.len().next_multiple_of(LANE), u16::MAX);
        let map = self.weights.put(bytemuck::cast_slice(&map));
        let kind = Kind::Permute(Permute { map });
        self.push(name, (value.tensor, None), output, kind);
        output
    }

    /// Both values as tensors of exactly their channels, in order.
    pub(super) fn both_whole(&mut self, name: &str, [a, b]: [Value; 2]) -> [Value; 2] {
        let channels = a.channels() as u32;
        [a, b].map(|value| Value::whole(self.whole(name, value), channels))
    }

    /// The value in no more planes than its channels need.
    pub(super) fn compact(&mut self, name: &str, value: Value) -> Value {
        let planes = self.tensor(&value).blocks() as usize;
        if planes == value.channels().div_ceil(LANE) {
            return value;
        }
        let channels = value.channels() as u32;
        Value::whole(self.whole(name, value), channels)
    }
}
