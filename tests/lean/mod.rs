//! The cheapest other ends a gateway can have, so that what is counted or measured is the gateway: sockets that block,
//! buffers that are made once, nothing kept.

mod wire;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    thread,
};

pub(crate) use wire::Wire;

/// The app everybody logs in to, and its secret.
pub(crate) const APP: &str = "wx4f4bc4dec97d474b";
pub(crate) const SECRET: &str = "no secret to anybody who reads this";

/// Starts a backend that answers every request with what `answer` makes of its head, until the process ends. A thread per
/// connection.
pub(crate) fn start_backend(answer: fn(&[u8]) -> &'static [u8]) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // The end of a connection is an error here, and how every one of them ends.
            thread::spawn(move || Wire::new(stream).and_then(|wire| serve(wire, answer)));
        }
    });
    Ok(addr)
}

fn serve(mut wire: Wire, answer: fn(&[u8]) -> &'static [u8]) -> io::Result<()> {
    loop {
        let bytes = answer(wire.head()?);
        wire.body(|_| {})?;
        wire.send(bytes)?;
    }
}

/// A `gateway.toml` for one worker on a free port, with everything to one backend and nothing to stop a load.
pub(crate) fn config(wechat: SocketAddr, backend: SocketAddr) -> String {
    format!(
        r#"
[server]
listen = ["127.0.0.1:0"]
workers = 1

[admin]
listen = "127.0.0.1:0"

[[apps]]
app_id = "{APP}"
secret = "{SECRET}"
api_base = "http://{wechat}"

[limits]
verify_per_ip = "1000000/min"

[[upstreams]]
name = "app"
servers = ["http://{backend}"]

[[routes]]
path = "/"
upstream = "app"
"#
    )
}

/// Logs a user in by way of the stand-in and returns the token.
pub(crate) fn login(gateway: SocketAddr, wechat: SocketAddr, openid: &str) -> io::Result<String> {
    let code = ask(wechat, "/_sim/codes", &format!(r#"{{"appId":"{APP}","openid":"{openid}"}}"#), "code")?;
    ask(gateway, "/v1/verify", &format!(r#"{{"jsCode":"{code}","appId":"{APP}"}}"#), "token")
}

/// Posts JSON and returns one text of the answer.
fn ask(addr: SocketAddr, path: &str, json: &str, field: &str) -> io::Result<String> {
    let mut wire = Wire::connect(addr)?;
    let length = json.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: {addr}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    wire.send(format!("{head}{json}").as_bytes())?;
    let status = String::from_utf8_lossy(wire.head()?).lines().next().unwrap_or_default().to_owned();
    let mut body = Vec::new();
    wire.body(|piece| body.extend_from_slice(piece))?;
    let answer: serde_json::Value = serde_json::from_slice(&body)?;
    let text = answer[field].as_str().map(str::to_owned);
    text.ok_or_else(|| io::Error::other(format!("{path}: {status}: no {field} in {answer}")))
}
