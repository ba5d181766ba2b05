//! The network as data: a list of named layers, as a request or a manifest states it.
//! Whether the layers fit together is `shape`'s to say.

use serde::{Deserialize, Serialize};

use super::Error;

/// The layers from input to output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkConfig {
    pub layers: Vec<LayerConfig>,
}

/// One layer and its name, which begins the names of its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerConfig {
    pub name: String,
    #[serde(flatten)]
    pub kind: LayerKind,
}

/// What a layer computes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LayerKind {
    Conv(ConvConfig),
    Relu,
    MaxPool(PoolConfig),
    Flatten,
    Linear(LinearConfig),
    Dropout(DropoutConfig),
    BatchNorm(BatchNormConfig),
}

/// A convolution with square kernels and a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConvConfig {
    pub out_channels: i64,
    pub kernel_size: i64,
    pub stride: i64,
    /// Zeros added on every side.
    pub padding: i64,
}

/// The largest value of each square window, in floor mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolConfig {
    pub kernel_size: i64,
    pub stride: i64,
}

/// y = W x + b.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinearConfig {
    pub out_features: i64,
}

/// Random zeroing while training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DropoutConfig {
    /// Probability of dropping, in [0, 1].
    pub probability: f64,
    /// The axes that the mask has; empty: all of them.
    pub axes: Vec<i64>,
    pub mode: DropoutMode,
}

/// Normalisation of every channel over the batch (Ioffe and Szegedy 2015), as PyTorch's
/// `BatchNorm2d` and `BatchNorm1d`: y = weight·(x − mean)/√(var + ε) + bias.
///
/// Training takes mean and (biased) variance of the batch, and brings the running ones up to them:
/// r ← (1 − momentum)·r + momentum·batch's, its variance unbiased. Evaluation takes the running ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BatchNormConfig {
    /// Share of the batch in the running statistics, in [0, 1]; Paddle's is 1 minus this.
    pub momentum: f64,
    /// Added to the variance, in (0, 1].
    pub epsilon: f64,
}

/// How dropout keeps the expected size of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropoutMode {
    /// Training x·mask/(1−p), evaluation x.
    UpscaleInTrain,
    /// Training x·mask, evaluation x·(1−p).
    DownscaleInInfer,
}

impl Default for BatchNormConfig {
    fn default() -> Self {
        Self { momentum: 0.1, epsilon: 1e-5 }
    }
}

impl NetworkConfig {
    /// Deeper than any network that these images need.
    pub const MAX_LAYERS: usize = 64;
    /// 40 MB in float32: far above what digits need, far below what harms a server.
    pub const MAX_PARAMETERS: u64 = 10_000_000;

    /// A network by name, for ten classes. `tutorial` is the PaddlePaddle tutorial's.
    pub fn preset(name: &str) -> Result<Self, Error> {
        match name {
            "tutorial" => Ok(Self::tutorial()),
            "deep" => Ok(Self::deep()),
            // A hostile name may be long: the message quotes its beginning only.
            _ => Err(Error::UnknownPreset(name.chars().take(64).collect())),
        }
    }

    /// Names of the networks that there are by name.
    pub const PRESETS: [&str; 2] = ["tutorial", "deep"];

    /// The same with as many outputs as a data set has classes: those of the last layer, where that
    /// is linear.
    pub fn for_classes(mut self, classes: usize) -> Self {
        if let Some(LayerConfig { kind: LayerKind::Linear(linear), .. }) = self.layers.last_mut() {
            linear.out_features = classes as i64;
        }
        self
    }

    /// The name of the preset that this is, for some number of classes.
    pub fn preset_name(&self) -> Option<&'static str> {
        let LayerKind::Linear(last) = self.layers.last()?.kind else { return None };
        let classes = usize::try_from(last.out_features).ok()?;
        let is_it = |name: &&str| Self::preset(name).is_ok_and(|preset| preset.for_classes(classes) == *self);
        Self::PRESETS.into_iter().find(is_it)
    }

    /// conv 1→20 k5 p2, ReLU, max-pool 2, conv 20→20 k5 p2, ReLU, max-pool 2, flatten, linear 980→10.
    pub fn tutorial() -> Self {
        let conv = || LayerKind::Conv(ConvConfig { out_channels: 20, kernel_size: 5, stride: 1, padding: 2 });
        let pool = || LayerKind::MaxPool(PoolConfig { kernel_size: 2, stride: 2 });
        let layers = [
            ("conv1", conv()),
            ("relu1", LayerKind::Relu),
            ("pool1", pool()),
            ("conv2", conv()),
            ("relu2", LayerKind::Relu),
            ("pool2", pool()),
            ("flatten", LayerKind::Flatten),
            ("fc", LayerKind::Linear(LinearConfig { out_features: 10 })),
        ];
        Self { layers: layers.map(|(name, kind)| LayerConfig { name: name.to_owned(), kind }).into() }
    }

    /// Two convolutions of 32 channels and two of 64, k3 without padding, a max-pool after each two,
    /// then linear 1024→256, dropout and linear 256→10; batch normalisation and ReLU after every one
    /// but the last. 330 858 parameters and 10.0 M multiply-adds an image.
    pub fn deep() -> Self {
        let conv = |out_channels| {
            LayerKind::Conv(ConvConfig { out_channels, kernel_size: 3, stride: 1, padding: 0 })
        };
        let linear = |out_features| LayerKind::Linear(LinearConfig { out_features });
        let mut layers = Vec::new();
        let mut add = |name: String, kind| layers.push(LayerConfig { name, kind });
        for (index, channels) in [32, 32, 64, 64].into_iter().enumerate() {
            let number = index + 1;
            add(format!("conv{number}"), conv(channels));
            add(format!("bn{number}"), LayerKind::BatchNorm(BatchNormConfig::default()));
            add(format!("relu{number}"), LayerKind::Relu);
            if number % 2 == 0 {
                let pool = PoolConfig { kernel_size: 2, stride: 2 };
                add(format!("pool{}", number / 2), LayerKind::MaxPool(pool));
            }
        }
        let dropout = DropoutConfig { probability: 0.4, axes: Vec::new(), mode: DropoutMode::UpscaleInTrain };
        for (name, kind) in [
            ("flatten", LayerKind::Flatten),
            ("fc1", linear(256)),
            ("bn5", LayerKind::BatchNorm(BatchNormConfig::default())),
            ("relu5", LayerKind::Relu),
            ("dropout", LayerKind::Dropout(dropout)),
            ("fc2", linear(10)),
        ] {
            add(name.to_owned(), kind);
        }
        Self { layers }
    }

    /// Names the layers that have none after their kind and its number: `conv1`, `conv2`, ….
    pub fn from_layers(layers: Vec<(Option<String>, LayerKind)>) -> Self {
        let mut seen = std::collections::HashMap::new();
        let layers = layers.into_iter().map(|(name, kind)| {
            let number = seen.entry(kind.word()).or_insert(0);
            *number += 1;
            let name = name.unwrap_or_else(|| format!("{}{number}", kind.word()));
            LayerConfig { name, kind }
        });
        Self { layers: layers.collect() }
    }
}

impl LayerKind {
    /// The kind's word in answers and default names.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Conv(_) => "conv",
            Self::Relu => "relu",
            Self::MaxPool(_) => "max_pool",
            Self::Flatten => "flatten",
            Self::Linear(_) => "linear",
            Self::Dropout(_) => "dropout",
            Self::BatchNorm(_) => "batch_norm",
        }
    }

    /// The kind's settings by name, for people.
    pub fn hyperparameters(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Conv(conv) => vec![
                ("out_channels", conv.out_channels.to_string()),
                ("kernel_size", conv.kernel_size.to_string()),
                ("stride", conv.stride.to_string()),
                ("padding", conv.padding.to_string()),
                // Every output sees every input: what tables of other programs call so.
                ("groups", "1".to_owned()),
            ],
            Self::MaxPool(pool) => {
                vec![("kernel_size", pool.kernel_size.to_string()), ("stride", pool.stride.to_string())]
            }
            Self::Linear(linear) => vec![("out_features", linear.out_features.to_string())],
            Self::Dropout(dropout) => {
                let mut settings = vec![
                    ("probability", dropout.probability.to_string()),
                    ("mode", dropout.mode.word().to_owned()),
                ];
                if !dropout.axes.is_empty() {
                    settings.push(("axes", format!("{:?}", dropout.axes)));
                }
                settings
            }
            Self::BatchNorm(norm) => {
                vec![("momentum", norm.momentum.to_string()), ("epsilon", norm.epsilon.to_string())]
            }
            Self::Relu | Self::Flatten => Vec::new(),
        }
    }
}

impl DropoutMode {
    fn word(self) -> &'static str {
        match self {
            Self::UpscaleInTrain => "upscale_in_train",
            Self::DownscaleInInfer => "downscale_in_infer",
        }
    }
}
