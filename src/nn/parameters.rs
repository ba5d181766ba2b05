//! A network's trained arrays in one flat buffer, so that an optimiser's step is a few operations
//! over all of them. Gradients and optimiser state have the same layout.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use super::{Error, ParameterShape};

/// Every array begins at a multiple of this many values: 64 bytes in float32, a cache line.
const ALIGNMENT: i64 = 16;

/// Named arrays that share one buffer. The gaps between them hold zeros and stay zero under every
/// optimiser, since their gradients are zero.
#[derive(Debug)]
pub struct ParameterSet {
    flat: Tensor,
    arrays: Vec<NamedArray>,
}

#[derive(Debug)]
struct NamedArray {
    shape: ParameterShape,
    view: Tensor,
}

impl ParameterSet {
    /// Makes arrays of these shapes whose values are 0.
    pub fn zeros(shapes: &[ParameterShape], kind: Kind, device: Device) -> Self {
        let total = shapes.iter().map(padded_len).sum::<i64>();
        let flat = Tensor::zeros([total], (kind, device));
        let mut offset = 0;
        let arrays = shapes.iter().map(|shape| {
            let view = flat.as_strided(&shape.dims, strides(&shape.dims), offset);
            offset += padded_len(shape);
            NamedArray { shape: shape.clone(), view }
        });
        let arrays = arrays.collect();
        Self { flat, arrays }
    }

    /// Makes a set of the same layout whose values are 0.
    pub fn zeros_like(&self) -> Self {
        let shapes: Vec<_> = self.shapes().cloned().collect();
        Self::zeros(&shapes, self.flat.kind(), self.flat.device())
    }

    /// Copies the values into a buffer of their own.
    pub fn deep_copy(&self) -> Self {
        let mut copy = self.zeros_like();
        copy.assign_flat(&self.flat);
        copy
    }

    /// All values and the zeros between the arrays, `[total]`.
    pub fn flat(&self) -> &Tensor {
        &self.flat
    }

    /// All values, for operations in place under `no_grad`.
    pub fn flat_mut(&mut self) -> &mut Tensor {
        &mut self.flat
    }

    /// Replaces all values by those of a set of the same layout.
    pub fn assign_flat(&mut self, flat: &Tensor) {
        tch::no_grad(|| self.flat.copy_(flat));
    }

    pub fn shapes(&self) -> impl Iterator<Item = &ParameterShape> {
        self.arrays.iter().map(|array| &array.shape)
    }

    /// Names and views, in the order of the layers. A view of a convolution's weight lies in
    /// channels_last.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.arrays.iter().map(|array| (array.shape.name.as_str(), &array.view))
    }

    /// The array at `index`, counted in the order of the layers.
    pub fn view(&self, index: usize) -> &Tensor {
        &self.arrays[index].view
    }

    /// The array of this name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.iter().find(|(known, _)| *known == name).map(|(_, view)| view)
    }

    /// Copies `values` into the array at `index`. Panics when the shapes differ.
    pub fn assign(&mut self, index: usize, values: &Tensor) {
        let array = &mut self.arrays[index];
        assert_eq!(values.size(), array.shape.dims, "the shape of {}", array.shape.name);
        tch::no_grad(|| array.view.copy_(values));
    }

    /// Copies values into the array at `index` in the order in which it lies. Panics when they are not
    /// as many as it has.
    pub(super) fn assign_values(&mut self, index: usize, values: &[f32]) {
        let array = &mut self.arrays[index];
        let values = Tensor::from_slice(values).as_strided(&array.shape.dims, strides(&array.shape.dims), 0);
        tch::no_grad(|| array.view.copy_(&values));
    }

    /// Loads arrays of exactly these names and shapes. On an error nothing has changed.
    pub fn load(&mut self, arrays: &BTreeMap<String, Tensor>) -> Result<(), Error> {
        self.check(arrays)?;
        if let Some(name) = arrays.keys().find(|name| self.get(name).is_none()) {
            return Err(Error::foreign(name));
        }
        self.take(arrays);
        Ok(())
    }

    /// Checks that every array of this set is there in its shape; there may be others.
    pub(super) fn check(&self, arrays: &BTreeMap<String, Tensor>) -> Result<(), Error> {
        let fail = |name: &str, message: String| Err(Error::Parameter { name: name.to_owned(), message });
        for shape in self.shapes() {
            match arrays.get(&shape.name) {
                None => return fail(&shape.name, "is missing".to_owned()),
                Some(given) if given.size() != shape.dims => {
                    let message = format!("has shape {:?}, not {:?}", given.size(), shape.dims);
                    return fail(&shape.name, message);
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Loads the arrays of this set, which must have passed `check`.
    pub(super) fn take(&mut self, arrays: &BTreeMap<String, Tensor>) {
        for index in 0..self.arrays.len() {
            let values = arrays[&self.arrays[index].shape.name].shallow_clone();
            self.assign(index, &values);
        }
    }

    /// Copies the arrays to the CPU, row by row, with their names.
    pub fn export(&self) -> Vec<(String, Tensor)> {
        let plain = |view: &Tensor| view.detach().to_device(Device::Cpu).contiguous();
        self.iter().map(|(name, view)| (name.to_owned(), plain(view))).collect()
    }

    /// Makes the arrays leaves of the autograd graph.
    pub(super) fn track_gradients(&mut self) {
        for array in &mut self.arrays {
            array.view = array.view.set_requires_grad(true);
        }
    }
}

/// The number of values from one array to the next.
fn padded_len(shape: &ParameterShape) -> i64 {
    let count = shape.count();
    (count + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT
}

/// The strides of an array: channels_last for four axes, row by row otherwise.
fn strides(dims: &[i64]) -> Vec<i64> {
    match *dims {
        [_, c, h, w] => vec![c * h * w, 1, w * c, c],
        [_, columns] => vec![columns, 1],
        _ => vec![1],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> ParameterSet {
        let shape = |name: &str, dims: &[i64]| ParameterShape { name: name.to_owned(), dims: dims.to_vec() };
        ParameterSet::zeros(
            &[shape("conv.weight", &[2, 3, 2, 2]), shape("conv.bias", &[2])],
            Kind::Float,
            Device::Cpu,
        )
    }

    fn arrays() -> BTreeMap<String, Tensor> {
        let weight = Tensor::arange(24, (Kind::Float, Device::Cpu)).view([2, 3, 2, 2]);
        BTreeMap::from([
            ("conv.weight".to_owned(), weight),
            ("conv.bias".to_owned(), Tensor::from_slice(&[1f32, 2.])),
        ])
    }

    #[test]
    fn arrays_survive_a_round_trip() {
        let mut set = set();
        set.load(&arrays()).unwrap();
        for (name, values) in set.export() {
            assert_eq!(values, arrays()[&name], "{name}");
        }
        assert_eq!(set.view(0).stride(), [12, 1, 6, 3]);
        assert_eq!(set.flat().size(), [32 + 16]);
    }

    #[test]
    fn a_copy_shares_nothing() {
        let mut set = set();
        set.load(&arrays()).unwrap();
        let copy = set.deep_copy();
        set.assign(1, &Tensor::from_slice(&[8f32, 9.]));
        assert_eq!(copy.get("conv.bias").unwrap(), &arrays()["conv.bias"]);
    }

    #[test]
    fn foreign_arrays_are_rejected_and_change_nothing() {
        let mut set = set();
        let change = |name: &str, values: Option<Tensor>| {
            let mut arrays = arrays();
            arrays.remove(name);
            arrays.extend(values.map(|values| (name.to_owned(), values)));
            arrays
        };
        for (arrays, expected) in [
            (change("conv.bias", None), "parameter \"conv.bias\" is missing"),
            (
                change("conv.bias", Some(Tensor::from_slice(&[1f32]))),
                "parameter \"conv.bias\" has shape [1], not [2]",
            ),
            (
                change("fc.bias", Some(Tensor::from_slice(&[1f32]))),
                "parameter \"fc.bias\" is not one of the network's",
            ),
        ] {
            assert_eq!(set.load(&arrays).unwrap_err().to_string(), expected);
        }
        assert_eq!(set.flat().abs().sum(Kind::Float).double_value(&[]), 0.0);
    }
}
