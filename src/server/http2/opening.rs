//! A WebSocket over HTTP/2 (RFC 8441). What asks for one is an extended CONNECT; the service is shown the opening that
//! HTTP/1.1 has for the same, and its 101 becomes a 200. So whatever decides about openings has one form to look at.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE},
};
use hyper::{
    ext::Protocol,
    upgrade::{OnUpgrade, Upgraded, on},
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::web::Side;

const WEBSOCKET: &str = "websocket";

/// Turns a request for a WebSocket into its opening, and gives what the stream is going to be. Nothing else is upgraded to:
/// any other CONNECT stays one.
pub(super) fn take<B>(request: &mut Request<B>) -> Option<OnUpgrade> {
    let protocol = request.extensions_mut().remove::<Protocol>()?;
    if *request.method() != Method::CONNECT || protocol.as_str() != WEBSOCKET {
        return None;
    }
    *request.method_mut() = Method::GET;
    let headers = request.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(WEBSOCKET));
    // There is no key between the client and us. Whoever speaks HTTP/1.1 to an upstream makes one.
    headers.remove(SEC_WEBSOCKET_KEY);
    Some(on(request))
}

/// Says in the words of HTTP/2 that the WebSocket is open.
pub(super) fn agree<B>(response: &mut Response<B>) {
    *response.status_mut() = StatusCode::OK;
    for name in [CONNECTION, UPGRADE, SEC_WEBSOCKET_ACCEPT] {
        response.headers_mut().remove(name);
    }
}

/// The client's end of a WebSocket: nothing, as long as the answer has not gone out, and then the stream.
#[derive(Debug)]
pub(super) enum Opened {
    Waiting(OnUpgrade),
    Open(TokioIo<Upgraded>),
}

impl Opened {
    fn poll_open(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut TokioIo<Upgraded>>>> {
        let this = self.get_mut();
        if let Self::Waiting(coming) = this {
            let stream = ready!(Pin::new(coming).poll(cx)).map_err(io::Error::other)?;
            *this = Self::Open(TokioIo::new(stream));
        }
        match this {
            Self::Open(stream) => Poll::Ready(Ok(Pin::new(stream))),
            Self::Waiting(_) => Poll::Pending,
        }
    }
}

impl AsyncRead for Opened {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_open(cx))?.poll_read(cx, buf)
    }
}

impl Side for Opened {}

impl AsyncWrite for Opened {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(cx))?.poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_open(cx))?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_open(cx))?.poll_shutdown(cx)
    }
}
