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
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::{
    cmsg_space,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, SocketFlags, SocketType, recv, recvmsg, send, sendmsg, socketpair,
        sockopt::{Timeout, set_socket_timeout, socket_domain},
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

/// What it says when it needs the sessions, which the old one has; and what it is told when it can have them.
const SESSIONS: &[u8] = b"sessions";

/// The longest word that one says to the other.
const LONGEST_WORD: usize = 16;

/// The longest name of a socket; a path in the file system is shorter.
const LONGEST_NAME: usize = 4096;

/// The listening sockets of a process, for another to take over. They are closed when it stops to listen.
#[derive(Clone, Debug, Default)]
pub struct Handover(Arc<Mutex<Vec<(String, Door)>>>);

/// The end of the new process.
#[derive(Debug)]
pub struct Predecessor(OwnedFd);

/// The end of the old process.
#[derive(Debug)]
pub struct Successor(OwnedFd);

/// What a new process says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The old one may go.
    Go,
    /// It needs the sessions before it can serve.
    WantsSessions,
    /// Nothing: it has ended, or has had its time.
    Nothing,
}

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

    /// The same sockets once more, so that this process can listen again where the other does not get that far.
    pub fn kept(&self) -> io::Result<Vec<(String, Passed)>> {
        let sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let again = |(name, door): &(String, Door)| Ok((name.clone(), passed(door.as_fd().try_clone_to_owned()?)?));
        sockets.iter().map(again).collect()
    }

    fn send(&self, to: &OwnedFd) -> io::Result<()> {
        // Copies, since whoever wants to close them does not wait until they have been received.
        let sockets = self.kept()?;
        sockets.iter().try_for_each(|(name, socket)| match socket {
            Passed::Tcp(socket) => send_one(to, name, socket.as_fd()),
            Passed::Unix(socket) => send_one(to, name, socket.as_fd()),
        })
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
        Ok((Self(link), PassedSockets::of(sockets)))
    }

    /// Tells it to stop listening, answer what is under way, and end.
    pub fn may_go(&self) -> io::Result<()> {
        say(&self.0, GO)
    }

    /// Asks for the sessions, and waits until it has given them up, or is not there any more.
    pub fn wait_for_sessions(&self) -> io::Result<()> {
        say(&self.0, SESSIONS)?;
        hear(&self.0, &mut [0; LONGEST_WORD]).map(|_| ())
    }
}

impl Successor {
    /// One end, and the other for the new process, which may take so long each time before it hears or says something.
    pub fn pair(patience: Duration) -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&ours, Timeout::Send, Some(patience))?;
        set_socket_timeout(&ours, Timeout::Recv, Some(patience))?;
        Ok((Self(ours), theirs))
    }

    /// Sends all of these.
    pub fn send(&self, all: &[Handover]) -> io::Result<()> {
        all.iter().try_for_each(|handover| handover.send(&self.0))?;
        say(&self.0, END)
    }

    /// Waits until it says something, or has had its time.
    pub fn hear(&self) -> Word {
        match hear(&self.0, &mut [0; LONGEST_WORD]) {
            Ok(GO) => Word::Go,
            Ok(SESSIONS) => Word::WantsSessions,
            Ok(_) | Err(_) => Word::Nothing,
        }
    }

    /// Tells it that the sessions can be had, and waits so long for what it says to that.
    pub fn give_sessions(&self, patience: Duration) -> Word {
        let told = set_socket_timeout(&self.0, Timeout::Recv, Some(patience)).map_err(io::Error::from);
        match told.and_then(|()| say(&self.0, SESSIONS)) {
            Ok(()) => self.hear(),
            Err(_) => Word::Nothing,
        }
    }
}

fn say(to: &OwnedFd, word: &[u8]) -> io::Result<()> {
    send(to, word, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The next word; an empty one where the other end is closed.
fn hear<'a>(from: &OwnedFd, bytes: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let (n, _) = recv(from, &mut *bytes, RecvFlags::empty())?;
    Ok(&bytes[..n])
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
    match socket_domain(&socket)? {
        AddressFamily::UNIX => Ok(Passed::Unix(UnixListener::from(socket))),
        _ => Ok(Passed::Tcp(TcpListener::from(socket))),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_socket_that_was_handed_over_has_the_connections_that_wait() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let waiting = TcpStream::connect(addr).unwrap();
        let listener = Listener::take_over(Passed::Tcp(listener), 2).unwrap().named("tcp:here");
        let handover = Handover::of(&[listener]).unwrap();
        let (successor, theirs) = Successor::pair(LONG).unwrap();
        successor.send(std::slice::from_ref(&handover)).unwrap();
        handover.close();
        let (predecessor, mut sockets) = Predecessor::of(&theirs).unwrap();
        let [Passed::Tcp(socket)] = &sockets.take("tcp:here")[..] else { unreachable!("one was sent") };
        assert_eq!(socket.accept().unwrap().1, waiting.local_addr().unwrap());
        predecessor.may_go().unwrap();
        assert_eq!(successor.hear(), Word::Go);
    }

    #[test]
    fn sessions_are_given_to_who_asks_and_taken_back_from_who_says_nothing_more() {
        let (successor, theirs) = Successor::pair(LONG).unwrap();
        let predecessor = Predecessor(theirs);
        std::thread::scope(|scope| {
            let asking = scope.spawn(move || {
                predecessor.wait_for_sessions().unwrap();
                predecessor
            });
            assert_eq!(successor.hear(), Word::WantsSessions);
            assert_eq!(successor.give_sessions(Duration::from_millis(1)), Word::Nothing, "it has its time");
            let predecessor = asking.join().unwrap();
            predecessor.may_go().unwrap();
            assert_eq!(successor.hear(), Word::Go);
        });
    }

    #[test]
    fn a_new_process_that_hangs_is_not_waited_for_for_ever() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = Listener::take_over(Passed::Tcp(listener), 1).unwrap().named("tcp:here");
        let handover = Handover::of(&[listener]).unwrap();
        let (successor, _theirs) = Successor::pair(Duration::from_millis(1)).unwrap();
        assert_eq!(successor.hear(), Word::Nothing);
        let more_than_the_queue_holds = vec![handover.clone(); 10_000];
        assert_eq!(successor.send(&more_than_the_queue_holds).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_new_process_that_fails_says_nothing() {
        let (successor, theirs) = Successor::pair(LONG).unwrap();
        drop(theirs);
        assert_eq!(successor.hear(), Word::Nothing);
    }
}
