//! Whether the weights that a run starts from are those of its network.

use std::collections::{BTreeMap, BTreeSet};

use super::TrainConfig;
use crate::{ids::FieldError, nn::LayerShape};

impl TrainConfig {
    /// Checks that the weights of `initial`, whose layers have the shapes `found`, fit the `expected` shapes of the
    /// request.
    pub fn check_initial(&self, expected: &[LayerShape], found: &[LayerShape]) -> Result<(), FieldError> {
        let found: BTreeMap<&str, &[i64]> = arrays(found).collect();
        for (name, dims) in arrays(expected) {
            match found.get(name) {
                None => return Err(self.initial_mismatch(format!("parameter {name:?} is missing"))),
                Some(shape) if *shape != dims => {
                    return Err(self
                        .initial_mismatch(format!("parameter {name:?} has shape {shape:?}, not {dims:?}")));
                }
                Some(_) => {}
            }
        }
        let expected: BTreeSet<&str> = arrays(expected).map(|(name, _)| name).collect();
        match found.keys().find(|name| !expected.contains(*name)) {
            Some(name) => {
                Err(self.initial_mismatch(format!("parameter {name:?} is not one of the network's")))
            }
            None => Ok(()),
        }
    }

    /// Describes the first difference between `initial` and the request's network.
    pub(in crate::train) fn initial_mismatch(&self, error: impl std::fmt::Display) -> FieldError {
        let version = self.initial.as_ref().map_or_else(String::new, ToString::to_string);
        let message = format!(
            "is {version}, whose weights do not fit the request's network: {error}; leave network out to use \
             the version's"
        );
        FieldError::new("initial", message)
    }
}

/// All arrays that weights of these layers have, in the order in which `Network::load` reads them.
fn arrays(shapes: &[LayerShape]) -> impl Iterator<Item = (&str, &[i64])> {
    let parameters = shapes.iter().flat_map(|shape| &shape.parameters);
    let statistics = shapes.iter().flat_map(|shape| &shape.running_statistics);
    parameters.chain(statistics).map(|array| (&*array.name, &*array.dims))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{LayerKind, LinearConfig, NetworkConfig, Shape};

    #[test]
    fn weights_of_another_network_are_reported_by_their_first_difference() {
        let shapes = |kinds: Vec<LayerKind>| {
            let layers = kinds.into_iter().map(|kind| (None, kind)).collect();
            NetworkConfig::from_layers(layers).shapes(Shape::grey(28, 28), 10).unwrap()
        };
        let linear = || LayerKind::Linear(LinearConfig { out_features: 10 });
        let wide = shapes(vec![LayerKind::Flatten, linear()]);
        let two = shapes(vec![LayerKind::Flatten, linear(), linear()]);
        let narrow = shapes(vec![LayerKind::Flatten, linear(), LayerKind::Relu, linear()]);
        let config = TrainConfig::default();
        let message = |own, given| config.check_initial(own, given).map_err(|invalid| invalid.to_string());
        assert_eq!(message(&wide, &wide), Ok(()));
        assert_eq!(message(&two, &narrow), Ok(()), "layers without arrays do not matter");
        for (own, given, expected) in [
            (&two, &wide, "parameter \"linear2.weight\" is missing"),
            (&wide, &two, "parameter \"linear2.bias\" is not one of the network's"),
        ] {
            let error = message(own, given).unwrap_err();
            assert!(error.starts_with("initial is ") && error.contains(expected), "{error}");
        }
    }
}
