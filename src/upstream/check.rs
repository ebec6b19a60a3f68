//! Servers asked whether they are well: once for the process, on the control side, over connections of its own.

use std::{pin::pin, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, Version, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, join, split},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    ConnectError, Fault,
    dial::{Stream, dial},
    group::Group,
    http2::Answering,
};
use crate::config::sections::ServerAddress;

/// Who asks. It means nothing to us when somebody else says so.
const US: HeaderValue = HeaderValue::from_static("wxgate-health");

/// What comes before the end of an answer's head over HTTP/1, interim answers with it; more of these are no answer.
const LONGEST_HEAD: u64 = 64 * 1024;

/// Why a check got no answer.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("{0}")]
    Connect(#[from] ConnectError),
    #[error("no answer that is HTTP: {0}")]
    Broken(#[from] hyper::Error),
    #[error("no answer that is HTTP/2: {0}")]
    Http2(#[from] Fault),
    #[error("it can't be asked: {0}")]
    Request(#[from] http::Error),
}

/// Asks a server again and again. Returns at once where it is not to be asked.
pub(super) async fn keep_asking(group: Arc<Group>, at: usize) {
    let section = &group.section.health;
    let Some(path) = section.path.as_deref().and_then(|path| path.parse::<Uri>().ok()) else { return };
    // The servers of an upstream are not all asked at one moment.
    let place = u32::try_from(at).unwrap_or_default();
    sleep(section.interval * place / u32::try_from(group.servers.len()).unwrap_or(1)).await;
    let mut ticks = interval(section.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let wrong = match timeout(section.timeout, ask(&group, at, path.clone())).await {
            Ok(Ok(status)) if section.status.fits(status.as_u16()) => None,
            Ok(Ok(status)) => Some(format!("it answers {}", status.as_u16())),
            Ok(Err(error)) => Some(causes(&error)),
            Err(_) => Some("no answer in time".to_owned()),
        };
        group.checked(at, wrong.as_deref());
    }
}

async fn ask(group: &Group, at: usize, path: Uri) -> Result<StatusCode, Unanswered> {
    let stream = dial(group, at, group.section.health.timeout, 0).await?.stream;
    let address = &group.servers[at].address;
    let request = Request::builder().method(Method::GET).header(header::USER_AGENT, US);
    if address.is_http2() {
        let scheme = if address.is_tls() { "https" } else { "http" };
        let uri = format!("{scheme}://{}{path}", host(address));
        return ask_http2(stream, request.uri(uri).version(Version::HTTP_2).body(())?).await;
    }
    let request = request.uri(path).header(header::HOST, host(address)).header(header::CONNECTION, "close");
    ask_http1(stream, request.body(Empty::new())?).await
}

async fn ask_http1(stream: Stream, request: Request<Empty<Bytes>>) -> Result<StatusCode, Unanswered> {
    let (from, to) = split(stream);
    let bounded = join(from.take(LONGEST_HEAD), to);
    let (mut sender, connection) = http1::handshake(TokioIo::new(bounded)).await?;
    let (mut answer, mut connection) = (pin!(sender.send_request(request)), pin!(connection));
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        ended = &mut connection => {
            ended?;
            answer.await
        }
    };
    Ok(answer?.status())
}

async fn ask_http2(stream: Stream, request: Request<()>) -> Result<StatusCode, Unanswered> {
    let (mut sender, connection) = h2::client::handshake(stream).await.map_err(Fault::Http2)?;
    let (answer, _) = sender.send_request(request, true).map_err(Fault::Http2)?;
    let (mut answer, mut connection) = (Answering::new(answer), pin!(connection));
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        ended = &mut connection => {
            ended.map_err(Fault::Http2)?;
            answer.await
        }
    };
    Ok(answer?.status())
}

/// What a server is called by whoever has no better name for it.
pub(super) fn host(address: &ServerAddress) -> String {
    address.endpoint().map_or_else(|| "localhost".to_owned(), ToString::to_string)
}

/// An error with all that it came from.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}
