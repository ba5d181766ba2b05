//! The network as data: a list of named layers, as a request or a manifest states it.
//! Whether the layers fit together is for `shape_inference` to say.

use serde::{Deserialize, Serialize};

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

/// A linear layer: y = W x + b.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinearConfig {
    pub out_features: i64,
}

/// Random zeroing while training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DropoutConfig {
    /// Probability of dropping, in [0, 1].
    pub probability: f64,
    /// The axes that the mask has; all of them if empty.
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
    /// Training computes x·mask/(1−p), evaluation x.
    UpscaleInTrain,
    /// Training computes x·mask, evaluation x·(1−p).
    DownscaleInInfer,
}

impl Default for BatchNormConfig {
    fn default() -> Self {
        Self { momentum: 0.1, epsilon: 1e-5 }
    }
}

impl NetworkConfig {
    /// The largest number of layers, more than any network for these images needs.
    pub const MAX_LAYERS: usize = 64;
    /// The largest number of parameters: 40 MB in float32, far above what digits need and far below what harms
    /// a server.
    pub const MAX_PARAMETERS: u64 = 10_000_000;

    /// Returns the same network with as many outputs as a data set has classes, if its last layer is linear.
    pub fn for_classes(mut self, classes: usize) -> Self {
        if let Some(LayerConfig { kind: LayerKind::Linear(linear), .. }) = self.layers.last_mut() {
            linear.out_features = classes as i64;
        }
        self
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
    /// The kind's name in responses and in default layer names.
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

    /// The kind's settings by name, as text for people.
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
