//! `wxgate sessions` against a running gateway, as an operator types it.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::Value;

use crate::support::{APP, OTHER_APP, TestGateway, refusing};

use super::{TOKEN, token, with_token};

/// A folder with a `gateway.toml` whose operators' listener is at this address.
fn folder(name: &str, listen: SocketAddr, apps: &[&str], token: bool) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("sessions_{name}"));
    fs::create_dir_all(&folder).unwrap();
    let token = if token { "token = { env = \"OPERATORS_TOKEN\" }" } else { "" };
    let mut config = format!(
        "[admin]\nlisten = \"{listen}\"\n{token}\n[[upstreams]]\nname = \"app\"\nservers = [\"http://127.0.0.1:1\"]\n\
         [[routes]]\npath = \"/\"\nupstream = \"app\"\n"
    );
    for app in apps {
        config.push_str(&format!("[[apps]]\napp_id = \"{app}\"\nsecret = {{ env = \"APP_SECRET\" }}\n"));
    }
    fs::write(folder.join("gateway.toml"), config).unwrap();
    folder
}

fn run(folder: &PathBuf, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wxgate"));
    command.arg("sessions").args(args).current_dir(folder);
    command.env("OPERATORS_TOKEN", TOKEN).env("WRONG_TOKEN", "not-the-operators").env("APP_SECRET", "no secret");
    // A proxy of the machine's must not see the token.
    command.env("http_proxy", "http://127.0.0.1:1").output().unwrap()
}

/// What it prints when all is well.
fn said(folder: &PathBuf, args: &[&str]) -> String {
    let output = run(folder, args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What it complains of, and with which exit code.
fn complaint(folder: &PathBuf, args: &[&str]) -> (i32, String) {
    let output = run(folder, args);
    assert!(output.stdout.is_empty(), "{output:?}");
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn addr(gw: &TestGateway) -> SocketAddr {
    gw.app().admin_addrs()[0]
}

#[test]
fn sessions_are_listed_counted_and_ended() {
    let gw = with_token();
    let here = folder("story", addr(&gw), &[APP], true);
    let (mut phone, mut tablet) = (gw.login("oAlice"), gw.login("oAlice"));
    assert_eq!(said(&here, &["count"]), "2 sessions\n");
    let listed = said(&here, &["list", "--openid", "oAlice"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!((lines.len(), &lines[0][..20]), (3, "session             "), "{listed}");
    assert!(lines[1].ends_with("2026-09-21T14:13:20Z  2026-09-21T14:13:20Z  1day"), "{listed}");

    let json: Value = serde_json::from_str(&said(&here, &["list", "--openid", "oAlice", "--json"])).unwrap();
    let id = json["sessions"][0]["id"].as_str().unwrap();
    assert!(lines[1].starts_with(id), "{listed}");
    assert_eq!(said(&here, &["revoke", "--openid", "oAlice", "--session", id]), "ended 1 session\n");
    let live = [phone.get("/orders").status, tablet.get("/orders").status];
    assert!(live == [200, 401] || live == [401, 200], "{live:?}");
    assert_eq!(said(&here, &["revoke", "--openid", "oAlice"]), "ended 1 session\n");
    assert_eq!([phone.get("/orders").status, tablet.get("/orders").status], [401, 401]);
    assert_eq!(said(&here, &["list", "--openid", "oAlice"]), "no live sessions\n");
    assert_eq!(said(&here, &["count", "--json"]), "{\"sessions\":0}\n");
}

#[test]
fn an_openid_may_have_anything_in_it() {
    let gw = with_token();
    let here = folder("openid", addr(&gw), &[APP], true);
    gw.login("o/A?b%2F#..");
    assert_eq!(said(&here, &["revoke", "--openid", "o/A?b%2F#.."]), "ended 1 session\n");
}

/// `..` as a session would have named the path of all the user's sessions, and ended them.
#[test]
fn an_id_that_means_another_path_ends_nothing() {
    let gw = with_token();
    let here = folder("paths", addr(&gw), &[APP], true);
    let mut alice = gw.login("oAlice");
    for id in ["..", ".", ""] {
        let (code, said_no) = complaint(&here, &["revoke", "--openid", "oAlice", "--session", id]);
        assert!(code == 1 && said_no.contains("can't be empty, '.' or '..'"), "{id}: {said_no}");
        let (code, said_no) = complaint(&here, &["revoke", "--openid", id]);
        assert!(code == 1 && said_no.contains("can't be empty, '.' or '..'"), "{id}: {said_no}");
    }
    for id in ["%2e%2e", "../..", "..;", "x/.."] {
        let (code, said_no) = complaint(&here, &["revoke", "--openid", "oAlice", "--session", id]);
        assert!(code == 1 && said_no.contains("(no_session"), "{id}: {said_no}");
    }
    assert_eq!(alice.get("/orders").status, 200);
}

#[test]
fn where_several_apps_are_configured_one_has_to_be_named() {
    let gw = with_token();
    let here = folder("apps", addr(&gw), &[APP, OTHER_APP], true);
    gw.login_to(OTHER_APP, "oAlice");
    let (code, said_no) = complaint(&here, &["list", "--openid", "oAlice"]);
    let expected = format!("wxgate: several apps are configured; say --app, one of {APP}, {OTHER_APP}\n");
    assert_eq!((code, said_no), (2, expected));
    assert_eq!(said(&here, &["revoke", "--openid", "oAlice", "--app", OTHER_APP]), "ended 1 session\n");
    let (code, said_no) = complaint(&here, &["list", "--openid", "oAlice", "--app", "wx0"]);
    assert!(
        code == 1
            && said_no.contains(
                "No app of this AppID is configured here, and nothing is kept of the user in it. (unknown_app"
            ),
        "{said_no}"
    );
}

#[test]
fn a_gateway_elsewhere_needs_no_file_here() {
    let gw = with_token();
    let empty = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("sessions_elsewhere");
    fs::create_dir_all(&empty).unwrap();
    gw.login("oAlice");
    let url = format!("http://{}", addr(&gw));
    let there = ["--admin", &url, "--token-env", "OPERATORS_TOKEN"];
    assert_eq!(said(&empty, &[&["count"], &there[..]].concat()), "1 session\n");
    let (code, said_no) = complaint(&empty, &[&["list", "--openid", "oAlice"], &there[..]].concat());
    assert!(code == 2 && said_no.contains("gateway.toml: cannot be read"), "{said_no}");
    let list = ["list", "--openid", "oAlice", "--app", APP];
    assert_eq!(said(&empty, &[&list[..], &there].concat()).lines().count(), 2);
}

#[test]
fn what_goes_wrong_is_said_without_the_token_or_the_openid() {
    let (_socket, nobody) = refusing();
    let gone = SocketAddr::from(([127, 0, 0, 1], nobody.port));
    let gw = with_token();
    let url = |addr: SocketAddr| format!("http://{addr}");
    let here = folder("wrong", addr(&gw), &[APP], true);
    let list = ["list", "--openid", "oAliceInTrouble"];
    for (more, expected, code) in [
        (vec!["--admin".to_owned(), url(gone)], "is it running?", 1),
        (vec!["--admin".to_owned(), url(gw.addr())], "The session token is not valid, or no longer.", 1),
        (vec!["--admin".to_owned(), url(gw.upstream.addr())], "the gateway's answer is not understood", 1),
        (
            vec!["--token-env".to_owned(), "WRONG_TOKEN".to_owned()],
            "This is not the admin token. (admin_token_invalid",
            1,
        ),
        (vec!["--token-env".to_owned(), "NO_SUCH_VARIABLE".to_owned()], "NO_SUCH_VARIABLE is not set", 2),
        (vec!["--admin".to_owned(), format!("{}/hunter2", url(gone))], "--admin has a path; it must be like http", 2),
        (vec!["--admin".to_owned(), "//ops:hunter2@10.0.0.1".to_owned()], "--admin is no URL", 2),
    ] {
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let (said_code, said_no) = complaint(&here, &[&list[..], &more].concat());
        assert!(said_code == code && said_no.contains(expected), "{more:?}: {said_code} {said_no}");
        for secret in [TOKEN, "not-the-operators", "oAliceInTrouble", "hunter2"] {
            assert!(!said_no.contains(secret), "{said_no}");
        }
    }
    let (code, said_no) = complaint(&here, &["revoke", "--openid", "oAlice", "--session", "0123"]);
    assert!(code == 1 && said_no.contains("This user has no live session of this id"), "{said_no}");
}

#[test]
fn without_a_token_in_the_configuration_it_says_what_is_missing() {
    let gw = TestGateway::start();
    let here = folder("no_token", addr(&gw), &[APP], false);
    let (code, said_no) = complaint(&here, &["count"]);
    assert!(code == 2 && said_no.contains("no admin.token is configured"), "{said_no}");
    let (code, said_no) = complaint(&here, &["count", "--token-env", "OPERATORS_TOKEN"]);
    assert!(code == 1 && said_no.contains("(admin_token_unset"), "{said_no}");
}

#[test]
fn a_store_that_is_away_is_said_to_be_away() {
    let store = crate::support::scripted::Scripted::own();
    let gw = TestGateway::on(Some(store.clone()), token);
    let here = folder("away", addr(&gw), &[APP], true);
    store.go_away();
    let (code, said_no) = complaint(&here, &["list", "--openid", "oAlice"]);
    assert!(code == 1 && said_no.contains("The session store does not answer. (store_unavailable"), "{said_no}");
}
