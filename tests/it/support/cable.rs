//! A cable to a server, which can be held, cut, pulled out and plugged in again.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use socket2::{Domain, Socket, Type};

/// Connections to it go on to the server. Dropped, it is cut for good.
pub struct Cable {
    addr: SocketAddr,
    /// Bound for good, so that nobody else takes the port while it is pulled out.
    socket: Socket,
    inner: Arc<Inner>,
}

struct Inner {
    to: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
    gone: AtomicBool,
}

#[derive(Default)]
struct State {
    held: bool,
    streams: Vec<TcpStream>,
}

impl Cable {
    pub fn to(server: SocketAddr) -> Self {
        let (socket, addr) = bound();
        let inner = Arc::new(Inner {
            to: server,
            state: Mutex::default(),
            changed: Condvar::new(),
            gone: AtomicBool::new(false),
        });
        let cable = Self { addr, socket, inner };
        cable.plug();
        cable
    }

    /// New connections are refused, and the others end.
    pub fn pull(&self) {
        self.socket.shutdown(Shutdown::Both).expect("it listens");
        self.cut();
    }

    /// Connections may be made again.
    pub fn plug(&self) {
        self.socket.listen(1024).expect("it is bound");
        let listener = TcpListener::from(self.socket.try_clone().expect("a socket"));
        let taken = Arc::clone(&self.inner);
        thread::spawn(move || {
            for stream in listener.incoming() {
                match stream {
                    Ok(stream) if !taken.gone.load(Ordering::SeqCst) => taken.join(&stream),
                    _ => return,
                }
            }
        });
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Nothing gets through any more, in either direction, and nobody is told.
    pub fn hold(&self) {
        self.inner.state().held = true;
    }

    /// What was held gets through, and what comes.
    pub fn let_go(&self) {
        self.inner.state().held = false;
        self.inner.changed.notify_all();
    }

    /// Ends every connection. New ones may be made.
    pub fn cut(&self) {
        for stream in self.inner.state().streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.inner.changed.notify_all();
    }
}

/// A socket on a free port that it keeps when it is shut: one that has asked for any port gets another one each time it
/// listens.
fn bound() -> (Socket, SocketAddr) {
    let at = |addr: SocketAddr| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_reuse_address(true).expect("a socket");
        socket.bind(&addr.into()).expect("a port");
        socket
    };
    let any = at(SocketAddr::from(([127, 0, 0, 1], 0)));
    let addr = any.local_addr().expect("an address").as_socket().expect("an IP address");
    (at(addr), addr)
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.inner.gone.store(true, Ordering::SeqCst);
        self.let_go();
        self.cut();
        // Whoever waits for a connection gets one, and sees that it is over.
        let _ = TcpStream::connect(self.addr);
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(self: &Arc<Self>, here: &TcpStream) {
        let Ok(there) = TcpStream::connect(self.to) else { return };
        let both = [(here, &there), (&there, here)];
        for (from, to) in both {
            let _ = from.set_nodelay(true);
            let (Ok(from), Ok(to), Ok(kept)) = (from.try_clone(), to.try_clone(), from.try_clone()) else { return };
            self.state().streams.push(kept);
            let inner = Arc::clone(self);
            thread::spawn(move || inner.copy(from, to));
        }
    }

    fn copy(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = [0; 16 * 1024];
        while let Ok(n @ 1..) = from.read(&mut bytes) {
            let open = self.changed.wait_while(self.state(), |state| state.held);
            drop(open.unwrap_or_else(PoisonError::into_inner));
            if to.write_all(&bytes[..n]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }
}
