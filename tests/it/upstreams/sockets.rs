//! A server at a socket of the file system.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixListener,
    thread,
};

use wxgate::config::sections::ServerAddress;

use super::OK;
use crate::support::{TestGateway, until};

#[test]
fn a_server_may_be_a_socket_of_the_file_system() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let gw = TestGateway::with(|config| {
        config.server.workers = 1;
        config.upstreams[0].servers = vec![ServerAddress::Unix(path.clone()).into()];
    });
    assert_eq!(gw.client().get("/public/").code(), "upstream_unreachable");
    assert!(gw.log.line("app.sock").contains("no connection to unix:/"));

    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut out = stream.try_clone().unwrap();
        let heads = BufReader::new(stream).lines().map_while(Result::ok).filter(String::is_empty);
        heads.map(|_| out.write_all(OK.as_bytes()).unwrap()).count()
    });
    for _ in 0..5 {
        assert_eq!(gw.client().get("/public/").status, 200);
    }
    let one = until("one connection", || {
        let status = gw.app().upstreams().status();
        (status[0].servers[0].connections == 1).then_some(status)
    });
    assert_eq!(one[0].servers[0].name, format!("unix:{}", path.display()));
    drop(gw);
    assert_eq!(server.join().unwrap(), 5, "all over one connection");
}
