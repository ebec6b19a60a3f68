//! Forwarding a request to an upstream and its answer back.
//!
//! Prepared once, attempted once or twice. Of what the client says these lines are left out, by their names:
//!
//! 1. [`hop`]: what concerns only the connection to the client, with whatever `Connection` names (RFC 9110, 7.6.1).
//! 2. [`identity`], first half, and [`forwarded`]: what only we may say, whoever said it.
//!
//! And beside it is told where the request came from ([`forwarded`]) and who calls ([`identity`], second half). That is kept apart from
//! what the client says, so that nothing the client names can take it away again.

mod attempt;
mod error;
mod forwarded;
mod frames;
mod hop;
mod identity;
mod response;
mod retry;
mod trailers;
pub mod tunnel;
mod upgrade;

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, Version, header, uri::PathAndQuery};
use pin_project_lite::pin_project;
use rand::{SeedableRng, rngs::SmallRng};
use tokio::time::Instant;

use crate::{
    assertion::Assertions,
    auth::Access,
    config::sections::{self, UnderscoreHeaders},
    model::PhoneNumber,
    upstream::{self, Fields, Outgoing, Upstream, Upstreams},
    web::{Answer, HeaderWriter, RequestBody, RequestId, RequestTimer, TrustedProxies, headers::X_REQUEST_ID},
};

use attempt::Errand;
use trailers::Trailers;

pub use error::Error;
pub use forwarded::Peer;
pub use response::Forwarded;
pub use upgrade::Offer;

/// What is wrong with an exchange.
pub use upstream::Fault;

/// A connection to an upstream on which HTTP has ended.
pub type Switched = upstream::Switched<RequestBody>;

/// What is told of us in `Via`, in both directions, of a message that came in this version (RFC 9110, 7.6.3).
fn via(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "via: 2.0 wxgate\r\n",
        Version::HTTP_10 => "via: 1.0 wxgate\r\n",
        _ => "via: 1.1 wxgate\r\n",
    }
}

/// How a request is to be forwarded: what its route says, and what was found out about it.
#[derive(Debug)]
pub struct Forward<'a> {
    /// The proof that it may be forwarded, and for whom.
    pub access: &'a Access,
    /// The caller's phone number, where the upstream is to know it.
    pub phone: Option<&'a PhoneNumber>,
    /// The upstream's place in the configuration.
    pub upstream: usize,
    /// Whom the client asks, where it has no `Host` line and says it all the same. HTTP/1.0 may leave it out.
    pub host: Option<HeaderValue>,
    /// Who is at the other end of the connection.
    pub peer: &'a Peer,
    /// Whose word counts.
    pub proxies: &'a TrustedProxies,
    /// This request's id.
    pub request_id: RequestId,
    /// What the client offers, where it asks for a WebSocket and may have one. Boxed, since nearly no request does.
    pub offer: Option<Box<Offer>>,
    /// Whether `Authorization` goes along.
    pub keep_authorization: bool,
    /// Whether a header that tells of a URL with a session token in it goes along.
    pub keep_urls: bool,
    /// For a connection to come about, where the route has a time of its own.
    pub connect_timeout: Option<Duration>,
    /// For the head of the answer, likewise.
    pub response_timeout: Option<Duration>,
}

/// Forwards requests, on one worker.
#[derive(Debug)]
pub struct Proxy {
    /// Each with the `Host` for requests that have none.
    upstreams: Vec<(Rc<Upstream<RequestBody>>, HeaderValue)>,
    identity: identity::Headers,
    underscores: UnderscoreHeaders,
    max_body: u64,
    scratch: HeaderWriter,
}

impl Proxy {
    /// Connects to nothing yet. With another `seed`, another worker draws other servers. The upstreams that the proxy
    /// `before` has too it shares with it, and their connections.
    pub fn new(
        upstreams: &Upstreams,
        names: &sections::IdentityHeaders,
        apps: &[sections::App],
        server: &sections::Server,
        assertions: Option<Assertions>,
        seed: [u8; 32],
        before: Option<&Self>,
    ) -> Self {
        let mut rng = SmallRng::from_seed(seed);
        let upstreams = upstreams.groups().map(|group| {
            let mut kept =
                before.iter().flat_map(|proxy| &proxy.upstreams).filter(|(upstream, _)| upstream.is_of(group));
            let new = || Rc::new(Upstream::new(group, SmallRng::from_rng(&mut rng)));
            kept.next().map_or_else(new, |(upstream, _)| Rc::clone(upstream))
        });
        Self {
            upstreams: upstreams.map(with_own_host).collect(),
            identity: identity::Headers::new(names, apps, assertions),
            underscores: server.underscore_headers,
            max_body: server.max_body,
            scratch: HeaderWriter::default(),
        }
    }

    /// Sends the request on, with all that is taken out of it for that. What is asked for is `target`: the canonical path, after
    /// `strip_prefix`, with the query as received. The head of the answer comes from the future.
    pub fn forward<'a>(
        &'a self,
        request: &mut Request<RequestBody>,
        target: PathAndQuery,
        mut how: Forward<'_>,
        timer: RequestTimer,
        now: Instant,
    ) -> Result<impl Future<Output = Result<Answer<Forwarded>, Error>> + use<'a>, Error> {
        let (upstream, own_host) = self.upstreams.get(how.upstream).ok_or(Error::NoUpstream)?;
        if how.offer.is_some() && upstream.section().servers.iter().any(|server| server.address.is_http2()) {
            return Err(Error::NoSwitch);
        }
        let trailers = Trailers::wanted_by(request);
        let request = self.prepare(request, target, &how, own_host)?;
        let offer = how.offer.take();
        let section = upstream.section();
        let errand = Errand {
            upstream,
            course: upstream.begin(how.access.identity().map(|identity| &identity.user)),
            timer,
            connect_timeout: how.connect_timeout.unwrap_or(section.connect_timeout),
            response_timeout: how.response_timeout.unwrap_or(section.response_timeout),
            may_switch: offer.is_some(),
            trailers,
        };
        Ok(Answering { head: attempt::send(errand, request, now), offer })
    }

    /// Tells another proxy, in the answer to its question, who calls the `upstream` that the request would go to.
    pub fn introduce(
        &self,
        headers: &mut HeaderMap,
        access: &Access,
        phone: Option<&PhoneNumber>,
        upstream: usize,
    ) -> Result<(), Error> {
        self.identity.tell_in_full(headers, access, phone, upstream).map_err(Error::Identity)
    }

    /// Lets go of connections that have been idle for too long, and of what else is too old.
    pub fn sweep(&self) {
        self.identity.sweep();
        self.upstreams.iter().for_each(|(upstream, _)| upstream.sweep());
    }

    fn prepare(
        &self,
        request: &mut Request<RequestBody>,
        target: PathAndQuery,
        how: &Forward<'_>,
        own_host: &HeaderValue,
    ) -> Result<Box<Outgoing<RequestBody>>, Error> {
        request.body_mut().limit(self.max_body).map_err(Error::Body)?;
        let told = forwarded::take(request.headers(), how.peer, how.proxies);
        let mut fields = Fields::default();
        let said = self.pass_on(request, how, &mut fields)?;
        let host = said.host.or(how.host.as_ref()).unwrap_or(own_host);
        if !said.names_host {
            fields.tell(&header::HOST, host);
        }
        told.tell(&mut fields, how.peer, host, &self.scratch);
        if let Some(offer) = &how.offer {
            offer.tell(&mut fields);
        }
        fields.tell_written(via(request.version()));
        fields.tell_id(&how.request_id);
        self.identity.tell(&mut fields, how.access, how.phone, how.upstream).map_err(Error::Identity)?;
        // Whatever the server or a layer before us remembered about the request stays behind.
        let (method, nothing) = (std::mem::take(request.method_mut()), request.body().progress().empty_again());
        let body = std::mem::replace(request.body_mut(), nothing);
        Ok(Box::new(Outgoing { method, target, fields, body }))
    }

    /// Says what the client says, but for what the upstream must not see, or not hear from the client.
    fn pass_on<'r>(
        &self,
        request: &'r Request<RequestBody>,
        how: &Forward<'_>,
        fields: &mut Fields,
    ) -> Result<Said<'r>, Error> {
        let said = self.say_without(&[], request, how, fields)?;
        if !said.lists_names {
            return Ok(said);
        }
        let mut named = hop::named_in_connection(request.headers());
        named.retain(|name| !forwarded::is_a_proxys_word(name, how.peer));
        if named.is_empty() {
            return Ok(said);
        }
        fields.unsay();
        self.say_without(&named, request, how, fields)
    }

    /// The same, without these names too.
    fn say_without<'r>(
        &self,
        named: &[HeaderName],
        request: &'r Request<RequestBody>,
        how: &Forward<'_>,
        fields: &mut Fields,
    ) -> Result<Said<'r>, Error> {
        let headers = request.headers();
        // Over HTTP/2 a client may say of a line that nobody is to remember it (RFC 7541, 6.2.3).
        let has_secrets = request.version() == Version::HTTP_2 && headers.values().any(HeaderValue::is_sensitive);
        let mut said = Said::default();
        for (name, line) in headers {
            let underscore = name.as_str().as_bytes().contains(&b'_');
            if underscore && self.underscores == UnderscoreHeaders::Reject {
                return Err(Error::UnderscoreHeader);
            }
            let is_unwanted = if *name == header::HOST {
                line != *said.host.get_or_insert(line)
            } else {
                said.lists_names |= *name == header::CONNECTION;
                hop::is_hop_by_hop(name)
                    || *name == X_REQUEST_ID
                    || self.identity.owns(name)
                    || forwarded::is_ours(name, how.peer)
                    || (underscore && self.underscores == UnderscoreHeaders::Drop)
                    || (identity::is_credentials(name) && !how.keep_authorization)
                    || (!how.keep_urls && headers.get_all(name).iter().any(|line| identity::tells_a_token(name, line)))
                    || (*name == header::SEC_WEBSOCKET_KEY
                        && how.offer.as_ref().is_some_and(|offer| offer.has_own_key()))
            };
            if !is_unwanted && !named.contains(name) {
                said.names_host |= *name == header::HOST;
                let is_secret = has_secrets && headers.get_all(name).iter().any(HeaderValue::is_sensitive);
                fields.say(name, line, is_secret);
            }
        }
        Ok(said)
    }
}

/// What was seen among the lines of a client.
#[derive(Default)]
struct Said<'r> {
    /// The first `Host`.
    host: Option<&'r HeaderValue>,
    /// Whether that went along.
    names_host: bool,
    /// Whether `Connection` names others.
    lists_names: bool,
}

pin_project! {
    /// An answer to come, and what it is to be given before it goes to the client.
    struct Answering<F> {
        #[pin]
        head: F,
        offer: Option<Box<Offer>>,
    }
}

impl<F: Future<Output = Result<Answer<Forwarded>, Error>>> Future for Answering<F> {
    type Output = Result<Answer<Forwarded>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut answer = ready!(this.head.poll(cx))?;
        let switches = answer.status == StatusCode::SWITCHING_PROTOCOLS;
        if switches && this.offer.as_ref().is_none_or(|offer| !offer.is_met_by(answer.make_headers())) {
            return Poll::Ready(Err(Error::WrongHandshake));
        }
        if this.offer.as_ref().is_some_and(|offer| offer.is_belied_by(answer.status)) {
            return Poll::Ready(Err(Error::WrongHandshake));
        }
        if let Some(headers) = answer.headers_mut() {
            response::clean(headers);
            // Ours is told by whoever has it.
            headers.remove(X_REQUEST_ID);
        }
        if switches {
            let headers = answer.make_headers();
            headers.remove(header::CONTENT_LENGTH);
            upgrade::tell(|name, value| drop(headers.insert(name, value)));
            if let Some(offer) = this.offer {
                offer.choose_for(headers);
            }
        }
        answer.tell_written(via(answer.version));
        Poll::Ready(Ok(answer))
    }
}

fn with_own_host(upstream: Rc<Upstream<RequestBody>>) -> (Rc<Upstream<RequestBody>>, HeaderValue) {
    let host = HeaderValue::try_from(upstream.own_host()).unwrap_or_else(|_| HeaderValue::from_static("localhost"));
    (upstream, host)
}

/// The path and query to ask an upstream for.
pub fn target(path: &str, query: Option<&str>, received: &Uri) -> Result<PathAndQuery, Error> {
    // Where it came as nothing, behind an authority or before a fragment, `as_is` reads as a slash and is written as nothing.
    if path == "/" && query.is_none() {
        return Ok(PathAndQuery::from_static("/"));
    }
    // Nearly always the path is canonical as it came; then nothing is copied.
    if let Some(as_is) = received.path_and_query()
        && as_is.as_str().starts_with('/')
        && as_is.path() == path
        && as_is.query() == query
    {
        return Ok(as_is.clone());
    }
    let text = match query {
        Some(query) => Bytes::from(format!("{path}?{query}")),
        None => Bytes::copy_from_slice(path.as_bytes()),
    };
    PathAndQuery::from_maybe_shared(text).map_err(|_| Error::BadTarget)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_always_begins_with_a_slash() {
        let behind_an_authority: Uri = "http://a?b=c".parse().unwrap();
        assert_eq!(target("/", Some("b=c"), &behind_an_authority).unwrap().as_str(), "/?b=c");
        let before_a_fragment = Uri::from(PathAndQuery::try_from("#a").unwrap());
        assert_eq!(Uri::from(target("/", None, &before_a_fragment).unwrap()).path(), "/");
    }
}
