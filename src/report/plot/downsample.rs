//! Long curves reduced to as many points as a chart can show.

/// Columns of a panel; more than four points in one cannot be distinguished.
const COLUMNS: usize = 600;

/// Keeps at most four points for each of 600 columns: the first, the smallest, the largest and the last
/// one, with which the line looks the same as with all of them (M4: Jugel et al. 2014, "M4: a
/// visualization-oriented time series data aggregation"). One point that is not finite is kept too, so that
/// the column has its gap.
pub fn downsample(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Vec::new() };
    let width = last.0 - first.0;
    if points.len() <= 4 * COLUMNS || width <= 0.0 {
        return points.to_vec();
    }
    let column = |point: &(f64, f64)| ((point.0 - first.0) / width * COLUMNS as f64) as usize;
    points.chunk_by(|a, b| column(a) == column(b)).flat_map(extremes).collect()
}

fn extremes(column: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
    let ends = [column.first(), column.last()];
    let broken = column.iter().find(|point| !point.1.is_finite());
    let finite = || column.iter().filter(|point| point.1.is_finite());
    let candidates = ends.into_iter().chain([finite().min_by(by_value), finite().max_by(by_value), broken]);
    let mut points: Vec<(f64, f64)> = candidates.flatten().copied().collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points.dedup_by(|a, b| a.0 == b.0);
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_curve_keeps_its_ends_and_its_peaks() {
        let mut points: Vec<(f64, f64)> = (0..100_000).map(|x| (f64::from(x), 1.0)).collect();
        points[50_123].1 = 9.0;
        points[70_001].1 = f64::NAN;
        let reduced = downsample(&points);
        assert!(reduced.len() <= 5 * (COLUMNS + 1), "{}", reduced.len());
        assert_eq!((reduced[0].0, reduced[reduced.len() - 1].0), (0.0, 99_999.0));
        assert!(reduced.contains(&(50_123.0, 9.0)));
        assert!(reduced.iter().any(|point| point.1.is_nan()));
        assert!(reduced.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn a_short_curve_is_left_alone() {
        let points = [(0.0, 1.0), (1.0, f64::NAN)];
        assert_eq!(downsample(&points).len(), 2);
        assert!(downsample(&[]).is_empty());
    }
}
