//! `Int8Program` as an ONNX node and as a tract operator.
//!
//! The node (domain `tarsier`) carries the program in its attribute `program` and names its weights
//! section in `weights`. tract-onnx parses the graph with a placeholder; [`Graph::load`] then gives
//! every placeholder its mapped weights, because a builder of tract's is a plain function and
//! cannot know them. The executor, with its arena, is the operator's state: it is made once per
//! plan and lives as long.

use std::{collections::HashSet, fmt, sync::Arc};

use prost::Message;
use tract_onnx::{
    model::ParsingContext,
    pb::{self, NodeProto, attribute_proto::AttributeType, tensor_proto::DataType},
    tract_hir::internal::*,
};

use super::program::{Executor, MAX_PORTS, Port, Program, ProgramError};
use crate::{
    error::{Error, ErrorKind},
    kernels::isa::Isa,
    pack::map::Bytes,
};

const OP_TYPE: &str = "Int8Program";
const DOMAIN: &str = "tarsier";

/// Why a graph was refused or failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum GraphError {
    /// tract refused it or failed while running it.
    Tract {
        /// The graph.
        graph: String,
        /// What tract says, with its causes.
        source: TractError,
    },
    /// A program in it was refused.
    Program {
        /// The graph.
        graph: String,
        /// Why.
        source: ProgramError,
    },
    /// It names a weights section that the pack does not have.
    Weights {
        /// The graph.
        graph: String,
        /// The section.
        section: String,
    },
    /// A program is larger than any that is run.
    Size {
        /// The graph.
        graph: String,
        /// What there is too much of.
        what: &'static str,
        /// How much it has.
        found: u64,
        /// How much it may have.
        maximum: u64,
    },
}

impl fmt::Display for GraphError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tract { graph, source } => write!(f, "graph {graph}: {source:#}"),
            Self::Program { graph, source } => write!(f, "graph {graph}: {source}"),
            Self::Size {
                graph,
                what,
                found,
                maximum,
            } => write!(f, "graph {graph}: {found} {what}; up to {maximum} are run"),
            Self::Weights { graph, section } => write!(
                f,
                "graph {graph} wants section {section}, which the pack does not have"
            ),
        }
    }
}

impl From<GraphError> for Error {
    /// A graph that was loaded and fails.
    fn from(e: GraphError) -> Self {
        Self::new(ErrorKind::Internal, e)
    }
}

impl std::error::Error for GraphError {}

/// How programs run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execution {
    /// The instruction set of all kernels.
    pub isa: Isa,
    /// Threads that share a layer's rows, those of the [`team`](crate::team) that the calling one
    /// is of.
    pub threads: usize,
}

/// Writes the ONNX model around one program.
///
/// # Errors
///
/// [`ProgramError::Decode`] if the program cannot be encoded.
pub fn model_with(
    program: &Program,
    name: &str,
    weights_section: &str,
) -> Result<Vec<u8>, ProgramError> {
    let attribute = |name: &str, s: Vec<u8>| pb::AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::String as i32,
        s,
        ..Default::default()
    };
    let names = |ports: &[Port]| ports.iter().map(|p| p.name.clone()).collect::<Vec<_>>();
    let node = NodeProto {
        name: name.to_owned(),
        op_type: OP_TYPE.to_owned(),
        domain: DOMAIN.to_owned(),
        input: names(&program.inputs),
        output: names(&program.outputs),
        attribute: vec![
            attribute("program", program.to_bytes()?),
            attribute("weights", weights_section.as_bytes().to_vec()),
        ],
        ..Default::default()
    };
    let opset = |domain: &str, version| pb::OperatorSetIdProto {
        domain: domain.to_owned(),
        version,
    };
    let model = pb::ModelProto {
        ir_version: 8,
        opset_import: vec![opset("", 17), opset(DOMAIN, 1)],
        producer_name: env!("CARGO_PKG_NAME").to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(pb::GraphProto {
            name: name.to_owned(),
            node: vec![node],
            input: program.inputs.iter().map(value_info).collect(),
            output: program.outputs.iter().map(value_info).collect(),
            ..Default::default()
        }),
        ..Default::default()
    };
    Ok(model.encode_to_vec())
}

fn value_info(port: &Port) -> pb::ValueInfoProto {
    let dim = |n: usize| pb::tensor_shape_proto::Dimension {
        value: Some(pb::tensor_shape_proto::dimension::Value::DimValue(n as i64)),
        ..Default::default()
    };
    pb::ValueInfoProto {
        name: port.name.clone(),
        r#type: Some(pb::TypeProto {
            value: Some(pb::type_proto::Value::TensorType(pb::type_proto::Tensor {
                elem_type: DataType::Uint8 as i32,
                shape: Some(pb::TensorShapeProto {
                    dim: port.view.tensor_shape().into_iter().map(dim).collect(),
                }),
            })),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The node as parsed: a program that does not know its weights.
#[derive(Clone, Debug)]
struct Parsed {
    program: Arc<Program>,
    weights: String,
}

fn build(_: &ParsingContext, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let attribute = |name: &str| {
        let found = node.attribute.iter().find(|a| a.name == name);
        found
            .map(|a| a.s.as_slice())
            .with_context(|| format!("no attribute {name}"))
    };
    let parsed = Parsed {
        program: Arc::new(Program::from_bytes(attribute("program")?)?),
        weights: String::from_utf8(attribute("weights")?.to_vec())?,
    };
    Ok((expand(parsed), vec![]))
}

impl Expansion for Parsed {
    fn name(&self) -> StaticName {
        OP_TYPE.into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.program.outputs.len())
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, self.program.inputs.len())?;
        check_output_arity(outputs, self.program.outputs.len())?;
        let both = [
            (inputs, &self.program.inputs),
            (outputs, &self.program.outputs),
        ];
        for (proxies, ports) in both {
            for (proxy, port) in proxies.iter().zip(ports) {
                let shape: TVec<TDim> = port
                    .view
                    .tensor_shape()
                    .into_iter()
                    .map(|n| n.to_dim())
                    .collect();
                s.equals(&proxy.datum_type, u8::datum_type())?;
                s.equals(&proxy.shape, shape)?;
            }
        }
        Ok(())
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let op = Int8Program {
            parsed: self.clone(),
            bound: None,
        };
        model.wire_node(prefix, op, inputs)
    }
}

/// The operator: a program and, once bound, what a plan starts from.
#[derive(Clone, Debug)]
struct Int8Program {
    parsed: Parsed,
    bound: Option<Arc<Running>>,
}

impl Int8Program {
    /// Gives the program its weights: checks it against them and makes all that a plan starts from.
    ///
    /// Here and not in the plan, for an error that names the program; tract would wrap it.
    fn bind(
        &mut self,
        graph: &str,
        weights: &Bytes,
        execution: Execution,
    ) -> Result<(), GraphError> {
        let program = &self.parsed.program;
        let within = |what, found: u64, maximum: u64| {
            if found <= maximum {
                return Ok(());
            }
            Err(GraphError::Size {
                graph: graph.to_owned(),
                what,
                found,
                maximum,
            })
        };
        let operations = program.operations.len() as u64;
        within("operations", operations, MAX_OPERATIONS as u64)?;
        let executor = Executor::new((**program).clone(), weights).map_err(|source| {
            let graph = graph.to_owned();
            GraphError::Program { graph, source }
        })?;
        // of a program that was checked: its sizes are those of its arena
        let macs = program.operations.iter().map(|o| o.macs());
        let macs = macs.fold(0_u64, u64::saturating_add);
        within("multiply-accumulates", macs, MAX_MACS)?;
        let output = |port: &Port| {
            let shape = port.view.tensor_shape();
            Ok(Tensor::zero_dt(u8::datum_type(), &shape)?.into_arc_tensor())
        };
        let outputs = program.outputs.iter().map(output);
        let outputs = outputs.collect::<TractResult<Vec<_>>>();
        let outputs = outputs.map_err(|source| {
            let graph = graph.to_owned();
            GraphError::Tract { graph, source }
        })?;
        self.bound = Some(Arc::new(Running {
            executor,
            outputs,
            weights: weights.clone(),
            execution,
        }));
        Ok(())
    }
}

impl PartialEq for Int8Program {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.parsed.program, &other.parsed.program)
    }
}

impl Eq for Int8Program {}

impl Op for Int8Program {
    fn name(&self) -> StaticName {
        OP_TYPE.into()
    }

    op_as_typed_op!();
}

impl EvalOp for Int8Program {
    not_out_of_plan!();

    fn state(&self, _: &EvalContext) -> TractResult<Option<Box<dyn OpState>>> {
        let bound = self
            .bound
            .as_deref()
            .context("a program without its weights")?;
        Ok(Some(Box::new(bound.clone())))
    }
}

impl TypedOp for Int8Program {
    as_op!();

    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let fact = |port: &Port| u8::fact(port.view.tensor_shape());
        Ok(self.parsed.program.outputs.iter().map(fact).collect())
    }
}

/// The operator in a plan.
#[derive(Clone, Debug)]
struct Running {
    executor: Executor,
    /// What the last run gave away: written again when nobody holds it any more.
    outputs: Vec<Arc<Tensor>>,
    weights: Bytes,
    execution: Execution,
}

impl OpState for Running {
    fn eval(
        &mut self,
        _: &EvalContext,
        _: &dyn Op,
        inputs: TVec<TValue>,
    ) -> TractResult<TVec<TValue>> {
        let inputs: heapless::Vec<&[u8], MAX_PORTS> = inputs.iter().map(|t| t.as_bytes()).collect();
        // a caller that still holds the last frame's output keeps it, and this frame gets a new one
        let outputs = self.outputs.iter_mut();
        let mut outputs: heapless::Vec<&mut [u8], MAX_PORTS> =
            outputs.map(|t| Arc::make_mut(t).as_bytes_mut()).collect();
        let Execution { isa, threads } = self.execution;
        self.executor.run(
            isa,
            threads,
            &self.weights,
            &inputs,
            &mut outputs,
            |_, _| (),
        );
        drop(outputs);
        Ok(self
            .outputs
            .iter()
            .map(|t| t.clone().into_tvalue())
            .collect())
    }

    fn reset_lanes(&mut self, _: &[LaneId]) -> TractResult<()> {
        Ok(()) // nothing outlives a run
    }
}

/// Maximum number of operations of a program: the largest of our own has some two hundred.
pub const MAX_OPERATIONS: usize = 4096;

/// Maximum number of multiply-accumulates of a program: half a minute on the slowest board.
pub const MAX_MACS: u64 = 20_000_000_000;

/// A graph of the pack in a tract plan, ready to run.
pub struct Graph {
    name: String,
    state: TypedSimpleState,
    program: Arc<Program>,
    weights: Bytes,
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Graph {} of {} operations",
            self.name,
            self.program.operations.len()
        )
    }
}

impl Graph {
    /// Reads an ONNX model of the pack; `section` finds weights by name.
    ///
    /// # Errors
    ///
    /// [`GraphError`] naming the graph if tract refuses it, a program in it is invalid or its
    /// weights are missing.
    pub fn load(
        name: &str,
        onnx: &[u8],
        section: impl Fn(&str) -> Option<Bytes>,
        execution: Execution,
    ) -> Result<Self, GraphError> {
        let tract = |source| GraphError::Tract {
            graph: name.to_owned(),
            source,
        };
        let mut framework = tract_onnx::onnx();
        framework.op_register.insert(OP_TYPE, build);
        let proto = framework
            .proto_model_for_read(&mut &onnx[..])
            .map_err(tract)?;
        outputs_are_made(&proto).map_err(tract)?;
        let mut model = framework
            .model_for_proto_model(&proto)
            .and_then(|m| m.into_typed())
            .map_err(tract)?;
        let mut found = None;
        for node in &mut model.nodes {
            if let Some(op) = node.op_as_mut::<Int8Program>() {
                let weights = section(&op.parsed.weights).ok_or_else(|| GraphError::Weights {
                    graph: name.to_owned(),
                    section: op.parsed.weights.clone(),
                })?;
                op.bind(name, &weights, execution)?;
                found = Some((Arc::clone(&op.parsed.program), weights));
            }
        }
        let Some((program, weights)) = found else {
            return Err(tract(format_err!("has no {OP_TYPE} node")));
        };
        ports_are_the_graphs(&model, &program).map_err(tract)?;
        let state = model
            .into_optimized()
            .and_then(|m| m.into_runnable())
            .and_then(|plan| plan.spawn())
            .map_err(tract)?;
        Ok(Self {
            name: name.to_owned(),
            state,
            program,
            weights,
        })
    }

    /// Runs the graph.
    ///
    /// # Errors
    ///
    /// [`GraphError::Tract`], for instance if an input has another shape than its port.
    pub fn run(&mut self, inputs: TVec<TValue>) -> Result<TVec<TValue>, GraphError> {
        self.state.run(inputs).map_err(|source| GraphError::Tract {
            graph: self.name.clone(),
            source,
        })
    }

    /// The program of the graph, for its ports.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The weights section of its program.
    #[must_use]
    pub const fn weights(&self) -> &Bytes {
        &self.weights
    }
}

/// Every output of the graph is the value of an input, a constant or a node: tract takes that for
/// granted and panics.
fn outputs_are_made(model: &pb::ModelProto) -> TractResult<()> {
    if let Some(graph) = &model.graph {
        let inputs = graph.input.iter().map(|i| &i.name);
        let values = inputs
            .chain(graph.initializer.iter().map(|i| &i.name))
            .chain(graph.node.iter().flat_map(|n| &n.output));
        let made: HashSet<&String> = values.collect();
        if let Some(output) = graph.output.iter().find(|o| !made.contains(&o.name)) {
            bail!("nothing makes output {}", output.name);
        }
    }
    Ok(())
}

/// The graph takes and gives what its program does, since callers go by the program's ports.
fn ports_are_the_graphs(model: &TypedModel, program: &Program) -> TractResult<()> {
    for (what, outlets, ports) in [
        ("input", &model.inputs, &program.inputs),
        ("output", &model.outputs, &program.outputs),
    ] {
        ensure!(
            outlets.len() == ports.len(),
            "{} {what}s, its program has {}",
            outlets.len(),
            ports.len()
        );
        for (outlet, port) in outlets.iter().zip(ports) {
            let (found, expected) = (
                model.outlet_fact(*outlet)?,
                u8::fact(port.view.tensor_shape()),
            );
            let same = found.datum_type == expected.datum_type && found.shape == expected.shape;
            ensure!(
                same,
                "{what} {} is {found:?}, its program's is {expected:?}",
                port.name
            );
        }
    }
    Ok(())
}

/// Names of the operators of an ONNX model that are not [`lower`](super::lower)ed, for
/// `pack inspect`.
///
/// # Errors
///
/// [`GraphError::Tract`] if the bytes are not an ONNX model.
pub fn hosted_operators(name: &str, onnx: &[u8]) -> Result<Vec<String>, GraphError> {
    let model = pb::ModelProto::decode(onnx).map_err(|e| GraphError::Tract {
        graph: name.to_owned(),
        source: e.into(),
    })?;
    let nodes = model.graph.iter().flat_map(|g| &g.node);
    let names: HashSet<&str> = nodes
        .map(|n| n.op_type.as_str())
        .filter(|n| *n != OP_TYPE)
        .collect();
    let mut names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    names.sort();
    Ok(names)
}
