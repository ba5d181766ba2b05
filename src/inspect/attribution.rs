//! Attribution of a prediction: gradients with respect to weights and pixels, and what is lost if a
//! part of the image is occluded. The network is in evaluation mode and stays unchanged.

use tch::{Kind, Tensor};

use super::{
    Error,
    tensors::{image_tensor, norm, together, values as values_of},
};
use crate::{
    eval::Loss,
    ids::FieldError,
    nn::{Mode, Network, ParameterShape},
};

/// Images in one forward pass with covered images.
const OCCLUSION_BATCH: usize = 256;

/// The gradient of the mean cross-entropy of some images with respect to the weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradients {
    /// The label of the image; none for several images.
    pub label: Option<usize>,
    pub loss: f64,
    /// The Euclidean norm over all parameters; all norms here are Euclidean.
    pub norm: f64,
    /// The layers that have parameters.
    pub layers: Vec<LayerGradient>,
}

/// The gradient with respect to a layer's parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerGradient {
    pub name: String,
    pub norm: f64,
    pub parameters: Vec<ParameterGradient>,
}

/// The gradient with respect to one parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterGradient {
    pub name: String,
    pub norm: f64,
    pub max_abs: f64,
    pub zero_fraction: f64,
    /// The norm of the parameter itself.
    pub parameter_norm: f64,
}

/// The gradient of a class's logit with respect to the pixels (Simonyan, Vedaldi, Zisserman 2013).
#[derive(Debug, Clone, PartialEq)]
pub struct Saliency {
    pub class: usize,
    pub logit: f64,
    pub height: usize,
    pub width: usize,
    /// `[H,W]`, row by row.
    pub gradient: Vec<f64>,
    pub norm: f64,
}

/// The square that occludes a part of the image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OcclusionConfig {
    /// Pixels on each side of the square.
    pub patch: usize,
    /// The stride from one position to the next, in pixels: 1 to `patch`.
    pub stride: usize,
    /// The value that the square is filled with, in `[0,1]`.
    pub fill: f64,
}

/// How much of a class's probability is lost if a part of the image is occluded (Zeiler, Fergus
/// 2014).
#[derive(Debug, Clone, PartialEq)]
pub struct Occlusion {
    pub class: usize,
    /// The probability for the whole image.
    pub probability: f64,
    pub config: OcclusionConfig,
    /// The positions of the square: its first rows and columns.
    pub rows: Vec<usize>,
    pub columns: Vec<usize>,
    /// The drop of the probability for every position, row by row.
    pub drops: Vec<f64>,
}

impl Default for OcclusionConfig {
    fn default() -> Self {
        Self { patch: 4, stride: 2, fill: 0.0 }
    }
}

/// Computes the gradients for one image of H·W numbers in `[0,1]` and its label. Errors on a
/// image of another size and on a class that the network does not have.
pub fn gradients(network: &Network, values: &[f32], label: usize) -> Result<Gradients, Error> {
    check_class(network, label)?;
    let labels = Tensor::from_slice(&[label as i64]).to_device(network.device());
    Ok(Gradients { label: Some(label), ..Gradients::of(network, &image_tensor(network, values)?, &labels) })
}

/// Computes the saliency of one image for a class, by default the predicted one. Errors as
/// `gradients` does.
pub fn saliency(network: &Network, values: &[f32], class: Option<usize>) -> Result<Saliency, Error> {
    class.map_or(Ok(()), |class| check_class(network, class))?;
    let image = image_tensor(network, values)?.set_requires_grad(true);
    let (height, width) = (image.size()[2] as usize, image.size()[3] as usize);
    tch::with_grad(|| {
        let logits = network.forward(&image, Mode::Evaluate).get(0);
        let class = class.unwrap_or_else(|| predicted_class(&logits));
        let logit = logits.get(class as i64);
        let gradient = Tensor::run_backward(&[&logit], &[&image], false, false).remove(0);
        Ok(Saliency {
            class,
            logit: logit.double_value(&[]),
            height,
            width,
            gradient: values_of(&gradient),
            norm: norm(&gradient),
        })
    })
}

/// Computes the occlusion of one image for a class, by default the predicted one. Errors as
/// `gradients` does, and on settings that cover nothing or skip pixels.
pub fn occlusion(
    network: &Network,
    values: &[f32],
    class: Option<usize>,
    config: OcclusionConfig,
) -> Result<Occlusion, Error> {
    class.map_or(Ok(()), |class| check_class(network, class))?;
    let whole = image_tensor(network, values)?;
    let (height, width) = (whole.size()[2] as usize, whole.size()[3] as usize);
    config.check(height.min(width))?;
    let probabilities = network.predict(&whole).get(0);
    let class = class.unwrap_or_else(|| predicted_class(&probabilities));
    let probability = probabilities.double_value(&[class as i64]);
    let (rows, columns) = (config.positions(height), config.positions(width));
    let positions: Vec<(usize, usize)> =
        rows.iter().flat_map(|&row| columns.iter().map(move |&column| (row, column))).collect();
    let mut drops = Vec::with_capacity(positions.len());
    for positions in positions.chunks(network.forward_batch(OCCLUSION_BATCH)) {
        let covered: Vec<f32> =
            positions.iter().flat_map(|position| config.cover(values, width, *position)).collect();
        let (n, h, w) = (positions.len() as i64, height as i64, width as i64);
        // channels_last by hand: with one channel no conversion gives these strides.
        let covered = Tensor::from_slice(&covered).as_strided([n, 1, h, w], [h * w, 1, w, 1], None);
        let covered = covered.to_device(network.device()).to_kind(network.kind());
        let covered_probability = network.predict(&covered).select(1, class as i64);
        drops.extend(values_of(&covered_probability).into_iter().map(|covered| probability - covered));
    }
    Ok(Occlusion { class, probability, config, rows, columns, drops })
}

impl Gradients {
    /// Computes the gradients for images `[N,1,H,W]` in `[0,1]` and labels `[N]`, in the network's
    /// kind and on its device.
    pub fn of(network: &Network, images: &Tensor, labels: &Tensor) -> Self {
        let parameters: Vec<&Tensor> = network.parameters().iter().map(|(_, view)| view).collect();
        let (loss, gradients) = tch::with_grad(|| {
            let loss = Loss::CrossEntropy.mean(&network.forward(images, Mode::Evaluate), labels);
            let gradients = Tensor::run_backward(&[&loss], &parameters, false, false);
            (loss.double_value(&[]), gradients)
        });
        let mut all = parameters.into_iter().zip(&gradients);
        let one = |shape: &ParameterShape| {
            let (parameter, gradient) = all.next().expect("the layers' parameters are the network's");
            ParameterGradient {
                name: shape.name.clone(),
                norm: norm(gradient),
                max_abs: gradient.abs().max().double_value(&[]),
                zero_fraction: gradient.eq(0.0).to_kind(Kind::Double).mean(Kind::Double).double_value(&[]),
                parameter_norm: norm(parameter),
            }
        };
        let layers = network.config().layers.iter().zip(network.shapes());
        let layers = layers.filter(|(_, shape)| !shape.parameters.is_empty());
        let mut one = one;
        let layers: Vec<LayerGradient> = layers
            .map(|(config, shape)| {
                let parameters: Vec<_> = shape.parameters.iter().map(&mut one).collect();
                let norm = together(parameters.iter().map(|parameter| parameter.norm));
                LayerGradient { name: config.name.clone(), norm, parameters }
            })
            .collect();
        Self { label: None, loss, norm: together(layers.iter().map(|layer| layer.norm)), layers }
    }
}

impl OcclusionConfig {
    fn check(self, side: usize) -> Result<(), Error> {
        let fail = |field, message: String| Err(Error::Occlusion(FieldError::new(field, message)));
        if !(1..=side).contains(&self.patch) {
            let message = format!("is {}: use 1 to {side}, the image's smaller side", self.patch);
            return fail("patch_size", message);
        }
        if !(1..=self.patch).contains(&self.stride) {
            let message = format!("is {}: use 1 to {}, so that no pixel is skipped", self.stride, self.patch);
            return fail("stride", message);
        }
        if !(0.0..=1.0).contains(&self.fill) {
            return fail("fill", format!("is {}: use 0.0 (background) to 1.0 (ink)", self.fill));
        }
        Ok(())
    }

    /// Returns the positions of the square along a side; the last position touches the edge.
    fn positions(self, side: usize) -> Vec<usize> {
        let last = side - self.patch;
        let mut positions: Vec<usize> = (0..=last).step_by(self.stride).collect();
        if positions.last() != Some(&last) {
            positions.push(last);
        }
        positions
    }

    fn cover(self, values: &[f32], width: usize, (row, column): (usize, usize)) -> Vec<f32> {
        let mut covered = values.to_vec();
        for row in row..row + self.patch {
            covered[row * width + column..][..self.patch].fill(self.fill as f32);
        }
        covered
    }
}

impl Occlusion {
    /// Returns for every pixel the mean drop of the positions that cover it, row by row.
    pub fn by_pixel(&self, height: usize, width: usize) -> Vec<f64> {
        let (mut sums, mut counts) = (vec![0.0; height * width], vec![0.0; height * width]);
        let positions =
            self.rows.iter().flat_map(|&row| self.columns.iter().map(move |&column| (row, column)));
        for ((top, left), drop) in positions.zip(&self.drops) {
            for row in top..top + self.config.patch {
                for at in row * width + left..row * width + left + self.config.patch {
                    sums[at] += drop;
                    counts[at] += 1.0;
                }
            }
        }
        sums.iter().zip(counts).map(|(sum, count)| sum / f64::max(count, 1.0)).collect()
    }
}

fn check_class(network: &Network, class: usize) -> Result<(), Error> {
    let classes = network.classes();
    if class < classes { Ok(()) } else { Err(Error::UnknownClass { class, classes }) }
}

/// The class of the largest score.
fn predicted_class(scores: &Tensor) -> usize {
    scores.argmax(-1, false).int64_value(&[]) as usize
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::nn::{NetworkConfig, Shape};

    /// In float64, so that differences of finite steps are meaningful.
    fn network(config: &NetworkConfig) -> Network {
        let mut network = Network::zeros(config, Shape::grey(28, 28), 10, Kind::Double, Device::Cpu).unwrap();
        network.initialize(7);
        network
    }

    /// No two pixels are the same, so that no pooling window has a tie.
    fn ramp() -> Vec<f32> {
        (0..784).map(|at| ((at * 613) % 784) as f32 / 784.0).collect()
    }

    fn loss(network: &Network, values: &[f32], label: i64) -> f64 {
        let logits = network.forward(&image_tensor(network, values).unwrap(), Mode::Evaluate);
        Loss::CrossEntropy.mean(&logits, &Tensor::from_slice(&[label])).double_value(&[])
    }

    #[test]
    fn gradients_are_the_slopes_of_the_loss() {
        for config in [NetworkConfig::tutorial(), NetworkConfig::deep()] {
            let mut network = network(&config);
            let found = gradients(&network, &ramp(), 3).unwrap();
            assert!((found.loss - loss(&network, &ramp(), 3)).abs() < 1e-12);
            // Along the gradient itself the slope is its norm.
            let index = network.parameters().iter().position(|(name, _)| name == "conv2.weight").unwrap();
            let weight = network.parameters().view(index).detach().copy();
            let labels = Tensor::from_slice(&[3i64]);
            let input = image_tensor(&network, &ramp()).unwrap();
            let exact = Loss::CrossEntropy.mean(&network.forward(&input, Mode::Evaluate), &labels);
            let exact =
                Tensor::run_backward(&[&exact], &[network.parameters().view(index)], false, false).remove(0);
            let unit = &exact / norm(&exact);
            let mut at = |step: f64| {
                network.parameters_mut().assign(index, &(&weight + &unit * step));
                loss(&network, &ramp(), 3)
            };
            let slope = (at(1e-6) - at(-1e-6)) / 2e-6;
            let layer = found.layers.iter().find(|layer| layer.name == "conv2").unwrap();
            let expected = layer.parameters[0].norm;
            assert!((slope - expected).abs() < 1e-5 * expected, "{slope} and {expected}");
            assert!((together(found.layers.iter().map(|layer| layer.norm)) - found.norm).abs() < 1e-12);
            assert!((layer.parameters[0].parameter_norm - norm(&weight)).abs() < 1e-12);
        }
    }

    #[test]
    fn a_saliency_is_the_slope_of_the_logit_by_each_pixel() {
        let network = network(&NetworkConfig::tutorial());
        let found = saliency(&network, &ramp(), Some(4)).unwrap();
        assert_eq!((found.class, found.height, found.gradient.len()), (4, 28, 784));
        let logit = |at: usize, step: f64| {
            let mut values: Vec<f64> = ramp().into_iter().map(f64::from).collect();
            values[at] += step;
            let input = Tensor::from_slice(&values).view([1, 1, 28, 28]);
            network.forward(&input, Mode::Evaluate).double_value(&[0, 4])
        };
        assert!((found.logit - logit(0, 0.0)).abs() < 1e-9);
        for at in [0, 29, 300, 407, 783] {
            let slope = (logit(at, 1e-6) - logit(at, -1e-6)) / 2e-6;
            assert!(
                (slope - found.gradient[at]).abs() < 1e-6,
                "pixel {at}: {slope} and {}",
                found.gradient[at]
            );
        }
        // By default the class is the predicted one.
        let predicted = predicted_class(&network.predict(&image_tensor(&network, &ramp()).unwrap()).get(0));
        assert_eq!(saliency(&network, &ramp(), None).unwrap().class, predicted);
    }

    #[test]
    fn an_occlusion_is_what_predictions_of_covered_images_lose() {
        let network = network(&NetworkConfig::tutorial());
        let config = OcclusionConfig { patch: 5, stride: 4, fill: 0.5 };
        let found = occlusion(&network, &ramp(), Some(2), config).unwrap();
        // 0, 4, …, 20, and 23 at the edge.
        assert_eq!((found.rows.len(), found.rows.last(), found.drops.len()), (7, Some(&23), 49));
        let mut covered = ramp();
        for row in 8..13 {
            covered[row * 28 + 23..row * 28 + 28].fill(0.5);
        }
        let remaining = network.predict(&image_tensor(&network, &covered).unwrap()).double_value(&[0, 2]);
        assert!((found.drops[2 * 7 + 6] - (found.probability - remaining)).abs() < 1e-12);
        let by_pixel = found.by_pixel(28, 28);
        assert!((by_pixel[0] - found.drops[0]).abs() < 1e-12, "one position covers the corner");
        let both = (found.drops[0] + found.drops[1]) / 2.0;
        assert!((by_pixel[4] - both).abs() < 1e-12, "two positions cover column 4");
    }

    #[test]
    fn impossible_attributions_are_rejected() {
        let network = network(&NetworkConfig::tutorial());
        assert_eq!(
            gradients(&network, &ramp(), 10).unwrap_err(),
            Error::UnknownClass { class: 10, classes: 10 }
        );
        assert!(saliency(&network, &ramp()[1..], None).is_err());
        for (patch, stride, fill, expected) in [
            (0, 1, 0.0, "patch_size"),
            (29, 1, 0.0, "patch_size"),
            (4, 5, 0.0, "stride"),
            (4, 2, 1.5, "fill"),
        ] {
            let config = OcclusionConfig { patch, stride, fill };
            let error = occlusion(&network, &ramp(), None, config).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn grad_mode_is_restored() {
        let network = network(&NetworkConfig::tutorial());
        let _guard = tch::no_grad_guard();
        gradients(&network, &ramp(), 1).unwrap();
        saliency(&network, &ramp(), None).unwrap();
        let x = Tensor::from_slice(&[1.0]).set_requires_grad(true);
        assert!(!(x * 2.0).requires_grad());
    }
}
