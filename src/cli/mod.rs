//! The command line: what the user typed becomes one of a handful of commands.

pub mod check;
pub mod demo;
mod diff;
pub mod explain;
mod replace;
pub mod serve;
pub mod sessions;
pub mod simulate;
mod usage;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};

pub use usage::{Misused, Unusable};

/// Tells a process that it takes the place of another, whose listening sockets come by its standard input.
const TAKE_OVER: &str = "--take-over";

/// What the user typed.
#[derive(Debug, Parser)]
#[command(name = "wxgate", version, about = "A reverse-proxy auth gateway for WeChat Mini Programs")]
pub struct Cli {
    /// The configuration file
    #[arg(long, global = true, value_name = "FILE", default_value = "gateway.toml")]
    pub config: PathBuf,
    /// Take the listening sockets over from the process that started this one
    #[arg(long, hide = true)]
    pub take_over: bool,
    /// Without one, wxgate serves.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do instead of serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Validate the configuration and say what the gateway would do
    Check(check::CheckArgs),
    /// Say which route, policy and upstream a request would meet
    Explain(explain::ExplainArgs),
    /// Look at the sessions of a running gateway, and end them
    Sessions(sessions::SessionsArgs),
    /// Run a stand-in of WeChat's API, and of Douyin's, for integration tests
    Simulate(simulate::SimulateArgs),
    /// Run gateway, stand-in and an echo upstream in one process, to try things out
    Demo(demo::DemoArgs),
}

/// Runs the command of this process's arguments. 0: done; 1: it went wrong; 2: the command line or the configuration
/// is wrong.
pub fn run() -> ExitCode {
    let Cli { config, take_over, command } = Cli::parse();
    let done = match command {
        None => serve::run(&config, take_over),
        Some(Command::Check(args)) => check::run(&config, &args),
        Some(Command::Explain(args)) => explain::run(&config, &args),
        Some(Command::Sessions(args)) => sessions::run(&config, &args),
        Some(Command::Simulate(args)) => simulate::run(&args),
        Some(Command::Demo(args)) => demo::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn report(error: &anyhow::Error) -> ExitCode {
    let mut stderr = io::stderr().lock();
    // Where the standard error is closed there is nobody left to tell.
    if error.is::<crate::config::ConfigError>() {
        let _ = writeln!(stderr, "{error}");
        return ExitCode::from(2);
    }
    let _ = writeln!(stderr, "wxgate: {error:#}");
    if error.is::<Misused>() || error.is::<Unusable>() { ExitCode::from(2) } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_command_it_serves_gateway_toml() {
        let cli = Cli::try_parse_from(["wxgate"]).unwrap();
        assert!(cli.command.is_none());
        assert_eq!(cli.config, Path::new("gateway.toml"));
    }

    #[test]
    fn the_configuration_may_be_named_after_the_command() {
        let cli = Cli::try_parse_from(["wxgate", "check", "--config", "other.toml"]).unwrap();
        assert!(matches!(cli.command, Some(Command::Check(_))));
        assert_eq!(cli.config, Path::new("other.toml"));
    }
}
