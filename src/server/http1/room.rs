//! Room for a request while it is begun, which all connections of a worker use one after the other: so it is in the processor's nearest
//! memory, where as much of each connection would not be.

use std::{cell::Cell, fmt, rc::Rc};

use http::{Method, Request, Uri, Version};

use crate::web::{BodyWatch, RequestBody};

/// Room for so many headers is kept, and no more.
const KEPT: usize = 48;

/// The room, where nobody uses it at the moment.
#[derive(Default)]
pub(in crate::server) struct Room {
    spare: Cell<Option<Box<Request<RequestBody>>>>,
    /// Of no request.
    nobody: Rc<BodyWatch>,
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Room")
    }
}

impl Room {
    /// A request that asks for nothing yet.
    pub(super) fn take(&self) -> Box<Request<RequestBody>> {
        self.spare.take().unwrap_or_else(|| Box::new(Request::new(self.nothing())))
    }

    /// What a service has left of a request. Nobody needs it, nor is it to lie here.
    pub(super) fn give_back(&self, mut request: Box<Request<RequestBody>>) {
        *request.body_mut() = self.nothing();
        *request.method_mut() = Method::GET;
        *request.uri_mut() = Uri::default();
        *request.version_mut() = Version::HTTP_11;
        request.headers_mut().clear();
        request.extensions_mut().clear();
        if request.headers().capacity() <= KEPT {
            self.spare.set(Some(request));
        }
    }

    fn nothing(&self) -> RequestBody {
        RequestBody::from_source(None, Rc::clone(&self.nobody))
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn nothing_of_a_request_is_there_when_the_next_begins() {
        for (count, is_kept) in [(8, true), (100, false)] {
            let (room, watch) = (Room::default(), Rc::new(BodyWatch::default()));
            let mut request = room.take();
            let names = (0..count).map(|n| HeaderName::try_from(format!("x-{n}")).unwrap());
            request.headers_mut().extend(names.map(|name| (name, HeaderValue::from_static("secret"))));
            request.extensions_mut().insert("secret");
            *request.uri_mut() = Uri::from_static("/secret");
            (*request.method_mut(), *request.version_mut()) = (Method::PUT, Version::HTTP_10);
            *request.body_mut() = RequestBody::from_source(None, Rc::clone(&watch));
            room.give_back(request);
            assert_eq!(Rc::strong_count(&watch), 1, "nor of its connection");

            let request = room.take();
            assert!(request.headers().is_empty() && request.extensions().is_empty() && request.uri() == "/");
            assert_eq!((request.method(), request.version()), (&Method::GET, Version::HTTP_11));
            assert_eq!(request.headers().capacity() > 0, is_kept, "{count}");
        }
    }
}
