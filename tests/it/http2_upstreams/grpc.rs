//! gRPC: what it needs of HTTP/2, from its clients to its servers and back.

use super::{before, gateway};
use crate::support::{
    http2::{DATA, END_STREAM, HEADERS, Http2, POST},
    http2_backend::{Answer, Backend},
    http2_server::Http2Server,
};

const MESSAGE: &[u8] = b"\0\0\0\0\x02hi";

fn call() -> Vec<(&'static str, &'static str)> {
    [&POST[..], &[("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "5S")]].concat()
}

#[test]
fn how_a_call_has_ended_is_told_behind_its_answer() {
    let backend = Backend::start();
    let answer = Answer::ok("message").with("content-type", "application/grpc");
    backend.answers(answer.ending_with("grpc-status", "0").ending_with("grpc-message", "fine"));
    let gw = before(&backend);
    let mut client = Http2::over(gw.client());
    let stream = client.open(&call(), false);
    client.frame(DATA, END_STREAM, stream, MESSAGE);
    client.until(HEADERS);
    assert_eq!(client.until(DATA).payload, b"message");
    let trailers = client.until(HEADERS);
    assert_eq!(trailers.flags & END_STREAM, END_STREAM);
    let asked = backend.last();
    assert_eq!((&asked.body[..], asked.header("te")), (MESSAGE, Some("trailers")));
    assert_eq!((asked.header("grpc-timeout"), asked.header("content-type")), (Some("5S"), Some("application/grpc")));
}

#[test]
fn a_call_without_an_answer_ends_with_its_head() {
    let server = Http2Server::start(&[], |talk, frame| {
        let fields = [("content-type", "application/grpc"), ("grpc-status", "12")];
        if frame.kind == HEADERS { talk.head(frame.stream, &fields, true) } else { Ok(()) }
    });
    let gw = gateway(&[server.addr()], |_| {});
    let mut client = Http2::over(gw.client());
    client.open(&call(), true);
    let head = client.until(HEADERS);
    assert_eq!(head.flags & END_STREAM, END_STREAM);
}

/// `TE` is for one connection; this server has it from us, and only where the client said it.
#[test]
fn a_server_is_not_told_to_send_trailers_that_nobody_reads() {
    let backend = Backend::start();
    backend.answers(Answer::ok("ok").ending_with("grpc-status", "0"));
    let gw = before(&backend);
    assert_eq!(gw.client().request("GET", "/public/", &[("TE", "trailers")], "").text(), "ok");
    assert_eq!(backend.last().header("te"), None);
}
