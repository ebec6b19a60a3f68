//! Everything at once: many clients, every kind of request, every way to leave; and afterwards nothing is left over.

use std::{net::TcpStream, thread::scope, time::Duration};

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use crate::support::{
    Client, Recorder, Seen, TestGateway,
    client::head,
    until,
    upstream::{Then, answer},
};

const CLIENTS: usize = 64;
const REQUESTS: usize = 60;
const BIG: usize = 200_000;

/// Every answer begins with the id of the request it belongs to.
#[test]
fn whoever_asks_gets_his_own_answer_and_nothing_is_left_over() {
    let gw = TestGateway::with(|config| {
        config.server.workers = 2;
        config.server.max_connections = CLIENTS;
        config.upstreams[0].max_idle = 3;
        config.upstreams[0].idle_timeout = Duration::from_hours(1);
    });
    answer_by_id(&gw.upstream);
    scope(|scope| {
        for number in 0..CLIENTS {
            let gw = &gw;
            scope.spawn(move || Stranger::new(gw, number).play());
        }
    });
    // A connection that the gateway had not let go of would now keep somebody waiting.
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| gw.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/public/").status, 200);
    }
    until("the pools to shrink", || (gw.upstream.open() <= 2 * 3).then_some(()));
    gw.stop();
}

fn answer_by_id(upstream: &Recorder) {
    let whole = |seen: &Seen, out: &mut TcpStream| {
        let id = seen.header("x-id").unwrap_or_default();
        let body = format!("{id} {} ", seen.body.len());
        if seen.target.ends_with("big") {
            answer(out, format!("HTTP/1.1 200 OK\r\nContent-Length: {BIG}\r\n\r\n{body}"));
            return answer(out, vec![b'.'; BIG - body.len()]);
        }
        if seen.target.ends_with("chunked") {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            return answer(out, format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len()));
        }
        if seen.target.ends_with("dies") {
            answer(out, format!("HTTP/1.1 200 OK\r\nContent-Length: {BIG}\r\n\r\n{body}"));
            return Then::Close;
        }
        answer(out, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    };
    upstream.early(move |seen, out| {
        if seen.target.ends_with("early") {
            whole(seen, out);
        }
        None
    });
    upstream.does(move |seen, out| if seen.target.ends_with("early") { Then::KeepOpen } else { whole(seen, out) });
}

struct Stranger<'a> {
    gw: &'a TestGateway,
    client: Client,
    random: SmallRng,
    number: usize,
    asked: usize,
}

impl<'a> Stranger<'a> {
    fn new(gw: &'a TestGateway, number: usize) -> Self {
        Self { gw, client: gw.client(), random: SmallRng::seed_from_u64(number as u64), number, asked: 0 }
    }

    fn play(mut self) {
        for _ in 0..REQUESTS {
            match self.random.random_range(0..12) {
                0 => self.asks("GET", "/public/", 0),
                1 => self.asks("GET", "/public/big", 0),
                2 => self.asks("POST", "/public/chunked", 300),
                3 => self.asks("POST", "/public/", BIG),
                4 => self.asks("POST", "/public/early", 20_000),
                5 => self.sends_chunks(),
                6 => self.asks_at_once(),
                7 => self.is_refused(),
                8 => self.is_let_down(),
                9 => self.leaves_while_sending(),
                10 => self.leaves_while_waiting(),
                _ => self.leaves_while_reading(),
            }
        }
    }

    /// An id nobody else has.
    fn id(&mut self) -> String {
        self.asked += 1;
        format!("{}-{}", self.number, self.asked)
    }

    fn asks(&mut self, method: &str, path: &str, size: usize) {
        let id = self.id();
        let reply = self.client.request(method, path, &[("X-Id", &id)], &"b".repeat(size));
        let size = if path.ends_with("early") { 0 } else { size };
        assert!(reply.text().starts_with(&format!("{id} {size} ")), "{path}: {id}, not {:.40}", reply.text());
    }

    fn sends_chunks(&mut self) {
        let id = self.id();
        let head = format!("PUT /public/ HTTP/1.1\r\nHost: a\r\nX-Id: {id}\r\nTransfer-Encoding: chunked\r\n\r\n");
        self.client.send(head).send("5\r\nhello\r\n").send("3\r\n...\r\n0\r\nX-Sum: 1\r\n\r\n");
        assert_eq!(self.client.reply().text(), format!("{id} 8 "));
    }

    fn asks_at_once(&mut self) {
        let ids: Vec<String> = (0..4).map(|_| self.id()).collect();
        let chunked = |id: &str| {
            format!(
                "POST /public/ HTTP/1.1\r\nHost: a\r\nX-Id: {id}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
            )
        };
        let plain = |id: &str| head("GET", "/public/chunked", &[("X-Id", id)], 0);
        let requests = [chunked(&ids[0]), plain(&ids[1]), chunked(&ids[2]), plain(&ids[3])];
        self.client.send(requests.concat());
        for (id, size) in ids.iter().zip([2, 0, 2, 0]) {
            assert_eq!(self.client.reply().text(), format!("{id} {size} "));
        }
    }

    fn is_refused(&mut self) {
        let size = self.random.random_range(1..50_000);
        let reply = self.client.request("POST", "/orders", &[], &"b".repeat(size));
        assert_eq!(reply.code(), "token_missing");
        if reply.header("connection").is_some() {
            self.client = self.gw.client();
        }
    }

    fn is_let_down(&mut self) {
        let id = self.id();
        self.client.send(head("GET", "/public/dies", &[("X-Id", &id)], 0));
        assert!(self.client.try_reply("GET").is_err());
        self.client = self.gw.client();
    }

    fn leaves_while_sending(&mut self) {
        let id = self.id();
        self.client.send(head("POST", "/public/", &[("X-Id", &id)], BIG)).send(vec![b'b'; BIG / 2]);
        self.client = self.gw.client();
    }

    fn leaves_while_waiting(&mut self) {
        let id = self.id();
        self.client.send(head("GET", "/public/big", &[("X-Id", &id)], 0));
        self.client = self.gw.client();
    }

    fn leaves_while_reading(&mut self) {
        let id = self.id();
        self.client.send(head("GET", "/public/big", &[("X-Id", &id)], 0));
        self.client.some(1000);
        self.client = self.gw.client();
    }
}
