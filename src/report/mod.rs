//! What people read: messages of the contract as text (`text`), plots (`plot`), pages of HTML (`html`) and
//! JSON (`json`), and the histories of runs that some of those are made from (`run`). Everything here returns text
//! or bytes; nothing prints, reads a terminal or calls a server.

pub mod html;
pub mod json;
pub mod plot;
pub mod run;
pub mod text;
