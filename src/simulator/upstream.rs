//! A backend for demos: it answers with what it was sent, the identity headers first.

use std::{net::SocketAddr, sync::Arc};

use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    reply::Reply,
    serving::{Service, Serving, StartError, serve},
};

/// A running echo; it ends when dropped.
pub struct Echo(Serving);

impl Echo {
    /// Starts one; port 0 finds a free port.
    pub fn start(listen: SocketAddr) -> Result<Self, StartError> {
        Ok(Self(serve(listen, Arc::new(Mirror))?))
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.0.addr()
    }
}

struct Mirror;

/// What the backend was sent. A header that came several times is a list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Seen {
    method: String,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    identity: Map<String, Value>,
    headers: Map<String, Value>,
    body_bytes: u64,
}

impl Service for Mirror {
    async fn answer(&self, request: Request<Incoming>) -> Reply {
        let (head, body) = request.into_parts();
        let Some(body_bytes) = count(body).await else { return Reply::Hangup };
        let headers = readable(&head.headers);
        let identity = headers.iter().filter(|(name, _)| names_identity(name));
        let seen = Seen {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().map(str::to_owned),
            identity: identity.map(|(name, value)| (name.clone(), value.clone())).collect(),
            headers,
            body_bytes,
        };
        Reply::json(StatusCode::OK, &seen)
    }
}

/// Reads the body to its end, holding none of it. A body that breaks off has no length.
async fn count(mut body: Incoming) -> Option<u64> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame.ok()?.data_ref().map_or(0, |data| data.len() as u64);
    }
    Some(bytes)
}

fn readable(headers: &HeaderMap) -> Map<String, Value> {
    let mut all = Map::new();
    for name in headers.keys() {
        let mut values: Vec<Value> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into()).collect();
        let value = if values.len() == 1 { values.remove(0) } else { values.into() };
        all.insert(name.as_str().to_owned(), value);
    }
    all
}

/// CGI and WSGI backends can't tell `x_wx_openid` from `x-wx-openid`, so both are shown.
fn names_identity(name: &str) -> bool {
    name.replace('_', "-").starts_with("x-wx-")
}
