//! What the way in which a connection came means for its requests: which hosts it is good for, and whether it is only there
//! to send everybody to https.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, Uri, header};

use super::Failure;
use crate::{
    model::{Certificates, Secured},
    routing::Target,
    web::{Proto, RequestId, headers::X_REQUEST_ID},
};

/// How a connection came in.
#[derive(Debug)]
pub enum WayIn {
    /// In the clear.
    Plain,
    /// Over TLS.
    Secured(Secured),
    /// To a listener that only redirects.
    Redirected(Redirect),
}

/// The advice to come over TLS.
#[derive(Debug)]
pub struct Redirect {
    /// The port to come to.
    pub port: u16,
    /// What is served there.
    pub certificates: Arc<Certificates>,
}

impl WayIn {
    /// The scheme that its requests were made with.
    pub(super) fn proto(&self) -> Proto {
        match self {
            Self::Secured(_) => Proto::Https,
            Self::Plain | Self::Redirected(_) => Proto::Http,
        }
    }

    /// The version of TLS, where there is one.
    pub(super) fn tls(&self) -> Option<&'static str> {
        match self {
            Self::Secured(secured) => Some(secured.version),
            Self::Plain | Self::Redirected(_) => None,
        }
    }

    /// Where this request is sent instead; nowhere, if it may be answered here. A request for a host that such a connection
    /// is not for is neither answered nor redirected.
    pub(super) fn elsewhere(&self, target: &Target<'_>, uri: &Uri) -> Result<Option<HeaderValue>, Failure> {
        match self {
            Self::Plain => Ok(None),
            Self::Secured(secured) if secured.is_for(target.host_name()) => Ok(None),
            Self::Secured(_) => Err(Failure::Misdirected),
            Self::Redirected(redirect) => redirect.location(target, uri).map(Some).ok_or(Failure::Misdirected),
        }
    }
}

impl Redirect {
    /// Path and query stay as they were received. Only a host with a certificate is ever named, so nobody is sent to a place
    /// that a client made up.
    fn location(&self, target: &Target<'_>, uri: &Uri) -> Option<HeaderValue> {
        let host = Some(target.host_name()).filter(|host| self.certificates.cover(host))?;
        let port = if self.port == 443 { String::new() } else { format!(":{}", self.port) };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        HeaderValue::try_from(format!("https://{host}{port}{path}")).ok()
    }
}

/// Method and body stay the same, too (RFC 9110, 15.4.9).
pub(super) fn moved(location: HeaderValue, id: RequestId) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(header::LOCATION, location);
    response.headers_mut().insert(X_REQUEST_ID, id.to_value());
    response
}
