//! Attributions: gradients as a table, saliency and occlusion as small images.

use super::{
    block_image::{blocks, side_by_side},
    layout::Layout,
    names::class_label,
    number::{percent, significant},
    table,
};
use crate::pb::digitd::v1::{Gradients, Occlusion, Saliency};

/// Columns of the table of gradients.
pub const GRADIENT_COLUMNS: [&str; 6] =
    ["parameter<", "gradient norm", "largest", "zeros", "parameter norm", "gradient/parameter"];

/// The table of gradients: a row for every parameter.
pub fn gradients(it: &Gradients, names: &[String], layout: Layout) -> String {
    let mut table = table::table(layout, &GRADIENT_COLUMNS);
    for row in gradient_rows(it) {
        table.add_row(row);
    }
    format!("{}\n{}", gradient_title(it, names), table::text(&table))
}

/// The title of that table: label, loss and norm.
pub fn gradient_title(it: &Gradients, names: &[String]) -> String {
    format!(
        "gradients of the loss for label {}: loss {}, norm {}",
        class_label(names, it.label.unwrap_or_default()),
        significant(it.loss.unwrap_or_default()),
        significant(it.norm.unwrap_or_default()),
    )
}

/// The rows of that table, in the order of the network.
pub fn gradient_rows(it: &Gradients) -> Vec<[String; 6]> {
    let parameters = it.layers.iter().flat_map(|layer| &layer.parameters);
    let number = |value: Option<f64>| significant(value.unwrap_or_default());
    let row = |parameter: &crate::pb::digitd::v1::ParameterGradient| {
        let norm = parameter.parameter_norm.unwrap_or_default();
        let share = parameter.norm.unwrap_or_default() / norm;
        [
            parameter.name.clone(),
            number(parameter.norm),
            number(parameter.max_abs),
            percent(parameter.zero_fraction),
            number(parameter.parameter_norm),
            if norm > 0.0 { significant(share) } else { "-".to_owned() },
        ]
    };
    parameters.map(row).collect()
}

/// The saliency map: pixels that raise the logit of the class, and pixels that lower it.
pub fn saliency(it: &Saliency, names: &[String]) -> String {
    let width = width_of(&it.shape);
    let side = |sign: f64| it.gradient.iter().map(|value| (value * sign).max(0.0)).collect::<Vec<_>>();
    let images = [
        (blocks(&side(1.0), width), "a brighter pixel raises the logit".to_owned()),
        (blocks(&side(-1.0), width), "a brighter pixel lowers the logit".to_owned()),
    ];
    format!(
        "saliency of class {}: logit {}, gradient norm {}\n{}",
        class_label(names, it.target_class.unwrap_or_default()),
        significant(it.logit.unwrap_or_default()),
        significant(it.norm.unwrap_or_default()),
        side_by_side(&images)
    )
}

/// The occlusion map: how much probability the class loses where a patch covers the image.
pub fn occlusion(it: &Occlusion, names: &[String]) -> String {
    let drops: Vec<f64> = it.drops.iter().map(|drop| drop.max(0.0)).collect();
    let largest = drops.iter().copied().fold(0.0, f64::max);
    let caption = format!(
        "probability lost where {0} x {0} pixels are covered, at most {1}",
        it.patch_size,
        significant(largest)
    );
    format!(
        "occlusion of class {}: probability {}\n{}",
        class_label(names, it.target_class.unwrap_or_default()),
        percent(it.probability),
        side_by_side(&[(blocks(&drops, width_of(&it.shape)), caption)])
    )
}

fn width_of(shape: &[i32]) -> usize {
    shape.get(1).and_then(|width| usize::try_from(*width).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::digitd::v1::{LayerGradient, ParameterGradient};

    #[test]
    fn a_parameter_is_a_row_with_its_share() {
        let parameter = ParameterGradient {
            name: "fc.weight".into(),
            norm: Some(0.5),
            max_abs: Some(0.25),
            zero_fraction: Some(0.5),
            parameter_norm: Some(10.0),
        };
        let bias =
            ParameterGradient { name: "fc.bias".into(), parameter_norm: Some(0.0), ..parameter.clone() };
        let layer = LayerGradient { name: "fc".into(), norm: Some(0.5), parameters: vec![parameter, bias] };
        let it = Gradients { label: Some(7), loss: Some(0.1), norm: Some(0.5), layers: vec![layer] };
        let text = gradients(&it, &[], Layout::PLAIN);
        assert!(text.starts_with("gradients of the loss for label 7: loss 0.1, norm 0.5\n"), "{text}");
        let row = |name: &str| {
            let line = text.lines().find(|line| line.contains(name)).unwrap();
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(row("fc.weight"), ["fc.weight", "0.5", "0.25", "50.00", "%", "10", "0.05"]);
        assert_eq!(row("fc.bias").last().unwrap(), "-");
    }

    #[test]
    fn positive_and_negative_attributions_are_shown_side_by_side() {
        let it = Saliency {
            target_class: Some(3),
            logit: Some(1.5),
            shape: vec![2, 2],
            gradient: vec![1.0, 0.0, 0.0, -1.0],
            norm: Some(2f64.sqrt()),
        };
        let text = saliency(&it, &["zero".into(), "one".into(), "two".into(), "three".into()]);
        assert!(text.starts_with("saliency of class three:"), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[1], lines[2].trim()), ("██", "██"));
        assert!(lines[2].find('█').unwrap() > 20, "{text}");
        let it = Occlusion { shape: vec![1, 2], drops: vec![0.0, 0.5], patch_size: 4, ..Default::default() };
        assert!(
            occlusion(&it, &[])
                .contains("  ██\nprobability lost where 4 x 4 pixels are covered, at most 0.5"),
            "{}",
            occlusion(&it, &[])
        );
        occlusion(&Occlusion { shape: vec![], drops: vec![0.5], ..Default::default() }, &[]);
    }
}
