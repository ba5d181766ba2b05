//! A page of HTML that stands alone: its style and images are embedded, no script runs and nothing is
//! fetched, so that it can be mailed and archived. Every text is escaped.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};

const STYLE: &str = include_str!("style.css");

/// The content security policy of the page: styles and embedded images, nothing else.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// A page that grows section by section.
#[derive(Debug)]
pub struct Page {
    title: String,
    facts: Vec<(String, String)>,
    body: String,
}

/// Rows under a header. A name that ends in `<` aligns its column left; other columns are aligned right.
#[derive(Debug)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

/// A cell, with a background where its value has a colour.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    text: String,
    shade: Shade,
}

/// The background of a cell; the share, from 0 to 1, is its strength. It is pale enough for dark and for
/// light letters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shade {
    None,
    /// Grey letters on no background.
    Faint,
    Good(f64),
    Bad(f64),
}

/// An image with its caption; `\n` begins a new line of the caption.
#[derive(Debug, Clone, Copy)]
pub struct Figure<'a> {
    pub png: &'a [u8],
    pub caption: &'a str,
    /// Width on the screen, in CSS pixels.
    pub width: u32,
}

impl Page {
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), facts: Vec::new(), body: String::new() }
    }

    /// Adds a line to the list below the title.
    pub fn fact(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.facts.push((name.into(), value.into()));
    }

    /// Begins a section with a heading.
    pub fn section(&mut self, title: &str) {
        self.put(format_args!("<h2>{}</h2>\n", escape(title)));
    }

    pub fn paragraph(&mut self, text: &str) {
        self.put(format_args!("<p>{}</p>\n", escape(text)));
    }

    pub fn table(&mut self, table: &Table) {
        let left: Vec<bool> = table.header.iter().map(|name| name.ends_with('<')).collect();
        let class = |column: usize| if left.get(column) == Some(&true) { " class=\"left\"" } else { "" };
        self.put(format_args!("<div class=\"wide\"><table>\n<tr>"));
        for (column, name) in table.header.iter().enumerate() {
            let name = escape(name.trim_end_matches('<'));
            self.put(format_args!("<th scope=\"col\"{}>{name}</th>", class(column)));
        }
        self.put(format_args!("</tr>\n"));
        for row in &table.rows {
            self.put(format_args!("<tr>"));
            for (column, cell) in row.iter().enumerate() {
                let (open, close) = cell.shade.marks();
                let text = escape(&cell.text);
                self.put(format_args!("<td{}{}>{open}{text}{close}</td>", class(column), cell.shade.style()));
            }
            self.put(format_args!("</tr>\n"));
        }
        self.put(format_args!("</table></div>\n"));
    }

    /// Figures next to each other, as many to a line as the window holds.
    pub fn figures<'a>(&mut self, figures: impl IntoIterator<Item = Figure<'a>>) {
        self.put(format_args!("<div class=\"row\">\n"));
        for Figure { png, caption, width } in figures {
            let (data, caption) = (STANDARD.encode(png), escape(caption));
            self.put(format_args!(
                "<figure><img width=\"{width}\" alt=\"{caption}\" src=\"data:image/png;base64,{data}\">\
                 <figcaption>{caption}</figcaption></figure>\n"
            ));
        }
        self.put(format_args!("</div>\n"));
    }

    /// An SVG drawing, unchanged: the caller must have escaped the texts in it.
    pub fn svg(&mut self, drawing: &str) {
        self.put(format_args!("<figure>{drawing}</figure>\n"));
    }

    /// The whole page.
    pub fn finish(self) -> String {
        let title = escape(&self.title);
        let facts: String = self
            .facts
            .iter()
            .map(|(name, value)| format!("<dt>{}</dt><dd>{}</dd>\n", escape(name), escape(value)))
            .collect();
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
             <h1>{title}</h1>\n<dl>\n{facts}</dl>\n{}</body>\n</html>\n",
            self.body
        )
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        self.body.write_fmt(text).expect("writing to a String cannot fail");
    }
}

impl Table {
    pub fn new(header: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { header: header.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<Cell>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }
}

impl Cell {
    pub fn new(text: impl ToString, shade: Shade) -> Self {
        Self { text: text.to_string(), shade }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(text, Shade::None)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(text, Shade::None)
    }
}

impl Shade {
    fn style(self) -> String {
        let background = |colour: &str, share: f64| {
            // NaN becomes 0.
            let share = if share > 0.0 { share.min(1.0) } else { 0.0 };
            format!(" style=\"background: rgb({colour} / {:.0}%)\"", 10.0 + 45.0 * share)
        };
        match self {
            Self::None | Self::Faint => String::new(),
            Self::Good(share) => background("46 160 67", share),
            Self::Bad(share) => background("218 54 51", share),
        }
    }

    fn marks(self) -> (&'static str, &'static str) {
        match self {
            Self::Faint => ("<span class=\"faint\">", "</span>"),
            Self::None | Self::Good(_) | Self::Bad(_) => ("", ""),
        }
    }
}

/// Text escaped for use between tags and within quotes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "</title><script>alert('&\"')</script>";

    #[test]
    fn no_text_breaks_out_of_its_element() {
        let mut page = Page::new(HOSTILE);
        page.fact(HOSTILE, HOSTILE);
        page.section(HOSTILE);
        page.paragraph(HOSTILE);
        let mut table = Table::new([HOSTILE]);
        table.row([Cell::new(HOSTILE, Shade::Bad(f64::NAN))]);
        page.table(&table);
        page.figures([Figure { png: b"", caption: HOSTILE, width: 28 }]);
        let text = page.finish();
        assert!(!text.contains("<script") && !text.contains("alert('"), "{text}");
        assert_eq!(text.matches("&lt;/title&gt;&lt;script&gt;alert(&#39;&amp;&quot;&#39;)").count(), 10);
    }

    #[test]
    fn a_page_fetches_nothing_and_runs_nothing() {
        let mut page = Page::new("a");
        page.figures([Figure { png: &[1, 2, 3], caption: "b", width: 28 }]);
        let text = page.finish();
        assert!(text.contains("default-src 'none'"), "{text}");
        assert!(text.contains("src=\"data:image/png;base64,AQID\""), "{text}");
        assert!(!text.contains("http://") && !text.contains("https://") && !text.contains("<link"), "{text}");
    }

    #[test]
    fn numbers_are_aligned_right_and_words_left_with_a_background_by_value() {
        let mut page = Page::new("a");
        let mut table = Table::new(["name<", "count"]);
        table.row([Cell::from("x"), Cell::new(7, Shade::Good(1.0))]);
        table.row([Cell::from("y"), Cell::new(0, Shade::Faint)]);
        page.table(&table);
        let text = page.finish();
        assert!(text.contains("<th scope=\"col\" class=\"left\">name</th><th scope=\"col\">count</th>"));
        assert!(
            text.contains("<td class=\"left\">x</td><td style=\"background: rgb(46 160 67 / 55%)\">7</td>")
        );
        assert!(text.contains("<td><span class=\"faint\">0</span></td>"), "{text}");
    }
}
