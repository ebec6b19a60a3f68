//! `wxgate simulate`: the stand-in of WeChat's API, and of Douyin's, as a process of its own.

use std::{
    io::{self, Write},
    net::SocketAddr,
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use tokio::runtime;

use crate::{
    server,
    simulator::{Apps, Options, Simulator},
};

/// How the stand-in runs.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// Where it listens; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9902")]
    pub listen: SocketAddr,
    /// An app it knows, as APPID=SECRET; may be given several times. Without one, any app and secret will do
    #[arg(long = "app", value_name = "APPID=SECRET")]
    pub apps: Vec<String>,
    /// Logins of one user per minute; 0 is no limit
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub minute_quota: u32,
    /// How long a code lives
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = humantime::parse_duration)]
    pub code_lifetime: Duration,
}

/// Runs the stand-in until it is told to stop.
pub fn run(args: &SimulateArgs) -> anyhow::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let mut stop = server::stop_signals().context("can't listen for signals")?;
        let simulator = Simulator::start(options(args)?)?;
        writeln!(io::stdout(), "WeChat's stand-in listens on {}", simulator.api_base())?;
        stop.next().await;
        Ok(())
    })
}

fn options(args: &SimulateArgs) -> anyhow::Result<Options> {
    let mut options = Options {
        listen: args.listen,
        apps: Apps::Any,
        minute_quota: args.minute_quota,
        code_lifetime: args.code_lifetime,
        ..Options::default()
    };
    for pair in &args.apps {
        options = options.with_app_pair(pair)?;
    }
    Ok(options)
}
