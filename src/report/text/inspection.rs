//! An inspection: the table of layers, and on request the contents of the layers.

use super::{
    bar::bar,
    block_image::{blocks, side_by_side},
    layout::{Layout, MAX_WIDTH},
    names::{class_label, enum_label},
    number::{bytes, count, large, percent},
    table::{self, Tone, cell},
};
use crate::pb::digitd::v1::{BatchInspection, ChannelReport, InspectResponse, LayerReport};

/// The layers whose contents are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Every layer.
    Full,
    /// The convolutions and the last output.
    Convolutions,
    /// The first convolution only.
    OneKernel,
}

/// A row for every layer, and the totals.
pub fn layer_table(response: &InspectResponse, layout: Layout) -> String {
    format!("{}\n\n{}", subject(response), layers(response, layout))
}

/// The network that was inspected: a version, or a run at some step.
pub fn subject(response: &InspectResponse) -> String {
    let version = match response.version {
        0 => format!("{}, not published", response.name),
        version => format!("{} version {version}", response.name),
    };
    let Some(run) = &response.run else { return version };
    let state = enum_label(run.state().as_str_name(), "RUN_STATE");
    let when = match (run.batch, run.step) {
        (Some(batch), Some(step)) => format!("epoch {}, batch {batch}, step {step}", run.epoch),
        _ => format!("epoch {}", run.epoch),
    };
    format!("{version}: run {} ({state}) after {when}", run.run_id)
}

/// A batch of a run: its layers where shapes were requested, and the contents of the convolutions and of
/// the last layer where contents were.
pub fn batch(it: &BatchInspection, layout: Layout) -> String {
    let shown = InspectResponse {
        layers: it.layers.clone(),
        total_parameters: it.total_parameters.unwrap_or_default(),
        total_multiply_adds: it.total_multiply_adds.unwrap_or_default(),
        input_shape: it.input_shape.clone(),
        logits: it.logits.clone(),
        probabilities: it.probabilities.clone(),
        label: it.label,
        sample_images: it.sample_images,
        ..InspectResponse::default()
    };
    let mut text = format!("inspection of epoch {}, batch {}\n\n", it.epoch, it.batch);
    if !it.input_shape.is_empty() {
        text += &layers(&shown, layout);
        text.push('\n');
    }
    text + &contents(&shown, Depth::Convolutions, layout)
}

fn layers(response: &InspectResponse, layout: Layout) -> String {
    let mut table = table::table(layout, &LAYER_COLUMNS);
    for layer in &response.layers {
        table.add_row(layer_row(layer));
    }
    table::fit(&mut table, layout.width, &[7, 3]);
    let mut text = format!("{}\n", table::text(&table));
    for line in totals(response) {
        text += &line;
        text.push('\n');
    }
    text
}

/// Columns of the table of layers.
pub const LAYER_COLUMNS: [&str; 8] =
    ["layer<", "kind<", "settings<", "input shape<", "output shape<", "params", "mult-adds", "bytes"];

pub fn layer_row(layer: &LayerReport) -> [String; 8] {
    let parameters: i32 = layer.parameters.iter().map(|parameter| parameter.count).sum();
    [
        layer.name.clone(),
        layer.kind.clone(),
        hyperparameters(layer),
        if layer.input_shape.is_empty() { String::new() } else { shape(&layer.input_shape) },
        shape(&layer.output_shape),
        if parameters == 0 { String::new() } else { count(parameters) },
        layer.multiply_adds.filter(|&number| number > 0.0).map(large).unwrap_or_default(),
        layer.output_bytes.map(|size| bytes(size as u64)).unwrap_or_default(),
    ]
}

/// The totals below that table.
pub fn totals(response: &InspectResponse) -> Vec<String> {
    let mut lines = vec![format!(
        "Total: {} parameters, {} multiply-adds",
        count(response.total_parameters),
        large(response.total_multiply_adds),
    )];
    let size = |bytes: Option<f64>| bytes.unwrap_or_default();
    let parts = [
        size(response.input_bytes),
        size(response.output_bytes),
        size(response.parameter_bytes.map(f64::from)),
    ];
    if response.parameter_bytes.is_some() {
        let [input, outputs, parameters] = parts.map(|size| bytes(size as u64));
        let all = bytes(parts.iter().sum::<f64>() as u64);
        let shape = shape(&response.input_shape);
        lines.push(format!(
            "Bytes: {input} input {shape}, {outputs} outputs, {parameters} parameters; {all} in total"
        ));
    }
    lines
}

/// The contents of the layers: statistics of parameters and outputs, chosen channels as images, dead
/// channels.
pub fn contents(response: &InspectResponse, depth: Depth, layout: Layout) -> String {
    let shown = response.layers.iter().filter(|layer| layer.output.is_some());
    let shown: Vec<&LayerReport> = match depth {
        Depth::Full => shown.collect(),
        Depth::Convolutions => shown.filter(|layer| layer.kind == "conv").collect(),
        Depth::OneKernel => shown.filter(|layer| layer.kind == "conv").take(1).collect(),
    };
    let mut text = String::new();
    for layer in shown {
        text += &layer_contents(layer, response.sample_images, layout);
        text.push('\n');
    }
    if depth != Depth::OneKernel && !response.probabilities.is_empty() {
        text += &probabilities(response);
    }
    text
}

fn hyperparameters(layer: &LayerReport) -> String {
    // The kernel size comes first, as in the usual notation.
    let position = |name: &str| SETTINGS.iter().position(|known| *known == name).unwrap_or(SETTINGS.len());
    let mut settings: Vec<(&String, &String)> = layer.hyperparameters.iter().collect();
    settings.sort_by_key(|(name, _)| position(name));
    let setting = |(name, value): (&String, &String)| Some(format!("{}={value}", short(name)?));
    let parts: Vec<String> = settings.into_iter().filter_map(setting).collect();
    parts.join(" ")
}

/// The largest number of dead channels that a layer lists.
const MAX_DEAD_CHANNELS: usize = 10;

const SETTINGS: [&str; 4] = ["kernel_size", "stride", "padding", "groups"];

/// The short name of a hyperparameter, which keeps the table narrow; none for what the output shape says.
fn short(name: &str) -> Option<&str> {
    Some(match name {
        "kernel_size" => "k",
        "stride" => "s",
        "padding" => "p",
        "groups" => "g",
        "probability" => "drop",
        "out_channels" | "out_features" => return None,
        _ => name,
    })
}

pub fn shape(sizes: &[i32]) -> String {
    let sizes: Vec<String> = sizes.iter().map(i32::to_string).collect();
    format!("[{}]", sizes.join(","))
}

fn layer_contents(layer: &LayerReport, sample: Option<i32>, layout: Layout) -> String {
    let alias = match layer.tutorial_name.as_str() {
        "" => String::new(),
        name => format!(" ({name})"),
    };
    let sizes = if layer.output_shape.is_empty() { String::new() } else { shape(&layer.output_shape) };
    let mut text = format!("{}{alias}  {} {sizes}", layer.name, layer.kind).trim_end().to_owned() + "\n";
    text += &statistics(layer, layout);
    let Some(output) = &layer.output else { return text };
    for channel in &output.channels {
        text += &channel_images(channel);
    }
    if let (Some(images), false) = (sample, output.sample_zero_fractions.is_empty()) {
        let shares = &output.sample_zero_fractions;
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
        text += &format!("  zeros over {} images: {} on average\n", count(images), percent(Some(mean)));
        if !output.dead_channels.is_empty() {
            let listed = output.dead_channels.iter().take(MAX_DEAD_CHANNELS);
            let listed: Vec<String> = listed.map(i32::to_string).collect();
            let more = match output.dead_channels.len().saturating_sub(MAX_DEAD_CHANNELS) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            text += &format!("  dead, zero for every image: channels {}{more}\n", listed.join(", "));
        }
    }
    text
}

fn statistics(layer: &LayerReport, layout: Layout) -> String {
    let mut table = table::table(layout, &["<", "mean", "std", "min", "max", "zeros"]);
    let mut add = |name: &str, numbers: [Option<f64>; 4], zeros: Option<f64>| {
        if numbers.iter().any(Option::is_some) {
            let numbers =
                numbers.map(|number| number.map_or("-".to_owned(), |number| format!("{number:.4}")));
            let row = [name.to_owned()].into_iter().chain(numbers).map(|text| cell(text, Tone::Plain));
            table.add_row(row.chain([cell(percent(zeros), Tone::Plain)]));
        }
    };
    for parameter in layer.parameters.iter().chain(&layer.running_statistics) {
        let numbers = [parameter.mean, parameter.std, parameter.min, parameter.max];
        add(&parameter.name, numbers, parameter.zero_fraction);
    }
    if let Some(output) = &layer.output {
        add("output", [output.mean, output.std, output.min, output.max], output.zero_fraction);
    }
    if table.is_empty() { String::new() } else { table::text(&table) }
}

/// The kernel and the output of a channel, next to each other where both are images.
fn channel_images(channel: &ChannelReport) -> String {
    let number = channel.channel.unwrap_or_default();
    let mut shown = Vec::new();
    if let [inputs, _, width] = channel.kernel_shape[..] {
        let of = if inputs > 1 { format!(" 1 of {inputs}") } else { String::new() };
        let area = (width.max(0) as usize).pow(2).min(channel.kernel.len());
        shown.push((blocks(&channel.kernel[..area], width.max(0) as usize), format!("kernel {number}{of}")));
    }
    if let [_, width] = channel.output_shape[..] {
        shown.push((blocks(&channel.output, width.max(0) as usize), format!("output {number}")));
    }
    if !shown.is_empty() {
        return indented(&side_by_side(&shown));
    }
    match channel.output.as_slice() {
        [value] => format!("  output {number}: {value:.4}\n"),
        _ => String::new(),
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}").trim_end().to_owned() + "\n").collect()
}

/// Logits and probabilities, a line for every class.
fn probabilities(response: &InspectResponse) -> String {
    let name = |class: i32| class_label(&response.class_names, class);
    let label = response.label.map(|label| format!(" (label {})", name(label))).unwrap_or_default();
    let longest = (0..response.probabilities.len()).map(|class| name(class as i32).chars().count()).max();
    let longest = longest.unwrap_or_default();
    let mut text = format!("logits and probabilities of the image{label}\n");
    for (class, &probability) in response.probabilities.iter().enumerate() {
        let logit = response.logits.get(class).map_or_else(String::new, |logit| format!("{logit:>9.3}"));
        let (share, length) = (percent(Some(probability)), bar(probability, MAX_WIDTH / 3));
        text += format!("  {:<longest$} {logit} {share:>8} {length}", name(class as i32)).trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::digitd::v1::{OutputReport, ParameterReport};

    /// A network of one convolution of 2 × 2 kernels over an image of 2 × 2.
    fn one_layer() -> InspectResponse {
        let channel = ChannelReport {
            channel: Some(1),
            output_shape: vec![2, 2],
            output: vec![0.0, 1.0, 0.0, 1.0],
            kernel_shape: vec![1, 2, 2],
            kernel: vec![1.0, 0.0, 0.0, 1.0],
            bias: Some(0.0),
            ..Default::default()
        };
        let output = OutputReport {
            mean: Some(0.5),
            channels: vec![channel],
            sample_zero_fractions: vec![0.5, 1.0],
            dead_channels: vec![1],
            ..Default::default()
        };
        let weight =
            ParameterReport { name: "conv1.weight".into(), count: 8, mean: Some(0.1), ..Default::default() };
        let layer = LayerReport {
            name: "conv1".into(),
            kind: "conv".into(),
            hyperparameters: [("kernel_size".to_owned(), "2".to_owned())].into(),
            output_shape: vec![1, 2, 2, 2],
            parameters: vec![weight],
            multiply_adds: Some(2_361_800.0),
            output: Some(output),
            tutorial_name: "outputs1".into(),
            ..Default::default()
        };
        InspectResponse {
            name: "digits".into(),
            version: 1,
            layers: vec![layer],
            total_parameters: 20_350,
            total_multiply_adds: 2_361_800.0,
            input_shape: vec![1, 1, 28, 28],
            probabilities: vec![0.25, 0.75],
            logits: vec![-1.0, 0.0986],
            label: Some(1),
            label_name: None,
            class_names: Vec::new(),
            sample_images: Some(1000),
            ..Default::default()
        }
    }

    #[test]
    fn a_layer_is_a_row_and_the_totals_follow() {
        let text = layer_table(&one_layer(), Layout::PLAIN);
        let row = text.lines().find(|line| line.contains("conv1")).unwrap();
        let words: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(words, ["conv1", "conv", "k=2", "[1,2,2,2]", "8", "2.36", "M"]);
        assert!(text.ends_with("Total: 20 350 parameters, 2.36 M multiply-adds\n"), "{text}");
    }

    #[test]
    fn a_channel_shows_its_kernel_beside_its_output() {
        let text = contents(&one_layer(), Depth::Full, Layout::PLAIN);
        assert!(text.contains("  ██           ██\n    ██         ██\n  kernel 1   output 1\n"), "{text}");
        assert!(text.contains("dead, zero for every image: channels 1"), "{text}");
        assert!(text.contains("zeros over 1 000 images: 75.00 % on average"), "{text}");
    }

    #[test]
    fn probabilities_are_shown_as_bars() {
        let text = contents(&one_layer(), Depth::Full, Layout::PLAIN);
        assert!(text.contains("(label 1)\n  0    -1.000  25.00 % ████████▎\n"), "{text}");
    }

    #[test]
    fn a_batch_of_a_run_shows_what_was_requested() {
        let response = one_layer();
        let shapes = BatchInspection {
            epoch: 1,
            batch: 401,
            layers: response.layers.clone(),
            input_shape: response.input_shape,
            ..BatchInspection::default()
        };
        let text = batch(&shapes, Layout::PLAIN);
        assert!(text.starts_with("inspection of epoch 1, batch 401\n\n"), "{text}");
        assert!(text.contains("Total:") && !text.contains("probabilities"), "{text}");
        let (probabilities, logits) = (response.probabilities, response.logits);
        let both = BatchInspection { probabilities, logits, input_shape: Vec::new(), ..shapes };
        let text = batch(&both, Layout::PLAIN);
        assert!(!text.contains("Total:") && text.contains("kernel 1   output 1"), "{text}");
    }

    #[test]
    fn shapes_that_contradict_their_values_do_not_panic() {
        let mut response = one_layer();
        let output = response.layers[0].output.as_mut().unwrap();
        output.channels[0].kernel_shape = vec![1, 9, -9];
        output.channels[0].output_shape = vec![0, 0];
        contents(&response, Depth::Full, Layout::PLAIN);
    }
}
