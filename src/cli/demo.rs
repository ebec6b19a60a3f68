//! `wxgate demo`: gateway, stand-in and an echo upstream in one process on loopback, to try things out.

use std::{
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use anyhow::Context;
use clap::Args;
use tokio::runtime;

use crate::{
    app::{self, App, Follower, World},
    config::{self, Config},
    server,
    simulator::{Echo, Options, Simulator},
    telemetry,
};

/// The demo's configuration. The stand-in and the echo are put into it once they have their ports.
const CONFIG: &str = include_str!("demo.toml");

/// The user who can log in, and the code to do it with.
const OPENID: &str = "oDemo-user-0000000000000001";
const CODE: &str = "demo-code";

/// How the demo runs.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// The gateway's port; a free one is taken where it is in use
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
}

/// Runs the demo until it is told to stop.
pub fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let mut stop = server::stop_signals().context("can't listen for signals")?;
        let echo = Echo::start(free_port())?;
        let folder = tempfile::Builder::new().prefix("wxgate-demo-").tempdir().context("no folder for sessions")?;
        let config = demo_config("http://127.0.0.1:9", echo.addr(), folder.path())?;
        let app = &config.apps[0];
        let options = Options::on_free_port().with_app(app.app_id.as_str(), app.secret.expose());
        let wechat = Simulator::start(Options { minute_quota: 0, ..options })?;
        let app_id = app.app_id.to_string();
        let config = demo_config(&wechat.api_base(), echo.addr(), folder.path())?;
        telemetry::init_logs(&config.log)?;
        let gateway = start(&config, args.port)?;
        wechat.knows(CODE, &app_id, OPENID);
        introduce(&mut io::stdout(), gateway.addrs()[0], wechat.addr(), &app_id)?;
        gateway.run(&mut stop, std::future::pending::<Follower<()>>()).await?;
        writeln!(io::stdout(), "stopped")?;
        Ok(())
    })
}

fn free_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// The embedded configuration with these filled in, through the same parser as any other.
fn demo_config(api_base: &str, echo: SocketAddr, folder: &Path) -> anyhow::Result<Config> {
    let folder = folder.to_str().context("the system's folder for temporary files has a name that is no text")?;
    let text = CONFIG.replace("{API_BASE}", api_base).replace("{ECHO}", &echo.to_string()).replace("{FOLDER}", folder);
    let nothing = |_: &str| None;
    // The key that seals is not there yet either: the start makes it.
    let no_file = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
    match config::parse(&text, "demo.toml", &nothing, &no_file) {
        Ok(loaded) => Ok(loaded.config),
        Err(errors) => anyhow::bail!("the demo's own configuration is wrong: {errors}"),
    }
}

/// On the port that was asked for, or on any other when that one is taken.
fn start(config: &Config, port: u16) -> Result<App, app::Error> {
    let on = |port: u16| {
        let mut config = config.clone();
        config.server.listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()];
        config.admin.listen = free_port();
        App::start(config, World::default())
    };
    match on(port) {
        Err(app::Error::Listen { .. }) if port != 0 => on(0),
        started => started,
    }
}

fn introduce(out: &mut impl Write, gateway: SocketAddr, wechat: SocketAddr, app: &str) -> io::Result<()> {
    writeln!(
        out,
        "wxgate, a stand-in for WeChat and an echoing backend are running. In another terminal:

1. A request without a token is refused with 401:
   curl -i http://{gateway}/orders

2. The code that wx.login would have given becomes a token:
   TOKEN=$(curl -s http://{gateway}/v1/verify -d '{{\"jsCode\":\"{CODE}\",\"appId\":\"{app}\"}}' | sed 's/.*\"token\":\"\\([^\"]*\\)\".*/\\1/'); echo $TOKEN

3. With the token the backend is told who calls. It answers with what it saw:
   curl -s http://{gateway}/orders -H \"Authorization: Bearer $TOKEN\" -H 'X-WX-OPENID: forged'

A code works once. For another one:
   curl -s http://{wechat}/_sim/codes -d '{{\"appId\":\"{app}\",\"openid\":\"oSomebody-else\",\"code\":\"another-code\"}}'

Each request leaves a line below. Ctrl-C ends everything.
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_configuration_is_valid() {
        let echo = SocketAddr::from((Ipv4Addr::LOCALHOST, 2));
        let config = demo_config("http://127.0.0.1:1", echo, Path::new("/a/folder")).unwrap();
        assert_eq!(config.sessions.snapshot.unwrap().path, Path::new("/a/folder/wxgate.db"));
        assert_eq!(config.apps.len(), 1);
        assert!(config.server.listen.iter().all(|at| at.addr().is_some_and(|addr| addr.ip().is_loopback())));
    }

    #[test]
    fn the_introduction_has_three_lines_to_try() {
        let mut out = Vec::new();
        introduce(&mut out, free_port(), free_port(), "wxdemo").unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().filter(|line| line.contains("curl")).count(), 4, "{text}");
    }
}
