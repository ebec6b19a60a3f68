//! A client that sends exactly the bytes it is told to.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use rustls::ClientConnection;
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::link::Link;

/// What the other side is called, where a story does not care.
const HOST: &str = "api.example.com";

/// One connection.
pub struct Client {
    stream: BufReader<Link>,
    /// What it calls the other side.
    host: String,
}

/// One answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub version: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// How the body's end was told.
    pub framing: Framing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    None,
    Length,
    Chunked,
    Close,
}

impl Client {
    pub fn connect(addr: SocketAddr) -> Self {
        Self::over(Link::Tcp(tcp(addr)))
    }

    /// The same, to a Unix socket.
    pub fn connect_unix(path: &Path) -> Self {
        Self::over(Link::Unix(unix(path)))
    }

    /// Another connection to the same place, in the clear.
    pub fn anew(&self) -> Self {
        let addr = self.stream.get_ref().tcp().peer_addr().expect("a peer");
        Self { host: self.host.clone(), ..Self::connect(addr) }
    }

    pub fn over(link: Link) -> Self {
        Self { stream: BufReader::new(link), host: HOST.to_owned() }
    }

    /// What TLS knows of the connection.
    pub fn tls(&self) -> &ClientConnection {
        self.stream.get_ref().tls()
    }

    /// Says goodbye, as TLS has it, and leaves the socket open.
    pub fn say_goodbye(&mut self) -> &mut Self {
        self.stream.get_mut().say_goodbye();
        self
    }

    /// From now on the other side is called by this name.
    pub fn calling(self, host: &str) -> Self {
        Self { host: host.to_owned(), ..self }
    }

    /// Sends bytes as they are. A peer that has closed already is found out when reading.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.stream.get_mut().write_all(bytes.as_ref());
        self
    }

    /// Sends bytes as they are and reads one answer.
    pub fn raw(&mut self, bytes: impl AsRef<[u8]>) -> Reply {
        self.send(bytes);
        self.reply()
    }

    /// One answer to anything but HEAD.
    pub fn reply(&mut self) -> Reply {
        self.try_reply("GET").expect("an answer")
    }

    /// One answer to a request with this method.
    pub fn try_reply(&mut self, method: &str) -> io::Result<Reply> {
        loop {
            let reply = self.read(method)?;
            if reply.status / 100 != 1 {
                return Ok(reply);
            }
        }
    }

    /// An answer without its body, which is left to be read piece by piece.
    pub fn head_only(&mut self) -> Reply {
        self.read("HEAD").expect("an answer")
    }

    /// One answer, which may be an interim one.
    pub fn interim(&mut self) -> Reply {
        self.read("GET").expect("an answer")
    }

    pub fn get(&mut self, path: &str) -> Reply {
        self.request("GET", path, &[], "")
    }

    pub fn post(&mut self, path: &str, body: &str) -> Reply {
        self.request("POST", path, &[("Content-Type", "application/json")], body)
    }

    pub fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let head = head_to(&self.host, method, path, headers, body.len());
        self.send(head).send(body);
        self.try_reply(method).expect("an answer")
    }

    /// Whether the other side has closed, cleanly or not. Waits for it.
    pub fn is_closed(&mut self) -> bool {
        matches!(self.stream.fill_buf(), Ok([])) || self.stream.get_ref().tcp().peer_addr().is_err() || self.reset()
    }

    fn reset(&mut self) -> bool {
        self.stream.fill_buf().is_err_and(|e| e.kind() == io::ErrorKind::ConnectionReset)
    }

    /// Everything until the other side closes.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let _ = self.stream.read_to_end(&mut all);
        all
    }

    /// The same, and how it ended.
    pub fn try_rest(&mut self, all: &mut Vec<u8>) -> io::Result<usize> {
        self.stream.read_to_end(all)
    }

    /// Whatever comes next, or how it ended.
    pub fn try_some(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.read(bytes)
    }

    /// Some bytes of whatever comes next.
    pub fn some(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        self.stream.read_exact(&mut bytes).expect("bytes");
        bytes
    }

    /// Closes our writing half.
    pub fn finish(&mut self) -> &mut Self {
        let _ = self.stream.get_ref().tcp().shutdown(Shutdown::Write);
        self
    }

    /// Another hand on the same connection, to send while this one reads.
    pub fn again(&self) -> Self {
        Self {
            stream: BufReader::new(Link::Tcp(self.stream.get_ref().tcp().try_clone().expect("a socket"))),
            host: self.host.clone(),
        }
    }

    /// From now on bytes that the other side takes too long to take are not sent.
    pub fn give_up_sending_after(&mut self, time: Duration) -> &mut Self {
        self.stream.get_ref().tcp().set_write_timeout(Some(time)).expect("a socket");
        self
    }

    /// Sends a body for as long as the other side takes of it, and says how much that was.
    pub fn send_while_taken(&mut self, at_most: usize) -> usize {
        let piece = [b'y'; 16_384];
        let mut taken = 0;
        while taken < at_most {
            match self.stream.get_mut().write(&piece) {
                Ok(n) => taken += n,
                Err(_) => break,
            }
        }
        taken
    }

    /// Waits so long, and says whether nothing came meanwhile, not even the end.
    pub fn stays_silent(&mut self, time: Duration) -> bool {
        self.stream.get_ref().set_read_timeout(time);
        let silent = self.stream.fill_buf().is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock);
        self.stream.get_ref().set_read_timeout(Duration::from_secs(30));
        silent
    }

    pub fn local_port(&self) -> u16 {
        self.stream.get_ref().tcp().local_addr().expect("a socket").port()
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.strip_suffix("\r\n").ok_or_else(|| io::Error::other(format!("no line end: {line:?}")))?;
        Ok(line.to_owned())
    }

    fn read(&mut self, method: &str) -> io::Result<Reply> {
        let status_line = self.line()?;
        let mut words = status_line.splitn(3, ' ');
        let version = words.next().unwrap_or_default().to_owned();
        let status: u16 = words.next().and_then(|w| w.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut reply = Reply { status, version, headers, body: Vec::new(), framing: Framing::None };
        if method == "HEAD" || matches!(status, 100..=199 | 204 | 304) {
            return Ok(reply);
        }
        if reply.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
            reply.framing = Framing::Chunked;
            reply.body = self.chunks()?;
        } else if let Some(length) = reply.header("content-length") {
            let length: usize = length.parse().map_err(io::Error::other)?;
            reply.framing = Framing::Length;
            reply.body = vec![0; length];
            self.stream.read_exact(&mut reply.body)?;
        } else {
            reply.framing = Framing::Close;
            self.stream.read_to_end(&mut reply.body)?;
        }
        Ok(reply)
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(&self.line()?, 16).map_err(io::Error::other)?;
            if size == 0 {
                while !self.line()?.is_empty() {}
                return Ok(body);
            }
            let start = body.len();
            body.resize(start + size, 0);
            self.stream.read_exact(&mut body[start..])?;
            if !self.line()?.is_empty() {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
    }
}

/// A connection whose other end is not waited for for ever.
pub fn tcp(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
    stream.set_nodelay(true).expect("a socket");
    stream
}

/// The same, to a Unix socket.
pub fn unix(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
    stream
}

/// A connection with hardly any room for what its end does not read.
pub fn taking_little(addr: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
    socket.connect(&addr.into()).expect("a connection");
    socket.into()
}

/// A well-formed request head.
pub fn head(method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> String {
    head_to(HOST, method, path, headers, length)
}

fn head_to(host: &str, method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if length > 0 {
        head.push_str(&format!("Content-Length: {length}\r\n"));
    }
    head + "\r\n"
}

impl Reply {
    /// A header's value; it fails when there are two.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(n, _)| n == name);
        let value = found.next().map(|(_, v)| v.as_str());
        assert!(found.next().is_none(), "two {name} in {self:?}");
        value
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {self:?}"))
    }

    /// The machine word of an error of wxgate's own.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}
