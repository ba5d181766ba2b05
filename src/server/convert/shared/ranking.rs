//! The order of the classes in a response.

/// The most probable label; of equally probable labels, the smallest.
pub fn best(probabilities: &[f32]) -> Option<usize> {
    let numbered = probabilities.iter().enumerate();
    numbered.max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0))).map(|(label, _)| label)
}

/// The `count` most probable labels, most probable first; of equally probable labels, the smallest first.
pub fn ranked(probabilities: &[f32], count: usize) -> Vec<usize> {
    let mut labels: Vec<usize> = (0..probabilities.len()).collect();
    labels.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
    labels.truncate(count);
    labels
}
