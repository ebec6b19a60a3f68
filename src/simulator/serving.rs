//! Serves on a thread of its own, so that a test on any runtime, or on none, can talk to the stand-in over real sockets.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::{SocketAddr, TcpListener as StdListener},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    thread::{self, JoinHandle},
};

use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    sync::oneshot,
    task::LocalSet,
};

use super::reply::Reply;

/// Nothing could be served.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, or not ours.
    #[error("can't listen on {addr}")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No thread or no event loop to be had.
    #[error("can't start a thread to serve on")]
    Thread(#[source] io::Error),
}

/// What is served.
pub(super) trait Service: Send + Sync + 'static {
    /// Answers one request.
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Reply>;

    /// Whether the next request may have to be cut before it is read; asked before each read, so it must be cheap.
    fn cuts_next(&self) -> bool {
        false
    }

    /// Whether the request that begins so is cut before it is read.
    fn cut_unread(&self, _first_bytes: &[u8]) -> bool {
        false
    }
}

/// A listener and its thread. Dropping it closes the listener and every connection, waiting requests with them.
pub(super) struct Serving {
    addr: SocketAddr,
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

/// Begins to serve. Connections are accepted from the moment this returns.
pub(super) fn serve<S: Service>(listen: SocketAddr, service: Arc<S>) -> Result<Serving, StartError> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
    let (listener, addr) = bind(listen, &runtime).map_err(|source| StartError::Listen { addr: listen, source })?;
    let (stop, stopped) = oneshot::channel::<Infallible>();
    let thread = thread::Builder::new()
        .name("stand-in".to_owned())
        .spawn(move || {
            LocalSet::new().block_on(&runtime, async {
                tokio::select! {
                    () = accept(listener, service) => {}
                    _ = stopped => {}
                }
            });
        })
        .map_err(StartError::Thread)?;
    Ok(Serving { addr, stop: Some(stop), thread: Some(thread) })
}

impl Serving {
    /// Where it listens, with the port that was found when none was asked for.
    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic over there has been reported by its own thread; here there is only the end to wait for.
            let _ = thread.join();
        }
    }
}

fn bind(listen: SocketAddr, runtime: &Runtime) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = StdListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    let addr = listener.local_addr()?;
    let _context = runtime.enter();
    Ok((TcpListener::from_std(listener)?, addr))
}

async fn accept<S: Service>(listener: TcpListener, service: Arc<S>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::task::spawn_local(connection(stream, service.clone()))),
            // Out of files, or a client that has gone already: the connections there are go on meanwhile.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

async fn connection<S: Service>(stream: TcpStream, service: Arc<S>) {
    // Without it half an answer would wait for more; a socket that refuses still works.
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(Cuttable { stream, service: service.clone(), cut: false });
    let answer = service_fn(move |request| {
        let service = service.clone();
        async move { service.answer(request).await.into_response() }
    });
    // However it ends, it is over: a cut on purpose is an error to hyper, and a client may go away as it likes.
    let _ = http1::Builder::new().serve_connection(io, answer).await;
}

/// A connection that can be cut while a request lies unread in it. Closing it then resets it, as a crash would.
struct Cuttable<S> {
    stream: TcpStream,
    service: Arc<S>,
    cut: bool,
}

impl<S: Service> AsyncRead for Cuttable<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.service.cuts_next() {
            let mut first = [0; 24];
            let mut first = ReadBuf::new(&mut first);
            ready!(self.stream.poll_peek(cx, &mut first))?;
            if !first.filled().is_empty() && self.service.cut_unread(first.filled()) {
                self.cut = true;
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: Service> AsyncWrite for Cuttable<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper says goodbye even after a read error; a crash would not.
        if self.cut { Poll::Ready(Ok(())) } else { Pin::new(&mut self.stream).poll_shutdown(cx) }
    }
}
