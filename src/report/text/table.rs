//! Tables: a header, a rule, columns of numbers aligned right.

use comfy_table::{
    Attribute, Cell, CellAlignment, ColumnConstraint, ContentArrangement, ContentLineStyle, LineStyle, Table,
    TableStyle,
};

use super::layout::{Color, Layout};

const STYLE: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none())
    .header_separator(LineStyle::none().fill('─'))
    .content_lines(ContentLineStyle::none());

/// The meaning of a cell's colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Good,
    Doubtful,
    Bad,
    Faint,
}

/// A cell in a tone; without colour the tone is not seen.
pub fn cell(text: impl ToString, tone: Tone) -> Cell {
    let cell = Cell::new(text);
    match tone {
        Tone::Plain => cell,
        Tone::Good => cell.fg(comfy_table::Color::Green),
        Tone::Doubtful => cell.fg(comfy_table::Color::Yellow),
        Tone::Bad => cell.fg(comfy_table::Color::Red),
        Tone::Faint => cell.add_attribute(Attribute::Dim),
    }
}

/// An empty table with that header. A name that ends in `<` aligns its column left.
pub fn table(layout: Layout, header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE);
    // Cells that are too wide are wrapped.
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(layout.width as u16);
    match layout.color {
        Color::On => table.enforce_styling(),
        Color::Off => table.force_no_tty(),
    };
    table.set_header(header.iter().map(|name| name.trim_end_matches('<')));
    for (column, name) in table.column_iter_mut().zip(header) {
        let alignment = match name.ends_with('<') {
            true => CellAlignment::Left,
            false => CellAlignment::Right,
        };
        column.set_cell_alignment(alignment);
    }
    table
}

/// Fits a table into `width`. Where it is wider, these columns are left out, the first named first,
/// until it fits: rows that are wrapped are harder to read than rows with fewer columns.
pub fn fit(table: &mut Table, width: usize, optional: &[usize]) {
    table.set_width(width as u16);
    let widths = table.column_max_content_widths();
    // A blank stands on either side of every cell.
    let mut needed: usize = widths.iter().map(|width| usize::from(*width) + 2).sum();
    for &index in optional {
        if needed > width
            && let Some(column) = table.column_mut(index)
        {
            column.set_constraint(ColumnConstraint::Hidden);
            needed -= usize::from(widths[index]) + 2;
        }
    }
}

/// The fewest columns of a terminal on which a table that is too wide is wrapped; on fewer its cells would be a few
/// letters wide.
const MIN_WRAPPED_WIDTH: usize = 80;

/// The table's text, without blanks at the ends of lines. On a narrow terminal a table that does not fit is written
/// as a list: a paragraph for each row, a line for each cell.
pub fn text(table: &Table) -> String {
    if let Some(list) = list(table) {
        return list;
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    lines.concat()
}

/// The table as a list; none where it fits, or where its cells have room to be wrapped.
fn list(table: &Table) -> Option<String> {
    let width = usize::from(table.width()?);
    let shown: Vec<usize> =
        (0..).zip(table.column_iter()).filter(|(_, it)| !it.is_hidden()).map(|(at, _)| at).collect();
    let widths = table.column_max_content_widths();
    let needed: usize = shown.iter().map(|&at| usize::from(widths[at]) + 2).sum();
    if width >= MIN_WRAPPED_WIDTH || needed <= width {
        return None;
    }
    let names: Vec<String> = table.header()?.cell_iter().map(Cell::content).collect();
    let longest = shown.iter().skip(1).map(|&at| names[at].chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for row in table.row_iter() {
        let cells: Vec<String> = row.cell_iter().map(Cell::content).collect();
        for (position, &at) in shown.iter().enumerate() {
            let value = cells.get(at).map_or("", String::as_str).replace('\n', " ");
            if position == 0 {
                text += &format!(" {value}\n");
            } else if !value.is_empty() {
                let indent = " ".repeat(longest + 5);
                let options = textwrap::Options::new(width).subsequent_indent(&indent);
                text += &textwrap::fill(&format!("   {:longest$}  {value}", names[at]), options);
                text.push('\n');
            }
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(layout: Layout) -> String {
        let mut table = table(layout, &["name<", "count"]);
        table.add_row([cell("conv1", Tone::Plain), cell(520, Tone::Good)]);
        table.add_row([cell("fc", Tone::Plain), cell("9 810", Tone::Plain)]);
        text(&table)
    }

    #[test]
    fn names_are_aligned_left_and_numbers_right() {
        assert_eq!(sample(Layout::PLAIN), " name   count\n──────────────\n conv1    520\n fc     9 810\n");
    }

    #[test]
    fn a_table_that_a_narrow_terminal_cannot_hold_is_a_list() {
        let layout = Layout { width: 40, ..Layout::PLAIN };
        let mut table = table(layout, &["name<", "a long header of a column", "another header of a column"]);
        table.add_row(["conv1", "520", "a value that takes more than the rest of its line"]);
        let expected = " conv1\n   a long header of a column   520\n   another header of a column  a value\n                               that\n";
        assert!(text(&table).starts_with(expected), "{}", text(&table));
        assert!(text(&table).lines().all(|line| line.chars().count() <= 40));
    }

    #[test]
    fn colour_is_used_only_where_it_is_requested() {
        assert!(sample(Layout::COLORED).contains("\u{1b}["));
        assert!(!sample(Layout::PLAIN).contains('\u{1b}'));
    }
}
