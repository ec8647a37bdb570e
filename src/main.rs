//! The command line: arguments in, results on stdout, words on stderr, an exit code of sysexits.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
};

use clap::Parser;
use tarsier::supervise;

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
    supervise::log_panics();
    let command = || {
        supervise::trap("program");
        cli::run(&arguments, started)
    };
    let code = match catch_unwind(AssertUnwindSafe(command)) {
        Ok(Ok(code)) => code,
        // the hook has said what
        Err(_) => cli::exit::SOFTWARE,
        Ok(Err(failure)) => {
            if failure.code != 0 {
                log::error!("{}", failure.message);
            }
            failure.code
        }
    };
    log::logger().flush();
    cli::stop::obey();
    ExitCode::from(code)
}
