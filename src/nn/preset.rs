//! Networks that go by a name.

use super::{
    BatchNormConfig, ConvConfig, DropoutConfig, DropoutMode, Error, LayerConfig, LayerKind, LinearConfig,
    NetworkConfig, PoolConfig,
};

impl NetworkConfig {
    /// Returns a network by its name, for ten classes. `tutorial` is the PaddlePaddle tutorial's.
    pub fn preset(name: &str) -> Result<Self, Error> {
        match name {
            "tutorial" => Ok(Self::tutorial()),
            "deep" => Ok(Self::deep()),
            // A hostile name may be long: the message quotes its beginning only.
            _ => Err(Error::UnknownPreset(name.chars().take(64).collect())),
        }
    }

    /// The names of all presets.
    pub const PRESETS: [&str; 2] = ["tutorial", "deep"];

    /// The name of the preset that this network is for some number of classes.
    pub fn preset_name(&self) -> Option<&'static str> {
        let LayerKind::Linear(last) = self.layers.last()?.kind else { return None };
        let classes = usize::try_from(last.out_features).ok()?;
        let is_it = |name: &&str| Self::preset(name).is_ok_and(|preset| preset.for_classes(classes) == *self);
        Self::PRESETS.into_iter().find(is_it)
    }

    /// The network with dropout of this probability before its last layer, in place of the dropout that is there.
    pub fn with_dropout(mut self, probability: f64) -> Self {
        let config = DropoutConfig { probability, axes: Vec::new(), mode: DropoutMode::UpscaleInTrain };
        let kind = LayerKind::Dropout(config);
        let last = self.layers.len().saturating_sub(1);
        match self.layers[..last].last_mut() {
            Some(layer) if matches!(layer.kind, LayerKind::Dropout(_)) => layer.kind = kind,
            _ => self.layers.insert(last, LayerConfig { name: "dropout".to_owned(), kind }),
        }
        self
    }

    /// The tutorial's network: conv 1→20 k5 p2, ReLU, max-pool 2, conv 20→20 k5 p2, ReLU, max-pool 2, flatten,
    /// linear 980→10.
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

    /// A deeper network: two convolutions of 32 channels and two of 64, k3 without padding, a max-pool after
    /// each two, then linear 1024→256, dropout and linear 256→10; batch normalisation and ReLU after every one
    /// but the last. It has 330 858 parameters and costs 10.0 M multiply-adds per image.
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropout_stands_before_the_last_layer() {
        let names = |network: &NetworkConfig| -> Vec<String> {
            network.layers.iter().rev().take(3).map(|layer| layer.name.clone()).collect()
        };
        assert_eq!(names(&NetworkConfig::tutorial().with_dropout(0.5)), ["fc", "dropout", "flatten"]);
        let deep = NetworkConfig::deep().with_dropout(0.25);
        assert_eq!(names(&deep), ["fc2", "dropout", "relu5"]);
        assert_eq!(deep.layers.len(), NetworkConfig::deep().layers.len());
        assert_eq!(deep.preset_name(), None);
    }
}
