//! Connections: deadlines, limits, and where one request ends and the next begins.

use crate::support::TestGateway;

/// Threat 36, RUSTSEC-2025-0037: the body of a request that was refused unread is never taken for the next request.
#[test]
fn an_unread_chunked_body_is_never_read_as_a_request() {
    let gw = TestGateway::start();
    let smuggled = "GET /public/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = "POST /orders HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut client = gw.client();
    let reply = client.raw(head);
    assert_eq!((reply.status, reply.code().as_str()), (401, "token_missing"));
    client.send(smuggled);
    let rest = String::from_utf8_lossy(&client.rest()).into_owned();
    assert_eq!((rest.as_str(), gw.upstream.seen().len()), ("", 0));
}
