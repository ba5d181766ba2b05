//! Decides which array of a file becomes which parameter of a network: by name if the names are the
//! network's own, with one prefix or none; else by shape, and among modules of the same shape by
//! their numbers, as in `features.0` and `features.3`. Ambiguity is an error, never a guess.

use std::collections::BTreeMap;

use safetensors::tensor::TensorView;

use super::{
    Error,
    expected_array::{ExpectedArray, shape, shortened},
};
use crate::nn;

type ArrayViews<'a> = BTreeMap<String, TensorView<'a>>;

/// The array names of a module, without the module's own name, and their shapes.
type Signature = BTreeMap<String, Vec<i64>>;

/// Returns the array of each parameter; errors unless the file has exactly the names of the parameters.
pub(super) fn exact_names(expected: &[ExpectedArray], arrays: &ArrayViews<'_>) -> Result<Vec<String>, Error> {
    let fail = |name: &str, message: &str| {
        Err(nn::Error::Parameter { name: shortened(name), message: message.to_owned() }.into())
    };
    if let Some(missing) = expected.iter().find(|array| !arrays.contains_key(&array.name)) {
        return fail(&missing.name, "is missing");
    }
    if let Some(name) = arrays.keys().find(|name| expected.iter().all(|array| array.name != **name)) {
        return fail(name, "is not one of the network's");
    }
    Ok(expected.iter().map(|array| array.name.clone()).collect())
}

/// Returns the array of each parameter for a file with any names. Errors name the layer that cannot
/// be matched, or that several modules match.
pub(super) fn inferred_names(
    expected: &[ExpectedArray],
    arrays: &ArrayViews<'_>,
) -> Result<Vec<String>, Error> {
    if let Some(names) = prefixed_names(expected, arrays) {
        return Ok(names);
    }
    let layers = modules(expected.iter().map(|array| (array.name.as_str(), array.shape_in_file())));
    let modules = modules(arrays.iter().map(|(name, view)| (name.as_str(), shape(view))));
    let mut module_of = BTreeMap::new();
    for (layer, signature) in &layers {
        if module_of.contains_key(layer) {
            continue;
        }
        let same = |all: &Modules| -> Vec<String> {
            all.iter().filter(|(_, other)| other == signature).map(|(name, _)| name.clone()).collect()
        };
        let (same_layers, candidates) = (same(&layers), in_order(same(&modules), layer)?);
        if candidates.len() != same_layers.len() {
            return Err(unmatched(layer, signature, same_layers.len(), &candidates));
        }
        module_of.extend(same_layers.into_iter().zip(candidates));
    }
    if let Some((surplus, _)) = modules.iter().find(|(name, _)| !module_of.values().any(|used| used == name))
    {
        let message = "belongs to no layer of the network: leave it out of the file".to_owned();
        return Err(nn::Error::Parameter { name: shortened(surplus), message }.into());
    }
    let name_in_file = |array: &ExpectedArray| {
        let (layer, part) = split(&array.name);
        join(&module_of[layer], part)
    };
    Ok(expected.iter().map(name_in_file).collect())
}

/// Matches a file that holds the names of the network's parameters, all with the same prefix.
fn prefixed_names(expected: &[ExpectedArray], arrays: &ArrayViews<'_>) -> Option<Vec<String>> {
    let first = expected.first()?;
    let prefixes = arrays.keys().filter_map(|name| name.strip_suffix(first.name.as_str()));
    let mut complete = prefixes
        .filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))
        .map(|prefix| expected.iter().map(|array| format!("{prefix}{}", array.name)).collect::<Vec<_>>())
        .filter(|names| names.len() == arrays.len() && names.iter().all(|name| arrays.contains_key(name)));
    complete.next()
}

/// Modules and their signatures, in the order of the layers or of the file.
type Modules = Vec<(String, Signature)>;

fn modules<'a>(arrays: impl Iterator<Item = (&'a str, Vec<i64>)>) -> Modules {
    let mut modules = Modules::new();
    for (name, shape) in arrays {
        let (module, part) = split(name);
        match modules.iter_mut().find(|(known, _)| known == module) {
            Some((_, signature)) => drop(signature.insert(part.to_owned(), shape)),
            None => modules.push((module.to_owned(), [(part.to_owned(), shape)].into())),
        }
    }
    modules
}

/// Sorts modules of one shape by their numbers. Several whose names differ in more than numbers have
/// no known order, since safetensors sorts by name.
fn in_order(candidates: Vec<String>, layer: &str) -> Result<Vec<String>, Error> {
    let mut numbered: Vec<_> = candidates.iter().map(|name| (numbers(name), name)).collect();
    numbered.sort();
    let is_ordered = |pair: &[((String, Vec<u64>), &String)]| {
        let ((texts, numbers), (other_texts, other_numbers)) = (&pair[0].0, &pair[1].0);
        texts == other_texts && numbers != other_numbers
    };
    if numbered.windows(2).all(is_ordered) {
        return Ok(numbered.into_iter().map(|(_, name)| name.clone()).collect());
    }
    Err(Error::Ambiguous { layer: layer.to_owned(), candidates: joined_names(&candidates) })
}

/// A name with `#` in place of its numbers, and the numbers: `layer1.0.conv` is `layer#.#.conv` and 1, 0.
fn numbers(name: &str) -> (String, Vec<u64>) {
    let (mut texts, mut numbers) = (String::new(), Vec::new());
    let mut rest = name;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let digits = rest[start..].find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - start);
        texts.push_str(&rest[..start]);
        texts.push('#');
        numbers.push(rest[start..start + digits].parse().unwrap_or(u64::MAX));
        rest = &rest[start + digits..];
    }
    texts.push_str(rest);
    (texts, numbers)
}

fn unmatched(layer: &str, signature: &Signature, layers: usize, candidates: &[String]) -> Error {
    let shapes: Vec<String> = signature.iter().map(|(part, shape)| format!("{part} {shape:?}")).collect();
    let candidates = match candidates {
        [] => "none".to_owned(),
        candidates => joined_names(candidates),
    };
    let message = format!(
        "cannot be matched with the file: the network has {layers} of {}, the file has {candidates}; \
         request the network that the file was saved from",
        shapes.join(" and ")
    );
    nn::Error::Parameter { name: layer.to_owned(), message }.into()
}

/// `features.0.weight` is part `weight` of module `features.0`.
fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or(("", name))
}

fn join(module: &str, part: &str) -> String {
    if module.is_empty() { part.to_owned() } else { format!("{module}.{part}") }
}

/// Joins the names for a message; a long list is cut to its first names.
fn joined_names(names: &[String]) -> String {
    const MAX_SHOWN: usize = 8;
    let mut shown: Vec<String> = names.iter().take(MAX_SHOWN).map(|name| shortened(name)).collect();
    if names.len() > MAX_SHOWN {
        shown.push(format!("and {} more", names.len() - MAX_SHOWN));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use safetensors::Dtype;

    use super::*;

    fn expected_arrays(parameters: &[(&str, &[i64])]) -> Vec<ExpectedArray> {
        let array = |(name, shape): &(&str, &[i64])| ExpectedArray {
            name: (*name).to_owned(),
            shape: shape.to_vec(),
            transposed: false,
        };
        parameters.iter().map(array).collect()
    }

    /// Returns the array of each parameter, or the error's message.
    fn map(parameters: &[(&str, &[i64])], arrays: &[(&str, &[i64])]) -> Result<Vec<String>, String> {
        let bytes = [0u8; 400];
        let view = |shape: &[i64]| {
            let shape: Vec<usize> = shape.iter().map(|&extent| extent as usize).collect();
            let size = 4 * shape.iter().product::<usize>();
            TensorView::new(Dtype::F32, shape, &bytes[..size]).unwrap()
        };
        let arrays = arrays.iter().map(|(name, shape)| ((*name).to_owned(), view(shape))).collect();
        inferred_names(&expected_arrays(parameters), &arrays).map_err(|error| error.to_string())
    }

    const TWINS: &[(&str, &[i64])] =
        &[("first.weight", &[2, 2]), ("second.weight", &[2, 2]), ("fc.weight", &[3])];

    #[test]
    fn modules_of_one_shape_are_distinguished_by_their_numbers() {
        let names =
            map(TWINS, &[("net.10.weight", &[2, 2]), ("net.9.weight", &[2, 2]), ("head.weight", &[3])]);
        assert_eq!(names.unwrap(), ["net.9.weight", "net.10.weight", "head.weight"]);
        let names = map(TWINS, &[("b1.c2.weight", &[2, 2]), ("b2.c1.weight", &[2, 2]), ("weight", &[3])]);
        assert_eq!(names.unwrap(), ["b1.c2.weight", "b2.c1.weight", "weight"]);
    }

    #[test]
    fn the_names_of_the_network_may_have_a_prefix() {
        let arrays: &[(&str, &[i64])] =
            &[("model.second.weight", &[2, 2]), ("model.first.weight", &[2, 2]), ("model.fc.weight", &[3])];
        let expected = ["model.first.weight", "model.second.weight", "model.fc.weight"];
        assert_eq!(map(TWINS, arrays).unwrap(), expected);
    }

    #[test]
    fn an_ambiguous_mapping_is_an_error_that_names_the_candidates() {
        let error = |arrays| map(TWINS, arrays).unwrap_err();
        let message = error(&[("stem.weight", &[2, 2]), ("body.weight", &[2, 2]), ("head.weight", &[3])]);
        assert!(message.contains("body, stem is layer \"first\""), "{message}");
        let message = error(&[("a.1.weight", &[2, 2]), ("a.01.weight", &[2, 2]), ("head.weight", &[3])]);
        assert!(message.contains("not clear"), "{message}");
    }

    #[test]
    fn missing_and_surplus_modules_are_named() {
        let error = |arrays| map(TWINS, arrays).unwrap_err();
        let message = error(&[("net.1.weight", &[2, 2]), ("head.weight", &[3])]);
        let both_sides = "the network has 2 of weight [2, 2], the file has net.1; request the network";
        assert!(message.contains(both_sides), "{message}");
        let arrays: &[(&str, &[i64])] = &[
            ("net.1.weight", &[2, 2]),
            ("net.2.weight", &[2, 2]),
            ("head.weight", &[3]),
            ("x.weight", &[5]),
        ];
        assert!(error(arrays).contains("\"x\" belongs to no layer"));
    }

    #[test]
    fn the_first_of_many_names_are_listed() {
        let names: Vec<String> = (0..100).map(|number| format!("{number}.{}", "x".repeat(1000))).collect();
        let joined = joined_names(&names);
        assert!(joined.ends_with(", and 92 more") && joined.len() < 9 * 70, "{joined}");
    }
}
