//! Certificates that are swapped while people are connected.

use std::{fs, os::unix::fs::symlink, time::Duration};

use wxgate::{config::sections::CertificateFiles, model::Timestamp};

use crate::support::{
    Client, TestGateway,
    tls::{Authority, Pair, speak_tls, swap},
    until,
};

const NAME: &str = "api.example.com";

/// A gateway that looks at its certificate's files all the time.
fn watching(files: &CertificateFiles) -> TestGateway {
    TestGateway::with(|config| speak_tls(config, vec![files.clone()]).watch = Duration::from_millis(5))
}

/// Puts a new pair into the files of the old one, one after the other.
fn write(files: &CertificateFiles, pair: &Pair) {
    swap(&files.cert, &pair.chain);
    swap(&files.key, &pair.key);
}

fn is_shown(ca: &Authority, gw: &TestGateway, name: &str) -> bool {
    ca.dialler().try_dial(gw.addr(), name).is_ok()
}

#[test]
fn a_new_pair_is_shown_and_nobody_who_is_connected_notices() {
    let ca = Authority::new();
    let files = ca.files("api", &[NAME]);
    let gw = watching(&files);
    let mut before: Client = ca.dialler().dial(gw.addr(), NAME);
    assert_eq!(before.get("/public/").status, 200);

    write(&files, &ca.pair(&["new.example.com"]));
    until("the new one", || is_shown(&ca, &gw, "new.example.com").then_some(()));
    assert!(!is_shown(&ca, &gw, NAME));
    assert_eq!(before.get("/public/").status, 200, "it was shown the old one, and that still counts");
    assert_eq!(gw.app().counters().certificate_reloads.swapped.get(), 1);
    assert_eq!(gw.app().counters().certificate_reloads.failed.get(), 0);
}

#[test]
fn who_has_a_ticket_goes_on_with_it_over_a_swap() {
    let ca = Authority::new();
    let files = ca.files("api", &[NAME]);
    let gw = watching(&files);
    let dialler = ca.dialler();
    assert_eq!(dialler.dial(gw.addr(), NAME).get("/public/").status, 200);
    write(&files, &ca.pair(&[NAME, "new.example.com"]));
    until("the new one", || is_shown(&ca, &gw, "new.example.com").then_some(()));
    assert_eq!(dialler.dial(gw.addr(), NAME).tls().handshake_kind(), Some(rustls::HandshakeKind::Resumed));
}

#[test]
fn a_pair_that_can_t_be_used_changes_nothing_and_is_told() {
    let ca = Authority::new();
    let good = ca.pair(&[NAME]);
    let files = ca.write("api", &good);
    let gw = watching(&files);
    let failed = || gw.app().counters().certificate_reloads.failed.get();
    let expired = ca.pair_until(&[NAME], 2020);
    let broken: [(&str, &str); 4] =
        [(&good.chain, &expired.key), ("garbage", &good.key), (&good.chain, ""), (&expired.chain, &expired.key)];
    for (n, (chain, key)) in broken.into_iter().enumerate() {
        write(&files, &Pair { chain: chain.to_owned(), key: key.to_owned() });
        until("the failure to be told", || (failed() > n as u64).then_some(()));
        assert!(is_shown(&ca, &gw, NAME), "{n}");
    }
    fs::remove_file(&files.key).unwrap();
    until("the failure to be told", || (failed() > 4).then_some(()));
    assert!(is_shown(&ca, &gw, NAME));
    write(&files, &ca.pair(&["new.example.com"]));
    until("the mended one", || is_shown(&ca, &gw, "new.example.com").then_some(()));
}

/// A pair that is put there before its time was looked at twice and never again.
#[test]
fn a_pair_whose_time_is_yet_to_come_is_shown_from_then_on() {
    let ca = Authority::new();
    let files = ca.files("api", &[NAME]);
    let gw = watching(&files);
    let failed = || gw.app().counters().certificate_reloads.failed.get();
    gw.clock.set(Timestamp::from_millis(1_590_000_000_000)); // in 2020
    write(&files, &ca.pair_from(&["new.example.com"], 2021));
    until("the failure to be told", || (failed() > 0).then_some(()));
    assert!(is_shown(&ca, &gw, NAME));
    gw.clock.set(Timestamp::from_millis(1_640_000_000_000)); // in 2021
    until("the new one", || is_shown(&ca, &gw, "new.example.com").then_some(()));
    assert_eq!(failed(), 1, "it is told once");
}

/// Kubernetes mounts a folder of links, and swaps the one link that they all go through.
#[test]
fn a_folder_that_is_swapped_by_a_link_is_seen() {
    let ca = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let version = |name: &str, pair: &Pair| {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join("tls.crt"), &pair.chain).unwrap();
        fs::write(folder.path().join(name).join("tls.key"), &pair.key).unwrap();
    };
    let data = folder.path().join("..data");
    let old = ca.pair(&[NAME]);
    version("one", &old);
    symlink("one", &data).unwrap();
    for file in ["tls.crt", "tls.key"] {
        symlink(format!("..data/{file}"), folder.path().join(file)).unwrap();
    }
    let certificate = ca.write("same", &old).certificate;
    let files =
        CertificateFiles { cert: folder.path().join("tls.crt"), key: folder.path().join("tls.key"), certificate };
    let gw = watching(&files);
    assert!(is_shown(&ca, &gw, NAME));
    version("two", &ca.pair(&["new.example.com"]));
    symlink("two", folder.path().join("..new")).unwrap();
    fs::rename(folder.path().join("..new"), &data).unwrap();
    until("the new one", || is_shown(&ca, &gw, "new.example.com").then_some(()));
}

#[test]
fn asked_to_it_reads_the_files_at_once_though_nobody_watches_them() {
    let ca = Authority::new();
    let files = ca.files("api", &[NAME]);
    let gw = TestGateway::with(|config| speak_tls(config, vec![files.clone()]).watch = Duration::ZERO);
    write(&files, &ca.pair(&["new.example.com"]));
    assert!(is_shown(&ca, &gw, NAME));
    gw.app().certificates().reread();
    assert!(is_shown(&ca, &gw, "new.example.com"));
    swap(&files.key, "");
    gw.app().certificates().reread();
    assert_eq!(gw.app().counters().certificate_reloads.failed.get(), 1);
    assert!(is_shown(&ca, &gw, "new.example.com"));
}

#[test]
fn a_changed_list_shows_no_expired_certificate_in_the_place_of_a_valid_one() {
    let ca = Authority::new();
    let files = ca.files("api", &[NAME]);
    let mut gw = TestGateway::with(|config| speak_tls(config, vec![files]).watch = Duration::ZERO);
    let expired = ca.write("api", &ca.pair_until(&[NAME], 2020));
    gw.reload(|config| _ = speak_tls(config, vec![ca.files("other", &["other.example"]), expired]));
    assert!(is_shown(&ca, &gw, "other.example") && is_shown(&ca, &gw, NAME));
    gw.app().certificates().reread();
    assert_eq!(gw.app().counters().certificate_reloads.failed.get(), 1);
}

#[test]
fn the_end_of_each_certificate_is_a_metric() {
    let ca = Authority::new();
    let (one, two) = (ca.files("one", &["a.example", NAME]), ca.write("two", &ca.pair_until(&["b.example"], 2030)));
    let gw = TestGateway::with(|config| _ = speak_tls(config, vec![one, two]));
    let page = gw.admin().get("/metrics").text();
    for line in [
        "wxgate_tls_certificate_expiry_timestamp_seconds{name=\"a.example\",place=\"0\"} 3976214400",
        "wxgate_tls_certificate_expiry_timestamp_seconds{name=\"b.example\",place=\"1\"} 1893456000",
        "wxgate_tls_handshakes_total{outcome=\"full\"} 0",
        "wxgate_tls_certificate_reloads_total{outcome=\"failed\"} 0",
    ] {
        assert!(page.contains(&format!("{line}\n")), "{line} in {page}");
    }
}
