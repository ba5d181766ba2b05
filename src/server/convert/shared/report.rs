//! The layer report of a network, as an inspection of a version and an event of a run show it.

use super::field::{int, ints};
use crate::{
    inspect::{
        ChannelReport, DistributionDetails, Histogram, LayerReport, OutputReport, ParameterReport, Report,
    },
    pb::digitd::v1,
};

pub fn from_report(report: Report) -> v1::InspectResponse {
    let width = report.bytes_per_value;
    let layers: Vec<_> = report.layers.into_iter().map(|layer| from_layer(layer, width)).collect();
    v1::InspectResponse {
        parameter_bytes: Some(int(report.total_parameters * width as i64)),
        input_bytes: Some(bytes(&report.input_shape, width)),
        output_bytes: Some(layers.iter().filter_map(|layer| layer.output_bytes).sum()),
        layers,
        total_parameters: int(report.total_parameters),
        total_multiply_adds: report.total_multiply_adds as f64,
        input_shape: ints(&report.input_shape),
        logits: report.logits,
        probabilities: report.probabilities,
        sample_images: report.sample_images.map(int),
        ..v1::InspectResponse::default()
    }
}

/// Bytes of an array of this shape, as a real number because a batch may exceed 32 bits.
fn bytes(shape: &[i64], width: usize) -> f64 {
    shape.iter().product::<i64>() as f64 * width as f64
}

/// `width` is the number of bytes of one value.
fn from_layer(layer: LayerReport, width: usize) -> v1::LayerReport {
    let hyperparameters = layer.kind.hyperparameters();
    let values: i64 = layer.parameters.iter().map(|parameter| parameter.shape.count()).sum();
    v1::LayerReport {
        parameter_bytes: Some(int(values * width as i64)),
        output_bytes: Some(bytes(&layer.output_shape, width)),
        name: layer.name,
        kind: layer.kind.word().to_owned(),
        hyperparameters: hyperparameters.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        input_shape: ints(&layer.input_shape),
        output_shape: ints(&layer.output_shape),
        parameters: layer.parameters.into_iter().map(from_parameter).collect(),
        running_statistics: layer.running_statistics.into_iter().map(from_parameter).collect(),
        multiply_adds: Some(layer.multiply_adds as f64),
        output: layer.output.map(from_output),
        tutorial_name: layer.tutorial_name.unwrap_or_default(),
    }
}

fn from_parameter(parameter: ParameterReport) -> v1::ParameterReport {
    let statistics = parameter.statistics.as_ref();
    let spread = statistics.and_then(|of| of.details.as_ref());
    v1::ParameterReport {
        nan_fraction: spread.map(|of| of.nan_fraction),
        infinite_fraction: spread.map(|of| of.infinite_fraction),
        norm: spread.map(|of| of.norm),
        histogram: from_histogram(spread),
        shape: ints(&parameter.shape.dims),
        count: int(parameter.shape.count()),
        name: parameter.shape.name,
        mean: statistics.map(|of| of.mean),
        std: statistics.map(|of| of.std),
        min: statistics.map(|of| of.min),
        max: statistics.map(|of| of.max),
        zero_fraction: statistics.map(|of| of.zero_fraction),
    }
}

fn from_output(output: OutputReport) -> v1::OutputReport {
    let (zero_fractions, dead) =
        output.sample.map(|sample| (sample.zero_fractions, sample.dead_channels)).unwrap_or_default();
    let spread = output.statistics.details.as_ref();
    v1::OutputReport {
        nan_fraction: spread.map(|of| of.nan_fraction),
        infinite_fraction: spread.map(|of| of.infinite_fraction),
        norm: spread.map(|of| of.norm),
        histogram: from_histogram(spread),
        mean: Some(output.statistics.mean),
        std: Some(output.statistics.std),
        min: Some(output.statistics.min),
        max: Some(output.statistics.max),
        zero_fraction: Some(output.statistics.zero_fraction),
        channels: output.channels.into_iter().map(from_channel).collect(),
        sample_zero_fractions: zero_fractions,
        dead_channels: ints(&dead),
    }
}

fn from_histogram(spread: Option<&DistributionDetails>) -> Option<v1::Histogram> {
    let Histogram { lower, upper, counts } = spread?.histogram.as_ref()?;
    Some(v1::Histogram { lower: Some(*lower), upper: Some(*upper), counts: ints(counts) })
}

fn from_channel(channel: ChannelReport) -> v1::ChannelReport {
    let statistics = channel.statistics.as_ref();
    let spread = statistics.and_then(|of| of.details.as_ref());
    v1::ChannelReport {
        mean: statistics.map(|of| of.mean),
        std: statistics.map(|of| of.std),
        min: statistics.map(|of| of.min),
        max: statistics.map(|of| of.max),
        zero_fraction: statistics.map(|of| of.zero_fraction),
        nan_fraction: spread.map(|of| of.nan_fraction),
        infinite_fraction: spread.map(|of| of.infinite_fraction),
        norm: spread.map(|of| of.norm),
        histogram: from_histogram(spread),
        channel: Some(int(channel.channel)),
        output_shape: ints(&channel.output_shape),
        output: channel.output,
        kernel_shape: ints(&channel.kernel_shape),
        kernel: channel.kernel,
        bias: channel.bias,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        inspect::{Sample, Statistics},
        nn::{LayerKind, LinearConfig, ParameterShape},
    };

    #[test]
    fn a_layer_is_shown_with_its_settings_shapes_and_output() {
        let statistics =
            Statistics { mean: 0.0, std: 1.0, min: -1.0, max: 1.0, zero_fraction: 0.25, details: None };
        let weight = ParameterShape { name: "fc.weight".to_owned(), dims: vec![10, 980] };
        let layer = LayerReport {
            name: "fc".to_owned(),
            kind: LayerKind::Linear(LinearConfig { out_features: 10 }),
            tutorial_name: Some("outputs7".to_owned()),
            input_shape: vec![1, 980],
            output_shape: vec![1, 10],
            parameters: vec![ParameterReport { shape: weight, statistics: None }],
            running_statistics: Vec::new(),
            multiply_adds: 9800,
            output: Some(OutputReport {
                statistics,
                channels: Vec::new(),
                sample: Some(Sample { zero_fractions: vec![1.0, 0.0], dead_channels: vec![0] }),
            }),
        };
        let layer = from_layer(layer, 4);
        assert_eq!((layer.parameter_bytes, layer.output_bytes), (Some(39_200), Some(40.0)));
        assert_eq!((layer.kind.as_str(), layer.tutorial_name.as_str()), ("linear", "outputs7"));
        assert_eq!(layer.hyperparameters["out_features"], "10");
        assert_eq!((layer.parameters[0].count, layer.parameters[0].mean), (9800, None));
        let output = layer.output.unwrap();
        assert_eq!((output.mean, output.dead_channels), (Some(0.0), vec![0]));
    }
}
