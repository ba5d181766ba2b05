//! What text is laid out for: how many columns there are, and whether it may carry colour.

/// Most columns that text takes, on however wide a terminal.
pub const MAX_WIDTH: usize = 100;

/// The terminal or file that a text is laid out for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    pub color: Color,
    /// Columns that lines and tables fit into.
    pub width: usize,
}

/// Whether text may carry colour, as escape sequences of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    On,
    Off,
}

impl Layout {
    /// Text for files and pipes.
    pub const PLAIN: Self = Self { color: Color::Off, width: MAX_WIDTH };

    /// Text for a wide terminal with colours, in tests.
    #[cfg(test)]
    pub const COLORED: Self = Self { color: Color::On, width: MAX_WIDTH };

    /// Wraps a text to the columns; every line but the first is indented.
    pub fn fill(self, text: &str) -> String {
        const INDENT: &str = "  ";
        let wrap = |(index, line): (usize, &str)| {
            // Line by line: for a text of several lines, textwrap forgets the indent when it measures the second one.
            let initial = if index == 0 { "" } else { INDENT };
            let options =
                textwrap::Options::new(self.width).initial_indent(initial).subsequent_indent(INDENT);
            textwrap::fill(line, options)
        };
        text.lines().enumerate().map(wrap).collect::<Vec<_>>().join("\n")
    }
}
