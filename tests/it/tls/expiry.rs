//! Certificates that come to their end: operators are told, day after day, and clients are shown them all the same.

use std::time::Duration;

use wxgate::model::Timestamp;

use crate::support::{
    TestGateway, messages,
    tls::{Authority, speak_tls},
    until,
};

const DAY: u64 = 24 * 60 * 60 * 1000;
/// The beginning of 2030, when these certificates end. The clients' own clocks have not come to it.
const END: u64 = 1_893_456_000_000;
const SOON: &str = "a certificate expires soon";
const OVER: &str = "a certificate is not valid";

/// A gateway with a certificate for this name, which looks at it all the time.
fn showing(ca: &Authority, name: &str) -> TestGateway {
    let files = ca.write("api", &ca.pair_until(&[name], 2030));
    TestGateway::with(|config| speak_tls(config, vec![files]).watch = Duration::from_millis(5))
}

/// For how many days the certificate is said to be valid, in each line with these words.
fn told(name: &str, words: &str) -> Vec<u64> {
    let text = messages().text();
    let lines = text.lines().filter(|line| line.contains(name) && line.contains(words));
    lines.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["days"].as_u64().unwrap()).collect()
}

#[test]
fn from_two_weeks_before_its_end_on_a_certificate_is_warned_of_once_a_day() {
    messages();
    let ca = Authority::new();
    let gw = showing(&ca, "ends-soon.example");
    let told = |words| {
        // Everything has been looked at by now, whoever was asked for it first.
        gw.app().certificates().reread();
        told("ends-soon.example", words)
    };
    gw.clock.set(Timestamp::from_millis(END - 15 * DAY));
    assert_eq!(told(SOON), [0; 0]);
    gw.later(Duration::from_millis(DAY));
    until("the first warning", || (self::told("ends-soon.example", SOON) == [14]).then_some(()));
    gw.later(Duration::from_millis(DAY - 1));
    assert_eq!(told(SOON), [14]);
    gw.later(Duration::from_millis(1));
    assert_eq!(told(SOON), [14, 13]);
    assert_eq!(told(OVER), [0; 0]);
}

#[test]
fn one_that_has_expired_is_shown_all_the_same_and_told_of_every_day() {
    messages();
    let ca = Authority::new();
    let gw = showing(&ca, "is-over.example");
    gw.clock.set(Timestamp::from_millis(END + DAY));
    for days in 1..=2 {
        until("it to be told", || (told("is-over.example", OVER) == vec![0; days]).then_some(()));
        assert_eq!(ca.dialler().dial(gw.addr(), "is-over.example").get("/public/").status, 200);
        gw.later(Duration::from_millis(DAY));
    }
}

#[test]
fn one_that_had_expired_before_the_start_is_shown_too() {
    let ca = Authority::new();
    let files = ca.write("api", &ca.pair_until(&["was-over.example"], 2020));
    let gw = TestGateway::with(|config| _ = speak_tls(config, vec![files]));
    let why = ca.dialler().try_dial(gw.addr(), "was-over.example").map(drop).unwrap_err().to_string();
    assert!(why.contains("certificate expired"), "{why}");
}
