//! What an answer rests on: gradients as a table, saliency and occlusion as small pictures.

use super::{
    class_of,
    number::percent,
    picture::{blocks, side_by_side},
    table::{self, Ink},
    warning::figure,
};
use crate::pb::digitd::v1::{Gradients, Occlusion, Saliency};

/// What a row of the table of gradients tells.
pub const GRADIENT_COLUMNS: [&str; 6] =
    ["parameter<", "gradient's norm", "largest", "zeros", "own norm", "gradient/own"];

/// A row for every parameter.
pub fn gradients(it: &Gradients, names: &[String], ink: Ink) -> String {
    let mut table = table::table(ink, &GRADIENT_COLUMNS);
    for row in gradient_rows(it) {
        table.add_row(row);
    }
    format!("{}\n{}", gradient_title(it, names), table::text(&table))
}

pub fn gradient_title(it: &Gradients, names: &[String]) -> String {
    format!(
        "gradients of the loss for label {}: loss {}, norm {}",
        class_of(names, it.label.unwrap_or_default()),
        figure(it.loss.unwrap_or_default()),
        figure(it.norm.unwrap_or_default()),
    )
}

pub fn gradient_rows(it: &Gradients) -> Vec<[String; 6]> {
    let parameters = it.layers.iter().flat_map(|layer| &layer.parameters);
    let number = |value: Option<f64>| figure(value.unwrap_or_default());
    let row = |parameter: &crate::pb::digitd::v1::ParameterGradient| {
        let own = parameter.parameter_norm.unwrap_or_default();
        let share = parameter.norm.unwrap_or_default() / own;
        [
            parameter.name.clone(),
            number(parameter.norm),
            number(parameter.max_abs),
            percent(parameter.zero_fraction),
            number(parameter.parameter_norm),
            if own > 0.0 { figure(share) } else { "-".to_owned() },
        ]
    };
    parameters.map(row).collect()
}

/// Where ink speaks for the class, and where against it.
pub fn saliency(it: &Saliency, names: &[String]) -> String {
    let width = width_of(&it.shape);
    let side = |sign: f64| it.gradient.iter().map(|value| (value * sign).max(0.0)).collect::<Vec<_>>();
    let pictures = [
        (blocks(&side(1.0), width), "more ink there speaks for it".to_owned()),
        (blocks(&side(-1.0), width), "more ink there speaks against it".to_owned()),
    ];
    format!(
        "saliency of class {}: logit {}, gradient's norm {}\n{}",
        class_of(names, it.target_class.unwrap_or_default()),
        figure(it.logit.unwrap_or_default()),
        figure(it.norm.unwrap_or_default()),
        side_by_side(&pictures)
    )
}

/// Where covering costs the class its probability.
pub fn occlusion(it: &Occlusion, names: &[String]) -> String {
    let drops: Vec<f64> = it.drops.iter().map(|drop| drop.max(0.0)).collect();
    let largest = drops.iter().copied().fold(0.0, f64::max);
    let caption =
        format!("lost where {0} x {0} pixels are covered, at most {1}", it.patch_size, figure(largest));
    format!(
        "occlusion of class {}: probability {}\n{}",
        class_of(names, it.target_class.unwrap_or_default()),
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
        let text = gradients(&it, &[], Ink::Plain);
        assert!(text.starts_with("gradients of the loss for label 7: loss 0.1, norm 0.5\n"), "{text}");
        let row = |name: &str| {
            let line = text.lines().find(|line| line.contains(name)).unwrap();
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(row("fc.weight"), ["fc.weight", "0.5", "0.25", "50.00", "%", "10", "0.05"]);
        assert_eq!(row("fc.bias").last().unwrap(), "-");
    }

    #[test]
    fn what_speaks_for_a_class_stands_beside_what_speaks_against_it() {
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
            occlusion(&it, &[]).contains("  ██\nlost where 4 x 4 pixels are covered, at most 0.5"),
            "{}",
            occlusion(&it, &[])
        );
        occlusion(&Occlusion { shape: vec![], drops: vec![0.5], ..Default::default() }, &[]);
    }
}
