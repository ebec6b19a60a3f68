//! A message that lies in several pieces, written to a socket.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use smallvec::SmallVec;
use tokio::io::AsyncWrite;

/// Up to so many bytes are copied together. A head and a small body fit.
const SMALL: usize = 2048;

/// Writes `pieces`, or the first part of them: a small message copied into one piece, which the kernel takes by the
/// shorter way of `send`, and a large one as it lies. On the whole of a request the difference was within the noise.
pub fn write_pieces<S: AsyncWrite + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    pieces: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let stream = Pin::new(stream);
    if let [piece] = pieces {
        return stream.poll_write(cx, piece);
    }
    if pieces.iter().map(|piece| piece.len()).sum::<usize>() > SMALL {
        return stream.poll_write_vectored(cx, pieces);
    }
    let mut whole = SmallVec::<[u8; SMALL]>::new();
    for piece in pieces {
        whole.extend_from_slice(piece);
    }
    stream.poll_write(cx, &whole)
}
