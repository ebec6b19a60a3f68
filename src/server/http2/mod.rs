//! One HTTP/2 connection from its preface to its close. The counterpart of [`connection`](super::connection), which
//! speaks HTTP/1.
//!
//! Many requests share the connection here, so what HTTP/1 keeps per connection is kept per [`stream`](streams): the
//! watch over the body, the deadline, and for how long the client has taken nothing. One timer looks after them all.
//!
//! What a client can make us hold is a product of caps: streams at once, the header list of each, the windows for bodies
//! that come in, and the buffer for answers that go out. None of them grows on the client's word.

mod answer;
mod broken;
mod calm;
mod exchange;
mod opening;
mod preface;
mod remnant;
mod request;
mod streams;
mod wire;

use std::{cell::RefCell, convert::Infallible, future::poll_fn, pin::pin, rc::Rc, task::Poll};

use bytes::BytesMut;
use http::{Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::TokioIo;

use crate::web::{Refusal, RequestBody};

use self::{
    answer::AnswerBody,
    exchange::{Exchange, Turn},
    opening::Opened,
    request::admit,
    streams::{Due, Spawner, Streams},
    wire::Wire,
};
use super::{Options, Service, connection::Shared, deadline::Tick, drain::Drain, refuse, stream::Stream, tunnel};

pub use self::broken::Broken;
pub(super) use self::{
    exchange::UnderWay,
    preface::{Spoken, listen},
};

/// What may lie ready for one stream and wait for the client's window. A slow client keeps this much of each answer here,
/// the rest waits in the upstream's socket.
const HELD_BACK: usize = 64 * 1024;

/// Streams that the client has taken back before we came to them, and that we had to take back for an error of the
/// client's. Beyond it the connection ends with `ENHANCE_YOUR_CALM`.
const TAKEN_BACK: usize = 20;
const RESET_FOR_ERRORS: usize = 100;

/// Serves a connection until it is closed. The first bytes may have been read already.
pub(super) async fn run<S: Service>(stream: Stream, held: BytesMut, conn: Rc<S::Conn>, shared: &Shared<S>) {
    let stream = Rc::new(RefCell::new(stream));
    let end = serve(&stream, held, &conn, shared).await;
    let Some(stream) = Rc::into_inner(stream).map(RefCell::into_inner) else { return };
    match end {
        // The end of an answer may lie in the socket, and the client goes on saying how much of it there is room for.
        End::Done => Box::pin(refuse::linger(stream, shared.options.write_timeout)).await,
        End::Cut(why) => why.into_iter().for_each(|why| shared.service.get().broke(why)),
    }
}

/// How a connection ends.
enum End {
    /// All is said, on both sides.
    Done,
    /// There is nobody to talk to, or nobody who can be talked to.
    Cut(Option<Broken>),
}

/// Answers requests until there are to be no more of them.
async fn serve<S: Service>(
    stream: &Rc<RefCell<Stream>>,
    held: BytesMut,
    conn: &Rc<S::Conn>,
    shared: &Shared<S>,
) -> End {
    let options = &*shared.options;
    let streams = Rc::new(Streams::new());
    let wire = Wire::new(Rc::clone(stream), held, Rc::clone(&streams), options.http2.connection_window);
    let mut builder = builder(options, Rc::clone(&streams));
    if shared.service.get().opens_tunnels() {
        builder.enable_connect_protocol();
    }
    let common =
        Rc::new(Common { conn: Rc::clone(conn), streams: Rc::clone(&streams), drain: Rc::clone(&shared.drain) });
    let (service, under_way, limits) = (Rc::clone(&shared.service), Rc::clone(&shared.under_way), options.head);
    let service = service_fn(move |request: Request<Incoming>| {
        let (exchange, to_head) = (common.streams.begin(request.body()), request.method() == Method::HEAD);
        let admitted = admit(request, &limits)
            .and_then(|request| if exchange.enter(&under_way) { Ok(request) } else { Err(Refusal::Overloaded) });
        answer(admitted, to_head, exchange, service.get(), Rc::clone(&common))
    });
    let mut http = pin!(builder.serve_connection(TokioIo::new(wire), service));
    let mut tick = Tick::new(options);
    let end = poll_fn(|cx| {
        loop {
            match http.as_mut().poll(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(End::Done),
                Poll::Ready(Err(_)) if streams.is_flooded() => return Poll::Ready(End::Cut(Some(Broken::Flood))),
                Poll::Ready(Err(error)) => return Poll::Ready(End::Cut(Broken::of(&error))),
                Poll::Pending => {}
            }
            // Whoever has not asked for anything yet would come back to the same door, as long as it is open.
            let goes = shared.drain.closes() || shared.drain.tells() && streams.has_served();
            if goes && streams.part() {
                http.as_mut().graceful_shutdown();
                tick.hasten();
                continue;
            }
            if !streams.is_quiet() {
                tick.hasten();
            }
            let Some(now) = tick.poll(cx) else { return Poll::Pending };
            match streams.due(now, options) {
                Due::Part if streams.part() => http.as_mut().graceful_shutdown(),
                Due::Nothing | Due::Part => {}
                Due::Rest(until) => tick.rest(until),
                Due::Close => return Poll::Ready(End::Done),
                Due::Cut(why) => return Poll::Ready(End::Cut(Some(why))),
            }
        }
    })
    .await;
    streams.end();
    end
}

/// How the protocol is set up. Pings stay off: a client that is gone takes nothing, and that is noticed.
fn builder(options: &Options, streams: Rc<Streams>) -> http2::Builder<Spawner> {
    let figures = &options.http2;
    let mut http = http2::Builder::new(Spawner { streams, patience: options.write_timeout });
    http.max_concurrent_streams(figures.max_streams);
    http.initial_stream_window_size(figures.stream_window);
    http.initial_connection_window_size(figures.connection_window);
    // Up to here a head that is too large gets an answer of ours. What is larger hyper answers by itself, with a bare 431.
    http.max_header_list_size(u32::try_from(2 * options.head.bytes).unwrap_or(u32::MAX));
    http.max_send_buf_size(HELD_BACK);
    http.max_pending_accept_reset_streams(TAKEN_BACK);
    http.max_local_error_reset_streams(RESET_FOR_ERRORS);
    http
}

/// What all requests of a connection have in common.
struct Common<S: Service> {
    conn: Rc<S::Conn>,
    streams: Rc<Streams>,
    drain: Rc<Drain>,
}

/// What hyper is answered. The service itself never fails; it has an answer for everything.
type Answered<S> = Result<Response<AnswerBody<S>>, Infallible>;

/// Answers one request.
async fn answer<S: Service>(
    admitted: Result<Request<Incoming>, Refusal>,
    to_head: bool,
    exchange: Rc<Exchange>,
    service: Rc<S>,
    common: Rc<Common<S>>,
) -> Answered<S> {
    let mut response = match admitted {
        Ok(mut request) => {
            let opening = opening::take(&mut request);
            let mut request = request.map(|body| RequestBody::new(body, exchange.body()));
            let answer = service.call(&mut request, &common.conn, exchange.timer());
            drop(request);
            let mut response = answer.await.into_response();
            if let (Some(coming), StatusCode::SWITCHING_PROTOCOLS) = (opening, response.status()) {
                opening::agree(&mut response);
                hand_over(Opened::Waiting(coming), Rc::clone(&service), &common, exchange.hand_turn_over());
            }
            response.map(|body| AnswerBody::served(body, Rc::clone(&exchange), Rc::clone(&service)))
        }
        Err(why) => service
            .refuse(why, &common.conn)
            .map(|body| AnswerBody::ours(body, Rc::clone(&exchange), Rc::clone(&service))),
    };
    exchange.answer();
    // The end of a stream says all that there is to say. It never ends the connection.
    response.headers_mut().remove(header::CONNECTION);
    Ok(if to_head { answer::without_body(response) } else { response })
}

/// Hands a stream that is HTTP no more over to the service. It counts as a request under way for as long as it lasts.
fn hand_over<S: Service>(client: Opened, service: Rc<S>, common: &Common<S>, turn: Option<Turn>) {
    // Here and not in the task: before that has its turn another stream may have been promised something.
    if let Some(promised) = service.promised(&common.conn) {
        tunnel::spawn(promised, client, service, &common.drain, (common.streams.tunnel(), turn));
    }
}
