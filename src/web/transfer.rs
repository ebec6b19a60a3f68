//! A message on its way to a socket over HTTP/1.1: its head, and its body as it comes.

use std::{
    fmt,
    io::{self, IoSlice, Write as _},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::Body;
use tokio::io::AsyncWrite;

/// Data up to this size are copied behind what goes before them, so that the kernel takes them by the shorter way of `send`.
const SMALL: usize = 2048;

/// With so much to be written, nothing more is taken of a body.
const ENOUGH: usize = 8 * 1024;

/// Room for more than this is not kept for the next message.
const KEPT: usize = 4096;

/// How the other side is told where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Nothing,
    /// After so many bytes.
    Length(u64),
    /// Behind the last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

impl Framing {
    /// As long as the body says it is, or else in chunks.
    pub fn of(body: &impl Body) -> Self {
        if body.is_end_stream() {
            return Self::Nothing;
        }
        body.size_hint().exact().map_or(Self::Chunked, Self::Length)
    }
}

/// A message that is being written; or none, and room for the next. It is not printed, since it may say who calls.
pub struct Transfer<B> {
    /// What goes first: the head, sizes of chunks, and data where they are small.
    near: Vec<u8>,
    /// So much of that is written.
    written: usize,
    /// Large data, as they came.
    data: Bytes,
    /// What goes behind them.
    behind: &'static [u8],
    body: Option<B>,
    framing: Framing,
    /// Whether all that was written is on its way: TLS may hold something back.
    is_flushed: bool,
}

/// Why a message can't be written to its end.
#[derive(Debug)]
pub enum Stopped {
    /// The other side takes no more.
    Io(io::Error),
    /// There is no more of its body.
    Body(Box<dyn std::error::Error + Send + Sync>),
}

impl<B> fmt::Debug for Transfer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transfer({} bytes wait)", self.waiting())
    }
}

impl<B> Default for Transfer<B> {
    fn default() -> Self {
        Self {
            near: Vec::new(),
            written: 0,
            data: Bytes::new(),
            behind: b"",
            body: None,
            framing: Framing::Nothing,
            is_flushed: true,
        }
    }
}

impl<B> Transfer<B> {
    /// Begins with a head, which `write` writes.
    pub fn begin(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Framing) -> Framing {
        self.near.clear();
        self.written = 0;
        self.is_flushed = false;
        self.framing = write(&mut self.near);
        self.framing
    }

    /// Whether all of it is on its way.
    pub fn is_over(&self) -> bool {
        self.body.is_none() && self.is_flushed
    }

    /// The message, where all of it lies here, is little, and nothing of it is written. For whoever takes it from here, it is on its way.
    pub fn ready_message(&mut self) -> Option<&mut Vec<u8>> {
        let is_all = self.body.is_none() && self.data.is_empty() && self.behind.is_empty() && self.written == 0;
        if !is_all || self.is_flushed || self.near.is_empty() || self.near.len() > ENOUGH {
            return None;
        }
        self.is_flushed = true;
        Some(&mut self.near)
    }

    /// So many bytes lie here.
    pub fn waiting(&self) -> usize {
        self.near.len() - self.written + self.data.len() + self.behind.len()
    }

    /// Whether all that lies here is on its way.
    pub fn is_flushed(&self) -> bool {
        self.is_flushed
    }

    /// Whether all that was promised is on its way, and only the body has not said that it ends there.
    pub fn lacks_only_the_end(&self) -> bool {
        self.framing == Framing::Length(0) && self.body.is_some() && self.is_flushed
    }

    /// Waits for the end no longer.
    pub fn end(&mut self) {
        self.body = None;
    }

    /// Writes all that lies here.
    pub fn poll_flush(&mut self, socket: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write(socket, cx))?;
        if !self.is_flushed {
            ready!(Pin::new(&mut *socket).poll_flush(cx))?;
            self.is_flushed = true;
        }
        if self.is_over() && self.near.capacity() > KEPT {
            (self.near, self.written) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, socket: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let near = &self.near[self.written..];
            let to = Pin::new(&mut *socket);
            let written = match [near, &self.data, self.behind] {
                [[], [], []] => return Poll::Ready(Ok(())),
                [only, [], []] | [[], only, []] => ready!(to.poll_write(cx, only))?,
                several => ready!(to.poll_write_vectored(cx, &several.map(IoSlice::new)))?,
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_near = written.min(near.len());
            let of_data = (written - of_near).min(self.data.len());
            self.written += of_near;
            self.data.advance(of_data);
            self.behind = &self.behind[written - of_near - of_data..];
            if self.data.is_empty() {
                // The memory behind it goes too.
                self.data = Bytes::new();
            }
        }
    }
}

impl<B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin> Transfer<B> {
    /// What follows the head.
    pub fn follow_with(&mut self, body: B) {
        self.body = Some(body);
    }

    /// Takes what there is of the body, as far as there is room for it. Pending where more has to come first.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Stopped> {
        while self.has_room()
            && let Some(body) = &mut self.body
        {
            let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else { return Ok(Poll::Pending) };
            // Trailers go nowhere. They come at the end.
            let frame = frame.transpose().map_err(|why| Stopped::Body(why.into()))?;
            match frame.and_then(|frame| frame.into_data().ok()) {
                Some(data) if data.is_empty() => {}
                Some(data) => {
                    let is_last = body.is_end_stream();
                    self.put(data, is_last)?;
                }
                None => self.put(Bytes::new(), true)?,
            }
        }
        Ok(Poll::Ready(()))
    }

    /// Writes what there is. Ready when all of it is on its way.
    pub fn poll(&mut self, socket: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        while !self.is_over() {
            let is_to_come = self.poll_body(cx)?.is_pending();
            ready!(self.poll_flush(socket, cx)).map_err(Stopped::Io)?;
            if is_to_come {
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn has_room(&self) -> bool {
        self.data.is_empty() && self.behind.is_empty() && self.near.len() - self.written < ENOUGH
    }

    /// This is next. Nothing large is here.
    fn put(&mut self, data: Bytes, is_last: bool) -> Result<(), Stopped> {
        // Little or nothing is behind what is written.
        self.near.drain(..self.written);
        self.written = 0;
        let (length, mut behind) = (data.len() as u64, &b""[..]);
        match &mut self.framing {
            Framing::Length(left) => {
                *left =
                    left.checked_sub(length).ok_or_else(|| Stopped::Body("it is longer than it was to be".into()))?;
                if is_last && *left > 0 {
                    return Err(Stopped::Body("it is shorter than it was to be".into()));
                }
            }
            Framing::Chunked => {
                if length > 0 {
                    // Writing to memory does not fail.
                    let _ = write!(self.near, "{length:x}\r\n");
                }
                behind = match (length > 0, is_last) {
                    (true, true) => b"\r\n0\r\n\r\n",
                    (true, false) => b"\r\n",
                    (false, _) => b"0\r\n\r\n",
                };
            }
            Framing::Nothing if length > 0 => return Err(Stopped::Body("it was not to be".into())),
            Framing::Nothing | Framing::UntilClose => {}
        }
        if data.len() <= SMALL {
            self.near.extend_from_slice(&data);
            self.near.extend_from_slice(behind);
        } else {
            (self.data, self.behind) = (data, behind);
        }
        self.is_flushed = false;
        if is_last {
            self.body = None;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
