//! What keeps a connection going: its frames, and the question whether the other side is still there.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use h2::{Ping, PingPong, client::Connection};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{
    super::socket::{Heard, Socket},
    State,
};

/// How often it is looked how long nothing has come. The figures below are so many of these.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// After so many seconds without a byte the server is asked whether it is there, if anybody waits for it.
const SILENCE: u32 = 10;

/// So long it has for saying so. With the time above it is less than `response_timeout` has by default, so that a server
/// that is gone takes along the requests that it has, and not those that come later.
const PATIENCE: u32 = 10;

/// One that was there and is silent on has nothing to say at the moment. Servers of gRPC close a connection on which they are
/// asked more often than every five minutes without having sent anything between.
const AGAIN: u32 = 310;

/// Drives one connection to its end. Those who wait for something on it are told by their streams.
pub(super) struct Driver {
    connection: Connection<Socket, Bytes>,
    pings: Option<PingPong>,
    heard: Heard,
    silence: Silence,
    state: Rc<State>,
}

impl Driver {
    pub(super) fn new(
        connection: Connection<Socket, Bytes>,
        pings: Option<PingPong>,
        heard: Heard,
        state: Rc<State>,
    ) -> Self {
        Self { connection, pings, heard, silence: Silence::default(), state }
    }

    pub(super) async fn run(mut self, tick: Duration) {
        let mut ticks = interval(tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        poll_fn(|cx| self.poll(&mut ticks, cx)).await;
        self.state.shut.set(true);
    }

    fn poll(&mut self, ticks: &mut Interval, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if Pin::new(&mut self.connection).poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if let (true, Some(pings)) = (self.silence.is_asking(), &mut self.pings)
                && pings.poll_pong(cx).is_ready()
            {
                self.heard.forget();
                self.silence.answered();
            }
            std::task::ready!(ticks.poll_tick(cx));
            if self.heard.anything() {
                self.heard.forget();
                self.silence.broken();
            }
            let verdict = self.silence.tick(self.state.streams.get() > 0);
            self.state.quiet.set(self.silence.quiet);
            match (verdict, &mut self.pings) {
                (Verdict::Gone, _) => return Poll::Ready(()),
                (Verdict::Ask, Some(pings)) => {
                    // It fails only where one is under way.
                    let _ = pings.send_ping(Ping::opaque());
                }
                (Verdict::Ask | Verdict::Wait, _) => {}
            }
        }
    }
}

/// For how long nothing has come, in ticks.
#[derive(Debug, Default)]
struct Silence {
    quiet: u32,
    asked: Option<u32>,
    /// The server has said that it is there, and nothing else.
    is_known: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Wait,
    Ask,
    Gone,
}

impl Silence {
    fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    /// The question was answered.
    fn answered(&mut self) {
        *self = Self { is_known: true, ..Self::default() };
    }

    /// Something else came.
    fn broken(&mut self) {
        *self = Self { asked: self.asked.map(|_| 0), ..Self::default() };
    }

    /// Another second has passed, in which somebody waits for the server or nobody does.
    fn tick(&mut self, is_awaited: bool) -> Verdict {
        self.quiet = self.quiet.saturating_add(1);
        if let Some(asked) = &mut self.asked {
            *asked += 1;
            return if *asked >= PATIENCE { Verdict::Gone } else { Verdict::Wait };
        }
        if !is_awaited || self.quiet < if self.is_known { AGAIN } else { SILENCE } {
            return Verdict::Wait;
        }
        self.asked = Some(0);
        Verdict::Ask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many seconds pass before it says something else than to wait.
    fn wait(silence: &mut Silence) -> (u32, Verdict) {
        for second in 1.. {
            let verdict = silence.tick(true);
            if verdict != Verdict::Wait {
                return (second, verdict);
            }
        }
        unreachable!("it says something in the end")
    }

    #[test]
    fn a_server_that_is_gone_is_noticed_before_a_request_has_waited_in_vain() {
        let mut silence = Silence::default();
        assert_eq!(wait(&mut silence), (SILENCE, Verdict::Ask));
        assert_eq!(wait(&mut silence), (PATIENCE, Verdict::Gone));
        const { assert!(SILENCE + PATIENCE < 30) };
    }

    #[test]
    fn a_server_that_is_there_and_has_nothing_to_say_is_not_asked_again_for_a_while() {
        let mut silence = Silence::default();
        wait(&mut silence);
        silence.answered();
        assert_eq!(wait(&mut silence), (AGAIN, Verdict::Ask));
        silence.answered();
        silence.broken();
        assert_eq!(wait(&mut silence), (SILENCE, Verdict::Ask));
    }

    #[test]
    fn who_says_something_else_is_there_too() {
        let mut silence = Silence::default();
        wait(&mut silence);
        for _ in 0..100 {
            assert_eq!(silence.tick(true), Verdict::Wait);
            silence.broken();
        }
    }

    #[test]
    fn nobody_is_asked_for_whom_nobody_waits() {
        let mut silence = Silence::default();
        assert!((0..1000).all(|_| silence.tick(false) == Verdict::Wait));
    }
}
