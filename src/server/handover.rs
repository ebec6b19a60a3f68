//! Listening sockets on their way from a process to the one that takes its place.
//!
//! The old process starts the new one with one end of a pair of sockets as its standard input, and sends the listening sockets
//! through it. They are the same sockets then, with the same queues of connections, so none of these is lost whoever closes them.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::TcpListener,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixListener,
    },
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::{
    cmsg_space,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, SocketFlags, SocketType, recvmsg, send, sendmsg, socketpair,
    },
};

use super::{
    Listener,
    listener::Door,
    systemd::{Passed, PassedSockets},
};

/// What the last message says.
const END: &[u8] = b"\n";

/// What the new process says when the old one may go.
const GO: &[u8] = b"go";

/// The longest name of a socket; a path in the file system is shorter.
const LONGEST_NAME: usize = 4096;

/// The listening sockets of a process, for another to take over. They are closed when it stops to listen.
#[derive(Clone, Debug, Default)]
pub struct Handover(Arc<Mutex<Vec<(String, Door)>>>);

/// The end of the new process.
#[derive(Debug)]
pub struct Predecessor {
    link: OwnedFd,
    was_told: AtomicBool,
}

/// The end of the old process.
#[derive(Debug)]
pub struct Successor(OwnedFd);

impl Handover {
    pub(super) fn of(listeners: &[Listener]) -> io::Result<Self> {
        let mut all = Vec::new();
        for (name, doors) in listeners.iter().map(Listener::to_hand_over) {
            for door in doors {
                all.push((name.to_owned(), door.try_clone()?));
            }
        }
        Ok(Self(Arc::new(Mutex::new(all))))
    }

    /// Sockets that nobody accepts from would keep their share of the connections.
    pub(super) fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn send(&self, to: &OwnedFd) -> io::Result<()> {
        let sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.iter().try_for_each(|(name, door)| send_one(to, name, door.as_fd()))
    }
}

impl Predecessor {
    /// What the process before this one hands over as standard input.
    pub fn of(stdin: impl AsFd) -> io::Result<(Self, PassedSockets)> {
        let link = stdin.as_fd().try_clone_to_owned()?;
        let mut sockets = Vec::new();
        while let Some(socket) = receive_one(&link)? {
            sockets.push(socket);
        }
        Ok((Self { link, was_told: AtomicBool::new(false) }, PassedSockets::of(sockets)))
    }

    /// Tells it to stop listening, answer what is under way, and end. Once is enough.
    pub fn may_go(&self) -> io::Result<()> {
        if self.was_told.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        send(&self.link, GO, SendFlags::NOSIGNAL).map(|_| ()).map_err(io::Error::from)
    }
}

impl Successor {
    /// One end, and the other for the new process.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(ours), theirs))
    }

    /// Sends all of these.
    pub fn send(&self, all: &[Handover]) -> io::Result<()> {
        all.iter().try_for_each(|handover| handover.send(&self.0))?;
        send(&self.0, END, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Waits until it says that we may go. False where it ends without a word.
    pub fn says_go(&self) -> bool {
        let mut bytes = [0; GO.len()];
        matches!(rustix::net::recv(&self.0, &mut bytes[..], RecvFlags::empty()), Ok((n, _)) if bytes[..n] == *GO)
    }
}

fn send_one(to: &OwnedFd, name: &str, socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let sockets = [socket];
    ancillary.push(SendAncillaryMessage::ScmRights(&sockets));
    sendmsg(to, &[IoSlice::new(name.as_bytes())], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The next one with its name; none after the last.
fn receive_one(from: &OwnedFd) -> io::Result<Option<(String, Passed)>> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut name = [0; LONGEST_NAME];
    let got = recvmsg(from, &mut [IoSliceMut::new(&mut name)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let name = &name[..got.bytes];
    if name == END {
        return Ok(None);
    }
    let socket = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
        _ => None,
    });
    let socket = socket.ok_or_else(|| io::Error::other("the other process has handed over no socket"))?;
    Ok(Some((String::from_utf8_lossy(name).into_owned(), passed(socket)?)))
}

fn passed(socket: OwnedFd) -> io::Result<Passed> {
    match rustix::net::sockopt::socket_domain(&socket)? {
        AddressFamily::UNIX => Ok(Passed::Unix(UnixListener::from(socket))),
        _ => Ok(Passed::Tcp(TcpListener::from(socket))),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_socket_that_was_handed_over_has_the_connections_that_wait() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let waiting = TcpStream::connect(addr).unwrap();
        let listener = Listener::take_over(Passed::Tcp(listener), 2).unwrap().named("tcp:here");
        let handover = Handover::of(&[listener]).unwrap();
        let (successor, theirs) = Successor::pair().unwrap();
        successor.send(std::slice::from_ref(&handover)).unwrap();
        handover.close();
        let (predecessor, mut sockets) = Predecessor::of(&theirs).unwrap();
        let [Passed::Tcp(socket)] = &sockets.take("tcp:here")[..] else { unreachable!("one was sent") };
        assert_eq!(socket.accept().unwrap().1, waiting.local_addr().unwrap());
        predecessor.may_go().unwrap();
        assert!(successor.says_go());
    }

    #[test]
    fn a_new_process_that_fails_says_nothing() {
        let (successor, theirs) = Successor::pair().unwrap();
        drop(theirs);
        assert!(!successor.says_go());
    }
}
