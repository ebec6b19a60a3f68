//! One connection from accept to close: parked while idle, served while busy, watched by its deadlines.

use std::{
    cell::RefCell,
    convert::Infallible,
    future::{Future, pending, poll_fn},
    io,
    mem::MaybeUninit,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::BytesMut;
use http::{HeaderValue, Request, Response, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::{
    io::{Interest, ReadBuf},
    net::TcpStream,
    time::sleep,
};

use crate::web::{Refusal, RequestBody};

use super::{
    Options, Service,
    answer::Answer,
    deadline::Tick,
    drain::Drain,
    refuse,
    traffic::{Due, Phase, Traffic},
    wire::Wire,
};

/// So many bytes behind a request are looked at: more blank lines than the screen lets pass before a head.
const PEEKED: usize = 16;

/// What all connections of a worker have in common.
#[derive(Debug)]
pub(super) struct Shared<S> {
    pub(super) service: Rc<S>,
    pub(super) options: Rc<Options>,
    pub(super) http: http1::Builder,
    pub(super) drain: Rc<Drain>,
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

/// A connection with nothing to parse: the socket, and bytes already read from it.
struct Parked {
    stream: TcpStream,
    held: BytesMut,
}

/// Serves a connection until it is closed.
pub(super) async fn run<S: Service>(stream: TcpStream, conn: S::Conn, shared: &Shared<S>) {
    let _counted = poll_fn(|cx| Poll::Ready(shared.drain.enter(cx.waker().clone()))).await;
    let conn = Rc::new(conn);
    let mut parked = Parked { stream, held: BytesMut::new() };
    // The first head may take no longer to begin than it may take to arrive.
    let mut patience = shared.options.header_timeout;
    loop {
        if parked.held.is_empty() && !parked.has_bytes(patience, &shared.drain).await {
            return;
        }
        // Boxed, so that an idle connection does not carry the room for a busy one.
        match Box::pin(serve(parked, &conn, shared)).await {
            Some(idle) => parked = idle,
            None => return,
        }
        patience = shared.options.keepalive_timeout;
    }
}

impl Parked {
    /// Waits for bytes; false when the connection is to be closed without a word.
    async fn has_bytes(&self, patience: std::time::Duration, drain: &Drain) -> bool {
        let mut late = pin!(sleep(patience));
        poll_fn(|cx| {
            let mut one = [0; 1];
            match self.stream.poll_peek(cx, &mut ReadBuf::new(&mut one)) {
                Poll::Ready(result) => return Poll::Ready(result.is_ok_and(|n| n > 0)),
                Poll::Pending if drain.is_on() && !has_unseen(&self.stream) => return Poll::Ready(false),
                Poll::Pending => {}
            }
            late.as_mut().poll(cx).map(|()| false)
        })
        .await
    }
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
    /// The client is gone or takes nothing.
    Cut,
}

/// Serves requests. Returns the connection when it has become idle, nothing when it is closed.
async fn serve<S: Service>(parked: Parked, conn: &Rc<S::Conn>, shared: &Shared<S>) -> Option<Parked> {
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
                Poll::Ready(_) => return Poll::Ready(End::Done),
                Poll::Pending => {}
            }
            // Not between the bytes of a request and their reading: it would be lost.
            let reads = || traffic.phase() == Phase::Head || has_unseen(&stream.borrow());
            if shared.drain.is_on() && !told && !reads() {
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
    let stream = Rc::into_inner(stream)?.into_inner();
    match end {
        End::Idle => return Some(Parked { stream, held }),
        End::Refused => {
            let answer = shared.service.refuse(traffic.refusal()?, conn);
            // The client may be gone already; then there is nobody to tell.
            let _: io::Result<()> = refuse::answer(stream, answer, shared.options.write_timeout).await;
        }
        // Where the close is what ends a body, a clean one would pass it off as whole.
        End::Broken if traffic.ends_by_close() => drop(stream.set_zero_linger()),
        End::Done | End::Broken if whole && !has_unread(&stream) => {}
        End::Done | End::Broken => refuse::linger(stream).await,
        End::Cut => {}
    }
    None
}

/// Whether bytes have come that the runtime has not told of yet. The system is asked itself, which is worth it when the
/// connection is to be closed for being idle.
fn has_unseen(stream: &TcpStream) -> bool {
    SockRef::from(stream).peek(&mut [MaybeUninit::uninit(); 1]).is_ok_and(|n| n > 0)
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}

/// Whether the client has closed its side behind bytes that nobody has read. The runtime is told of that beside the bytes.
fn has_said_all(stream: &TcpStream) -> bool {
    let ready = pin!(stream.ready(Interest::READABLE)).poll(&mut Context::from_waker(Waker::noop()));
    matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed())
}

/// Whether the client has sent more than was read. Closing on it would make the kernel send a reset.
fn has_unread(stream: &TcpStream) -> bool {
    stream.try_read(&mut [0; 1]).is_ok_and(|n| n > 0)
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
        let (service, drain) = (Rc::clone(&service), Rc::clone(&drain));
        let (conn, traffic) = (Rc::clone(&conn), Rc::clone(&traffic));
        let screened = traffic.begin_request(request.version(), request.headers());
        async move {
            if !screened {
                traffic.refuse(Refusal::Malformed);
                pending::<()>().await;
            }
            let request = request.map(|body| RequestBody::new(body, traffic.body()));
            let mut response = service.call(request, &conn, traffic.timer()).await;
            if traffic.leaves_body_unread() || drain.is_on() {
                // It is closed then, and a client that is told so does not send its next request into the close.
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| Answer::new(body, traffic)))
        }
    })
}

/// What hyper is answered. The service itself never fails; it has an answer for everything.
type Answered<S> = Result<Response<Answer<<S as Service>::Body>>, Infallible>;

/// A hyper service that gives answers of `S`.
trait Requests<S: Service>:
    hyper::service::Service<Request<Incoming>, Response = Response<Answer<S::Body>>, Error = Infallible>
{
}

impl<S: Service, R> Requests<S> for R where
    R: hyper::service::Service<Request<Incoming>, Response = Response<Answer<S::Body>>, Error = Infallible>
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
    stream: &'a RefCell<TcpStream>,
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
        let (mut bytes, stream) = ([0; PEEKED], self.stream.borrow());
        let mut peeked = ReadBuf::new(&mut bytes);
        match stream.poll_peek(cx, &mut peeked) {
            Poll::Ready(Ok(0) | Err(_)) => true,
            // Some clients send a line end behind a body, which is no request.
            Poll::Ready(Ok(n)) if n < PEEKED && is_blank(peeked.filled()) && has_said_all(&stream) => true,
            Poll::Ready(Ok(_)) => {
                // Bytes of a next request hide the end behind them. The next tick looks again.
                self.watching = false;
                false
            }
            Poll::Pending => false,
        }
    }
}
