//! What was read from a connection and not used yet, and room for more.

use std::{
    cell::RefCell,
    fmt,
    future::Future,
    io,
    ops::{Deref, DerefMut},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

/// So much is read at once at first.
const LITTLE: usize = 8 * 1024;

/// The least room that is made at once.
const LEAST: usize = 1024;

thread_local! {
    /// Where a little is read into, for all connections of a worker. What is read is nearly always much less than there must be room
    /// for, and with a thousand connections that room would be cold memory; this is at hand.
    static DESK: RefCell<[u8; LITTLE]> = const { RefCell::new([0; LITTLE]) };
}

/// And so much at most, where what comes fills the room there is.
const MUCH: usize = 128 * 1024;

/// Bytes in the order in which they came. They are not printed: there are tokens among them.
pub struct Inbox {
    bytes: BytesMut,
    /// So much is read at once.
    at_once: usize,
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inbox({} bytes)", self.bytes.len())
    }
}

impl Inbox {
    /// With what was read already.
    pub fn new(bytes: BytesMut) -> Self {
        Self { bytes, at_once: LITTLE }
    }

    /// Reads more, and says how much; nothing at the end.
    pub fn poll_read(
        &mut self,
        socket: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let (room, read) = if self.at_once == LITTLE {
            (LITTLE, ready!(self.poll_read_little(socket, cx))?)
        } else {
            if self.bytes.capacity() - self.bytes.len() < self.at_once / 2 {
                self.bytes.reserve(self.at_once);
            }
            let room = self.bytes.capacity() - self.bytes.len();
            (room, ready!(pin!(socket.read_buf(&mut self.bytes)).poll(cx))?)
        };
        if read == room {
            self.at_once = (2 * self.at_once).min(MUCH);
        }
        Poll::Ready(Ok(read))
    }

    fn poll_read_little(
        &mut self,
        socket: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        DESK.with_borrow_mut(|desk| {
            let mut read = ReadBuf::new(desk);
            ready!(Pin::new(socket).poll_read(cx, &mut read))?;
            let read = read.filled();
            if self.bytes.capacity() - self.bytes.len() < read.len() {
                self.bytes.reserve(read.len().max(LEAST));
            }
            self.bytes.extend_from_slice(read);
            Poll::Ready(Ok(read.len()))
        })
    }

    /// Who waits for the next message does not keep the memory of a large one. If less than that has come, there is less room
    /// for the next.
    pub fn give_room_back(&mut self, heard: usize) {
        if self.at_once > LITTLE {
            self.bytes = BytesMut::from(&*self.bytes);
            if heard < self.at_once {
                self.at_once /= 2;
            }
        }
    }

    /// What is in it, and no room behind that.
    pub fn into_bytes(self) -> BytesMut {
        if self.bytes.is_empty() { BytesMut::new() } else { self.bytes }
    }
}

impl Deref for Inbox {
    type Target = BytesMut;

    fn deref(&self) -> &BytesMut {
        &self.bytes
    }
}

impl DerefMut for Inbox {
    fn deref_mut(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }
}
