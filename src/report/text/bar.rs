//! Horizontal bars in block characters.

/// Block characters of one to eight eighths of a column.
const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// Smallest share that is never blank.
const MIN_VISIBLE: f64 = 0.0005;

/// A bar for a share in [0,1], of at most `width` characters. A share that a percentage of one decimal shows is
/// never blank.
pub fn bar(share: f64, width: usize) -> String {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    let mut eighths = (share * width as f64 * 8.0).round() as usize;
    if share >= MIN_VISIBLE {
        eighths = eighths.max(1);
    }
    let mut text = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        text.push(EIGHTHS[eighths % 8 - 1]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        assert_eq!(bar(1.0, 4), "████");
        assert_eq!(bar(0.5, 4), "██");
        assert_eq!(bar(0.03125, 4), "▏");
        assert_eq!(bar(0.0, 4), "");
    }

    #[test]
    fn a_small_share_is_visible_and_nothing_or_nonsense_is_blank() {
        assert_eq!(bar(0.001, 4), "▏");
        assert_eq!(bar(1e-9, 4), "");
        assert_eq!(bar(f64::NAN, 4), "");
        assert_eq!(bar(7.0, 2), "██");
    }
}
