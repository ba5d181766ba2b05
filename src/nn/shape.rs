//! Shape inference: what each layer takes and gives, what it has to learn and what it costs.
//! A list of layers that cannot work is told apart here, before any tensor exists.

use std::fmt;

use super::{ConvConfig, DropoutConfig, Error, LayerConfig, LayerKind, NetworkConfig, PoolConfig};

/// Largest number that a layer may state for channels, features, kernel, stride or padding.
const MAX_EXTENT: i64 = 65_536;

/// What one image is between two layers, without the batch axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// [C, H, W]
    Map { channels: i64, height: i64, width: i64 },
    /// [F]
    Vector { features: i64 },
}

/// What one layer takes, gives, learns and costs, per image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerShape {
    pub input: Shape,
    pub output: Shape,
    pub parameters: Vec<ParameterShape>,
    /// Multiply-adds of a forward pass; those of convolutions and linear layers, as papers count.
    pub multiply_adds: i64,
}

/// One trained array of a layer.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ParameterShape {
    /// Full name, as in `conv1.weight`.
    pub name: String,
    pub dims: Vec<i64>,
}

impl Shape {
    /// Grey images of this size.
    pub fn grey(height: usize, width: usize) -> Self {
        // The data room admits sides up to 64.
        Self::Map { channels: 1, height: height as i64, width: width as i64 }
    }

    /// Numbers in it.
    pub fn len(self) -> i64 {
        match self {
            Self::Map { channels, height, width } => channels * height * width,
            Self::Vector { features } => features,
        }
    }

    /// True of no shape that inference gives; here because `len` is.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The shape of a batch: N first.
    pub fn with_batch(self, n: i64) -> Vec<i64> {
        match self {
            Self::Map { channels, height, width } => vec![n, channels, height, width],
            Self::Vector { features } => vec![n, features],
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Map { channels, height, width } => write!(f, "[N,{channels},{height},{width}]"),
            Self::Vector { features } => write!(f, "[N,{features}]"),
        }
    }
}

impl ParameterShape {
    /// Values in it: at most [`NetworkConfig::MAX_PARAMETERS`] in a shape that inference gave.
    pub fn count(&self) -> i64 {
        self.dims.iter().product()
    }
}

impl NetworkConfig {
    /// The shapes of every layer for images of `input`, the last giving [N, classes]. Errors name
    /// the layer and the shapes.
    pub fn shapes(&self, input: Shape, classes: usize) -> Result<Vec<LayerShape>, Error> {
        if !(1..=Self::MAX_LAYERS).contains(&self.layers.len()) {
            return Err(Error::LayerCount { given: self.layers.len() });
        }
        self.check_names()?;
        let mut shapes: Vec<LayerShape> = Vec::with_capacity(self.layers.len());
        let mut parameters = 0u64;
        for (index, layer) in self.layers.iter().enumerate() {
            let input = shapes.last().map_or(input, |before| before.output);
            let shape = layer.shape(input).map_err(|message| Error::Layer {
                layer: index,
                name: layer.name.clone(),
                message,
            })?;
            parameters += shape.parameters.iter().map(|p| p.count().unsigned_abs()).sum::<u64>();
            if parameters > Self::MAX_PARAMETERS {
                return Err(Error::TooLarge { given: parameters });
            }
            shapes.push(shape);
        }
        let (last, found) = (&self.layers[shapes.len() - 1], shapes[shapes.len() - 1].output);
        if found != (Shape::Vector { features: classes as i64 }) {
            return Err(Error::Output { last: last.name.clone(), found, classes });
        }
        Ok(shapes)
    }

    fn check_names(&self) -> Result<(), Error> {
        for (index, layer) in self.layers.iter().enumerate() {
            let name = &layer.name;
            let of_form = (1..=64).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            let fail = |message: &str| {
                let name = name.chars().take(64).collect();
                Err(Error::Layer { layer: index, name, message: message.to_owned() })
            };
            if !of_form {
                return fail("name a layer with 1 to 64 of a-z, A-Z, 0-9 and '_'");
            }
            if self.layers[..index].iter().any(|earlier| earlier.name == *name) {
                return fail("two layers have this name: names must differ");
            }
        }
        Ok(())
    }
}

impl LayerConfig {
    fn shape(&self, input: Shape) -> Result<LayerShape, String> {
        let plain = |output| LayerShape { input, output, parameters: Vec::new(), multiply_adds: 0 };
        match &self.kind {
            LayerKind::Conv(conv) => self.conv_shape(conv, input),
            LayerKind::MaxPool(pool) => Ok(plain(pool_shape(pool, input)?)),
            LayerKind::Relu => Ok(plain(input)),
            LayerKind::Flatten => Ok(plain(Shape::Vector { features: input.len() })),
            LayerKind::Linear(linear) => {
                let Shape::Vector { features } = input else {
                    return Err(format!(
                        "linear takes [N,F], but {input} comes in: put a flatten layer before it"
                    ));
                };
                in_range("out_features", linear.out_features, 1)?;
                let weight = vec![linear.out_features, features];
                check_weight(&weight)?;
                Ok(LayerShape {
                    parameters: self.weight_and_bias(weight),
                    multiply_adds: linear.out_features * features,
                    ..plain(Shape::Vector { features: linear.out_features })
                })
            }
            LayerKind::Dropout(dropout) => {
                check_dropout(dropout, input)?;
                Ok(plain(input))
            }
        }
    }

    fn conv_shape(&self, conv: &ConvConfig, input: Shape) -> Result<LayerShape, String> {
        let Shape::Map { channels, height, width } = input else {
            return Err(format!("conv takes [N,C,H,W], but {input} comes in: put it before flatten"));
        };
        in_range("out_channels", conv.out_channels, 1)?;
        in_range("kernel_size", conv.kernel_size, 1)?;
        in_range("stride", conv.stride, 1)?;
        in_range("padding", conv.padding, 0)?;
        let side = |extent: i64| {
            window_count(extent + 2 * conv.padding, conv.kernel_size, conv.stride).ok_or_else(|| {
                format!(
                    "kernel_size {} is larger than {input} with padding {}",
                    conv.kernel_size, conv.padding
                )
            })
        };
        let output = Shape::Map { channels: conv.out_channels, height: side(height)?, width: side(width)? };
        check_extent(output)?;
        let dims = vec![conv.out_channels, channels, conv.kernel_size, conv.kernel_size];
        check_weight(&dims)?;
        // At most 2^20 values of at most MAX_PARAMETERS multiply-adds each: below 2^44.
        let per_value = channels * conv.kernel_size * conv.kernel_size;
        let parameters = self.weight_and_bias(dims);
        Ok(LayerShape { input, output, parameters, multiply_adds: output.len() * per_value })
    }

    fn weight_and_bias(&self, weight: Vec<i64>) -> Vec<ParameterShape> {
        let bias = vec![weight[0]];
        [("weight", weight), ("bias", bias)]
            .map(|(part, dims)| ParameterShape { name: format!("{}.{part}", self.name), dims })
            .into()
    }
}

fn pool_shape(pool: &PoolConfig, input: Shape) -> Result<Shape, String> {
    let Shape::Map { channels, height, width } = input else {
        return Err(format!("max_pool takes [N,C,H,W], but {input} comes in: put it before flatten"));
    };
    in_range("kernel_size", pool.kernel_size, 1)?;
    in_range("stride", pool.stride, 1)?;
    let side = |extent| {
        window_count(extent, pool.kernel_size, pool.stride)
            .ok_or_else(|| format!("kernel_size {} is larger than {input}", pool.kernel_size))
    };
    Ok(Shape::Map { channels, height: side(height)?, width: side(width)? })
}

fn check_dropout(dropout: &DropoutConfig, input: Shape) -> Result<(), String> {
    if !(0.0..=1.0).contains(&dropout.probability) {
        return Err(format!("probability {} is not in [0, 1]", dropout.probability));
    }
    let rank = input.with_batch(1).len() as i64;
    for (index, axis) in dropout.axes.iter().enumerate() {
        if !(0..rank).contains(axis) {
            return Err(format!("axis {axis} is not one of {input}: axes are 0 to {}", rank - 1));
        }
        if dropout.axes[..index].contains(axis) {
            return Err(format!("axis {axis} is given twice"));
        }
    }
    Ok(())
}

fn in_range(field: &str, value: i64, least: i64) -> Result<(), String> {
    if (least..=MAX_EXTENT).contains(&value) {
        return Ok(());
    }
    Err(format!("{field} is {value}: use {least} to {MAX_EXTENT}"))
}

/// Keeps hostile paddings from asking for gigabytes: one image may take 4 MB between two layers.
fn check_extent(output: Shape) -> Result<(), String> {
    const MOST: i64 = 1 << 20;
    let Shape::Map { channels, height, width } = output else { return Ok(()) };
    let fits =
        height.checked_mul(width).and_then(|area| area.checked_mul(channels)).is_some_and(|n| n <= MOST);
    if fits {
        return Ok(());
    }
    Err(format!("its output {output} is larger than {MOST} values an image"))
}

/// Keeps one array within the limit of the network; the product of hostile extents wraps in 64 bits.
fn check_weight(dims: &[i64]) -> Result<(), String> {
    const MOST: u128 = NetworkConfig::MAX_PARAMETERS as u128;
    let count: u128 = dims.iter().map(|&extent| u128::from(extent.unsigned_abs())).product();
    if count <= MOST {
        return Ok(());
    }
    Err(format!("its weight would have {count} values; a network has at most {MOST} parameters"))
}

/// Windows of `kernel` at steps of `stride` that fit into `extent`; none where not even one does.
fn window_count(extent: i64, kernel: i64, stride: i64) -> Option<i64> {
    (extent >= kernel).then(|| (extent - kernel) / stride + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{DropoutMode, LinearConfig};

    const MNIST: Shape = Shape::Map { channels: 1, height: 28, width: 28 };

    fn error(layers: Vec<LayerKind>) -> String {
        let layers = layers.into_iter().map(|kind| (None, kind)).collect();
        NetworkConfig::from_layers(layers).shapes(MNIST, 10).unwrap_err().to_string()
    }

    fn conv(out_channels: i64, kernel_size: i64, padding: i64) -> LayerKind {
        LayerKind::Conv(ConvConfig { out_channels, kernel_size, stride: 1, padding })
    }

    fn linear(out_features: i64) -> LayerKind {
        LayerKind::Linear(LinearConfig { out_features })
    }

    #[test]
    fn the_tutorial_network_has_the_tutorials_shapes() {
        let shapes = NetworkConfig::tutorial().shapes(MNIST, 10).unwrap();
        let outputs: Vec<String> = shapes.iter().map(|shape| shape.output.to_string()).collect();
        assert_eq!(
            outputs,
            [
                "[N,20,28,28]",
                "[N,20,28,28]",
                "[N,20,14,14]",
                "[N,20,14,14]",
                "[N,20,14,14]",
                "[N,20,7,7]",
                "[N,980]",
                "[N,10]"
            ]
        );
        let parameters: i64 =
            shapes.iter().flat_map(|shape| &shape.parameters).map(ParameterShape::count).sum();
        assert_eq!(parameters, 20_350);
        let multiply_adds: i64 = shapes.iter().map(|shape| shape.multiply_adds).sum();
        assert_eq!(multiply_adds, 392_000 + 1_960_000 + 9_800);
    }

    #[test]
    fn an_impossible_list_names_the_layer_and_the_shapes() {
        for (layers, told) in [
            (vec![linear(10)], "layer \"linear1\": linear takes [N,F], but [N,1,28,28] comes in"),
            (vec![LayerKind::Flatten, conv(1, 3, 0)], "layer \"conv1\": conv takes [N,C,H,W], but [N,784]"),
            (
                vec![conv(4, 29, 0)],
                "layer \"conv1\": kernel_size 29 is larger than [N,1,28,28] with padding 0",
            ),
            (vec![conv(0, 3, 0)], "layer \"conv1\": out_channels is 0"),
            (vec![conv(4, 3, -1)], "layer \"conv1\": padding is -1"),
            (vec![conv(65_536, 1, 65_536)], "layer \"conv1\": its output [N,65536,131100,131100] is larger"),
            (vec![LayerKind::Flatten, linear(9)], "layer \"linear1\" ends the network with [N,9], but"),
            (vec![conv(4, 3, 0)], "layer \"conv1\" ends the network with [N,4,26,26], but"),
            (
                vec![LayerKind::Flatten, linear(20_000), linear(10)],
                "layer \"linear1\": its weight would have 15680000 values; a network has at most 10000000",
            ),
            (
                vec![LayerKind::Flatten, linear(10_000), linear(500), linear(10)],
                "the network would have 12850500 parameters",
            ),
            (vec![], "a network has 1 to 64 layers, not 0"),
        ] {
            let message = error(layers);
            assert!(message.starts_with(told), "{message}");
        }
    }

    #[test]
    fn a_weight_whose_count_wraps_in_64_bits_is_refused() {
        let strided = |kernel_size, stride, padding| {
            LayerKind::Conv(ConvConfig { out_channels: 65_536, kernel_size, stride, padding })
        };
        // 65 536 · 65 536 · 65 536 · 65 536 is 2^64.
        let layers = vec![strided(1, 28, 0), strided(65_536, 2, 32_768), LayerKind::Flatten, linear(10)];
        let message = error(layers);
        let told = "layer \"conv2\": its weight would have 18446744073709551616 values";
        assert!(message.starts_with(told), "{message}");
    }

    #[test]
    fn dropout_with_a_wrong_probability_or_axis_is_refused() {
        let dropout = |probability, axes: &[i64]| {
            LayerKind::Dropout(DropoutConfig {
                probability,
                axes: axes.into(),
                mode: DropoutMode::UpscaleInTrain,
            })
        };
        assert!(error(vec![dropout(1.5, &[])]).contains("probability 1.5"));
        assert!(error(vec![dropout(f64::NAN, &[])]).contains("probability NaN"));
        assert!(error(vec![dropout(0.5, &[4])]).contains("axis 4 is not one of [N,1,28,28]"));
        assert!(error(vec![LayerKind::Flatten, dropout(0.5, &[2])]).contains("axis 2"));
        assert!(error(vec![dropout(0.5, &[1, 1])]).contains("axis 1 is given twice"));
    }

    #[test]
    fn layer_names_differ_and_are_plain() {
        let named = |name: &str| (Some(name.to_owned()), LayerKind::Relu);
        let shapes = |names: [&str; 2]| {
            NetworkConfig::from_layers(names.map(named).into()).shapes(MNIST, 10).unwrap_err().to_string()
        };
        assert!(shapes(["a", "a"]).contains("two layers have this name"));
        assert!(shapes(["a", "b.c"]).contains("name a layer with"));
        assert!(shapes(["", "b"]).contains("name a layer with"));
    }

    #[test]
    fn pooling_leaves_out_windows_beyond_the_border() {
        let pool = LayerKind::MaxPool(PoolConfig { kernel_size: 3, stride: 2 });
        let layers = vec![(None, pool), (None, LayerKind::Flatten), (None, linear(10))];
        let shapes = NetworkConfig::from_layers(layers).shapes(MNIST, 10).unwrap();
        assert_eq!(shapes[0].output, Shape::Map { channels: 1, height: 13, width: 13 });
    }
}
