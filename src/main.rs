//! Installs the error reports, parses what was typed, runs it, and gives the exit code. Nothing else.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    if let Err(error) = color_eyre::install() {
        eprintln!("pyile: {error}");
    }
    match pyile::run::run(&pyile::cli::Cli::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(report) => {
            eprintln!("pyile: internal error: {report:?}");
            ExitCode::from(1)
        }
    }
}
