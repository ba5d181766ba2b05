//! The difference of two networks: parameter by parameter, layer by layer over a set of images, and
//! in their predictions.

use tch::{Kind, Tensor};

use super::tensors::{together, values};
use crate::{
    data::{DeviceSet, ImageSet},
    metric::{PairedComparison, Predictions},
    nn::{LayerKind, Network},
};

/// Images in one forward pass, whose outputs of one layer of both networks are held.
const BATCH: usize = 250;

/// The difference of two networks.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The parameters that both have with the same shape.
    pub parameters: Vec<ParameterDistance>,
    /// All other parameters and running statistics of either.
    pub unmatched: Vec<String>,
    pub outputs: Vec<OutputDistance>,
    /// The predictions of the two: before first, after second.
    pub predictions: PairedComparison,
}

/// The distance that a parameter moved; norms are Euclidean.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterDistance {
    pub name: String,
    pub count: usize,
    pub distance: f64,
    /// The distance divided by the norm before; none where that is 0.
    pub relative: Option<f64>,
    pub max_abs: f64,
    /// The cosine of the angle between the two; none if either norm is 0.
    pub cosine: Option<f64>,
    /// The number of values that are the same to the bit.
    pub unchanged: usize,
}

/// The distance that the outputs of a layer moved, over all images.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputDistance {
    pub name: String,
    pub rms: f64,
    /// The distance divided by the root mean square before; none where that is 0.
    pub relative: Option<f64>,
    pub max_abs: f64,
}

/// Compares two networks that take images of the same size over a set, and lists at most `max_changed` of the
/// changed predictions. Returns `None` as soon as `is_wanted`, which is called after every batch, returns false.
/// Panics on an empty set, and if the two have different numbers of classes.
pub fn compare(
    (before, after): (&Network, &Network),
    set: &ImageSet,
    max_changed: usize,
    is_wanted: &dyn Fn() -> bool,
) -> Option<Difference> {
    assert!(!set.is_empty(), "there is nothing to compare over");
    let _guard = tch::no_grad_guard();
    let (parameters, unmatched) = parameters(before, after);
    let mut pass = PairedPass::new(before, after);
    let images = DeviceSet::new(set, before.device());
    // The outputs of all layers of one network are held at a time.
    let layers = before.config().layers.len();
    let size =
        (before.forward_batch(BATCH * layers).min(after.forward_batch(BATCH * layers)) / layers).max(1);
    for start in (0..set.len()).step_by(size) {
        pass.batch(&images, start, size);
        if !is_wanted() {
            return None;
        }
    }
    Some(Difference {
        parameters,
        unmatched,
        outputs: pass.outputs(),
        predictions: pass.predictions(set.labels(), max_changed),
    })
}

fn parameters(before: &Network, after: &Network) -> (Vec<ParameterDistance>, Vec<String>) {
    let (mut matched, mut unmatched) = (Vec::new(), Vec::new());
    for (name, old) in before.export() {
        match after.array(&name).filter(|new| new.size() == old.size()) {
            Some(new) => matched.push(ParameterDistance::of(name, &values(&old), &values(new))),
            None => unmatched.push(name),
        }
    }
    let others = after.export().into_iter().map(|(name, _)| name);
    unmatched.extend(others.filter(|name| before.array(name).is_none()));
    (matched, unmatched)
}

impl ParameterDistance {
    fn of(name: String, before: &[f64], after: &[f64]) -> Self {
        let both = || before.iter().zip(after);
        let norm = |values: &[f64]| together(values.iter().copied());
        let distance = together(both().map(|(before, after)| after - before));
        let (old, new) = (norm(before), norm(after));
        let product: f64 = both().map(|(before, after)| before * after).sum();
        Self {
            name,
            count: before.len(),
            distance,
            relative: (old != 0.0).then(|| distance / old),
            max_abs: both().map(|(before, after)| (after - before).abs()).fold(0.0, larger),
            cosine: (old != 0.0 && new != 0.0).then(|| product / (old * new)),
            unchanged: both().filter(|(before, after)| before.to_bits() == after.to_bits()).count(),
        }
    }
}

/// A pass of both networks over the set.
struct PairedPass<'a> {
    networks: [&'a Network; 2],
    /// The indices of the compared layers, in the first network and in the second.
    layers: Vec<(usize, usize)>,
    sums: Vec<DistanceSums>,
    /// [n, classes] of both, row by row.
    logits: [Vec<f64>; 2],
}

#[derive(Debug, Clone, Default)]
struct DistanceSums {
    values: f64,
    squares: f64,
    squares_before: f64,
    max_abs: f64,
}

impl<'a> PairedPass<'a> {
    fn new(before: &'a Network, after: &'a Network) -> Self {
        let of_after = |name: &str| after.config().layers.iter().position(|layer| layer.name == name);
        let computes = |layer: &LayerKind| !matches!(layer, LayerKind::Flatten | LayerKind::Dropout(_));
        let layers = before.config().layers.iter().enumerate().filter(|(_, layer)| computes(&layer.kind));
        let layers = layers.filter_map(|(index, layer)| Some((index, of_after(&layer.name)?)));
        let layers: Vec<(usize, usize)> =
            layers.filter(|&(old, new)| before.shapes()[old].output == after.shapes()[new].output).collect();
        Self {
            networks: [before, after],
            sums: vec![DistanceSums::default(); layers.len()],
            layers,
            logits: [Vec::new(), Vec::new()],
        }
    }

    fn batch(&mut self, set: &DeviceSet, start: usize, size: usize) {
        let [before, after] = self.networks;
        let batch = set.range(start, start + size, before.kind());
        let mut outputs: Vec<Tensor> = Vec::new();
        let old = before.forward_with(&batch.images, &mut |_, output| outputs.push(output.shallow_clone()));
        let (layers, sums) = (&self.layers, &mut self.sums);
        let images = batch.images.to_kind(after.kind());
        let new = after.forward_with(&images, &mut |layer, output| {
            for (&(old, _), sums) in layers.iter().zip(sums.iter_mut()).filter(|((_, new), _)| *new == layer)
            {
                sums.add(&outputs[old], output);
            }
        });
        for (known, logits) in self.logits.iter_mut().zip([old, new]) {
            known.extend(values(&logits));
        }
    }

    fn predictions(self, labels: &[u8], max_listed: usize) -> PairedComparison {
        let [before, after] = self.networks.map(Network::classes);
        let [old, new] = self.logits;
        let (old, new) =
            (Predictions::new(before, old, labels.to_vec()), Predictions::new(after, new, labels.to_vec()));
        PairedComparison::of(&old, &new, max_listed)
    }

    fn outputs(&self) -> Vec<OutputDistance> {
        let names = self.layers.iter().map(|&(old, _)| &self.networks[0].config().layers[old].name);
        let distance = |(name, sums): (&String, &DistanceSums)| OutputDistance {
            name: name.clone(),
            rms: (sums.squares / sums.values).sqrt(),
            relative: (sums.squares_before != 0.0).then(|| (sums.squares / sums.squares_before).sqrt()),
            max_abs: sums.max_abs,
        };
        names.zip(&self.sums).map(distance).collect()
    }
}

impl DistanceSums {
    fn add(&mut self, before: &Tensor, after: &Tensor) {
        let before = before.to_kind(Kind::Double);
        let difference = after.to_kind(Kind::Double) - &before;
        let sum = |tensor: Tensor| tensor.sum(Kind::Double).double_value(&[]);
        self.values += difference.numel() as f64;
        self.squares += sum(difference.square());
        self.squares_before += sum(before.square());
        self.max_abs = larger(self.max_abs, difference.abs().max().double_value(&[]));
    }
}

/// The larger of two; NaN where either is, which `f64::max` would drop.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::{
        data::synthetic,
        nn::{NetworkConfig, Shape},
    };

    fn network(config: &NetworkConfig, seed: u64) -> Network {
        let mut network = Network::zeros(config, Shape::grey(28, 28), 10, Kind::Float, Device::Cpu).unwrap();
        network.initialize(seed);
        network
    }

    fn compared(before: &Network, after: &Network, set: &ImageSet, max_changed: usize) -> Difference {
        compare((before, after), set, max_changed, &|| true).unwrap()
    }

    fn digits() -> ImageSet {
        synthetic::draw(0, synthetic::DigitStream::Test, 0..300)
    }

    #[test]
    fn a_network_has_no_distance_from_itself() {
        let network = network(&NetworkConfig::tutorial(), 1);
        let difference = compared(&network, &network.deep_copy(), &digits(), 10);
        assert_eq!((difference.predictions.changed, difference.predictions.total()), (0, 300));
        assert!(difference.parameters.iter().all(|it| it.distance == 0.0 && it.unchanged == it.count));
        assert_eq!(difference.outputs.len(), 7);
        assert!(difference.outputs.iter().all(|it| it.rms == 0.0 && it.max_abs == 0.0));
    }

    #[test]
    fn distances_are_those_of_the_change_that_was_made() {
        let before = network(&NetworkConfig::tutorial(), 1);
        let mut after = before.deep_copy();
        let bias = Tensor::from_slice(&[0.0f32, 3.0, 0., 0., 4.0, 0., 0., 0., 0., 0.]);
        after.parameters_mut().assign(5, &bias);
        let difference = compared(&before, &after, &digits(), 1000);
        let moved: Vec<&ParameterDistance> =
            difference.parameters.iter().filter(|it| it.distance != 0.0).collect();
        assert_eq!((moved.len(), moved[0].name.as_str(), moved[0].distance), (1, "fc.bias", 5.0));
        // The bias was 0 before: there is no norm to divide the distance by.
        assert_eq!((moved[0].relative, moved[0].cosine, moved[0].unchanged), (None, None, 8));
        let fc = difference.outputs.last().unwrap();
        assert_eq!(fc.name, "fc");
        assert!((fc.rms - (25.0f64 / 10.0).sqrt()).abs() < 1e-5 && (fc.max_abs - 4.0).abs() < 1e-4, "{fc:?}");
        assert!(difference.outputs[..6].iter().all(|it| it.rms == 0.0));

        // Every change is listed, and by the networks' own predictions.
        let images = DeviceSet::new(&digits(), Device::Cpu).range(0, 300, Kind::Float).images;
        let classes = |network: &Network| values(&network.predict(&images).argmax(-1, false));
        let (old, new) = (classes(&before), classes(&after));
        let changed: Vec<usize> = (0..300).filter(|&at| old[at] != new[at]).collect();
        assert!(!changed.is_empty());
        assert_eq!(difference.predictions.listed.iter().map(|it| it.index).collect::<Vec<_>>(), changed);
        assert!(difference.predictions.listed.iter().all(|it| [1, 4].contains(&it.second.0)));
        let label = |at: &&usize| new[**at] == f64::from(digits().label(**at));
        assert_eq!(difference.predictions.only_second as usize, changed.iter().filter(label).count());
        assert_eq!(compared(&before, &after, &digits(), 3).predictions.listed.len(), 3);
    }

    #[test]
    fn a_value_that_is_not_a_number_makes_the_distance_nan() {
        let values = |values: [f64; 3]| ParameterDistance::of("w".into(), &[1.0, 2.0, 3.0], &values).max_abs;
        assert_eq!(values([1.0, 5.0, 3.0]), 3.0);
        assert!(values([f64::NAN, 5.0, 3.0]).is_nan() && values([1.0, 5.0, f64::NAN]).is_nan());
    }

    #[test]
    fn networks_of_other_layers_are_compared_in_what_they_share() {
        let difference = compared(
            &network(&NetworkConfig::tutorial(), 1),
            &network(&NetworkConfig::deep(), 1),
            &digits(),
            0,
        );
        assert_eq!(difference.parameters, []);
        assert!(difference.unmatched.contains(&"conv1.weight".to_owned()));
        assert!(difference.unmatched.contains(&"bn5.running_var".to_owned()));
        assert_eq!(difference.outputs, []);
    }

    #[test]
    fn a_comparison_without_a_caller_stops_early() {
        let network = network(&NetworkConfig::tutorial(), 1);
        let calls = std::cell::Cell::new(0);
        let is_wanted = || calls.replace(1) == 1;
        assert!(compare((&network, &network), &digits(), 1, &is_wanted).is_none());
    }
}
