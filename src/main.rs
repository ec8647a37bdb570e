//! The command line: arguments in, results on stdout, words on stderr, an exit code of sysexits.

use std::process::ExitCode;

use clap::Parser;

mod cli;

fn main() -> ExitCode {
    let started = std::time::Instant::now();
    let arguments = match cli::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(e) => {
            // --help and --version are no errors; clap's own code for the rest is not of sysexits
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { cli::exit::USAGE } else { 0 });
        }
    };
    cli::logging::start(arguments.log_filter(), arguments.is_service());
    let code = match cli::run(&arguments, started) {
        Ok(code) => code,
        Err(failure) => {
            log::error!("{}", failure.message);
            failure.code
        }
    };
    log::logger().flush();
    ExitCode::from(code)
}
