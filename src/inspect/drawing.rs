//! Drawings of a network: kernels, feature maps, attributions, histograms. It chooses what is drawn
//! and labelled; the drawing itself is done by `draw`.

use tch::{Kind, Tensor};

use super::{
    Channels, Error, Histogram, Occlusion, Saliency, Statistics,
    contents::{chosen, shown_layers},
    tensors::{image_tensor, values},
};
use crate::{
    draw::{self, Grid, HistogramChart, Png, Tile, TileStyle, color::ColorMap, short},
    nn::{LayerKind, Network, Shape},
};

/// The longest side, in values, of a map that is drawn value by value; larger maps are averaged down to it.
const MAX_MAP_SIDE: i64 = 64;

/// The largest number of outputs of a vector that are drawn.
const MAX_FEATURES: usize = 1024;

/// The number of outputs in a row of that drawing.
const FEATURES_PER_ROW: usize = 32;

/// The largest number of histograms in one drawing, six rows of four, which fit a screen.
const CHARTS: usize = 24;

/// The number of bins of a drawn histogram: bars of a few pixels each.
const BINS: usize = 40;

/// The width of a kernel's tile in pixels: at least ten pixels a value, for kernels of up to 8 x 8.
const KERNEL_SIDE: i32 = 84;

/// The width of a feature map's tile in pixels, four pixels for each of MNIST's 28 columns.
const MAP_SIDE: i32 = 112;

/// The width of the tile of a drawing that has a single one, in pixels: as wide as four feature maps.
const SINGLE_MAP_SIDE: i32 = 4 * MAP_SIDE;

/// The width of each value in a drawing of a single row, in pixels.
const ROW_VALUE_SIDE: i32 = 28;

/// The width of the tiles of saliency and occlusion in pixels, nine for each of MNIST's 28 columns.
const ATTRIBUTION_SIDE: i32 = 252;

/// The kind of a drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrawingKind {
    Kernels,
    FeatureMaps,
    Saliency,
    Occlusion,
    Histograms,
}

/// A drawing as PNG, with its title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawing {
    pub kind: DrawingKind,
    /// The layer, where it is about one.
    pub layer: Option<String>,
    pub title: String,
    pub png: Png,
}

/// The inputs of drawings.
#[derive(Debug)]
pub struct DrawingInputs<'a> {
    pub network: &'a Network,
    /// The name of the network for titles: `digits version 3`.
    pub name: &'a str,
    /// The image: H·W numbers in `[0,1]`.
    pub image: &'a [f32],
    /// The layers to show by name; empty: all.
    pub layers: &'a [String],
    /// `Random` means all, as `All` does.
    pub channels: &'a Channels,
    /// Needed where they are drawn.
    pub saliency: Option<&'a Saliency>,
    pub occlusion: Option<&'a Occlusion>,
}

/// Draws each of these kinds. Errors on layers and channels that the network does not have, and on a
/// image of another size.
pub fn draw(kinds: &[DrawingKind], inputs: &DrawingInputs<'_>) -> Result<Vec<Drawing>, Error> {
    let shown = shown_layers(inputs.network, inputs.layers, inputs.channels)?;
    let mut drawings = Vec::new();
    for kind in kinds {
        match kind {
            DrawingKind::Kernels => drawings.extend(inputs.kernels(&shown)?),
            DrawingKind::FeatureMaps => drawings.extend(inputs.feature_maps(&shown)?),
            DrawingKind::Saliency => drawings.extend(inputs.saliency()?),
            DrawingKind::Occlusion => drawings.extend(inputs.occlusion()?),
            DrawingKind::Histograms => drawings.extend(inputs.histograms(&shown)?),
        }
    }
    Ok(drawings)
}

impl DrawingInputs<'_> {
    /// The names, indices and kinds of the layers that are shown.
    fn layers<'a>(&'a self, shown: &'a [bool]) -> impl Iterator<Item = (&'a str, usize, &'a LayerKind)> {
        let layers = self.network.config().layers.iter().enumerate().zip(shown);
        layers
            .filter(|(_, shown)| **shown)
            .map(|((index, layer), _)| (layer.name.as_str(), index, &layer.kind))
    }

    fn channels(&self, layer: usize, width: i64) -> Vec<i64> {
        match self.channels {
            Channels::Chosen(_) => chosen(self.channels, layer, width),
            Channels::Random(_) | Channels::All => (0..width).collect(),
        }
    }

    fn kernels(&self, shown: &[bool]) -> Result<Vec<Drawing>, Error> {
        let mut drawings = Vec::new();
        for (name, index, kind) in self.layers(shown) {
            let LayerKind::Conv(_) = kind else { continue };
            let weight = &self.network.shapes()[index].parameters[0].name;
            let weight = self.network.array(weight).expect("a layer's arrays are the network's").detach();
            let [count, inputs, height, width] = weight.size()[..] else { continue };
            let means = weight.mean_dim([1i64].as_slice(), false, Kind::Double);
            let tiles: Vec<Tile> = self
                .channels(index, count)
                .into_iter()
                .map(|channel| tile(&means.get(channel), channel.to_string()))
                .collect();
            let of =
                if inputs > 1 { format!(", the mean over {inputs} input channels") } else { String::new() };
            let grid = Grid {
                title: format!("{}: kernels of {name}", self.name),
                note: format!("{count} kernels of {height} x {width}{of}"),
                side: KERNEL_SIDE,
                map: ColorMap::Diverging { bound: bound(&tiles) },
                tiles,
                scale_name: "weight".to_owned(),
            };
            drawings.push(drawing(DrawingKind::Kernels, Some(name), &grid)?);
        }
        Ok(drawings)
    }

    fn feature_maps(&self, shown: &[bool]) -> Result<Vec<Drawing>, Error> {
        let outputs = self.outputs()?;
        let mut drawings = Vec::new();
        for (name, index, kind) in self.layers(shown) {
            if matches!(kind, LayerKind::Flatten | LayerKind::Dropout(_)) {
                continue;
            }
            let output = &outputs[index];
            let (tiles, note) = match self.network.shapes()[index].output {
                Shape::Map { channels, height, width } => {
                    let channels = self.channels(index, channels);
                    let tiles = channels.iter().map(|&at| tile(&output.get(at), at.to_string())).collect();
                    (tiles, format!("what each channel of {height} x {width} makes of the image"))
                }
                Shape::Vector { features } => {
                    let first_values: Vec<f64> = values(output).into_iter().take(MAX_FEATURES).collect();
                    let first = match (first_values.len() as i64) < features {
                        true => format!("the first {} of ", first_values.len()),
                        false => String::new(),
                    };
                    let note = format!("{first}{features} outputs, from left to right and down");
                    (vec![row_tile(first_values)], note)
                }
            };
            let grid = Grid {
                title: format!("{}: outputs of {name}", self.name),
                note,
                side: match &tiles[..] {
                    [one] if one.width > 1 && one.values.len() < 2 * one.width => {
                        ROW_VALUE_SIDE * one.width as i32
                    }
                    [_] => SINGLE_MAP_SIDE,
                    _ => MAP_SIDE,
                },
                map: ColorMap::of(tiles.iter().flat_map(|tile| tile.values.iter().copied())),
                tiles,
                scale_name: "output".to_owned(),
            };
            drawings.push(drawing(DrawingKind::FeatureMaps, Some(name), &grid)?);
        }
        Ok(drawings)
    }

    /// Computes the output of every layer for the image, without the batch axis.
    fn outputs(&self) -> Result<Vec<Tensor>, Error> {
        let _guard = tch::no_grad_guard();
        let image = image_tensor(self.network, self.image)?;
        let mut outputs = Vec::new();
        let _ = self.network.forward_with(&image, &mut |_, output| outputs.push(output.get(0)));
        Ok(outputs)
    }

    fn saliency(&self) -> Result<Option<Drawing>, Error> {
        let Some(saliency) = self.saliency else { return Ok(None) };
        let title = format!("{}: what speaks for class {}", self.name, saliency.class);
        let note = format!(
            "gradient of its logit ({}) by every pixel; orange: ink there speaks for it, blue: against it",
            short(saliency.logit)
        );
        let side = self.sides(&saliency.gradient, saliency.width, (title, note, "gradient"));
        Ok(Some(drawing(DrawingKind::Saliency, None, &side)?))
    }

    fn occlusion(&self) -> Result<Option<Drawing>, Error> {
        let Some(occlusion) = self.occlusion else { return Ok(None) };
        let Shape::Map { height, width, .. } = self.network.input() else { return Ok(None) };
        let drops = occlusion.by_pixel(height as usize, width as usize);
        let title = format!("{}: what class {} rests on", self.name, occlusion.class);
        let patch = occlusion.config.patch;
        let note = format!(
            "its probability ({}) loses so much where {patch} x {patch} pixels are covered; blue: it gains",
            short(occlusion.probability)
        );
        let side = self.sides(&drops, width as usize, (title, note, "lost"));
        Ok(Some(drawing(DrawingKind::Occlusion, None, &side)?))
    }

    /// The image, and next to it the same image under a map.
    fn sides(&self, map: &[f64], width: usize, (title, note, scale): (String, String, &str)) -> Grid {
        let ink: Vec<f64> = self.image.iter().copied().map(f64::from).collect();
        let over = Tile {
            values: map.to_vec(),
            width,
            label: "over the image".to_owned(),
            style: TileStyle::Overlay(ink.clone()),
        };
        let alone = Tile { label: "alone".to_owned(), style: TileStyle::Colors, ..over.clone() };
        let plain = Tile { values: ink, width, label: "the image".to_owned(), style: TileStyle::Grayscale };
        let bound = bound(std::slice::from_ref(&over));
        Grid {
            title,
            note,
            tiles: vec![plain, over, alone],
            side: ATTRIBUTION_SIDE,
            map: ColorMap::Diverging { bound },
            scale_name: scale.to_owned(),
        }
    }

    fn histograms(&self, shown: &[bool]) -> Result<Vec<Drawing>, Error> {
        let (mut parameters, mut layer_outputs) = (Vec::new(), Vec::new());
        let outputs = self.outputs()?;
        for (name, index, kind) in self.layers(shown) {
            let shape = &self.network.shapes()[index];
            for array in shape.parameters.iter().chain(&shape.running_statistics) {
                let values = self.network.array(&array.name).expect("a layer's arrays are the network's");
                parameters.extend(chart(&array.name, values));
            }
            if !matches!(kind, LayerKind::Flatten | LayerKind::Dropout(_)) {
                layer_outputs.extend(chart(&format!("output of {name}"), &outputs[index]));
            }
        }
        let mut drawings = Vec::new();
        for (charts, what) in [(parameters, "parameters"), (layer_outputs, "outputs for the image")] {
            for charts in charts.chunks(CHARTS) {
                let title = format!("{}: histograms of {what}", self.name);
                let note = "how many values lie in each interval; from the smallest to the largest";
                let png = draw::histograms(&title, note, charts).map_err(failed)?;
                drawings.push(Drawing { kind: DrawingKind::Histograms, layer: None, title, png });
            }
        }
        Ok(drawings)
    }
}

fn drawing(kind: DrawingKind, layer: Option<&str>, grid: &Grid) -> Result<Drawing, Error> {
    let png = draw::grid(grid).map_err(failed)?;
    Ok(Drawing { kind, layer: layer.map(str::to_owned), title: grid.title.clone(), png })
}

/// A map as a tile.
fn tile(map: &Tensor, label: String) -> Tile {
    let [height, width] = map.size()[..] else { return row_tile(values(map)) };
    let smaller = [height.min(MAX_MAP_SIDE), width.min(MAX_MAP_SIDE)];
    let map = match smaller == [height, width] {
        true => map.shallow_clone(),
        false => map.to_kind(Kind::Double).view([1, 1, height, width]).adaptive_avg_pool2d(smaller),
    };
    Tile { values: values(&map), width: smaller[1] as usize, label, style: TileStyle::Colors }
}

/// A tile of values in rows of at most `FEATURES_PER_ROW`.
fn row_tile(values: Vec<f64>) -> Tile {
    let width = values.len().clamp(1, FEATURES_PER_ROW);
    let label = format!("0 to {}", values.len().saturating_sub(1));
    Tile { values, width, label, style: TileStyle::Colors }
}

/// The largest absolute value that is finite.
fn bound(tiles: &[Tile]) -> f64 {
    let sizes = tiles.iter().flat_map(|tile| &tile.values).map(|value| value.abs());
    sizes.filter(|size| size.is_finite()).fold(0.0, f64::max)
}

/// Builds the histogram of an array; none if no value is finite.
fn chart(name: &str, of: &Tensor) -> Option<HistogramChart> {
    let Histogram { lower, upper, counts } = Histogram::of(&values(of), BINS)?;
    let Statistics { mean, std, .. } = Statistics::of(of);
    let note = format!("mean {}, std {}", short(mean), short(std));
    Some(HistogramChart { title: name.to_owned(), note, lower, upper, counts })
}

fn failed(error: draw::Error) -> Error {
    Error::Drawing(error.to_string())
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::{
        data::synthetic,
        inspect::{OcclusionConfig, occlusion, saliency},
        nn::{ConvConfig, LinearConfig, NetworkConfig},
    };

    const ALL: [DrawingKind; 5] = [
        DrawingKind::Kernels,
        DrawingKind::FeatureMaps,
        DrawingKind::Saliency,
        DrawingKind::Occlusion,
        DrawingKind::Histograms,
    ];

    fn drawn(network: &Network, layers: &[&str], channels: &Channels) -> Vec<Drawing> {
        let digits = synthetic::draw(0, synthetic::DigitStream::Test, 0..1);
        let image: Vec<f32> = digits.image(0).iter().map(|value| f32::from(*value) / 255.0).collect();
        let saliency = saliency(network, &image, None).unwrap();
        let occlusion = occlusion(network, &image, None, OcclusionConfig::default()).unwrap();
        let inputs = DrawingInputs {
            network,
            name: "digits version 1",
            image: &image,
            layers: &layers.iter().map(|&name| name.to_owned()).collect::<Vec<_>>(),
            channels,
            saliency: Some(&saliency),
            occlusion: Some(&occlusion),
        };
        draw(&ALL, &inputs).unwrap()
    }

    fn network(config: &NetworkConfig) -> Network {
        let mut network = Network::zeros(config, Shape::grey(28, 28), 10, Kind::Float, Device::Cpu).unwrap();
        network.initialize(1);
        network
    }

    #[test]
    fn every_kind_is_a_png_of_bounded_size() {
        let drawings = drawn(&network(&NetworkConfig::tutorial()), &[], &Channels::Random(0));
        let of = |kind| drawings.iter().filter(move |it| it.kind == kind);
        let layers = |kind| of(kind).map(|it| it.layer.clone().unwrap_or_default()).collect::<Vec<_>>();
        assert_eq!(layers(DrawingKind::Kernels), ["conv1", "conv2"]);
        let maps = ["conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "fc"];
        assert_eq!(layers(DrawingKind::FeatureMaps), maps);
        assert_eq!(of(DrawingKind::Histograms).count(), 2);
        for drawing in &drawings {
            let (png, title) = (&drawing.png, &drawing.title);
            let read = image::load_from_memory(&png.bytes).unwrap();
            assert_eq!((read.width(), read.height()), (png.width, png.height), "{title}");
            assert!(png.width <= 1300 && png.height <= 1300, "{title}: {} x {}", png.width, png.height);
            assert!(png.bytes.len() < 200_000, "{title}: {} bytes", png.bytes.len());
            assert!(title.starts_with("digits version 1: "), "{title}");
        }
    }

    #[test]
    fn only_the_requested_layers_and_channels_are_drawn() {
        let network = network(&NetworkConfig::tutorial());
        let some = drawn(&network, &["conv1"], &Channels::Chosen(vec![3]));
        let all = drawn(&network, &["conv1"], &Channels::All);
        assert_eq!(some.iter().filter(|it| it.kind == DrawingKind::Kernels).count(), 1);
        assert!(some[0].png.width * some[0].png.height < all[0].png.width * all[0].png.height);
    }

    #[test]
    fn maps_and_rows_that_are_too_large_to_read_are_drawn_smaller() {
        let wide = LayerKind::Conv(ConvConfig { out_channels: 2, kernel_size: 1, stride: 1, padding: 200 });
        let linear = |out_features| LayerKind::Linear(LinearConfig { out_features });
        let layers = vec![
            (None, wide),
            (None, LayerKind::Flatten),
            (None, linear(5)),
            (None, linear(5000)),
            (None, linear(10)),
        ];
        let drawings = drawn(&network(&NetworkConfig::from_layers(layers)), &[], &Channels::All);
        assert!(drawings.iter().all(|it| it.png.width <= 1300 && it.png.height <= 1300));
    }

    #[test]
    fn a_row_shows_its_values() {
        let tile = row_tile(vec![0.5; 100]);
        assert_eq!((tile.values.len(), tile.width, tile.label.as_str()), (100, 32, "0 to 99"));
    }
}
