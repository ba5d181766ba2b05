//! The command line: the flags of each subcommand (its `…Args`, whose field docs are its `--help`) and its
//! flow. Commands call a server over gRPC, elsewhere or embedded in this process (`connection`); what they
//! print is made in `report`.

mod args;
mod connection;
mod data;
mod demo;
mod doctor;
mod embedded_server;
mod error;
mod evaluate;
mod exit;
mod file_limit;
mod input;
mod inspect;
mod library_settings;
mod models;
mod predict;
mod progress;
mod runs;
mod serve;
mod signals;
mod terminal;
mod train;
mod watch;

use std::time::Duration;

use clap::Parser;

pub use error::Error;
use exit::{ExitStatus, exit};

use crate::{report::text::error_report, telemetry};

const ABOUT: &str = "Trains, inspects, registers and serves handwritten-digit classifiers over gRPC";

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (libtorch ", env!("DIGITD_LIBTORCH_VERSION"), ")");

const AFTER_HELP: &str = "\
Examples:
  digitd demo                          see all of it in a minute
  digitd serve                         serve gRPC at 127.0.0.1:8001
  digitd train --epochs 3              train at that server, with a progress bar
  digitd predict seven.png             classify an image
  digitd doctor                        check this machine for what digitd needs

Exit codes: 0 done, 1 error, 2 wrong usage, 130 cancelled by Ctrl-C.
NO_COLOR=1 turns colours off.";

/// Longest wait until the last error of a server is written.
const ERROR_TIMEOUT: Duration = Duration::from_secs(1);

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "digitd", version = VERSION, about = ABOUT, after_help = AFTER_HELP, max_term_width = 100)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    // Boxed for its many flags: no other command is half as large.
    Train(Box<train::TrainArgs>),
    Evaluate(evaluate::EvaluateArgs),
    Inspect(inspect::InspectArgs),
    Predict(predict::PredictArgs),
    Runs(runs::RunsArgs),
    Models(models::ModelsArgs),
    Data(data::DataArgs),
    Doctor(doctor::DoctorArgs),
    Demo(demo::DemoArgs),
}

impl Command {
    /// Whether libtorch computes in this process, and not at a server elsewhere.
    fn computes(&self) -> bool {
        matches!(self, Self::Serve(_) | Self::Demo(_)) || std::env::args_os().any(|arg| arg == "--in-process")
    }
}

/// Runs the command of the command line, and ends the program.
pub fn main() -> ! {
    exit(exit_code())
}

/// The exit code of the command of the command line.
fn exit_code() -> u8 {
    let line = CommandLine::parse();
    if line.command.computes() {
        library_settings::apply();
        file_limit::raise();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Error::io("start", "the runtime")(error)),
    };
    let status = runtime.block_on(run(line.command));
    // A thread that waits for standard input or a download would delay the exit.
    runtime.shutdown_background();
    status.map_or_else(|error| fail(&error), ExitStatus::code)
}

async fn run(command: Command) -> Result<ExitStatus, Error> {
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

/// Reports an error on standard error; returns the exit code.
fn fail(error: &Error) -> u8 {
    let cause = match error {
        Error::Client(cause) => Some(cause),
        _ => None,
    };
    let report = error_report(&error.to_string(), cause);
    match telemetry::is_running() {
        // A server ends even where nobody reads its standard error any more.
        true => terminal::print_error_within(&report, ERROR_TIMEOUT),
        false => terminal::print_error(&report),
    }
    ExitStatus::Failure.code()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }
}
