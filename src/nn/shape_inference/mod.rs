//! Shape inference: the input, output and parameter shapes of each layer, and its cost. A list of layers that
//! cannot work is rejected here, before any tensor exists.

use super::{
    BatchNormConfig, ConvConfig, DropoutConfig, Error, LayerConfig, LayerKind, LayerShape, NetworkConfig,
    ParameterShape, PoolConfig, Shape,
};

/// The largest number that a layer may state for channels, features, kernel, stride or padding.
const MAX_EXTENT: i64 = 65_536;

impl NetworkConfig {
    /// Infers the shapes of every layer for images of `input`; the output of the last must be `[N,classes]`.
    /// Errors name the layer and the shapes.
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
            let arrays = shape.parameters.iter().chain(&shape.running_statistics);
            parameters += arrays.map(|array| array.count().unsigned_abs()).sum::<u64>();
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
        let plain = |output| LayerShape {
            input,
            output,
            parameters: Vec::new(),
            running_statistics: Vec::new(),
            multiply_adds: 0,
        };
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
            LayerKind::BatchNorm(norm) => {
                check_batch_norm(norm)?;
                let channels = vec![input.channels()];
                let statistic = |part| self.array(part, channels.clone());
                Ok(LayerShape {
                    parameters: self.weight_and_bias(channels.clone()),
                    running_statistics: ["running_mean", "running_var"].map(statistic).into(),
                    ..plain(input)
                })
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
        let multiply_adds = output.len() * per_value;
        Ok(LayerShape { input, output, parameters, running_statistics: Vec::new(), multiply_adds })
    }

    fn weight_and_bias(&self, weight: Vec<i64>) -> Vec<ParameterShape> {
        let bias = vec![weight[0]];
        vec![self.array("weight", weight), self.array("bias", bias)]
    }

    fn array(&self, part: &str, dims: Vec<i64>) -> ParameterShape {
        ParameterShape { name: format!("{}.{part}", self.name), dims }
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

fn check_batch_norm(norm: &BatchNormConfig) -> Result<(), String> {
    if !(0.0..=1.0).contains(&norm.momentum) {
        return Err(format!("momentum {} is not in [0, 1]", norm.momentum));
    }
    if norm.epsilon > 0.0 && norm.epsilon <= 1.0 {
        return Ok(());
    }
    Err(format!("epsilon {} is not above 0 and at most 1", norm.epsilon))
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

/// Returns how many windows of `kernel` at steps of `stride` fit into `extent`, or none if not even one does.
fn window_count(extent: i64, kernel: i64, stride: i64) -> Option<i64> {
    (extent >= kernel).then(|| (extent - kernel) / stride + 1)
}

#[cfg(test)]
mod tests;
