//! The example of docs/INSTANCES.md, with real binaries: it is what its readers will copy.

use redis::Value;

use crate::support::{APP, Client, SECRET, binary::Binary, redis_server::RedisServer};

const PAGE: &str = include_str!("../../../docs/INSTANCES.md");

/// The configuration that the page shows, with the ports of this test.
fn example(server: &RedisServer, api_base: &str) -> String {
    let (_, rest) = PAGE.split_once("```toml\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    let moved = [
        ("0.0.0.0:8080", "127.0.0.1:0".to_owned()),
        ("127.0.0.1:6379", server.addr().to_string()),
        (
            "secret = { env = \"WX_APP_SECRET\" }",
            format!("secret = {{ env = \"WX_APP_SECRET\" }}\napi_base = \"{api_base}\""),
        ),
    ];
    let example = moved.into_iter().fold(example.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "the page has no {from}");
        text.replace(from, &to)
    });
    format!("{example}\n[admin]\nlisten = \"127.0.0.1:0\"\n")
}

#[test]
fn two_binaries_with_the_file_of_the_page_share_their_sessions() {
    let server = RedisServer::start();
    let line = PAGE.lines().find_map(|line| line.strip_prefix("ACL SETUSER wxgate ")).expect("the line with the user");
    let told = server.tell(&format!("ACL SETUSER wxgate {}", line.replace(">a-long-password", ">word")));
    assert_eq!(told, Value::Okay);
    let wechat = wxgate::simulator::Simulator::start(wxgate::simulator::Options::on_free_port().with_app(APP, SECRET));
    let wechat = wechat.expect("the stand-in");
    let config = example(&server, &wechat.api_base());
    let seal = "5e".repeat(32);
    let env = [
        ("WXGATE_REDIS_PASSWORD", "word"),
        ("WXGATE_SEAL_KEY", seal.as_str()),
        ("WXGATE_LOG_KEY", "the-same-key-for-all"),
        ("WX_APP_SECRET", SECRET),
    ];
    let [one, other] = ["page_one", "page_other"].map(|name| Binary::serve(name, &config, &env));
    let body = serde_json::json!({ "jsCode": wechat.make_code(APP, "oAlice").expect("a code"), "appId": APP });
    let login = one.client().post("/v1/verify", &body.to_string());
    assert_eq!(login.status, 200, "{login:?}");
    let bearer = format!("Bearer {}", login.json()["token"].as_str().expect("a token"));
    let session = |mut client: Client| client.request("GET", "/v1/session", &[("Authorization", &bearer)], "").status;
    assert_eq!((session(one.client()), session(other.client())), (200, 200));

    let (_, said) = one.stop();
    assert!(!said.contains("word") && !said.contains(&seal), "{said}");
    assert_eq!(session(other.client()), 200, "one may go");
    let again = Binary::serve("page_again", &config, &env);
    assert_eq!(session(again.client()), 200, "and another come");
    let out = again.client().request("POST", "/v1/logout", &[("Authorization", &bearer)], "");
    assert_eq!(out.status, 204);
    crate::support::until("a refusal", || (session(other.client()) == 401).then_some(()));
}
