//! Messages as pages of HTML that stand alone: an evaluation and an inspection.

mod evaluation;
mod inspection;
mod page;
mod reliability;

pub use evaluation::evaluation_page;
pub use inspection::inspection_page;
