//! Weights files that other programs wrote, converted to the form that the registry keeps: a
//! safetensors file in libtorch's layout or Paddle's, with the network's names or PyTorch's.
//! Everything is checked on the bytes; no tensor is made. Which array becomes which parameter is
//! decided by `mapping`.

use std::{borrow::Cow, collections::BTreeMap};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{
    Error,
    arrays::dtype,
    expected_array::{ExpectedArray, shape, shortened},
    mapping,
};
use crate::nn::{self, LayerKind, LayerShape, NetworkConfig, Precision};

/// Size limit of an imported file in bytes: the largest network in float64, and a header.
pub const MAX_BYTES: usize = 8 * NetworkConfig::MAX_PARAMETERS as usize + MAX_HEADER_BYTES;

/// Size limit of a header in bytes: a network has at most a few hundred arrays, of about a hundred
/// bytes of header each.
const MAX_HEADER_BYTES: usize = 1 << 20;

/// The memory layout of the weights of linear layers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Layout {
    /// [out, in]: y = W x + b.
    #[default]
    Libtorch,
    /// [in, out]: y = x W + b.
    Paddle,
}

/// How the arrays of a file are matched with the parameters of a network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NamePolicy {
    /// The arrays have exactly the names of the network's parameters.
    #[default]
    Exact,
    /// The arrays may have any names from which the parameters follow without doubt.
    Mapped,
}

/// The weights of an imported file in the form that the registry keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedWeights {
    /// A safetensors file with exactly the network's parameters, in libtorch's layout.
    pub bytes: Vec<u8>,
    /// The precision of the imported file.
    pub precision: Precision,
    /// The array that each parameter was taken from, in the order of the layers.
    pub mapping: Vec<ArrayMapping>,
}

/// The array of the file that became a parameter of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrayMapping {
    pub parameter: String,
    pub array: String,
    /// The shape of the parameter in the network.
    pub shape: Vec<i64>,
}

/// Converts a weights file for a network whose layers have these shapes.
///
/// Errors name the array or the parameter that does not fit: a missing or surplus array, a wrong
/// shape, two precisions in one file, and values that are not finite in float32.
pub fn import_weights(
    file: &[u8],
    network: &NetworkConfig,
    shapes: &[LayerShape],
    layout: Layout,
    names: NamePolicy,
) -> Result<ImportedWeights, Error> {
    check_size(file)?;
    let expected_arrays = expected_arrays(network, shapes, layout);
    let mut arrays: BTreeMap<String, TensorView<'_>> =
        SafeTensors::deserialize(file)?.tensors().into_iter().collect();
    if names == NamePolicy::Mapped {
        // PyTorch counts batches in this array, which only its averages without momentum need.
        arrays.retain(|name, _| !name.ends_with("num_batches_tracked"));
    }
    let precision = precision(&arrays)?;
    let names_in_file = match names {
        NamePolicy::Exact => mapping::exact_names(&expected_arrays, &arrays)?,
        NamePolicy::Mapped => mapping::inferred_names(&expected_arrays, &arrays)?,
    };
    let mut mapping = Vec::with_capacity(expected_arrays.len());
    let mut views = Vec::with_capacity(expected_arrays.len());
    for (expected, array) in expected_arrays.iter().zip(names_in_file) {
        let view = &arrays[&array];
        check_shape(expected, view)?;
        check_values(&array, view)?;
        check_variance(expected, view)?;
        views.push((expected, values(expected, view)));
        let (parameter, shape) = (expected.name.clone(), expected.shape.clone());
        mapping.push(ArrayMapping { parameter, array, shape });
    }
    Ok(ImportedWeights { bytes: encode(&views, precision), precision, mapping })
}

fn check_size(file: &[u8]) -> Result<(), Error> {
    let header = file.first_chunk().map(|length| u64::from_le_bytes(*length));
    match header {
        _ if file.len() > MAX_BYTES => Err(Error::TooLarge { bytes: file.len(), limit: MAX_BYTES }),
        Some(header) if header > MAX_HEADER_BYTES as u64 => {
            Err(Error::Format(safetensors::SafeTensorError::HeaderTooLarge))
        }
        Some(_) | None => Ok(()),
    }
}

fn expected_arrays(network: &NetworkConfig, shapes: &[LayerShape], layout: Layout) -> Vec<ExpectedArray> {
    let layers = network.layers.iter().zip(shapes);
    let arrays = layers.flat_map(|(layer, shape)| {
        let linear = matches!(layer.kind, LayerKind::Linear(_));
        shape.parameters.iter().chain(&shape.running_statistics).map(move |parameter| ExpectedArray {
            name: parameter.name.clone(),
            shape: parameter.dims.clone(),
            transposed: linear && layout == Layout::Paddle && parameter.dims.len() == 2,
        })
    });
    arrays.collect()
}

/// Returns the one precision of the file; weights of two precisions are a mistake.
fn precision(arrays: &BTreeMap<String, TensorView<'_>>) -> Result<Precision, Error> {
    let mut precision = None;
    for (name, view) in arrays {
        let found = match view.dtype() {
            Dtype::F32 => Precision::Float32,
            Dtype::F64 => Precision::Float64,
            found => return Err(Error::Kind { name: shortened(name), found, expected: "F32 or F64" }),
        };
        if *precision.get_or_insert(found) != found {
            return Err(Error::MixedKinds { name: shortened(name), found: view.dtype() });
        }
    }
    Ok(precision.unwrap_or_default())
}

fn check_shape(expected: &ExpectedArray, view: &TensorView<'_>) -> Result<(), Error> {
    let (actual_shape, expected_shape) = (shape(view), expected.shape_in_file());
    if actual_shape == expected_shape {
        return Ok(());
    }
    let transposed: Vec<i64> = expected_shape.iter().rev().copied().collect();
    let hint = match (actual_shape == transposed && actual_shape.len() == 2, expected.transposed) {
        (false, _) => "",
        (true, false) => ": it lies as Paddle keeps it, so say that the layout is Paddle's",
        (true, true) => ": it lies as libtorch keeps it, so say that the layout is libtorch's",
    };
    // A hostile header may give an array a hundred thousand dimensions.
    let actual_shape = shortened(&format!("{actual_shape:?}"));
    let message = format!("has shape {actual_shape}, not {expected_shape:?}{hint}");
    Err(nn::Error::Parameter { name: expected.name.clone(), message }.into())
}

fn check_values(array: &str, view: &TensorView<'_>) -> Result<(), Error> {
    // The values are checked in float32, as the network holds them, whatever the file's precision.
    let holds = |value: f64| (value as f32).is_finite();
    if all(view, holds) { Ok(()) } else { Err(Error::NotFinite { name: shortened(array) }) }
}

/// Batch normalisation takes the root of its running variance.
fn check_variance(expected: &ExpectedArray, view: &TensorView<'_>) -> Result<(), Error> {
    if !expected.name.ends_with(".running_var") || all(view, |value| value >= 0.0) {
        return Ok(());
    }
    let message = "holds a variance below 0".to_owned();
    Err(nn::Error::Parameter { name: expected.name.clone(), message }.into())
}

fn all(view: &TensorView<'_>, holds: impl Fn(f64) -> bool) -> bool {
    match view.dtype() {
        Dtype::F64 => view.data().as_chunks().0.iter().all(|bytes| holds(f64::from_le_bytes(*bytes))),
        _ => view.data().as_chunks().0.iter().all(|bytes| holds(f32::from_le_bytes(*bytes).into())),
    }
}

/// Returns the values of an array in libtorch's layout, row by row.
fn values<'a>(expected: &ExpectedArray, view: &TensorView<'a>) -> Cow<'a, [u8]> {
    let data = view.data();
    let [rows, columns] = *expected.shape else { return Cow::Borrowed(data) };
    if !expected.transposed || data.is_empty() {
        return Cow::Borrowed(data);
    }
    let (rows, columns) = (rows as usize, columns as usize);
    let width = data.len() / (rows * columns);
    let mut transposed = Vec::with_capacity(data.len());
    for row in 0..rows {
        for column in 0..columns {
            let at = (column * rows + row) * width;
            transposed.extend_from_slice(&data[at..at + width]);
        }
    }
    Cow::Owned(transposed)
}

fn encode(views: &[(&ExpectedArray, Cow<'_, [u8]>)], precision: Precision) -> Vec<u8> {
    let (dtype, _) = dtype(precision.kind());
    let views = views.iter().map(|(expected, bytes)| {
        let shape = expected.shape.iter().map(|&extent| extent as usize).collect();
        let view = TensorView::new(dtype, shape, bytes);
        (expected.name.as_str(), view.expect("the shape was checked against the bytes"))
    });
    safetensors::serialize(views, None).expect("the names and shapes of parameters make a header")
}
