//! A request on its way to the server: its head, and its body as it comes.

use std::{
    io::{self, IoSlice, Write as _},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::head::{self, Framing};
use crate::upstream::{Outgoing, Payload};

/// Room for a longer head than this is not kept for the next.
const KEPT: usize = 4096;

/// A request that is being written; or none, and room for the next.
#[derive(Debug)]
pub(super) struct Upload<B> {
    /// What goes before the data: the head, or a chunk's size.
    before: Vec<u8>,
    /// So much of that is written.
    written: usize,
    /// Of the body.
    data: Bytes,
    /// What goes behind them.
    behind: &'static [u8],
    body: Option<B>,
    framing: Framing,
    /// Whether all that was written is on its way: TLS may hold something back.
    is_flushed: bool,
}

/// Why a request can't be written to its end.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The server takes no more.
    Io(io::Error),
    /// There is no more of its body.
    Body(Box<dyn std::error::Error + Send + Sync>),
}

impl<B> Default for Upload<B> {
    fn default() -> Self {
        Self {
            before: Vec::new(),
            written: 0,
            data: Bytes::new(),
            behind: b"",
            body: None,
            framing: Framing::Nothing,
            is_flushed: true,
        }
    }
}

impl<B: Payload> Upload<B> {
    /// Begins with this request, which is taken only where it has a body.
    pub(super) fn begin(&mut self, request: &mut Option<Box<Outgoing<B>>>) {
        let Some(head) = request.as_deref() else { return };
        self.before.clear();
        self.written = 0;
        self.is_flushed = false;
        self.framing = head::write(head, &mut self.before);
        if self.framing != Framing::Nothing {
            self.body = request.take().map(|request| request.body);
        }
    }

    /// Whether all of it is on its way.
    pub(super) fn is_over(&self) -> bool {
        self.body.is_none() && self.is_flushed
    }

    /// Writes what there is. Ready when all of it is on its way.
    pub(super) fn poll(
        &mut self,
        socket: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Stopped>> {
        while !self.is_over() {
            let is_to_come = self.poll_body(cx)?.is_pending();
            ready!(self.poll_write(socket, cx)).map_err(Stopped::Io)?;
            if !self.is_flushed {
                ready!(Pin::new(&mut *socket).poll_flush(cx)).map_err(Stopped::Io)?;
                self.is_flushed = true;
            }
            if is_to_come {
                return Poll::Pending;
            }
        }
        if self.before.capacity() > KEPT {
            self.before = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Takes the next part of the body, if there is place for it. Pending where it has not come yet.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Stopped> {
        while self.data.is_empty()
            && self.behind.is_empty()
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

    /// This is next. Nothing of what came before it has to be written still but the head.
    fn put(&mut self, data: Bytes, is_last: bool) -> Result<(), Stopped> {
        let length = data.len() as u64;
        if let Framing::Length(left) = &mut self.framing {
            *left = left.checked_sub(length).ok_or_else(|| Stopped::Body("it is longer than it was to be".into()))?;
            if is_last && *left > 0 {
                return Err(Stopped::Body("it is shorter than it was to be".into()));
            }
        } else {
            if self.written == self.before.len() {
                self.before.clear();
                self.written = 0;
            }
            if length > 0 {
                // Writing to memory does not fail.
                let _ = write!(self.before, "{length:x}\r\n");
            }
            self.behind = match (length > 0, is_last) {
                (true, true) => b"\r\n0\r\n\r\n",
                (true, false) => b"\r\n",
                (false, _) => b"0\r\n\r\n",
            };
        }
        self.data = data;
        self.is_flushed = false;
        if is_last {
            self.body = None;
        }
        Ok(())
    }

    /// Writes all that lies here.
    fn poll_write(&mut self, socket: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let before = &self.before[self.written..];
            let to = Pin::new(&mut *socket);
            let written = match [before, &self.data, self.behind] {
                [[], [], []] => return Poll::Ready(Ok(())),
                [only, [], []] | [[], only, []] => ready!(to.poll_write(cx, only))?,
                several => ready!(to.poll_write_vectored(cx, &several.map(IoSlice::new)))?,
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_before = written.min(before.len());
            let of_data = (written - of_before).min(self.data.len());
            self.written += of_before;
            self.data.advance(of_data);
            self.behind = &self.behind[written - of_before - of_data..];
            if self.data.is_empty() {
                // The memory behind it goes too.
                self.data = Bytes::new();
            }
        }
    }
}
