//! One connection from accept to close: parked while idle, served while busy, watched by its deadlines.

use std::{
    cell::RefCell,
    convert::Infallible,
    future::{Future, pending, poll_fn},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;

use crate::web::{Refusal, RequestBody, Resumed};

use super::{
    Options, Service,
    answer::Answer,
    current::Current,
    deadline::Tick,
    drain::Drain,
    http2::UnderWay,
    refuse,
    stream::Stream,
    tls::Tls,
    traffic::{Due, Phase, Traffic},
    wire::Wire,
};

/// What all connections of a worker have in common.
#[derive(Debug)]
pub(super) struct Shared<S> {
    pub(super) service: Rc<Current<S>>,
    pub(super) options: Rc<Options>,
    pub(super) http: http1::Builder,
    pub(super) drain: Rc<Drain>,
    pub(super) tls: Option<Rc<Tls>>,
    /// Requests over HTTP/2.
    pub(super) under_way: Rc<UnderWay>,
    /// Turns at the handshakes of this worker.
    pub(super) handshakes: Semaphore,
}

/// How the parser is set up. Its own timers stay off; the connection has better ones.
pub(super) fn http1(options: &Options) -> http1::Builder {
    let mut http = http1::Builder::new();
    // hyper would watch for a hang-up by reading ahead during each request, at the price of a fresh 8 KiB buffer per
    // request; `Driver::client_is_gone` asks the socket instead, and only about slow requests.
    http.half_close(true);
    http.header_read_timeout(None);
    http.max_buf_size((2 * options.head.bytes).max(64 * 1024));
    if options.head.lines > 100 {
        // Up to hyper's own default of 100 the headers are parsed on the stack.
        http.max_headers(options.head.lines);
    }
    http
}

/// How long a connection has to say what it has come for before a stop takes it for one without anything to do. It may have been
/// taken from the queue as the last one, and its request be on the way: nobody could tell the client to come elsewhere.
pub(super) const NEWCOMER: Duration = Duration::from_secs(1);

/// A connection with nothing to parse: the socket, and bytes already read from it.
struct Parked {
    stream: Stream,
    held: BytesMut,
}

/// Serves a connection until it is closed. The first bytes may have been read already.
#[expect(
    clippy::manual_async_fn,
    reason = "an async fn keeps what it is given twice, for as long as a connection lives"
)]
pub(super) fn run<S: Service>(
    mut stream: Stream,
    mut held: BytesMut,
    conn: Rc<S::Conn>,
    shared: &Shared<S>,
) -> impl Future<Output = ()> {
    async move {
        // The first head may take no longer to begin than it may take to arrive.
        let (mut patience, mut grace) = (shared.options.header_timeout, NEWCOMER);
        loop {
            if held.is_empty() && !stream.has_bytes(patience, grace, &shared.drain).await {
                return stream.close();
            }
            // Boxed, so that an idle connection does not carry the room for a busy one.
            match Box::pin(serve(Parked { stream, held }, &conn, shared)).await {
                Left::Idle(idle) => (stream, held) = (idle.stream, idle.held),
                Left::Switched(parked) => return Box::pin(switched(parked, conn, shared)).await,
                Left::Closed => return,
            }
            (patience, grace) = (shared.options.keepalive_timeout, Duration::ZERO);
        }
    }
}

/// Leaves a connection that is HTTP no more to the service.
async fn switched<S: Service>(parked: Parked, conn: Rc<S::Conn>, shared: &Shared<S>) {
    // This task is woken when the worker is to stop, and whoever is polled in it is asked again.
    let stopping = poll_fn(|_| if shared.drain.is_shut() { Poll::Ready(()) } else { Poll::Pending });
    let client = Resumed::new(parked.held.freeze(), parked.stream);
    let service = shared.service.get();
    if let Some(promised) = service.promised(&conn) {
        service.switched(promised, client, stopping).await;
    }
}

/// What a connection is when it is served no longer.
enum Left {
    /// Without anything to do.
    Idle(Parked),
    /// No longer HTTP.
    Switched(Parked),
    Closed,
}

/// Why the parser was left.
enum End {
    /// It is done, well or badly.
    Done,
    /// The body of an answer broke off.
    Broken,
    /// The traffic holds a refusal to be sent.
    Refused,
    /// Nothing to do for a while.
    Idle,
    /// A 101 has gone out.
    Switched,
    /// The client is gone or takes nothing.
    Cut,
}

/// Serves requests until the connection has become idle, or is HTTP no more, or closed.
async fn serve<S: Service>(parked: Parked, conn: &Rc<S::Conn>, shared: &Shared<S>) -> Left {
    let stream = Rc::new(RefCell::new(parked.stream));
    let traffic = Traffic::new();
    let wire = Wire::new(Rc::clone(&stream), parked.held, shared.options.head, Rc::clone(&traffic));
    let service = requests(shared, conn, &traffic);
    let mut http = shared.http.serve_connection(TokioIo::new(wire), service);
    let mut driver = Driver { traffic: &traffic, stream: &stream, tick: Tick::new(&shared.options), watching: false };
    let mut told = false;
    let end = poll_fn(|cx| {
        loop {
            match Pin::new(&mut http).poll(cx) {
                Poll::Ready(Err(error)) if error.is_user() => return Poll::Ready(End::Broken),
                // What the parser could not write would be lost.
                Poll::Ready(Ok(())) if traffic.has_switched() && !traffic.unflushed() => {
                    return Poll::Ready(End::Switched);
                }
                Poll::Ready(_) => return Poll::Ready(End::Done),
                Poll::Pending => {}
            }
            // Not between the bytes of a request and their reading: it would be lost.
            let reads = || traffic.phase() == Phase::Head || stream.borrow().has_unseen();
            if shared.drain.closes() && !told && !reads() {
                told = true;
                Pin::new(&mut http).graceful_shutdown();
                continue;
            }
            match driver.look(cx, &shared.options) {
                Look::Again => {}
                Look::Wait => return Poll::Pending,
                Look::End(end) => return Poll::Ready(end),
            }
        }
    })
    .await;
    let whole = traffic.quiet();
    let parts = http.into_parts();
    let held = leftover(&parts.read_buf, parts.io.into_inner());
    drop(parts.service);
    let Some(stream) = Rc::into_inner(stream).map(RefCell::into_inner) else { return Left::Closed };
    match end {
        End::Idle => return Left::Idle(Parked { stream, held }),
        End::Switched => return Left::Switched(Parked { stream, held }),
        End::Refused => {
            let Some(why) = traffic.refusal() else { return Left::Closed };
            let answer = shared.service.get().refuse(why, conn);
            // The client may be gone already; then there is nobody to tell.
            let _: io::Result<()> = refuse::answer(stream, answer, shared.options.write_timeout).await;
        }
        // Where the close is what ends a body, a clean one would pass it off as whole.
        End::Broken if traffic.ends_by_close() => stream.break_off(),
        End::Done | End::Broken if whole && !stream.has_unread() => {}
        End::Done | End::Broken => refuse::linger(stream, shared.options.write_timeout).await,
        End::Cut => {}
    }
    Left::Closed
}

/// What the parser and the wire had read but not used, in order.
fn leftover(parsed: &[u8], wire: Wire) -> BytesMut {
    let mut held = BytesMut::from(parsed);
    held.extend_from_slice(&wire.into_held());
    held
}

/// The service as hyper calls it.
fn requests<S: Service>(
    shared: &Shared<S>,
    conn: &Rc<S::Conn>,
    traffic: &Rc<Traffic>,
) -> impl Requests<S, Future: Future<Output = Answered<S>>> + use<S> {
    let (service, drain) = (Rc::clone(&shared.service), Rc::clone(&shared.drain));
    let (conn, traffic) = (Rc::clone(conn), Rc::clone(traffic));
    service_fn(move |request: Request<Incoming>| {
        let (service, drain) = (service.get(), Rc::clone(&drain));
        let (conn, traffic) = (Rc::clone(&conn), Rc::clone(&traffic));
        let screened = traffic.begin_request(request.version(), request.headers());
        if request.extensions().get::<OnUpgrade>().is_some() {
            traffic.let_switch();
        }
        async move {
            if !screened {
                traffic.refuse(Refusal::Malformed);
                pending::<()>().await;
            }
            let request = request.map(|body| RequestBody::new(body, traffic.body()));
            let mut response = service.call(request, &conn, traffic.timer()).await;
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                traffic.switch();
            } else if traffic.leaves_body_unread() || drain.tells() {
                // It is closed then, and a client that is told so does not send its next request into the close.
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| Answer::new(body, traffic, service)))
        }
    })
}

/// What hyper is answered. The service itself never fails; it has an answer for everything.
type Answered<S> = Result<Response<Answer<S>>, Infallible>;

/// A hyper service that gives answers of `S`.
trait Requests<S: Service>:
    hyper::service::Service<Request<Incoming>, Response = Response<Answer<S>>, Error = Infallible>
{
}

impl<S: Service, R> Requests<S> for R where
    R: hyper::service::Service<Request<Incoming>, Response = Response<Answer<S>>, Error = Infallible>
{
}

/// What follows from a look at the connection.
enum Look {
    Again,
    Wait,
    End(End),
}

/// Looks after one connection between the parser's polls.
struct Driver<'a> {
    traffic: &'a Traffic,
    stream: &'a RefCell<Stream>,
    tick: Tick,
    watching: bool,
}

impl Driver<'_> {
    fn look(&mut self, cx: &mut Context<'_>, options: &Options) -> Look {
        // A refusal waits for the answers before it: a client may have sent several requests at once.
        if self.traffic.refusal().is_some() && !self.traffic.unflushed() {
            return Look::End(End::Refused);
        }
        if self.watching && self.client_is_gone(cx) {
            return Look::End(End::Cut);
        }
        let Some(now) = self.tick.poll(cx) else { return Look::Wait };
        match self.traffic.due(now, options) {
            Due::Park => return Look::End(End::Idle),
            Due::Cut => return Look::End(End::Cut),
            Due::Watch => self.watching = true,
            Due::Nothing | Due::Poll => {}
        }
        Look::Again
    }

    /// Whether the client has closed its side. It can't want the answer then: a Mini Program never half-closes, and
    /// nginx and `HAProxy` see it the same way.
    fn client_is_gone(&mut self, cx: &mut Context<'_>) -> bool {
        if self.traffic.phase() != Phase::Request {
            self.watching = false;
            return false;
        }
        match self.stream.borrow_mut().poll_gone(cx) {
            Poll::Ready(true) => true,
            Poll::Ready(false) => {
                // Bytes of a next request hide the end behind them. The next tick looks again.
                self.watching = false;
                false
            }
            Poll::Pending => false,
        }
    }
}
