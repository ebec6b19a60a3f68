//! The questions to the operators' listener, and what is made of its refusals. `docs/ADMIN.md` describes the other side.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::target::Target;
use crate::model::Secret;

/// A gateway whose store is slow answers late, and one that hangs is not waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest answer that is read: a thousand sessions take about 150 KB.
const MAX_ANSWER: usize = 4 << 20;

/// A running gateway.
pub(super) struct Gateway {
    http: reqwest::Client,
    base: Url,
    token: Secret,
}

/// What a refusal of the gateway's own says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Refused {
    error: String,
    code: String,
    request_id: String,
}

impl Gateway {
    pub(super) fn of(target: &Target) -> anyhow::Result<Self> {
        let builder = reqwest::Client::builder()
            .user_agent(concat!("wxgate/", env!("CARGO_PKG_VERSION")))
            // A proxy from the environment would see the token, a redirect would carry it elsewhere.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .tls_backend_rustls();
        // Plain HTTP works on machines without CA certificates too.
        let builder = if target.base.scheme() == "https" { builder } else { builder.tls_certs_only([]) };
        let http = builder.build().map_err(reqwest::Error::without_url).context("the HTTP client can't be set up")?;
        Ok(Self { http, base: target.base.clone(), token: target.token.clone() })
    }

    pub(super) async fn list(&self, app: &str, openid: &str) -> anyhow::Result<Value> {
        self.ask(Method::GET, &["v1", "users", app, openid, "sessions"]).await
    }

    pub(super) async fn revoke(&self, app: &str, openid: &str, session: Option<&str>) -> anyhow::Result<Value> {
        let user = ["v1", "users", app, openid, "sessions"];
        match session {
            Some(session) => self.ask(Method::DELETE, &[&user[..], &[session]].concat()).await,
            None => self.ask(Method::DELETE, &user).await,
        }
    }

    pub(super) async fn count(&self) -> anyhow::Result<Value> {
        self.ask(Method::GET, &["v1", "sessions", "count"]).await
    }

    async fn ask(&self, method: Method, path: &[&str]) -> anyhow::Result<Value> {
        let mut url = self.base.clone();
        // Each piece is encoded. What is left are the two that mean another path by themselves: to end one session must not
        // come to end all.
        if path.iter().any(|piece| matches!(*piece, "" | "." | "..")) {
            bail!("an app, an openid or a session's id can't be empty, '.' or '..'");
        }
        url.path_segments_mut().map_err(|()| anyhow!("the address can't have a path"))?.clear().extend(path);
        let request = self.http.request(method, url).bearer_auth(self.token.expose());
        let unreachable = || format!("no gateway answers at {}; is it running?", self.base);
        // The error of the library would name the URL, which has the openid in it.
        let answer = request.send().await.map_err(reqwest::Error::without_url).with_context(unreachable)?;
        let status = answer.status();
        let body = read(answer).await.with_context(unreachable)?;
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).with_context(|| self.stranger());
        }
        let refused: Refused =
            serde_json::from_slice(&body).with_context(|| format!("{}: {status}", self.stranger()))?;
        bail!("{} ({}, request {})", refused.error, refused.code, refused.request_id)
    }

    fn stranger(&self) -> String {
        format!("what answers at {} is not the operators' listener of a wxgate", self.base)
    }
}

async fn read(mut answer: reqwest::Response) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
        if body.len() + part.len() > MAX_ANSWER {
            bail!("the answer is too long");
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}
