//! Installs the error reports, parses what was typed, runs it, and gives the exit code. Nothing else.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    if let Err(error) = color_eyre::install() {
        eprintln!("pyile: {error}");
    }
    let cli = match pyile::cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(pyile::run::not_understood(&error)),
    };
    match pyile::run::run(&cli) {
        Ok(code) => ExitCode::from(code),
        Err(report) => {
            eprintln!("pyile: internal error: {report:?}");
            ExitCode::from(1)
        }
    }
}
