//! One user, and everything one can do to a gateway.

use std::{
    collections::VecDeque,
    io,
    sync::{LazyLock, atomic::Ordering},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::{
    Place, Tally,
    lean::{self, Wire},
};

const SMALL: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{\"ok\":true}";

const MIB: usize = 1 << 20;

/// Connections that a user leaves lying about at most.
const IDLE: usize = 20;

/// An answer of four MiB.
static BIG: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 4 * MIB).into_bytes();
    answer.resize(answer.len() + 4 * MIB, b'.');
    answer
});

/// What the backend answers.
pub(super) fn answer(head: &[u8]) -> &'static [u8] {
    if head.starts_with(b"GET /big") { &BIG } else { SMALL }
}

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Get,
    Fresh,
    Post,
    Upload,
    Download,
    Relogin,
    Stranger,
    Rubbish,
    BreakOff,
    Idle,
}

impl Act {
    pub(super) const ALL: [Self; 10] = [
        Self::Get,
        Self::Fresh,
        Self::Post,
        Self::Upload,
        Self::Download,
        Self::Relogin,
        Self::Stranger,
        Self::Rubbish,
        Self::BreakOff,
        Self::Idle,
    ];

    /// How often, in a thousand times, in the order of [`Act::ALL`].
    const SHARES: [u32; 10] = [500, 100, 200, 8, 8, 10, 60, 40, 50, 24];

    fn pick(rng: &mut SmallRng) -> usize {
        let mut at = rng.random_range(0..1000);
        let chosen = Self::SHARES.iter().position(|share| {
            let here = at < *share;
            at = at.saturating_sub(*share);
            here
        });
        chosen.unwrap_or(0)
    }
}

pub(super) struct Visitor {
    place: Place,
    openid: String,
    rng: SmallRng,
    token: Option<String>,
    wire: Option<Wire>,
    idle: VecDeque<Wire>,
    upload: Vec<u8>,
}

impl Visitor {
    pub(super) fn new(number: u32, place: Place) -> Self {
        let (rng, upload) = (SmallRng::seed_from_u64(number.into()), vec![b'u'; MIB]);
        let openid = format!("oVisitor-{number}");
        Self { place, openid, rng, token: None, wire: None, idle: VecDeque::new(), upload }
    }

    /// Does something and notes whether it went as it should.
    pub(super) fn act(&mut self, tally: &Tally) {
        let chosen = Act::pick(&mut self.rng);
        tally.done[chosen].fetch_add(1, Ordering::Relaxed);
        if let Err(error) = self.perform(Act::ALL[chosen]) {
            if tally.wrong[chosen].fetch_add(1, Ordering::Relaxed) < 3 {
                println!("{:?}: {error}", Act::ALL[chosen]);
            }
            self.wire = None;
        }
    }

    fn perform(&mut self, act: Act) -> io::Result<()> {
        match act {
            Act::Get => self.ask("GET /api/items?page=2", 0, 200),
            Act::Fresh => {
                let kept = self.wire.take();
                let outcome = self.ask("GET /api/items", 0, 200);
                self.wire = kept;
                outcome
            }
            Act::Post => self.ask("POST /api/items", 1024, 200),
            Act::Upload => self.ask("PUT /upload", MIB, 200),
            Act::Download => self.ask("GET /big", 0, 200),
            Act::Relogin => {
                // Whoever logs in without logging out would fill the memory as they are meant to.
                self.ask("POST /v1/logout", 0, 204)?;
                self.token = None;
                self.ask("GET /v1/session", 0, 200)
            }
            Act::Stranger => {
                let token = self.token.replace("wxg_not-a-token".to_owned());
                let outcome = self.ask("GET /api/items", 0, 401);
                self.token = token;
                outcome
            }
            Act::Rubbish => self.rubbish(),
            Act::BreakOff => self.break_off(),
            Act::Idle => self.leave(),
        }
    }

    /// A whole exchange on the kept connection, which is kept on unless the answer says that it ends.
    fn ask(&mut self, what: &str, body: usize, expected: u16) -> io::Result<()> {
        let head = self.head(what, body)?;
        let mut wire = self.connection()?;
        wire.send(head.as_bytes())?;
        wire.send(&self.upload[..body])?;
        let head = wire.head()?;
        let (status, closes) = (status(head), says_close(head));
        wire.body(|_| {})?;
        self.wire = (!closes).then_some(wire);
        if status == expected { Ok(()) } else { Err(io::Error::other(format!("{what}: {status}"))) }
    }

    /// What no parser may take for a request.
    fn rubbish(&mut self) -> io::Result<()> {
        let rubbish = [
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX-WX-OPENID : forged\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "\u{16}\u{3}\u{1}\r\n\r\n",
        ];
        let mut wire = Wire::connect(self.place.gateway)?;
        wire.send(rubbish[self.rng.random_range(0..rubbish.len())].as_bytes())?;
        match status(wire.head()?) {
            400 => Ok(()),
            status => Err(io::Error::other(format!("rubbish was answered with {status}"))),
        }
    }

    /// Goes away in a head, in a body or in an answer, orderly or not.
    fn break_off(&mut self) -> io::Result<()> {
        let moment = self.rng.random_range(0..3);
        let (what, body) = [("GET /api/items", 0), ("POST /api/items", MIB), ("GET /big", 0)][moment];
        let head = self.head(what, body)?;
        let mut wire = Wire::connect(self.place.gateway)?;
        match moment {
            0 => wire.send(&head.as_bytes()[..self.rng.random_range(1..head.len())])?,
            1 => {
                wire.send(head.as_bytes())?;
                wire.send(&self.upload[..self.rng.random_range(1..64 * 1024)])?;
            }
            _ => {
                wire.send(head.as_bytes())?;
                wire.head()?;
            }
        }
        if self.rng.random() { socket2::SockRef::from(&wire).set_linger(Some(Duration::ZERO)) } else { Ok(()) }
    }

    /// Leaves a connection lying about, used or not, and forgets the oldest.
    fn leave(&mut self) -> io::Result<()> {
        let fresh = Wire::connect(self.place.gateway)?;
        self.idle.extend(if self.rng.random() { self.wire.replace(fresh) } else { Some(fresh) });
        if self.idle.len() > IDLE {
            self.idle.pop_front();
        }
        Ok(())
    }

    fn head(&mut self, what: &str, body: usize) -> io::Result<String> {
        let token = match self.token.take() {
            Some(token) => token,
            None => lean::login(self.place.gateway, self.place.wechat, &self.openid)?,
        };
        let head = format!("{what} HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer {token}\r\n");
        self.token = Some(token);
        Ok(format!("{head}Content-Length: {body}\r\n\r\n"))
    }

    fn connection(&mut self) -> io::Result<Wire> {
        self.wire.take().map_or_else(|| Wire::connect(self.place.gateway), Ok)
    }
}

/// Whether the next request has to go to another connection.
fn says_close(head: &[u8]) -> bool {
    head.split(|byte| *byte == b'\n').any(|line| line.trim_ascii().eq_ignore_ascii_case(b"connection: close"))
}

fn status(head: &[u8]) -> u16 {
    let digits = head.get(9..12).and_then(|digits| str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}
