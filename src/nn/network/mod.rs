//! The built network: its parameters and the forward pass through them. It does not use any loss or optimiser.
//! A libtorch failure panics; the thread that owns the network catches it at the border of its job.

mod passes;
mod predictor;
mod weights;

pub use predictor::Predictor;

use tch::{Device, Kind, Tensor};

use super::{
    Error, LayerKind, LayerShape, Mode, NetworkConfig, ParameterSet, ParameterShape, Precision, Shape,
    batch_norm, dropout, fused::FusedBlocks, precision::Multiplication,
};
use crate::data::{Random, Stream};

/// The layers with their parameters. A network belongs to one thread at a time: it is Send, but not Sync.
#[derive(Debug)]
pub struct Network {
    config: NetworkConfig,
    shapes: Vec<LayerShape>,
    parameters: ParameterSet,
    /// The statistics that are saved with the parameters, but not trained.
    running_statistics: ParameterSet,
    /// The index of each layer's first parameter.
    first_parameter: Vec<usize>,
    /// How layers multiply in training and in evaluation. In evaluation they do so in the parameters' own kind,
    /// unless the network is a predictor's.
    training_multiplication: Multiplication,
    inference_multiplication: Multiplication,
    /// The index of each layer's first running statistic.
    first_statistic: Vec<usize>,
    /// The fused kernels for the first layers, if this machine has them.
    fused: Option<FusedBlocks>,
}

impl Network {
    /// Builds a network whose parameters are 0, for weights that come from elsewhere.
    pub fn zeros(
        config: &NetworkConfig,
        input: Shape,
        classes: usize,
        kind: Kind,
        device: Device,
    ) -> Result<Self, Error> {
        let shapes = config.shapes(input, classes)?;
        let (parameters, first_parameter) = collect_arrays(&shapes, |shape| &shape.parameters);
        let (statistics, first_statistic) = collect_arrays(&shapes, |shape| &shape.running_statistics);
        let mut parameters = ParameterSet::zeros(&parameters, kind, device);
        parameters.track_gradients();
        Ok(Self {
            config: config.clone(),
            fused: FusedBlocks::of(config, &shapes, kind, device),
            shapes,
            parameters,
            running_statistics: ParameterSet::zeros(&statistics, kind, device),
            first_parameter,
            first_statistic,
            training_multiplication: Multiplication::Native,
            inference_multiplication: Multiplication::Native,
        })
    }

    /// Draws the initial parameters, a function of the seed: convolution weights
    /// Normal(0, √(2/(k·k·in))) (He et al. 2015), linear weights uniform ±√(6/(in+out)) (Glorot and
    /// Bengio 2010), those of batch normalisation 1 with running mean 0 and variance 1, biases 0;
    /// Paddle's defaults.
    pub fn initialize(&mut self, seed: u64) {
        for index in 0..self.shapes.len() {
            let Some(weight) = self.shapes[index].parameters.first() else { continue };
            let mut random = Random::new(seed, Stream::Init, index as u64, 0);
            let mut draw: Box<dyn FnMut() -> f64> = match *weight.dims {
                [_, channels, height, width] => {
                    let deviation = (2.0 / (channels * height * width) as f64).sqrt();
                    Box::new(move || deviation * random.normal())
                }
                [outputs, inputs] => {
                    let bound = (6.0 / (inputs + outputs) as f64).sqrt();
                    Box::new(move || random.between(-bound, bound))
                }
                _ => {
                    self.initialize_batch_norm(index);
                    continue;
                }
            };
            let values: Vec<f64> = (0..weight.count()).map(|_| draw()).collect();
            let values = Tensor::from_slice(&values).view(&weight.dims[..]);
            self.parameters.assign(self.first_parameter[index], &values);
        }
    }

    /// Sets the precision of later training steps; its kind must be that of the parameters.
    pub fn set_training_precision(&mut self, precision: Precision) {
        debug_assert_eq!(precision.kind(), self.kind());
        self.training_multiplication = Multiplication::new(precision, self.device());
    }

    /// Returns the largest batch size up to `wanted` with which a forward pass without gradients stays within
    /// 512 MiB between two layers; it is at least 1.
    pub fn forward_batch(&self, wanted: usize) -> usize {
        const MAX_BYTES: i64 = 1 << 29;
        let widest = self.shapes.iter().map(|shape| shape.input.len() + shape.output.len()).max();
        // A shape holds at most 2^20 values, so that the quotient is never 0.
        let most = MAX_BYTES / (widest.unwrap_or(1) * self.kind().elt_size_in_bytes() as i64);
        wanted.min(most as usize).max(1)
    }

    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }

    /// The input, output and parameter shapes of each layer.
    pub fn shapes(&self) -> &[LayerShape] {
        &self.shapes
    }

    /// The shape that one image must have.
    pub fn input(&self) -> Shape {
        self.shapes[0].input
    }

    pub fn classes(&self) -> usize {
        self.shapes[self.shapes.len() - 1].output.len() as usize
    }

    pub fn parameters(&self) -> &ParameterSet {
        &self.parameters
    }

    pub fn parameters_mut(&mut self) -> &mut ParameterSet {
        &mut self.parameters
    }

    /// The statistics that batch normalisation keeps of the batches it was trained on.
    pub fn running_statistics(&self) -> &ParameterSet {
        &self.running_statistics
    }

    pub fn kind(&self) -> Kind {
        self.parameters.flat().kind()
    }

    pub fn device(&self) -> Device {
        self.parameters.flat().device()
    }

    /// The number of trained values.
    pub fn total_parameters(&self) -> i64 {
        self.parameters.shapes().map(ParameterShape::count).sum()
    }

    /// Computes the logits `[N,classes]` of images `[N,1,H,W]` in `[0,1]`. In training mode batch
    /// normalisation updates its running statistics.
    pub fn forward(&self, images: &Tensor, mode: Mode) -> Tensor {
        debug_assert_eq!(images.size()[1..], self.input().with_batch(1)[1..]);
        self.forward_from(0, images.shallow_clone(), mode, &mut |_, _| ())
    }

    fn forward_from(
        &self,
        first: usize,
        x: Tensor,
        mode: Mode,
        observe: &mut dyn FnMut(usize, &Tensor),
    ) -> Tensor {
        let mut x = x;
        let mut index = first;
        while index < self.config.layers.len() {
            // max-pool(relu(x)) = relu(max-pool(x)), in value and in gradient, and pooling first
            // leaves the ReLU a quarter of the work.
            if let [LayerKind::Relu, LayerKind::MaxPool(_)] = self.pair(index) {
                x = self.layer(index + 1, &x, mode).relu_();
                observe(index, &x);
                index += 2;
                continue;
            }
            x = match self.is_relu_of_a_result(index) {
                true => x.relu_(),
                false => self.layer(index, &x, mode),
            };
            if self.config.layers[index].kind == LayerKind::Relu {
                observe(index, &x);
            }
            index += 1;
        }
        // After products of bfloat16; the loss is taken in the parameters' own kind.
        x.to_kind(self.kind())
    }

    /// Evaluates as `forward` does, one layer at a time: `observe` gets each layer's index and output.
    pub fn forward_with(&self, images: &Tensor, observe: &mut dyn FnMut(usize, &Tensor)) -> Tensor {
        self.forward_in(Mode::Evaluate, images, observe)
    }

    /// Does the same in any mode; running statistics stay as they are.
    pub fn forward_in(&self, mode: Mode, images: &Tensor, observe: &mut dyn FnMut(usize, &Tensor)) -> Tensor {
        // Observing a batch is no step, but training mode would change the statistics, so a copy computes it.
        let copy = matches!(mode, Mode::Train(_)).then(|| self.deep_copy());
        let network = copy.as_ref().unwrap_or(self);
        let mut x = images.shallow_clone();
        for index in 0..self.config.layers.len() {
            x = network.layer(index, &x, mode);
            observe(index, &x);
        }
        x
    }

    /// Whether this is a ReLU after a layer that never reads its own output again, not even for its gradient:
    /// the ReLU may then be computed in place.
    fn is_relu_of_a_result(&self, index: usize) -> bool {
        let kind = |index: usize| &self.config.layers[index].kind;
        index > 0
            && *kind(index) == LayerKind::Relu
            && matches!(kind(index - 1), LayerKind::Conv(_) | LayerKind::Linear(_) | LayerKind::BatchNorm(_))
    }

    fn pair(&self, index: usize) -> [&LayerKind; 2] {
        let layers = &self.config.layers;
        let kind = |index: usize| &layers[index.min(layers.len() - 1)].kind;
        [kind(index), kind(index + 1)]
    }

    fn layer(&self, index: usize, x: &Tensor, mode: Mode) -> Tensor {
        let first = self.first_parameter[index];
        let operands = || [x, self.parameters.view(first), self.parameters.view(first + 1)];
        let products =
            if mode == Mode::Evaluate { self.inference_multiplication } else { self.training_multiplication };
        match &self.config.layers[index].kind {
            LayerKind::Conv(conv) => {
                let (stride, padding) = ([conv.stride; 2], [conv.padding; 2]);
                products.of(operands(), |x, weight, bias| {
                    x.conv2d(weight, Some(bias), stride, padding, [1; 2], 1)
                })
            }
            LayerKind::Relu => x.relu(),
            LayerKind::MaxPool(pool) => {
                x.max_pool2d([pool.kernel_size; 2], [pool.stride; 2], [0; 2], [1; 2], false)
            }
            // reshape counts in the order N, C, H, W whatever the strides are.
            LayerKind::Flatten => x.reshape([x.size()[0], -1]),
            LayerKind::Linear(_) => products.of(operands(), |x, weight, bias| x.linear(weight, Some(bias))),
            LayerKind::Dropout(config) => match mode {
                Mode::Evaluate => dropout::evaluate(x, config),
                Mode::Train(at) => dropout::train(x, config, index, at),
            },
            LayerKind::BatchNorm(config) => {
                let statistic =
                    |part: usize| self.running_statistics.view(self.first_statistic[index] + part);
                let arrays = batch_norm::BatchNormArrays {
                    weight: self.parameters.view(first),
                    bias: self.parameters.view(first + 1),
                    running_mean: statistic(0),
                    running_var: statistic(1),
                };
                batch_norm::forward(x, config, &arrays, mode)
            }
        }
    }
}

/// Collects the arrays of all layers, and the index of each layer's first.
fn collect_arrays(
    shapes: &[LayerShape],
    part: impl Fn(&LayerShape) -> &Vec<ParameterShape>,
) -> (Vec<ParameterShape>, Vec<usize>) {
    let mut all = Vec::new();
    let mut first = Vec::with_capacity(shapes.len());
    for shape in shapes {
        first.push(all.len());
        all.extend_from_slice(part(shape));
    }
    (all, first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{LinearConfig, PoolConfig};

    const CPU: (Kind, Device) = (Kind::Float, Device::Cpu);

    fn tutorial(seed: u64) -> Network {
        let mut network =
            Network::zeros(&NetworkConfig::tutorial(), Shape::grey(28, 28), 10, Kind::Float, Device::Cpu)
                .unwrap();
        network.initialize(seed);
        network
    }

    fn pooling(kernel_size: i64, side: usize) -> Network {
        let pool = LayerKind::MaxPool(PoolConfig { kernel_size, stride: kernel_size });
        let layers = vec![
            (None, LayerKind::Relu),
            (None, pool),
            (None, LayerKind::Flatten),
            (None, LayerKind::Linear(LinearConfig { out_features: 2 })),
        ];
        let config = NetworkConfig::from_layers(layers);
        let mut network =
            Network::zeros(&config, Shape::grey(side, side), 2, Kind::Float, Device::Cpu).unwrap();
        network.initialize(1);
        network
    }

    #[test]
    fn a_forward_batch_is_as_large_as_memory_allows() {
        assert_eq!(tutorial(0).forward_batch(500), 500);
        // 15 680 values go into relu1 and as many come out: 2^27 / 31 360.
        assert_eq!(tutorial(0).forward_batch(65_536), 4279);
    }

    #[test]
    fn initial_values_have_paddles_distribution_and_follow_the_seed() {
        let network = tutorial(3);
        let spread = |name: &str| network.parameters().get(name).unwrap().std(false).double_value(&[]);
        assert!((spread("conv1.weight") - (2.0 / 25.0f64).sqrt()).abs() < 0.03);
        assert!((spread("conv2.weight") - (2.0 / 500.0f64).sqrt()).abs() < 0.003);
        let bound = (6.0 / 990.0f64).sqrt();
        assert!((spread("fc.weight") - bound / 3f64.sqrt()).abs() < 0.002);
        let largest = network.parameters().get("fc.weight").unwrap().abs().max().double_value(&[]);
        assert!(largest <= bound);
        assert_eq!(spread("conv2.bias"), 0.0);
        assert_eq!(network.parameters().flat(), tutorial(3).parameters().flat());
        assert_ne!(network.parameters().flat(), tutorial(4).parameters().flat());
        assert_eq!(network.total_parameters(), 20_350);
    }

    #[test]
    fn pooling_before_the_relu_changes_neither_values_nor_gradients() {
        let network = pooling(2, 8);
        // Negative windows, ties and exact zeros among them.
        let x = (Tensor::randn([5, 1, 8, 8], CPU) * 2.0).round().set_requires_grad(true);
        let fused = network.forward(&x, Mode::Evaluate);
        let plain = network.forward_with(&x, &mut |_, _| ());
        assert_eq!(fused, plain);
        let gradient = |y: &Tensor| Tensor::run_backward(&[y.square().sum(Kind::Float)], &[&x], false, false);
        assert_eq!(gradient(&fused), gradient(&plain));
    }

    #[test]
    fn convolutions_work_in_channels_last() {
        let network = tutorial(0);
        let x = Tensor::rand([3, 1, 28, 28], CPU).as_strided([3, 1, 28, 28], [784, 1, 28, 1], None);
        let mut strides = Vec::new();
        let _ = network.forward_with(&x, &mut |index, y| {
            if index < 6 {
                strides.push(y.stride()[1]);
            }
        });
        assert_eq!(strides, [1; 6], "the channel axis is the innermost one");
    }

    #[test]
    fn probabilities_do_not_depend_on_the_layout_of_the_images() {
        let network = tutorial(0);
        let rows = Tensor::rand([3, 1, 28, 28], CPU);
        let last = rows.as_strided([3, 1, 28, 28], [784, 1, 28, 1], None);
        assert!(network.predict(&rows).allclose(&network.predict(&last), 1e-5, 1e-7, false));
        let sums = network.predict(&rows).sum_dim_intlist([1i64].as_slice(), false, Kind::Float);
        assert!(sums.allclose(&Tensor::ones([3], CPU), 1e-5, 1e-6, false));
    }

    #[test]
    fn a_deep_copy_has_the_same_outputs_and_shares_nothing() {
        let mut network = tutorial(0);
        let x = Tensor::rand([1, 1, 28, 28], CPU);
        let (before, copy) = (network.predict(&x), network.deep_copy());
        network.initialize(1);
        assert_eq!(copy.predict(&x), before);
        assert_ne!(network.predict(&x), before);
    }

    /// Odd sizes, ties and ReLU'(0), as Paddle computes them.
    #[test]
    fn corners_of_pooling_and_relu_are_paddles() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/paddle/misc.safetensors");
        let golden: std::collections::HashMap<String, Tensor> =
            Tensor::read_safetensors(path).unwrap().into_iter().collect();
        let pool = |x: &Tensor| x.max_pool2d([2; 2], [2; 2], [0; 2], [1; 2], false);
        assert_eq!(pool(&golden["pool5x7.x"]), golden["pool5x7.floor"]);
        let x = golden["pooltie.x"].set_requires_grad(true);
        let out = pool(&x);
        assert_eq!(out, golden["pooltie.out"]);
        let weights = Tensor::from_slice(&[1f32, 2., 3., 4.]).view([1, 1, 2, 2]);
        let gradient = Tensor::run_backward(&[(out * weights).sum(Kind::Float)], &[&x], false, false);
        assert_eq!(gradient[0], golden["pooltie.grad"]);
        let x = Tensor::from_slice(&[-1f32, 0., 2.]).set_requires_grad(true);
        let gradient = Tensor::run_backward(&[x.relu().sum(Kind::Float)], &[&x], false, false);
        assert_eq!(gradient[0], golden["relu.grad_at_-1_0_2"]);
    }
}
