//! From what became of a request to the answer that goes out.

use bytes::Bytes;
use http::Response;
use tokio::time::Instant;

use super::{
    Body, Conn, Content, Entry, Failure, Ticket, rescue,
    tunnel::{self, Tunnel},
};
use crate::{proxy::Forwarded, web::Answer};

/// An upstream's answer, with the id of the request.
pub(super) fn with_id(mut answer: Answer<Forwarded>, entry: &Entry) -> Answer<Forwarded> {
    answer.tell_id(&entry.id);
    answer
}

/// The answer that goes out, with the line that waits for its end.
pub(super) fn finish(answer: Result<Answer<Content>, Failure>, mut ticket: Ticket, now: Instant) -> Answer<Body> {
    ticket.answered(now);
    let answer = answer.unwrap_or_else(|failure| explain(&failure, &mut ticket.entry).map(Content::Whole).into());
    ticket.entry.status = Some(answer.status);
    answer.map(|content| Body::new(content, ticket))
}

/// The answer that opens a tunnel. The line waits for the tunnel's end.
pub(super) fn open(
    answer: Result<Answer<Content>, Failure>,
    ticket: Ticket,
    tunnel: Box<Tunnel>,
    conn: &Conn,
) -> Answer<Body> {
    let answer = match answer {
        Ok(answer) => answer.map(drop),
        Err(failure) => return finish(Err(failure), ticket, Instant::now()),
    };
    ticket.answered(Instant::now());
    conn.tunnel.replace(Some(tunnel.opened(answer.status, ticket)));
    answer.map(|()| tunnel::body())
}

/// The answer to a failure, with its cause told to the log.
pub(super) fn explain(failure: &Failure, entry: &mut Entry) -> Response<Bytes> {
    let rescue = rescue(failure);
    entry.code = Some(rescue.code);
    entry.cause = failure.cause();
    if let Some(app) = failure.app() {
        entry.app = Some(app.clone());
        if let Some(advice) = failure.advice() {
            let request = entry.id.as_str();
            tracing::error!(request, app = app.as_str(), advice, "a call of the platform failed because of the set-up");
        }
    }
    rescue.into_response(entry.id)
}
