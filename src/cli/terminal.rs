//! Standard output and standard error: what is printed, in how many columns, with or without colour.

use std::{
    io::Write as _,
    sync::{LazyLock, mpsc},
    thread,
    time::Duration,
};

use super::exit::{CLOSED_PIPE, exit};
use crate::report::text::{Color, Layout, MAX_WIDTH};

/// Fewest columns that text is laid out for.
const MIN_WIDTH: usize = 60;

/// The layout for standard output: colour on a terminal unless NO_COLOR is set, and the columns of the
/// terminal, which COLUMNS overrides.
pub fn layout() -> Layout {
    static COLUMNS: LazyLock<usize> = LazyLock::new(|| {
        let variable = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let terminal = || console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
        variable.or_else(terminal).unwrap_or(MAX_WIDTH).clamp(MIN_WIDTH, MAX_WIDTH)
    });
    let color = if console::colors_enabled() { Color::On } else { Color::Off };
    Layout { color, width: *COLUMNS }
}

/// Prints text on standard output.
pub fn print(text: &str) {
    print_bytes(text.as_bytes());
}

/// Writes bytes to standard output. Where its reader has closed it (`digitd runs list | head -1`) the
/// program ends quietly, as others do.
pub fn print_bytes(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
        exit(CLOSED_PIPE);
    }
}

/// Prints text on standard error.
pub fn print_error(text: &str) {
    // A closed standard error cannot be reported anywhere.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Prints text on standard error, or returns after `timeout` where nobody reads it.
pub fn print_error_within(text: &str, timeout: Duration) {
    let (done, written) = mpsc::channel();
    let text = text.to_owned();
    thread::spawn(move || {
        print_error(&text);
        // The receiver may have stopped waiting.
        let _ = done.send(());
    });
    let _ = written.recv_timeout(timeout);
}
