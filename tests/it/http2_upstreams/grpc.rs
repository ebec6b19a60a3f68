//! gRPC: what it needs of HTTP/2, from its clients to its servers and back.

use bytes::Bytes;

use super::{before, gateway};
use crate::support::{
    http2::{END_STREAM, HEADERS, Http2, POST},
    http2_backend::{Answer, Backend},
    http2_client::talk,
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
    backend.answers(answer.ending_with("grpc-status", "13").ending_with("grpc-message", "it is broken"));
    let gw = before(&backend);
    let trailers = talk(gw.addr(), None, async |client| {
        let request = http::Request::post("http://api.example.com/public/")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-timeout", "5S");
        let mut client = client.ready().await.unwrap();
        let (answer, mut out) = client.send_request(request.body(()).unwrap(), false).unwrap();
        out.send_data(Bytes::from_static(MESSAGE), true).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.headers()["content-type"], "application/grpc");
        assert_eq!(answer.headers().get("grpc-status"), None, "it is not known yet");
        let mut body = answer.into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "message");
        assert!(body.data().await.is_none());
        body.trailers().await.unwrap().unwrap()
    });
    assert_eq!(trailers["grpc-status"], "13");
    assert_eq!(trailers["grpc-message"], "it is broken");
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
