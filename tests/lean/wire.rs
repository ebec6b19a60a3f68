//! One HTTP/1.1 connection, from either end, that allocates nothing once it stands.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    ops::Range,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

/// The longest head that is taken, and how much of a body is taken at once.
const BUFFER: usize = 64 * 1024;

/// Longer than any answer takes, so that a mistake ends a run and does not hang it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection, and what was read from it and not yet taken.
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: Box<[u8]>,
    unread: Range<usize>,
    head: Range<usize>,
}

impl Wire {
    pub(crate) fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Self::new(stream)
    }

    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; BUFFER].into_boxed_slice(), unread: 0..0, head: 0..0 })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next head, with its empty line. The end of the connection is an error.
    pub(crate) fn head(&mut self) -> io::Result<&[u8]> {
        let mut looked_at = 0;
        loop {
            let unread = &self.buffer[self.unread.clone()];
            let from = looked_at.min(unread.len());
            if let Some(at) = memchr::memmem::find(&unread[from..], b"\r\n\r\n") {
                self.head = self.unread.start..self.unread.start + from + at + 4;
                self.unread.start = self.head.end;
                return Ok(&self.buffer[self.head.clone()]);
            }
            looked_at = unread.len().saturating_sub(3);
            self.read_more()?;
        }
    }

    /// Reads the body that follows the last head and gives each piece of it to `take`. Says whether trailers came after
    /// it.
    pub(crate) fn body(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<bool> {
        let head = &self.buffer[self.head.clone()];
        if header(head, "transfer-encoding").is_none() {
            let length = header(head, "content-length").map_or(Ok(0), |text| number(text, 10))?;
            self.exactly(length, &mut take)?;
            return Ok(false);
        }
        loop {
            let size = number(self.line()?, 16)?;
            if size == 0 {
                let mut trailers = false;
                while !self.line()?.is_empty() {
                    trailers = true;
                }
                return Ok(trailers);
            }
            self.exactly(size, &mut take)?;
            self.exactly(2, &mut |_| {})?;
        }
    }

    fn exactly(&mut self, mut left: usize, take: &mut impl FnMut(&[u8])) -> io::Result<()> {
        while left > 0 {
            if self.unread.is_empty() {
                self.read_more()?;
            }
            let end = self.unread.end.min(self.unread.start.saturating_add(left));
            let piece = &self.buffer[self.unread.start..end];
            left -= piece.len();
            self.unread.start = end;
            take(piece);
        }
        Ok(())
    }

    /// One line without its end.
    fn line(&mut self) -> io::Result<&[u8]> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.buffer[self.unread.clone()], b"\r\n") {
                let line = self.unread.start..self.unread.start + at;
                self.unread.start = line.end + 2;
                return Ok(&self.buffer[line]);
            }
            self.read_more()?;
        }
    }

    fn read_more(&mut self) -> io::Result<()> {
        if self.unread.is_empty() {
            self.unread = 0..0;
        } else if self.unread.end == self.buffer.len() {
            self.buffer.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        let room = &mut self.buffer[self.unread.end..];
        match self.stream.read(room)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.unread.end += n;
                Ok(())
            }
        }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// The value of a head's first line with this name.
pub(crate) fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut lines = head.split(|byte| *byte == b'\n').skip(1);
    lines.find_map(|line| {
        let (found, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        found.eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
    })
}

fn number(text: &[u8], base: u32) -> io::Result<usize> {
    let text = str::from_utf8(text).map_err(io::Error::other)?;
    usize::from_str_radix(text, base).map_err(io::Error::other)
}
