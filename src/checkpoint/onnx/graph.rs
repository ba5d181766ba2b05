//! A network's layers as ONNX operators. Layers that do nothing outside training have none.

use bytes::Bytes;

use super::proto::{
    AttributeProto, AttributeType, AxisSize, Dimension, FLOAT, GraphProto, NodeProto, TensorProto,
    TensorShapeProto, TensorType, TypeProto, ValueInfoProto,
};
use crate::nn::{DropoutMode, LayerConfig, LayerKind, LayerShape, NetworkConfig};

const INPUT: &str = "input";
const OUTPUT: &str = "probabilities";

/// Builds the graph of a network whose layers have these shapes; `values` returns the float32 bytes
/// of a parameter or running statistic by its name.
pub(super) fn graph(
    name: String,
    network: &NetworkConfig,
    shapes: &[LayerShape],
    values: impl Fn(&str) -> Vec<u8>,
) -> GraphProto {
    let mut graph = GraphProto { name, ..GraphProto::default() };
    let mut x = INPUT.to_owned();
    for (layer, shape) in network.layers.iter().zip(shapes) {
        for array in shape.parameters.iter().chain(&shape.running_statistics) {
            let raw_data = Bytes::from(values(&array.name));
            let (name, dims) = (array.name.clone(), array.dims.clone());
            graph.initializer.push(TensorProto { dims, data_type: FLOAT, name, raw_data });
        }
        let Some((operator, operands, attribute)) = operator(layer) else { continue };
        if let LayerKind::Dropout(dropout) = &layer.kind {
            // The factor is in float32, in which the network multiplies.
            graph.initializer.push(scalar(&operands[0], (1.0 - dropout.probability) as f32));
        }
        // Output names contain a dot, so that no layer name can equal a name of the graph's own.
        let output = format!("{}.output", layer.name);
        graph.node.push(NodeProto {
            input: [x].into_iter().chain(operands).collect(),
            output: vec![output.clone()],
            name: layer.name.clone(),
            op_type: operator.to_owned(),
            attribute,
        });
        x = output;
    }
    graph.node.push(NodeProto {
        input: vec![x],
        output: vec![OUTPUT.to_owned()],
        name: format!("{OUTPUT}.softmax"),
        op_type: "Softmax".to_owned(),
        attribute: vec![int("axis", 1)],
    });
    let (first, last) = (&shapes[0].input, &shapes[shapes.len() - 1].output);
    graph.input.push(value(INPUT, &first.with_batch(1)));
    graph.output.push(value(OUTPUT, &last.with_batch(1)));
    graph
}

type Operator = (&'static str, Vec<String>, Vec<AttributeProto>);

/// Returns the operator of a layer, the names of its operands and its attributes; none for a layer
/// that does nothing outside training.
fn operator(layer: &LayerConfig) -> Option<Operator> {
    let arrays = |parts: &[&str]| parts.iter().map(|part| format!("{}.{part}", layer.name)).collect();
    Some(match &layer.kind {
        LayerKind::Conv(conv) => {
            let attributes = vec![
                ints("kernel_shape", &[conv.kernel_size; 2]),
                ints("strides", &[conv.stride; 2]),
                ints("pads", &[conv.padding; 4]),
            ];
            ("Conv", arrays(&["weight", "bias"]), attributes)
        }
        LayerKind::Relu => ("Relu", Vec::new(), Vec::new()),
        LayerKind::MaxPool(pool) => {
            let window =
                vec![ints("kernel_shape", &[pool.kernel_size; 2]), ints("strides", &[pool.stride; 2])];
            ("MaxPool", Vec::new(), window)
        }
        LayerKind::Flatten => ("Flatten", Vec::new(), vec![int("axis", 1)]),
        LayerKind::Linear(_) => ("Gemm", arrays(&["weight", "bias"]), vec![int("transB", 1)]),
        LayerKind::BatchNorm(norm) => {
            let operands = arrays(&["weight", "bias", "running_mean", "running_var"]);
            ("BatchNormalization", operands, vec![float("epsilon", norm.epsilon as f32)])
        }
        LayerKind::Dropout(dropout) => match dropout.mode {
            DropoutMode::UpscaleInTrain => return None,
            DropoutMode::DownscaleInInfer => ("Mul", arrays(&["keep"]), Vec::new()),
        },
    })
}

fn scalar(name: &str, value: f32) -> TensorProto {
    let raw_data = Bytes::copy_from_slice(&value.to_le_bytes());
    TensorProto { dims: Vec::new(), data_type: FLOAT, name: name.to_owned(), raw_data }
}

/// Describes a value of the graph with any number of images; `shape` is the shape for one image.
fn value(name: &str, shape: &[i64]) -> ValueInfoProto {
    let batch = AxisSize::DimParam("N".to_owned());
    let sizes = std::iter::once(batch).chain(shape[1..].iter().copied().map(AxisSize::DimValue));
    let dim = sizes.map(|size| Dimension { value: Some(size) }).collect();
    let tensor_type = Some(TensorType { elem_type: FLOAT, shape: Some(TensorShapeProto { dim }) });
    ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { tensor_type }) }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..attribute(name, AttributeType::Int) }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { ints: values.to_vec(), ..attribute(name, AttributeType::Ints) }
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: Some(value), ..attribute(name, AttributeType::Float) }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: name.to_owned(), r#type: kind.into(), ..AttributeProto::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{DropoutConfig, Shape};

    fn made(network: &NetworkConfig) -> GraphProto {
        let shapes = network.shapes(Shape::grey(28, 28), 10).unwrap();
        graph("digits".to_owned(), network, &shapes, |_| Vec::new())
    }

    fn operators(graph: &GraphProto) -> Vec<&str> {
        graph.node.iter().map(|node| node.op_type.as_str()).collect()
    }

    #[test]
    fn the_tutorials_layers_follow_each_other_from_input_to_probabilities() {
        let graph = made(&NetworkConfig::tutorial());
        let expected = ["Conv", "Relu", "MaxPool", "Conv", "Relu", "MaxPool", "Flatten", "Gemm", "Softmax"];
        assert_eq!(operators(&graph), expected);
        let mut x = "input";
        for node in &graph.node {
            assert_eq!(node.input[0], x);
            x = &node.output[0];
        }
        assert_eq!(x, "probabilities");
        let extent = |info: &ValueInfoProto| {
            let shape = info.r#type.clone().unwrap().tensor_type.unwrap().shape.unwrap();
            shape.dim.into_iter().map(|dim| dim.value.unwrap()).collect::<Vec<_>>()
        };
        let n = || AxisSize::DimParam("N".to_owned());
        let [one, side, ten] = [1, 28, 10].map(AxisSize::DimValue);
        assert_eq!(extent(&graph.input[0]), [n(), one, side.clone(), side]);
        assert_eq!(extent(&graph.output[0]), [n(), ten]);
        assert_eq!(graph.initializer.len(), 6);
    }

    #[test]
    fn dropout_is_nothing_or_a_factor() {
        let mut network = NetworkConfig::tutorial();
        let dropout = |mode| LayerKind::Dropout(DropoutConfig { probability: 0.25, axes: Vec::new(), mode });
        let add = |network: &mut NetworkConfig, name: &str, mode| {
            network.layers.insert(7, LayerConfig { name: name.to_owned(), kind: dropout(mode) });
        };
        add(&mut network, "nothing", DropoutMode::UpscaleInTrain);
        assert!(!operators(&made(&network)).contains(&"Mul"));
        add(&mut network, "factor", DropoutMode::DownscaleInInfer);
        let graph = made(&network);
        let factor = graph.initializer.iter().find(|tensor| tensor.name == "factor.keep").unwrap();
        assert_eq!(&factor.raw_data[..], 0.75f32.to_le_bytes());
        let multiply = graph.node.iter().find(|node| node.op_type == "Mul").unwrap();
        assert_eq!(multiply.input, ["flatten.output", "factor.keep"]);
    }
}
