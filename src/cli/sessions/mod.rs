//! `wxgate sessions list|revoke|count`: asks a running gateway's operators' listener about sessions, and ends them.
//!
//! Where that listener is and what its token is stands in `gateway.toml`; the options say it for a gateway elsewhere.

mod ask;
mod print;
mod target;

use std::{io, path::Path};

use anyhow::Context;
use clap::{Args, Subcommand};
use tokio::runtime;

use self::{
    ask::Gateway,
    target::{Target, TargetArgs, Wanted},
};

/// What to do with sessions.
#[derive(Debug, Args)]
pub struct SessionsArgs {
    /// List, revoke or count
    #[command(subcommand)]
    pub command: SessionsCommand,
}

/// What to do with sessions.
#[derive(Debug, Subcommand)]
pub enum SessionsCommand {
    /// Show the sessions of a user, the newest first
    List(ListArgs),
    /// End the sessions of a user, or one of them
    Revoke(RevokeArgs),
    /// Say how many sessions there are in all
    Count(CountArgs),
}

/// Whose sessions.
#[derive(Debug, Args)]
pub struct UserArgs {
    /// The app; may be left out where one is configured
    #[arg(long, value_name = "APPID")]
    pub app: Option<String>,
    /// The user
    #[arg(long)]
    pub openid: String,
}

/// `list`
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Whose
    #[command(flatten)]
    pub user: UserArgs,
    /// How it is asked and told
    #[command(flatten)]
    pub common: CommonArgs,
}

/// `revoke`
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// Whose
    #[command(flatten)]
    pub user: UserArgs,
    /// The id of one session, as `list` shows it; left out: all sessions of the user in this app
    #[arg(long, value_name = "ID")]
    pub session: Option<String>,
    /// How it is asked and told
    #[command(flatten)]
    pub common: CommonArgs,
}

/// `count`
#[derive(Debug, Args)]
pub struct CountArgs {
    /// How it is asked and told
    #[command(flatten)]
    pub common: CommonArgs,
}

/// What all of them take.
#[derive(Debug, Args)]
pub struct CommonArgs {
    /// Which gateway
    #[command(flatten)]
    pub target: TargetArgs,
    /// Print the gateway's answer as it is, for programs
    #[arg(long)]
    pub json: bool,
}

/// Asks, and prints the answer.
pub fn run(config: &Path, args: &SessionsArgs) -> anyhow::Result<()> {
    let (common, app) = match &args.command {
        SessionsCommand::List(args) => (&args.common, Wanted::of(args.user.app.as_deref())),
        SessionsCommand::Revoke(args) => (&args.common, Wanted::of(args.user.app.as_deref())),
        SessionsCommand::Count(args) => (&args.common, Wanted::NoApp),
    };
    let target = Target::of(config, &common.target, app)?;
    let gateway = Gateway::of(&target)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let answer = runtime.block_on(async {
        match &args.command {
            SessionsCommand::List(args) => gateway.list(&target.app, &args.user.openid).await,
            SessionsCommand::Revoke(args) => {
                gateway.revoke(&target.app, &args.user.openid, args.session.as_deref()).await
            }
            SessionsCommand::Count(_) => gateway.count().await,
        }
    })?;
    let out = &mut io::stdout().lock();
    match &args.command {
        _ if common.json => print::json(out, &answer),
        SessionsCommand::List(_) => print::list(out, &answer),
        SessionsCommand::Revoke(_) => print::ended(out, &answer),
        SessionsCommand::Count(_) => print::count(out, &answer),
    }
}
