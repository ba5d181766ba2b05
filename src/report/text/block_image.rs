//! Images as text in block characters: digits, kernels and channels.

use super::layout::MAX_WIDTH;

/// Smallest value of a pixel that is drawn; fainter pixels are the edges of strokes.
const THRESHOLD: u8 = 100;

/// Block characters from the smallest value to the largest.
const BLOCKS: [char; 5] = [' ', '░', '▒', '▓', '█'];

/// Columns and rows of an MNIST image.
const SIDE: usize = 28;

/// A digit in block characters, from pixels row by row, 0 background to 255 ink. One character stands for
/// two pixels, one above the other, which makes them square. Blank margins are left out, and a blank image
/// is empty.
pub fn digit(pixels: &[u8], width: usize) -> Vec<String> {
    let rows: Vec<&[u8]> = pixels.chunks_exact(width.max(1)).collect();
    let inked = |row: usize, column: usize| rows.get(row).is_some_and(|line| line[column] >= THRESHOLD);
    let columns: Vec<usize> = (0..width).filter(|&at| (0..rows.len()).any(|row| inked(row, at))).collect();
    let (Some(&first), Some(&last)) = (columns.first(), columns.last()) else { return Vec::new() };
    let block = |row: usize, column: usize| match (inked(row, column), inked(row + 1, column)) {
        (true, true) => '█',
        (true, false) => '▀',
        (false, true) => '▄',
        (false, false) => ' ',
    };
    let line = |row: usize| (first..=last).map(|column| block(row, column)).collect::<String>();
    let lines: Vec<String> = (0..rows.len()).step_by(2).map(line).collect();
    let is_blank = |line: &String| line.trim().is_empty();
    let top = lines.iter().take_while(|line| is_blank(line)).count();
    let bottom = lines.iter().rev().take_while(|line| is_blank(line)).count();
    lines[top..lines.len() - bottom].to_vec()
}

/// Images next to each other, each with its caption below, as many to a line as fit.
pub fn side_by_side(images: &[(Vec<String>, String)]) -> String {
    let mut text = String::new();
    let mut line: Vec<&(Vec<String>, String)> = Vec::new();
    let mut used = 0;
    for image in images {
        let width = width_of(image) + GAP;
        if used + width > MAX_WIDTH && !line.is_empty() {
            text += &row_of(&line);
            line.clear();
            used = 0;
        }
        line.push(image);
        used += width;
    }
    text + &row_of(&line)
}

/// `values` of `width` columns, row by row, in block characters from the smallest (blank) to the
/// largest (full); all of one size where they are equal.
///
/// Up to 14 columns a value is two characters wide, so that it looks square; beyond, one character
/// stands for the mean of two values, one above the other.
pub fn blocks(values: &[f64], width: usize) -> Vec<String> {
    if width == 0 || values.is_empty() {
        return Vec::new();
    }
    let (low, high) = values
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &value| (low.min(value), high.max(value)));
    let block = |value: f64| {
        let share = if high > low { (value - low) / (high - low) } else { 0.0 };
        BLOCKS[((share * BLOCKS.len() as f64) as usize).min(BLOCKS.len() - 1)]
    };
    let rows: Vec<&[f64]> = values.chunks(width).collect();
    if width <= SIDE / 2 {
        return rows.iter().map(|row| row.iter().flat_map(|&value| [block(value); 2]).collect()).collect();
    }
    rows.chunks(2)
        .map(|pair| {
            let mean = |column: usize| {
                let column: Vec<f64> = pair.iter().filter_map(|row| row.get(column).copied()).collect();
                column.iter().sum::<f64>() / column.len() as f64
            };
            (0..pair[0].len()).map(|column| block(mean(column))).collect()
        })
        .collect()
}

/// Blank columns between two images.
const GAP: usize = 3;

fn width_of((lines, caption): &(Vec<String>, String)) -> usize {
    lines.iter().chain([caption]).map(|line| line.chars().count()).max().unwrap_or(0)
}

fn row_of(images: &[&(Vec<String>, String)]) -> String {
    let height = images.iter().map(|(lines, _)| lines.len()).max().unwrap_or(0);
    let mut text = String::new();
    for at in 0..=height {
        let mut line = String::new();
        for image in images {
            // The caption stands below all images, so that captions are on one line.
            let part = match at == height {
                true => image.1.as_str(),
                false => image.0.get(at).map_or("", String::as_str),
            };
            line += &format!("{part:<width$}", width = width_of(image) + GAP);
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image with ink in one column, from the third row to the last.
    fn bar() -> Vec<u8> {
        (0..784).map(|at| if at % 28 == 9 && at >= 56 { 255 } else { 0 }).collect()
    }

    #[test]
    fn margins_of_a_digit_are_cropped() {
        assert_eq!(digit(&bar(), 28), vec!["█"; 13]);
        assert!(digit(&[0; 784], 28).is_empty() && digit(&[], 0).is_empty());
    }

    #[test]
    fn a_character_shows_two_pixels_one_above_the_other() {
        let pixels = [255, 0, 255, 0, 255, 255, 9, 9, 120];
        assert_eq!(digit(&pixels, 3), ["▀▄█", "  ▀"]);
    }

    #[test]
    fn captions_are_shown_below_their_images_on_one_line() {
        let tall = (vec!["##".to_owned(), "##".to_owned()], "a".to_owned());
        let low = (vec!["*".to_owned()], "bcd".to_owned());
        assert_eq!(side_by_side(&[tall, low]), "##   *\n##\na    bcd\n");
    }

    #[test]
    fn a_line_of_images_stays_within_the_width() {
        let wide = (vec!["#".repeat(40)], String::new());
        let text = side_by_side(&[wide.clone(), wide.clone(), wide]);
        assert!(text.lines().all(|line| line.len() <= MAX_WIDTH));
        assert_eq!(text.lines().filter(|line| line.contains('#')).count(), 2);
    }

    #[test]
    fn blocks_range_from_the_smallest_to_the_largest_value() {
        assert_eq!(blocks(&[-1.0, 0.0, 0.9, 1.0], 2), ["  ▒▒", "████"]);
        assert_eq!(blocks(&[3.0; 4], 2), ["    ", "    "]);
        assert!(blocks(&[], 2).is_empty());
    }

    #[test]
    fn wide_channels_take_one_character_for_two_rows() {
        let lines = blocks(&[0.5; 28 * 28], 28);
        assert_eq!((lines.len(), lines[0].chars().count()), (14, 28));
    }
}
