//! The command line: what each subcommand takes (its `Args`, whose field docs are its `--help`) and
//! what it does. Commands talk gRPC, to a server elsewhere or to one inside (`session`); how things
//! look is `output`'s affair.

mod args;
mod data;
mod demo;
mod doctor;
mod error;
mod evaluate;
mod host;
mod html;
mod inspect;
mod json;
mod library_settings;
mod models;
mod output;
mod plot;
mod predict;
mod runs;
mod serve;
mod session;
mod train;
mod watch;

use std::io::Write as _;

use clap::Parser;

pub use error::Error;

const ABOUT: &str = "Trains, studies, registers and serves handwritten-digit classifiers over gRPC";

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (libtorch ", env!("DIGITD_LIBTORCH_VERSION"), ")");

const AFTER_HELP: &str = "\
Examples:
  digitd demo                          see all of it in a minute
  digitd serve                         serve gRPC at 127.0.0.1:8001
  digitd train --epochs 3              train at that server, with a progress bar
  digitd predict seven.png             read a picture
  digitd doctor                        what is found on this machine and what is missing

Exit codes: 0 done, 1 error, 2 wrong usage, 130 cancelled by Ctrl-C.
NO_COLOR=1 keeps colour out.";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "digitd", version = VERSION, about = ABOUT, after_help = AFTER_HELP, max_term_width = 100)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Serve(serve::Args),
    // Boxed for its many flags: no other command is half as large.
    Train(Box<train::Args>),
    Evaluate(evaluate::Args),
    Inspect(inspect::Args),
    Predict(predict::Args),
    Runs(runs::Args),
    Models(models::Args),
    Data(data::Args),
    Doctor(doctor::Args),
    Demo(demo::Args),
}

impl Command {
    /// Whether libtorch works in this process, not in a server elsewhere.
    fn computes(&self) -> bool {
        matches!(self, Self::Serve(_) | Self::Demo(_)) || std::env::args_os().any(|arg| arg == "--in-process")
    }
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    /// It did what it should, and the answer is bad: a run that failed, a machine that lacks something.
    Failed,
    Cancelled,
}

/// Does what the command line asks for, and ends the program.
pub fn main() -> ! {
    leave(main_code())
}

/// Ends the program where it is. Threads of the engine may still compute, warming a version up that nobody
/// waits for any more: an ordinary exit would take libtorch apart under them.
#[expect(unsafe_code, reason = "the standard library has no exit that leaves other threads alone")]
fn leave(code: u8) -> ! {
    // Where nobody reads it there is nobody left to tell.
    let _ = std::io::stdout().flush();
    // SAFETY: it takes a number and does not come back.
    unsafe { libc::_exit(code.into()) }
}

/// The exit code of what the command line asks for.
fn main_code() -> u8 {
    let line = Line::parse();
    if line.command.computes() {
        library_settings::apply();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Error::io("start", "the runtime")(error)),
    };
    let outcome = runtime.block_on(run(line.command));
    // A thread that waits for standard input or a download would hold up the exit.
    runtime.shutdown_background();
    match outcome {
        Ok(Outcome::Done) => 0,
        Ok(Outcome::Failed) => FAILED,
        Ok(Outcome::Cancelled) => CANCELLED,
        Err(error) => fail(&error),
    }
}

/// What a shell says of a command that failed.
const FAILED: u8 = 1;

/// What a shell says of a command that Ctrl-C ended.
const CANCELLED: u8 = 130;

async fn run(command: Command) -> Result<Outcome, Error> {
    match command {
        Command::Serve(args) => serve::run(args).await,
        Command::Train(args) => train::run(*args).await,
        Command::Evaluate(args) => evaluate::run(args).await,
        Command::Inspect(args) => inspect::run(args).await,
        Command::Predict(args) => predict::run(args).await,
        Command::Runs(args) => runs::run(args).await,
        Command::Models(args) => models::run(args).await,
        Command::Data(args) => data::run(args).await,
        Command::Doctor(args) => doctor::run(args).await,
        Command::Demo(args) => demo::run(args).await,
    }
}

fn fail(error: &Error) -> u8 {
    tell(&output::problem(error));
    FAILED
}

/// Prints text on standard output.
fn print(text: &str) {
    print_bytes(text.as_bytes());
}

/// Writes bytes to standard output. Where nobody reads them any more (`digitd runs list | head -1`)
/// the program ends quietly, as others do.
fn print_bytes(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
        leave(CLOSED_PIPE);
    }
}

/// Says text on standard error.
fn tell(text: &str) {
    // Where that is closed there is nobody left to tell.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// What a shell says of a command that SIGPIPE ended.
const CLOSED_PIPE: u8 = 141;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Line::command().debug_assert();
    }
}
