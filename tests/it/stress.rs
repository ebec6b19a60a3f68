//! Everything at once: many clients, every kind of request, every way to leave; and afterwards nothing is left over.

use std::thread::scope;

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use crate::support::{Client, TestGateway, client::head, until, upstream::answer};

const CLIENTS: u64 = 48;
const ROUNDS: usize = 150;

/// One client's life: on one connection while it lasts, each answer checked against its request.
fn live(gw: &TestGateway, seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut client = gw.client();
    for round in 0..ROUNDS {
        let mark = format!("c{seed}-r{round}");
        let size = [0, 10, 3_000, 70_000][rng.random_range(0..4)];
        let body = "b".repeat(size);
        let asked = head(if size == 0 { "GET" } else { "POST" }, "/public/x", &[("X-Mark", &mark)], size) + &body;
        match rng.random_range(0..12) {
            // Gone in the middle of the head, of the body, or before the answer.
            0 => client = replace(gw, client.send(&asked[..rng.random_range(0..asked.len())])),
            1 => client = replace(gw, client.send(&asked)),
            2 => {
                let chunks = format!(
                    "{}5\r\nhello\r\n0\r\n\r\n",
                    head("POST", "/public/x", &[("X-Mark", &mark), ("Transfer-Encoding", "chunked")], 0)
                );
                assert_eq!(client.raw(chunks).text(), format!("{mark} 5"));
            }
            3 => {
                // A body nobody reads: refused at the door, and the next request is still itself.
                let refused = client.raw(head("POST", "/orders", &[], size) + &body);
                assert_eq!(refused.status, 401, "{refused:?}");
                if size > 0 {
                    client = gw.client();
                }
            }
            _ => assert_eq!(client.raw(&asked).text(), format!("{mark} {size}")),
        }
    }
}

fn replace(gw: &TestGateway, gone: &mut Client) -> Client {
    gone.finish();
    gw.client()
}

#[test]
fn in_a_crowd_every_answer_belongs_to_its_request_and_nothing_is_left_behind() {
    let gw = TestGateway::start();
    gw.upstream.does(|seen, out| {
        let body = format!("{} {}", seen.header("x-mark").unwrap_or("none"), seen.body.len());
        answer(out, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    });
    scope(|threads| {
        for seed in 0..CLIENTS {
            let gw = &gw;
            threads.spawn(move || live(gw, seed));
        }
    });
    // What is kept to the upstream goes after `idle_timeout`; what was in use by those who left is gone already.
    until("the upstream to be left alone", || (gw.upstream.open() == 0).then_some(()));
    assert_eq!(gw.client().get("/public/x").status, 200, "and it goes on");
}
