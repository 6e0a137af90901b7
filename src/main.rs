//! Installs the error reports, parses what was typed, runs it, and gives the exit code. Nothing else.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // Without colours: what is told is cleaned, and a sequence for a colour would be told as well.
    let reports = color_eyre::config::HookBuilder::default().theme(color_eyre::config::Theme::new());
    if let Err(error) = reports.install() {
        pyile::run::tell(&error.to_string());
    }
    pyile::run::keep_out_of_core_dumps();
    let cli = match pyile::cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(pyile::run::not_understood(&error)),
    };
    match pyile::run::run(&cli) {
        Ok(code) => ExitCode::from(code),
        Err(report) => {
            pyile::run::tell(&format!("internal error: {report:?}"));
            ExitCode::from(1)
        }
    }
}
