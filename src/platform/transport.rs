//! The only place that connects to a platform: a pooled HTTP client with a deadline, a bound on answers, and one retry where
//! it can't spend a code twice.

use std::{error::Error as StdError, fmt, future::Future, io, iter, time::Duration};

use http::{HeaderValue, header};
use url::Url;

use super::{Error, Flaw, Stage, Trouble};
use crate::{config::sections, model::AppId};

/// Longest answer that is read. A login's is about 150 bytes.
pub(crate) const MAX_ANSWER: usize = 64 * 1024;

/// For how long a connection is kept for the next login. A connection that the platform closes just when we use it costs
/// its user a second login call, so ours have to go first.
const KEEP_IDLE: Duration = Duration::from_secs(15);

/// How many connections are kept for the next logins, per host.
const KEEP_AT_MOST: usize = 64;

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// An `api_base` to which no path can be appended.
    #[error("`api_base` of app {0} can't be the base of a URL")]
    ApiBase(AppId),
    /// The TLS library found no way to check certificates; mostly the system has no CA certificates installed.
    #[error("the HTTPS client could not be set up (are the system's CA certificates installed?)")]
    Transport(#[source] reqwest::Error),
}

/// Sends a call and reads what comes back. Its connections belong to the runtime on which it is first used: use it on one
/// that outlives every login.
pub(crate) struct Transport {
    http: reqwest::Client,
    timeout: Duration,
}

impl Transport {
    /// Over what [`builder`] began.
    pub(crate) fn over(builder: reqwest::ClientBuilder, timeout: Duration) -> Result<Self, BuildError> {
        let http = builder.build().map_err(|error| BuildError::Transport(error.without_url()))?;
        Ok(Self { http, timeout })
    }

    /// One GET; status and body.
    pub(crate) async fn get(&self, url: Url) -> Result<(u16, Vec<u8>), Error> {
        send(self.http.get(url)).await
    }

    /// One POST of JSON; status and body.
    pub(crate) async fn post_json(&self, url: Url, json: Vec<u8>) -> Result<(u16, Vec<u8>), Error> {
        let label = HeaderValue::from_static("application/json");
        send(self.http.post(url).header(header::CONTENT_TYPE, label).body(json)).await
    }

    /// How long [`within`](Self::within) waits.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// All requests of one login together have one deadline.
    pub(crate) async fn within<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        tokio::time::timeout(self.timeout, work).await.unwrap_or(Err(Error::Timeout))
    }
}

/// Asks, and once more where the platform is busy or the request certainly never left.
pub(crate) async fn once_more<T, F>(ask: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    match ask().await {
        Err(Error::Busy(_)) => match ask().await {
            // The platform may have spent the code and then said "busy", so this "used" says nothing about the client:
            // it gets the answer that makes it call the platform's login again.
            Err(Error::CodeUsed(refusal)) => Err(Error::CodeInvalid(refusal)),
            second => second,
        },
        Err(error) if error.nothing_was_sent() => ask().await,
        answer => answer,
    }
}

/// Appends the path of a call to an app's `api_base`, which may have a path of its own.
pub(crate) fn url_of<'p>(app: &sections::App, path: impl IntoIterator<Item = &'p str>) -> Result<Url, BuildError> {
    let mut url = app.api_base.clone();
    url.set_query(None);
    url.set_fragment(None);
    match url.path_segments_mut() {
        Ok(mut segments) => _ = segments.pop_if_empty().extend(path),
        Err(()) => return Err(BuildError::ApiBase(app.app_id.clone())),
    }
    Ok(url)
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// What the HTTP client of these apps is to be like.
pub(crate) fn builder(timeout: Duration, apps: &[&sections::App]) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("wxgate/", env!("CARGO_PKG_VERSION")))
        // A proxy from the environment would see the secret, a redirect would carry it elsewhere in a Referer.
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        // reqwest would send again what an HTTP/2 server says it did not process; here only `once_more` decides that.
        // What hyper still does by itself is to move a request it never began to write to another connection.
        .retry(reqwest::retry::never())
        // One connection per login under way: over HTTP/2 one dead connection would take all of them with it.
        .http1_only()
        // Two attempts to connect fit into the deadline, so a host that drops packets is told from a slow one.
        .connect_timeout(timeout * 2 / 5)
        .pool_idle_timeout(KEEP_IDLE)
        .pool_max_idle_per_host(KEEP_AT_MOST)
        .tls_backend_rustls();
    if apps.iter().any(|app| app.api_base.scheme() == "https") {
        builder
    } else {
        // Against a plain stand-in it shall start on machines that have no CA certificates.
        builder.tls_certs_only([])
    }
}

async fn send(request: reqwest::RequestBuilder) -> Result<(u16, Vec<u8>), Error> {
    let answer = request.send().await.map_err(|error| unreachable(&error, Stage::Request))?;
    let status = answer.status().as_u16();
    Ok((status, read_bounded(answer).await?))
}

/// Reads the body up to [`MAX_ANSWER`], whatever its declared length says.
async fn read_bounded(mut answer: reqwest::Response) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(|error| unreachable(&error, Stage::Answer))? {
        if body.len() + part.len() > MAX_ANSWER {
            return Err(Error::BrokenAnswer(Flaw::TooLarge));
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

/// Takes from the transport's error what can't hold a secret. The error itself has the URL in it and ends here.
fn unreachable(error: &reqwest::Error, otherwise: Stage) -> Error {
    let causes = iter::successors(Some(error as &(dyn StdError + 'static)), |&cause| cause.source());
    let kind = causes.filter_map(|cause| cause.downcast_ref()).map(root_kind).last();
    let kind = kind.or(error.is_timeout().then_some(io::ErrorKind::TimedOut));
    let stage = match kind {
        _ if error.is_dns() => Stage::Resolve,
        Some(io::ErrorKind::InvalidData) if error.is_connect() => Stage::Tls,
        _ if error.is_connect() => Stage::Connect,
        _ => otherwise,
    };
    Error::Unreachable(Trouble { stage, kind })
}

/// An I/O error may hide another in itself that `source` leaves out.
fn root_kind(error: &io::Error) -> io::ErrorKind {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(inner) => root_kind(inner),
        None => error.kind(),
    }
}
