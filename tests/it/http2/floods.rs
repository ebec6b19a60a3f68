//! Threats 40 and 41: floods that cost a client little. They end at our caps, memory stays flat, and others are served
//! meanwhile.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::support::{
    Client, Recorder,
    binary::Binary,
    client::head,
    http2::{
        CONTINUATION, DATA, END_STREAM, GET, HEADERS, Http2, Outcome, POST, RESET, WINDOW_UPDATE, again, block, frame,
        remember,
    },
    until,
};

const MIB: usize = 1024 * 1024;

/// A process of its own, so that its memory can be looked at.
struct Target {
    gw: Binary,
    upstream: Recorder,
    before: usize,
}

impl Target {
    fn start(name: &str) -> Self {
        let upstream = Recorder::start();
        let gw = Binary::serve(name, &config(upstream.addr()), &[]);
        let mut this = Self { gw, upstream, before: 0 };
        this.serves_others();
        this.before = this.gw.peak_memory();
        this
    }

    fn attacker(&self) -> Http2 {
        Http2::over(self.gw.client())
    }

    fn serves_others(&self) {
        let mut other: Client = self.gw.client();
        assert_eq!(other.get("/public/").status, 200);
        assert_eq!(self.attacker().ask(&GET).verdict(), "200");
    }

    /// Somebody else is served, and memory has not grown by more than this.
    fn stands(&self, most: usize) {
        self.serves_others();
        let grown = self.gw.peak_memory() - self.before;
        assert!(grown < most, "{grown} bytes more than before");
    }
}

fn config(backend: SocketAddr) -> String {
    format!(
        r#"
        [server]
        listen = ["127.0.0.1:0"]
        [server.http2]
        prior_knowledge = true
        [admin]
        listen = "127.0.0.1:0"
        [[apps]]
        app_id = "wx4f4bc4dec97d474b"
        secret = "no-secret-to-anybody"
        [[upstreams]]
        name = "app"
        servers = ["http://{backend}"]
        [[routes]]
        path = "/public/"
        auth = "none"
        upstream = "app"
        "#
    )
}

/// CVE-2023-44487, RUSTSEC-2024-0003.
#[test]
fn streams_that_are_taken_back_at_once_end_the_connection() {
    let target = Target::start("rapid-reset");
    let mut attacker = target.attacker();
    for _ in 0..20_000 {
        let stream = attacker.open(&GET, true);
        attacker.frame(RESET, 0, stream, &8_u32.to_be_bytes());
    }
    attacker.last_words();
    target.stands(16 * MIB);
}

/// CVE-2025-8671: the client makes us reset its streams.
#[test]
fn streams_that_we_are_made_to_take_back_end_the_connection() {
    let target = Target::start("made-you-reset");
    let mut attacker = target.attacker();
    for _ in 0..20_000 {
        let stream = attacker.open(&POST, false);
        attacker.frame(WINDOW_UPDATE, 0, stream, &0_u32.to_be_bytes());
    }
    attacker.last_words();
    target.stands(16 * MIB);
}

/// RUSTSEC-2024-0332.
#[test]
fn a_head_that_never_ends_ends_the_connection() {
    let target = Target::start("continuation");
    let mut attacker = target.attacker();
    let stream = attacker.stream();
    attacker.frame(HEADERS, END_STREAM, stream, &block(&GET));
    for n in 0..20_000 {
        attacker.frame(CONTINUATION, 0, stream, &block(&[(&format!("x-{n}"), "y")]));
    }
    attacker.last_words();
    target.stands(16 * MIB);
}

/// RUSTSEC-2026-0258.
#[test]
fn a_body_of_nothing_ends_or_costs_nothing() {
    let target = Target::start("empty-data");
    let mut attacker = target.attacker();
    let stream = attacker.open(&POST, false);
    for _ in 0..200 {
        attacker.client.send(frame(DATA, 0, stream, b"").repeat(1000));
    }
    attacker.outcome(stream);
    target.stands(16 * MIB);
}

/// h2 ends a connection on which some two thousand short pieces lie unread, and in a single turn nobody gets to read them.
#[test]
fn a_body_of_short_pieces_that_is_read_is_no_flood() {
    let target = Target::start("short-pieces");
    let mut client = target.attacker();
    let stream = client.open(&POST, false);
    client.client.send(frame(DATA, 0, stream, &[b'x'; 20]).repeat(3000));
    client.frame(DATA, END_STREAM, stream, b"");
    assert_eq!(client.outcome(stream).verdict(), "200");
    assert_eq!(target.upstream.last().body.len(), 60_000);
}

/// CVE-2019-9512, CVE-2019-9513, CVE-2019-9515, and what has no number: frames that ask for nothing.
#[test]
fn frames_that_ask_for_nothing_end_the_connection_when_they_are_too_many() {
    let target = Target::start("nothing-asked");
    let priority = [0, 0, 0, 0, 16];
    let (one, mut floods) = (1_u32.to_be_bytes(), 0);
    for (kind, payload) in [(0x6, &[7; 8][..]), (0x4, &[]), (WINDOW_UPDATE, &one), (0x2, &priority), (0xbb, b"grease")]
    {
        let mut attacker = target.attacker();
        let stream = if kind == 0x2 { attacker.stream() } else { 0 };
        for _ in 0..20 {
            attacker.client.send(frame(kind, 0, stream, payload).repeat(1000));
        }
        attacker.last_words();
        floods += 1;
        let counted = format!("wxgate_connections_broken_total{{outcome=\"flood\"}} {floods}");
        until(&counted, || target.gw.admin().get("/metrics").text().lines().any(|line| line == counted).then_some(()));
        // As many as anybody needs hurt nobody.
        let mut client = target.attacker();
        client.client.send(frame(kind, 0, stream, payload).repeat(1000));
        assert_eq!(client.ask(&GET).verdict(), "200", "{kind}");
    }
    target.stands(16 * MIB);
}

/// CVE-2026-49975, CVE-2026-47774: a byte stands for a field, and a window of nothing keeps what it costs.
#[test]
fn fields_that_cost_a_byte_are_counted_as_what_they_are() {
    for (name, value, times, verdict) in
        [("x-bomb", "y", 20_000, "gone"), ("cookie", "a=1", 5000, "refused"), ("x", "", 20_000, "gone")]
    {
        let target = Target::start(&format!("bomb-{name}-{times}"));
        let mut attackers: Vec<_> = (0..10).map(|_| Http2::with_settings(target.gw.client(), &[(4, 0)])).collect();
        for attacker in &mut attackers {
            for nth in 0..100 {
                let stream = attacker.stream();
                let field = if nth == 0 { remember(name, value) } else { Vec::new() };
                let bomb = [block(&GET), field, again(times)].concat();
                attacker.head(stream, &bomb, true);
            }
        }
        for attacker in &mut attackers {
            let last = attacker.stream() - 2;
            assert_eq!(attacker.outcome(last).verdict(), verdict, "{times} of {name}");
        }
        target.stands(32 * MIB);
        assert!(target.upstream.seen().iter().all(|seen| seen.headers.len() < 20), "a bomb went on to the upstream");
    }
}

/// Threat 41: which of the caps a head of such fields meets, by how many there are. What is counted is what they stand for.
#[test]
fn a_head_of_fields_that_cost_a_byte_is_refused_and_the_next_request_is_not() {
    let target = Target::start("bytes-for-fields");
    let asks = |attacker: &mut Http2, field: &[u8], times| {
        let stream = attacker.stream();
        attacker.head(stream, &[block(&GET), field.to_vec(), again(times)].concat(), true);
        attacker.outcome(stream)
    };
    for (name, value, times, verdict) in [
        ("x-bomb", "y", 99, "200"),
        ("x-bomb", "y", 100, "headers_too_large"),
        ("cookie", "a=1", 100, "headers_too_large"),
        ("x", "", 1500, "headers_too_large"),
        ("cookie", "a=1", 5000, "refused"),
        ("x-bomb", "y", 20_000, "gone"),
        ("x", "", 20_000, "gone"),
    ] {
        let mut attacker = target.attacker();
        let before = target.upstream.count();
        let outcome = asks(&mut attacker, &remember(name, value), times);
        assert_eq!(outcome.verdict(), verdict, "{times} of {name}");
        if verdict == "refused" {
            assert_eq!(outcome, Outcome::Answer(false, String::new()), "a bare one");
        }
        if verdict == "gone" {
            attacker = target.attacker();
            assert_eq!(asks(&mut attacker, &remember(name, value), 0).verdict(), "200");
        } else {
            assert_eq!(
                asks(&mut attacker, &[], 1).verdict(),
                "200",
                "{times} of {name}: what was remembered is known still"
            );
        }
        assert_eq!(target.upstream.last().all(name), [value], "{times} of {name}");
        assert_eq!(target.upstream.count() - before, 1 + usize::from(verdict == "200"), "{times} of {name}");
    }
    target.stands(16 * MIB);
}

/// Threat 40: a flood that goes on for as long as it likes, on one connection after the other.
#[test]
fn while_floods_go_on_another_client_has_every_answer() {
    let target = Target::start("meanwhile");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for kind in [RESET, WINDOW_UPDATE, CONTINUATION, DATA] {
            let (target, is_over) = (&target, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    flood(&mut target.attacker(), kind);
                }
            });
        }
        let mut other = target.gw.client();
        let get = head("GET", "/public/", &[], 0);
        let answers: Vec<_> = (0..200).map(|_| other.send(&get).try_reply("GET").map_or(0, |it| it.status)).collect();
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(answers, [200; 200], "on one connection");
    });
    target.stands(32 * MIB);
}

/// So many frames of one of the floods, whatever is said to them.
fn flood(attacker: &mut Http2, kind: u8) {
    let stream = attacker.open(&POST, false);
    for n in 0..2000 {
        match kind {
            RESET => {
                let stream = attacker.open(&GET, true);
                attacker.frame(RESET, 0, stream, &8_u32.to_be_bytes());
            }
            WINDOW_UPDATE => {
                let stream = attacker.open(&POST, false);
                attacker.frame(WINDOW_UPDATE, 0, stream, &0_u32.to_be_bytes());
            }
            CONTINUATION if n == 0 => {
                let stream = attacker.stream();
                attacker.frame(HEADERS, END_STREAM, stream, &block(&GET));
            }
            CONTINUATION => attacker.frame(CONTINUATION, 0, stream + 2, &block(&[(&format!("x-{n}"), "y")])),
            _ => attacker.frame(DATA, 0, stream, b""),
        }
    }
}

#[test]
fn a_field_too_many_is_refused_and_the_next_request_is_not() {
    let target = Target::start("one-too-many");
    let mut attacker = target.attacker();
    let mut many: Vec<(&str, &str)> = GET.to_vec();
    many.resize(4 + 101, ("cookie", "a=1"));
    assert_eq!(attacker.ask(&many).verdict(), "headers_too_large");
    many.truncate(4 + 100);
    assert_eq!(attacker.ask(&many).verdict(), "200");
    let long = "x".repeat(9 * 1024);
    assert_eq!(attacker.ask(&[&GET[..3], &[(":path", &format!("/public/{long}"))]].concat()).verdict(), "uri_too_long");
}
