//! A network's parameters and running statistics as a whole: copied, exported, loaded, and moved towards
//! those of another network.

use std::collections::BTreeMap;

use tch::Tensor;

use super::Network;
use crate::nn::{Error, ParameterSet};

impl Network {
    /// Copies the network with its parameters, for another thread.
    pub fn deep_copy(&self) -> Self {
        let mut parameters = self.parameters.deep_copy();
        parameters.track_gradients();
        Self {
            config: self.config.clone(),
            shapes: self.shapes.clone(),
            parameters,
            running_statistics: self.running_statistics.deep_copy(),
            first_parameter: self.first_parameter.clone(),
            training_multiplication: self.training_multiplication,
            inference_multiplication: self.inference_multiplication,
            first_statistic: self.first_statistic.clone(),
            fused: self.fused.clone(),
        }
    }

    /// The parameter or running statistic of this name.
    pub fn array(&self, name: &str) -> Option<&Tensor> {
        self.parameters.get(name).or_else(|| self.running_statistics.get(name))
    }

    /// Copies parameters and running statistics to the CPU, row by row, with their names.
    pub fn export(&self) -> Vec<(String, Tensor)> {
        let mut arrays = self.parameters.export();
        arrays.extend(self.running_statistics.export());
        arrays
    }

    /// Loads arrays of exactly the names and shapes that `export` gives. On an error nothing has changed.
    pub fn load(&mut self, arrays: &BTreeMap<String, Tensor>) -> Result<(), Error> {
        self.parameters.check(arrays)?;
        self.running_statistics.check(arrays)?;
        let known = |name: &str| self.array(name).is_some();
        if let Some(name) = arrays.keys().find(|name| !known(name)) {
            return Err(Error::foreign(name));
        }
        let below_zero = |array: &Tensor| array.min().double_value(&[]) < 0.0;
        if let Some((name, _)) =
            arrays.iter().find(|(name, a)| name.ends_with(".running_var") && below_zero(a))
        {
            let message = "holds a variance below 0".to_owned();
            return Err(Error::Parameter { name: name.clone(), message });
        }
        self.parameters.take(arrays);
        self.running_statistics.take(arrays);
        Ok(())
    }

    /// Moves parameters and running statistics by `share` of the way to those of a network of the
    /// same layers.
    pub fn move_towards(&mut self, other: &Self, share: f64) {
        let _guard = tch::no_grad_guard();
        let _ = self.parameters.flat_mut().lerp_(other.parameters.flat(), share);
        let _ = self.running_statistics.flat_mut().lerp_(other.running_statistics.flat(), share);
    }

    /// Sets weight 1, bias 0, running mean 0 and running variance 1.
    pub(super) fn initialize_batch_norm(&mut self, layer: usize) {
        let (parameter, statistic) = (self.first_parameter[layer], self.first_statistic[layer]);
        fill(&mut self.parameters, parameter, 1.0);
        fill(&mut self.parameters, parameter + 1, 0.0);
        fill(&mut self.running_statistics, statistic, 0.0);
        fill(&mut self.running_statistics, statistic + 1, 1.0);
    }
}

fn fill(set: &mut ParameterSet, index: usize, value: f64) {
    let values = set.view(index).full_like(value);
    set.assign(index, &values);
}
