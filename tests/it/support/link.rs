//! What a client speaks over: TCP or a Unix socket, bare or with TLS over it.

use std::{
    io::{self, IoSlice, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::Duration,
};

use rustls::{ClientConnection, StreamOwned};

pub enum Link {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, Link>>),
}

impl Link {
    /// The TCP connection, as it is or beneath TLS.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Tcp(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().tcp(),
            Self::Unix(_) => panic!("a Unix socket is no TCP connection"),
        }
    }

    /// So long a read waits.
    pub fn set_read_timeout(&self, time: Duration) {
        match self {
            Self::Tcp(tcp) => tcp.set_read_timeout(Some(time)).expect("a socket"),
            Self::Unix(unix) => unix.set_read_timeout(Some(time)).expect("a socket"),
            Self::Tls(tls) => tls.get_ref().set_read_timeout(time),
        }
    }

    pub fn tls(&self) -> &ClientConnection {
        let Self::Tls(tls) = self else { panic!("there is no TLS") };
        &tls.conn
    }

    pub fn say_goodbye(&mut self) {
        let Self::Tls(tls) = self else { panic!("there is no TLS") };
        tls.conn.send_close_notify();
        tls.flush().expect("a goodbye");
    }
}

impl Read for Link {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.read(bytes),
            Self::Unix(unix) => unix.read(bytes),
            Self::Tls(tls) => tls.read(bytes),
        }
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.write(bytes),
            Self::Unix(unix) => unix.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    /// TLS has its last word in several pieces, and says it once.
    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.write_vectored(pieces),
            Self::Unix(unix) => unix.write_vectored(pieces),
            Self::Tls(tls) => tls.write_vectored(pieces),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.flush(),
            Self::Unix(unix) => unix.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}
