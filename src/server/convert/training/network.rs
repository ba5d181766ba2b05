//! `Network` ⇄ `NetworkConfig`. The room `nn` checks whether the layers fit together.

use crate::{
    ids::FieldError,
    nn::{
        BatchNormConfig, ConvConfig, DropoutConfig, DropoutMode, LayerConfig, LayerKind, LinearConfig,
        NetworkConfig, PoolConfig,
    },
    pb::digitd::v1::{self, layer::Kind},
    server::convert::shared::{enums::ContractEnum, field::int},
};

/// The network of a request, or the preset `tutorial` if it has none. A preset gets one output for each class;
/// layers that are listed stay as they are.
pub fn network(network: Option<v1::Network>, classes: usize) -> Result<NetworkConfig, FieldError> {
    let v1::Network { preset, layers, dropout } = network.unwrap_or_default();
    if !layers.is_empty() {
        if !preset.is_empty() {
            return Err(FieldError::new("network", "has both a preset and layers: set one of them"));
        }
        if dropout.is_some() {
            let message = "is for presets: list a dropout layer in network.layers instead";
            return Err(FieldError::new("network.dropout", message));
        }
        return from_requested_layers(layers);
    }
    let network = match preset.as_str() {
        "" => NetworkConfig::tutorial(),
        preset => NetworkConfig::preset(preset).map_err(FieldError::at("network.preset"))?,
    };
    let network = network.for_classes(classes);
    Ok(match dropout {
        // The room `nn` checks a probability where it checks the layers; here the field has its own name.
        Some(probability) if !(0.0..1.0).contains(&probability) => {
            return Err(FieldError::new("network.dropout", "must be at least 0 and below 1"));
        }
        Some(probability) => network.with_dropout(probability),
        None => network,
    })
}

/// A network in the form of a request: by the name of the preset if it is one, and otherwise by its layers.
pub fn from_network(config: &NetworkConfig) -> v1::Network {
    if let Some(preset) = config.preset_name() {
        return v1::Network { preset: preset.to_owned(), ..v1::Network::default() };
    }
    v1::Network { layers: from_layers(config), ..v1::Network::default() }
}

/// All layers of a network, whether or not it is a preset.
pub fn from_layers(config: &NetworkConfig) -> Vec<v1::Layer> {
    config.layers.iter().map(from_layer).collect()
}

fn from_requested_layers(layers: Vec<v1::Layer>) -> Result<NetworkConfig, FieldError> {
    let layers = layers.into_iter().enumerate().map(|(index, layer)| {
        let path = format!("network.layers[{index}]");
        let name = (!layer.name.is_empty()).then_some(layer.name);
        let kind =
            layer.kind.ok_or_else(|| FieldError::new(&path, "does not say what it computes: set a kind"))?;
        Ok((name, layer_kind(&path, kind)?))
    });
    Ok(NetworkConfig::from_layers(layers.collect::<Result<_, FieldError>>()?))
}

fn layer_kind(path: &str, kind: Kind) -> Result<LayerKind, FieldError> {
    Ok(match kind {
        Kind::Conv(conv) => LayerKind::Conv(ConvConfig {
            out_channels: conv.out_channels.into(),
            kernel_size: conv.kernel_size.into(),
            stride: conv.stride.unwrap_or(1).into(),
            padding: conv.padding.unwrap_or(0).into(),
        }),
        Kind::Relu(v1::Relu {}) => LayerKind::Relu,
        Kind::MaxPool(pool) => LayerKind::MaxPool(PoolConfig {
            kernel_size: pool.kernel_size.into(),
            stride: pool.stride.unwrap_or(pool.kernel_size).into(),
        }),
        Kind::Flatten(v1::Flatten {}) => LayerKind::Flatten,
        Kind::Linear(linear) => LayerKind::Linear(LinearConfig { out_features: linear.out_features.into() }),
        Kind::Dropout(dropout) => LayerKind::Dropout(DropoutConfig {
            probability: dropout.probability.unwrap_or(0.5),
            axes: dropout.axes.into_iter().map(i64::from).collect(),
            mode: DropoutMode::parse(&format!("{path}.dropout.mode"), dropout.mode)?,
        }),
        Kind::BatchNorm(norm) => {
            let default = BatchNormConfig::default();
            LayerKind::BatchNorm(BatchNormConfig {
                momentum: norm.momentum.unwrap_or(default.momentum),
                epsilon: norm.epsilon.unwrap_or(default.epsilon),
            })
        }
    })
}

fn from_layer(layer: &LayerConfig) -> v1::Layer {
    let kind = match &layer.kind {
        LayerKind::Conv(conv) => Kind::Conv(v1::Conv {
            out_channels: int(conv.out_channels),
            kernel_size: int(conv.kernel_size),
            stride: Some(int(conv.stride)),
            padding: Some(int(conv.padding)),
        }),
        LayerKind::Relu => Kind::Relu(v1::Relu {}),
        LayerKind::MaxPool(pool) => {
            Kind::MaxPool(v1::MaxPool { kernel_size: int(pool.kernel_size), stride: Some(int(pool.stride)) })
        }
        LayerKind::Flatten => Kind::Flatten(v1::Flatten {}),
        LayerKind::Linear(linear) => Kind::Linear(v1::Linear { out_features: int(linear.out_features) }),
        LayerKind::Dropout(dropout) => Kind::Dropout(v1::Dropout {
            probability: Some(dropout.probability),
            axes: dropout.axes.iter().map(|&axis| int(axis)).collect(),
            mode: dropout.mode.to_wire(),
        }),
        LayerKind::BatchNorm(norm) => {
            Kind::BatchNorm(v1::BatchNorm { momentum: Some(norm.momentum), epsilon: Some(norm.epsilon) })
        }
    };
    v1::Layer { name: layer.name.clone(), kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(kinds: Vec<Kind>) -> v1::Network {
        let layers = kinds.into_iter().map(|kind| v1::Layer { name: String::new(), kind: Some(kind) });
        v1::Network { layers: layers.collect(), ..v1::Network::default() }
    }

    fn linear(out_features: i32) -> Kind {
        Kind::Linear(v1::Linear { out_features })
    }

    fn error(given: v1::Network) -> FieldError {
        network(Some(given), 10).unwrap_err()
    }

    #[test]
    fn an_empty_network_and_the_preset_are_the_tutorials() {
        let by_name = v1::Network { preset: "tutorial".to_owned(), ..v1::Network::default() };
        assert_eq!(network(None, 10).unwrap(), NetworkConfig::tutorial());
        assert_eq!(network(Some(by_name.clone()), 10).unwrap(), NetworkConfig::tutorial());
        assert_eq!(from_network(&NetworkConfig::tutorial()), by_name);
        let deep = v1::Network { preset: "deep".to_owned(), ..v1::Network::default() };
        assert_eq!(from_network(&network(Some(deep.clone()), 10).unwrap()), deep);
    }

    #[test]
    fn a_preset_has_an_output_for_every_class() {
        let letters = network(None, 26).unwrap();
        let linear = LinearConfig { out_features: 26 };
        assert_eq!(letters.layers.last().unwrap().kind, LayerKind::Linear(linear));
        assert_eq!(from_network(&letters).preset, "tutorial");
    }

    #[test]
    fn layers_survive_a_round_trip() {
        let dropout = v1::Dropout {
            probability: Some(0.25),
            axes: vec![0, 1],
            mode: v1::DropoutMode::DownscaleInInfer.into(),
        };
        let mut expected =
            v1::Network { layers: from_layers(&NetworkConfig::tutorial()), ..v1::Network::default() };
        expected.layers.insert(3, v1::Layer { name: "drop".to_owned(), kind: Some(Kind::Dropout(dropout)) });
        let norm = Kind::BatchNorm(v1::BatchNorm { momentum: Some(0.5), epsilon: Some(0.25) });
        expected.layers.insert(1, v1::Layer { name: "bn1".to_owned(), kind: Some(norm) });
        let config = network(Some(expected.clone()), 10).unwrap();
        assert_eq!(from_network(&config), expected);
    }

    #[test]
    fn defaults_of_a_layer_are_filled_in() {
        let requested = layers(vec![
            Kind::Conv(v1::Conv { out_channels: 2, kernel_size: 5, stride: None, padding: None }),
            Kind::MaxPool(v1::MaxPool { kernel_size: 2, stride: None }),
            Kind::Dropout(v1::Dropout::default()),
            Kind::BatchNorm(v1::BatchNorm::default()),
            Kind::Flatten(v1::Flatten {}),
            linear(10),
        ]);
        let config = network(Some(requested), 10).unwrap();
        let conv = ConvConfig { out_channels: 2, kernel_size: 5, stride: 1, padding: 0 };
        assert_eq!(config.layers[0].kind, LayerKind::Conv(conv));
        assert_eq!(config.layers[1].kind, LayerKind::MaxPool(PoolConfig { kernel_size: 2, stride: 2 }));
        assert_eq!([&config.layers[0].name, &config.layers[5].name], ["conv1", "linear1"]);
        let LayerKind::Dropout(dropout) = &config.layers[2].kind else { panic!("a dropout layer") };
        assert_eq!((dropout.probability, dropout.mode), (0.5, DropoutMode::UpscaleInTrain));
        let norm = BatchNormConfig { momentum: 0.1, epsilon: 1e-5 };
        assert_eq!(config.layers[3].kind, LayerKind::BatchNorm(norm));
    }

    #[test]
    fn hostile_networks_are_rejected() {
        let both =
            v1::Network { preset: "tutorial".to_owned(), layers: vec![v1::Layer::default()], dropout: None };
        assert_eq!(error(both).field, "network");
        let dropout = v1::Network { dropout: Some(0.5), ..layers(vec![linear(10)]) };
        assert_eq!(error(dropout).field, "network.dropout");
        for dropout in [-0.1, 1.0, f64::NAN] {
            let dropout = v1::Network { dropout: Some(dropout), ..v1::Network::default() };
            assert_eq!(error(dropout).field, "network.dropout");
        }
        let unknown = v1::Network { preset: "resnet".to_owned(), ..v1::Network::default() };
        assert_eq!(error(unknown).field, "network.preset");
        let kindless = v1::Network { layers: vec![v1::Layer::default()], ..v1::Network::default() };
        assert_eq!(error(kindless).field, "network.layers[0]");
        let mode = Kind::Dropout(v1::Dropout { mode: 7, ..v1::Dropout::default() });
        assert_eq!(error(layers(vec![mode])).field, "network.layers[0].dropout.mode");
    }
}
