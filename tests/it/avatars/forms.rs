//! The form around a picture: one file, bounded, whole and in time.

use std::time::Duration;

use super::{BOUNDARY, PATH, Part, form, form_of, gateway, gateway_with, look, path_in, send, upload_head};
use crate::support::{
    OTHER_APP, User,
    client::head,
    pictures::{RED, plain, png},
    until,
};

const NO_FORM: &str = "The body must be multipart/form-data with one file.";

fn red() -> Vec<u8> {
    png(&plain(64, RED))
}

#[test]
fn texts_beside_the_file_and_what_it_is_called_count_for_nothing() {
    let (gw, _folder) = gateway();
    let mut alice = gw.login("oAlice");
    let picture = red();
    for name in ["../../etc/passwd", "a.php", "", "头像.gif", "x".repeat(3000).as_str()] {
        let parts = [
            Part::Text("openid", "oBob"),
            Part::Text("user", "oBob"),
            Part::File(name, "text/html", &picture),
            Part::Text("avatarUrl", "https://evil.example/x.png"),
        ];
        let reply = send(&mut alice, &form(&parts));
        assert_eq!(reply.status, 200, "{name}: {reply:?}");
        look(&gw, &path_in(&reply)).shows(64, [RED; 4]);
    }
    assert_eq!(gw.login("oBob").get("/v1/profile").json()["version"], 0);
}

#[test]
fn a_form_without_one_file_is_refused() {
    let (gw, _folder) = gateway();
    let mut alice = gw.login("oAlice");
    let picture = red();
    let file = || Part::File("a.png", "image/png", &picture);
    let many: Vec<Part<'_>> = (0..40).map(|_| Part::Text("a", "b")).chain([file()]).collect();
    let whole = form_of(&picture);
    let of_another = String::from_utf8_lossy(&form(&[Part::Text("a", "b")])).replace(BOUNDARY, "other").into_bytes();
    for body in [
        form(&[]),
        form(&[Part::Text("file", "no file")]),
        form(&[file(), file()]),
        form(&[file(), Part::Text("a", "b"), Part::File("", "", b"")]),
        form(&many),
        whole[..whole.len() - 30].to_vec(),
        of_another,
        b"\r\n".to_vec(),
        b"{\"avatarUrl\":\"https://a.example/\"}".to_vec(),
    ] {
        let reply = send(&mut alice, &body);
        gw.says_no(&reply, 400, "bad_request", NO_FORM, &[]);
    }
    assert_eq!(send(&mut alice, &whole).status, 200, "and nobody has been hurt");
}

#[test]
fn a_body_that_is_said_to_be_something_else_is_not_read() {
    let (gw, _folder) = gateway();
    let body = form_of(&red());
    let long = "x".repeat(71);
    for kind in [
        "application/json",
        "multipart/mixed; boundary=----wx9f2b",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        &format!("multipart/form-data; boundary={long}"),
        "",
    ] {
        let mut alice = gw.login("oAlice");
        let bearer = format!("Bearer {}", alice.token);
        let head = head("POST", PATH, &[("Authorization", &bearer), ("Content-Type", kind)], body.len());
        let reply = alice.client.send(head).send(&body).reply();
        // Whether the connection goes on depends on how much of the body had come by then.
        assert_eq!((reply.status, &reply.json()["error"]), (400, &NO_FORM.into()), "{kind}");
    }
}

#[test]
fn an_upload_has_a_cap_and_not_a_byte_more() {
    let (gw, _folder) = gateway_with(|config| config.avatars.as_mut().unwrap().max_body = 100_000);
    let of_size = |size: usize| {
        let picture = red();
        let empty = form(&[Part::File("a", "b", &picture), Part::Text("filling", "")]).len();
        form(&[Part::File("a", "b", &picture), Part::Text("filling", &"x".repeat(size - empty))])
    };
    assert_eq!(send(&mut gw.login("oAlice"), &of_size(100_000)).status, 200);
    let mut alice = gw.login("oAlice");
    let reply = send(&mut alice, &of_size(100_001));
    gw.says_no(&reply, 413, "body_too_large", "The request body is larger than allowed.", &[("connection", "close")]);
    assert!(alice.client.is_closed());

    // And where nobody says how long it is.
    let mut alice = gw.login("oAlice");
    alice.client.send(chunked_head(&alice.token));
    for piece in of_size(150_000).chunks(10_000) {
        alice.client.send(format!("{:x}\r\n", piece.len())).send(piece).send("\r\n");
    }
    assert_eq!(alice.client.reply().code(), "body_too_large");
}

fn chunked_head(token: &str) -> String {
    upload_head(token, 0).trim_end().to_owned() + "\r\nTransfer-Encoding: chunked\r\n\r\n"
}

#[test]
fn a_form_in_pieces_of_any_size_is_one_form() {
    let (gw, _folder) = gateway();
    let body = form_of(&red());
    for size in [1, 7, 64] {
        let mut alice = gw.login("oAlice");
        alice.client.send(chunked_head(&alice.token));
        for piece in body.chunks(size) {
            alice.client.send(format!("{:x}\r\n", piece.len())).send(piece).send("\r\n");
        }
        let reply = alice.client.send("0\r\n\r\n").reply();
        assert_eq!(reply.status, 200, "{size}: {reply:?}");
        look(&gw, &path_in(&reply)).shows(64, [RED; 4]);
    }
}

#[test]
fn a_part_whose_head_does_not_end_is_not_waited_for() {
    let (gw, _folder) = gateway();
    let long = format!(
        "--{BOUNDARY}\r\nX-Long: {}\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n",
        "a".repeat(100_000)
    );
    let body = [long.into_bytes(), form_of(&red())].concat();
    let mut alice = gw.login("oAlice");
    alice.client.send(chunked_head(&alice.token));
    for piece in body.chunks(1024) {
        alice.client.send(format!("{:x}\r\n", piece.len())).send(piece).send("\r\n");
    }
    let reply = alice.client.send("0\r\n\r\n").reply();
    gw.says_no(&reply, 400, "bad_request", NO_FORM, &[]);
}

/// Sends all but the end.
fn all_but_the_end(user: &mut User) {
    let body = form_of(&red());
    let head = upload_head(&user.token, body.len());
    user.client.send(head).send(&body[..body.len() - 20]);
}

#[test]
fn a_body_that_stops_is_not_waited_for() {
    let (gw, folder) = gateway_with(|config| config.server.body_timeout = Duration::from_millis(300));
    let mut alice = gw.login("oAlice");
    all_but_the_end(&mut alice);
    let error = "The request did not come whole in time.";
    gw.says_no(&alice.client.reply(), 408, "request_timeout", error, &[("connection", "close")]);
    assert!(super::files(folder.path()).is_empty());
}

#[test]
fn of_a_body_that_is_cut_nothing_stays() {
    let (gw, folder) = gateway();
    let mut alice = gw.login("oAlice");
    all_but_the_end(&mut alice);
    drop(alice);
    gw.log.line("\"endpoint\":\"avatar\"");
    assert!(super::files(folder.path()).is_empty());
    assert_eq!(gw.login("oAlice").get("/v1/profile").json()["version"], 0);
}

#[test]
fn what_has_come_of_uploads_has_room_up_to_a_point() {
    let (gw, _folder) = gateway_with(|config| {
        let avatars = config.avatars.as_mut().unwrap();
        (avatars.max_body, avatars.threads, avatars.max_waiting) = (100_000, 1, 1);
    });
    let body = form(&[Part::File("a", "b", &vec![0; 90_000])]);
    let mut others: Vec<User> = ["oBob", "oCarol"].map(|openid| gw.login(openid)).into();
    for other in &mut others {
        let head = upload_head(&other.token, body.len());
        other.client.send(head).send(&body[..body.len() - 100]);
    }
    // Both have come when a third finds no room.
    let mut alice = gw.login("oAlice");
    let reply = crate::support::until("no room", || {
        Some(send(&mut alice, &form(&[Part::File("a", "b", &vec![0; 60_000])]))).filter(|reply| reply.status == 503)
    });
    gw.says_no(&reply, 503, "overloaded", "This gateway has too much to do.", &[("retry-after", "1")]);
    drop(others);
    crate::support::until("room again", || (send(&mut alice, &form_of(&red())).status == 200).then_some(()));
}

/// Begins an upload of so many bytes. When this returns the gateway waits for the first of them.
fn begun(user: &mut User, length: usize) {
    let head = upload_head(&user.token, length).trim_end().to_owned() + "\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(user.client.send(head).interim().status, 100);
}

#[test]
fn who_sends_slowly_holds_two_places_and_no_room_of_others() {
    let (gw, _folder) = gateway();
    let body = form_of(&red());
    let mut slow = [gw.login("oAlice"), gw.login("oAlice")];
    for user in &mut slow {
        begun(user, body.len());
    }
    let mut alice = gw.login("oAlice");
    for _ in 0..3 {
        let reply = send(&mut alice, &body);
        assert_eq!((reply.status, reply.code().as_str()), (429, "rate_limited"));
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
    assert_eq!(send(&mut gw.login("oBob"), &body).status, 200);
    assert_eq!(send(&mut gw.login_to(OTHER_APP, "oAlice"), &body).status, 200);
    let [first, second] = &mut slow;
    assert_eq!(first.client.send(&body).reply().status, 200);
    assert_eq!(send(&mut alice, &body).status, 200, "in the place of one that is over");
    begun(first, body.len());
    assert_eq!(send(&mut alice, &body).status, 429);
    second.client = second.client.anew();
    until("the place of one who hung up", || (send(&mut alice, &body).status == 200).then_some(()));
}

#[test]
fn an_upload_takes_two_minutes_at_most_however_steadily_it_comes() {
    let (gw, _folder) = gateway();
    let body = form_of(&red());
    let (start, rest) = body.split_at(100);
    let mut alice = gw.login("oAlice");
    begun(&mut alice, body.len());
    gw.later(Duration::from_secs(119));
    assert_eq!(alice.client.send(&body).reply().status, 200);
    begun(&mut alice, body.len());
    gw.later(Duration::from_secs(119));
    alice.client.send(start);
    gw.later(Duration::from_secs(1));
    let reply = alice.client.send(rest).reply();
    assert_eq!((reply.status, reply.code().as_str()), (408, "request_timeout"));
    assert!(alice.client.is_closed());
}
