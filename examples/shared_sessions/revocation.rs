//! How long after a log-out at one gateway another still lets the session pass.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;
use wxgate::{
    app::{App, World},
    config::{
        Config, parse,
        sections::{NewestSealKey, Redis, Seal},
    },
    model::{SealKey, SystemClock, SystemEntropy},
    simulator::{Options, Simulator},
};

const APP: &str = "wx4f4bc4dec97d474b";

/// Follows so many log-outs between two gateways, each with the session hot in the other.
pub(crate) fn measure(redis: &Redis, key: &SealKey, log_outs: u32) -> anyhow::Result<()> {
    let wechat = Simulator::start(Options {
        clock: Arc::new(SystemClock),
        ..Options::on_free_port().with_app(APP, "the-app-secret")
    })?;
    let gateways = [gateway(redis, key, &wechat.api_base())?, gateway(redis, key, &wechat.api_base())?];
    let mut here = Client::connect(gateways[0].addrs()[0])?;
    let mut there = Client::connect(gateways[1].addrs()[0])?;
    let (mut since_sent, mut since_answered) = (Vec::new(), Vec::new());
    for n in 0..log_outs {
        let code = wechat.make_code(APP, &format!("oVisitor{n}"))?;
        let body = serde_json::json!({ "jsCode": code, "appId": APP }).to_string();
        let (status, answer) = here.ask("POST", "/v1/verify", "", &body)?;
        anyhow::ensure!(status == 200, "a login is answered {status}");
        let answer: serde_json::Value = serde_json::from_slice(&answer)?;
        let token = answer["token"].as_str().unwrap_or_default();
        // The first is a look-up, the others are answered from memory.
        for _ in 0..3 {
            anyhow::ensure!(there.ask("GET", "/v1/session", token, "")?.0 == 200, "the other gateway has no session");
        }
        let sent = Instant::now();
        anyhow::ensure!(here.ask("POST", "/v1/logout", token, "")?.0 == 204, "no log-out");
        let answered = Instant::now();
        while there.ask("GET", "/v1/session", token, "")?.0 != 401 {
            anyhow::ensure!(sent.elapsed() < Duration::from_secs(10), "still let in after ten seconds");
        }
        since_sent.push(sent.elapsed());
        since_answered.push(answered.elapsed());
    }
    println!("\nuntil another gateway has refused, of {log_outs} log-outs");
    for (what, all) in [("since sent", &mut since_sent), ("since answered", &mut since_answered)] {
        let [p50, p99, longest] = super::spread(all);
        println!("{what:>15}: p50 {p50:.0?}, p99 {p99:.0?}, longest {longest:.0?}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for gateway in gateways {
        runtime.block_on(gateway.stop(std::future::ready(())))?;
    }
    Ok(())
}

fn gateway(redis: &Redis, key: &SealKey, api_base: &str) -> anyhow::Result<App> {
    let text = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [limits]\nverify_per_ip = \"1000000/s\"\n[log]\naccess = false\n\
         [[apps]]\napp_id = \"{APP}\"\nsecret = {{ env = \"SECRET\" }}\napi_base = \"{api_base}\"\n\
         [[upstreams]]\nname = \"app\"\nservers = [\"http://127.0.0.1:9\"]\n[[routes]]\npath = \"/\"\nupstream = \"app\"\n"
    );
    let secret = |_: &str| Some("the-app-secret".to_owned());
    let no_file = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
    let mut config: Config = parse(&text, "gateway.toml", &secret, &no_file)?.config;
    config.sessions.redis = Some(redis.clone());
    config.sessions.seal = Some(Seal { key: NewestSealKey::Given(key.clone()), old_keys: Vec::new() });
    let world = World { entropy: Arc::new(SystemEntropy), access_log: Box::new(std::io::sink()), ..World::default() };
    Ok(App::start(config, world)?)
}

/// A connection that is kept.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(to: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    fn ask(&mut self, method: &str, path: &str, token: &str, body: &str) -> anyhow::Result<(u16, Vec<u8>)> {
        let authorization = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{authorization}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.get_mut().write_all(request.as_bytes())?;
        let (mut line, mut length, mut status) = (String::new(), 0, None);
        loop {
            line.clear();
            anyhow::ensure!(self.0.read_line(&mut line)? > 0, "the gateway has closed");
            if status.is_none() {
                status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
            } else if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            } else if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok((status.unwrap_or_default(), body))
    }
}
