//! Somebody who logs in and out again and again, and keeps in mind what the gateway has said of each token.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use rand::{RngExt, rngs::SmallRng};
use wxgate::simulator::Simulator;

use super::lean::{APP, Wire};

/// A token, and what its client knows of it.
pub(crate) struct Kept {
    pub(crate) token: String,
    pub(crate) fate: Fate,
    /// For the report, should it turn out to be wrong.
    pub(crate) story: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The token came.
    LoggedIn,
    /// The log-out was answered.
    LoggedOut,
    /// The log-out was sent, and the answer never came.
    Unknown,
}

pub(crate) struct Client {
    pub(crate) gateway: SocketAddr,
    pub(crate) wechat: Arc<Simulator>,
    pub(crate) name: String,
    /// Of all clients.
    pub(crate) answers: Arc<AtomicU32>,
    pub(crate) random: SmallRng,
}

impl Client {
    /// Until the gateway is gone.
    pub(crate) fn come_and_go(mut self) -> Vec<Kept> {
        let mut kept = Vec::new();
        // How it ends is never of interest: it ends because the gateway does.
        let _: io::Result<()> = self.until_the_end(&mut kept);
        kept
    }

    fn until_the_end(&mut self, kept: &mut Vec<Kept>) -> io::Result<()> {
        let mut wire = Wire::connect(self.gateway)?;
        for login in 0.. {
            let (code, openid) = (format!("code-{}-{login}", self.name), format!("o-{}-{}", self.name, login % 3));
            self.wechat.knows(&code, APP, &openid);
            let token = log_in(&mut wire, &code)?;
            self.answers.fetch_add(1, Ordering::Relaxed);
            kept.push(Kept { token, fate: Fate::LoggedIn, story: format!("login {login} of client {}", self.name) });
            if self.random.random_bool(0.4) {
                let which = self.random.random_range(0..kept.len());
                self.log_out(&mut wire, kept, which)?;
                self.answers.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Logs out with one of the tokens, or everywhere: the same user's other tokens go too then.
    fn log_out(&mut self, wire: &mut Wire, kept: &mut [Kept], which: usize) -> io::Result<()> {
        if kept[which].fate != Fate::LoggedIn {
            return Ok(());
        }
        let everywhere = self.random.random_bool(0.3);
        // A client's tokens go round among three users.
        let ended: Vec<usize> = if everywhere {
            (0..kept.len()).filter(|at| at % 3 == which % 3 && kept[*at].fate == Fate::LoggedIn).collect()
        } else {
            vec![which]
        };
        for at in &ended {
            kept[*at].fate = Fate::Unknown;
            kept[*at].story = format!("{}, logged out with token {which}, everywhere: {everywhere}", kept[*at].story);
        }
        let status =
            post(wire, "/v1/logout", Some(&kept[which].token), &format!(r#"{{"everywhere":{everywhere}}}"#))?.0;
        assert_eq!(status, 204, "{}", kept[which].story);
        for at in ended {
            kept[at].fate = Fate::LoggedOut;
        }
        Ok(())
    }
}

fn log_in(wire: &mut Wire, code: &str) -> io::Result<String> {
    let (status, body) = post(wire, "/v1/verify", None, &format!(r#"{{"jsCode":"{code}","appId":"{APP}"}}"#))?;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    let answer: serde_json::Value = serde_json::from_slice(&body)?;
    answer["token"].as_str().map(str::to_owned).ok_or_else(|| io::Error::other("no token"))
}

/// The status of the answer to "how does my session stand".
pub(crate) fn session(wire: &mut Wire, token: &str) -> io::Result<u16> {
    Ok(exchange(wire, &format!("GET /v1/session HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"))?.0)
}

fn post(wire: &mut Wire, path: &str, token: Option<&str>, json: &str) -> io::Result<(u16, Vec<u8>)> {
    let auth = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let length = json.len();
    exchange(wire, &format!("POST {path} HTTP/1.1\r\nHost: x\r\n{auth}Content-Length: {length}\r\n\r\n{json}"))
}

fn exchange(wire: &mut Wire, request: &str) -> io::Result<(u16, Vec<u8>)> {
    wire.send(request.as_bytes())?;
    let head = wire.head()?;
    let status = head.get(9..12).and_then(|digits| str::from_utf8(digits).ok()).and_then(|digits| digits.parse().ok());
    let mut body = Vec::new();
    wire.body(|piece| body.extend_from_slice(piece))?;
    Ok((status.ok_or_else(|| io::Error::other("no status"))?, body))
}
