//! The reference, `gateway.toml` and `docs/CONFIG.md`, held against the code: every key is shown, with its default.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use wxgate::config::{
    known_keys,
    sections::{Assertion, Avatars},
};

use super::support::{MINIMAL, read, root};

/// Keys that may be left out and have no value then; the reference shows them behind a `#`.
const WITHOUT_DEFAULT: [&str; 52] = [
    "admin.token",
    "apps.idle",
    "apps.lifetime",
    "apps.other_secret",
    "apps.per_user",
    "avatars.public_url",
    "avatars.s3.access_key",
    "avatars.s3.bucket",
    "avatars.s3.endpoint",
    "avatars.s3.secret_key",
    "identity.assertion.issuer",
    "identity.assertion.key",
    "internal.listen",
    "internal.tls.cert",
    "internal.tls.client_ca",
    "internal.tls.key",
    "internal.token",
    "log.user_key",
    "routes.apps",
    "routes.connect_timeout",
    "routes.host",
    "routes.limit_per_ip",
    "routes.limit_per_user",
    "routes.methods",
    "routes.response_timeout",
    "routes.token_header",
    "routes.token_query",
    "routes.websocket_max_age",
    "routes.websocket_per_user",
    "server.listeners.listen",
    "server.tls.cert",
    "server.tls.certificates.cert",
    "server.tls.certificates.key",
    "server.tls.key",
    "sessions.redis.ca",
    "sessions.redis.cluster",
    "sessions.redis.password",
    "sessions.redis.sentinel_master",
    "sessions.redis.sentinel_password",
    "sessions.redis.sentinel_username",
    "sessions.redis.sentinels",
    "sessions.redis.url",
    "sessions.redis.username",
    "upstreams.audience",
    "upstreams.health.path",
    "upstreams.tls.ca",
    "upstreams.tls.cert",
    "upstreams.tls.key",
    "upstreams.tls.server_name",
    "webhook.ca",
    "webhook.secret",
    "webhook.url",
];

/// The sections that can't be there beside others: the reference has all of them behind a `#`.
const INSTEAD: [&str; 2] = ["avatars.s3", REDIS];
const REDIS: &str = "sessions.redis";

/// Sections that most leave out, and that have keys with a default: the reference has all of them behind a `#`.
const LEFT_OUT: [&str; 9] = [
    "avatars",
    "avatars.folder",
    "identity.assertion",
    "internal",
    "internal.tls",
    "server.listeners",
    "server.tls",
    "server.tls.certificates",
    "webhook",
];

/// Sections whose default is not to be there, with a key each. The reference has them, since most want them.
const CHOSEN: [(&str, &str); 2] = [("sessions.seal", "key"), ("sessions.snapshot", "path")];

/// Keys that every file has to have.
const NEEDED: [&str; 6] =
    ["apps.app_id", "apps.secret", "routes.path", "routes.upstream", "upstreams.name", "upstreams.servers"];

/// What one of the reference's lines says.
struct Shown {
    value: String,
    active: bool,
}

#[test]
fn the_reference_shows_every_key_and_no_other() {
    let shown: Vec<String> = reference().into_keys().collect();
    // proxy_protocol included: what it can't be yet is part of what it is.
    assert_eq!(shown, known_keys());
}

#[test]
fn what_the_reference_shows_without_a_hash_is_the_default() {
    let shown = format!("{:#?}", read(&without_chosen_sections(&gateway_toml())).unwrap().config);
    let default = format!("{:#?}", read(MINIMAL).unwrap().config);
    assert_eq!(shown, default);
}

#[test]
fn the_reference_loads_without_a_warning() {
    assert_eq!(read(&gateway_toml()).unwrap().warnings, []);
}

#[test]
fn the_reference_loads_with_every_hash_taken_away() {
    // TLS is a fault where no server speaks it.
    let text = gateway_toml().replace("http://127.0.0.1:3000", "https://127.0.0.1:3000");
    let (mut instead, mut all) = (false, String::new());
    for line in text.lines() {
        instead = title(line).map_or(instead, |name| INSTEAD.contains(&name));
        let left_out = title(line).is_some_and(|name| LEFT_OUT.contains(&name));
        let bare = if left_out { line.strip_prefix('#') } else { without_hash(line) };
        all += bare.filter(|_| !instead).unwrap_or(line);
        all.push('\n');
    }
    let config = read(&all).unwrap().config;
    let shown = config.avatars.unwrap();
    assert_eq!(shown, Avatars::new(shown.public_url.clone()), "its defaults");
    assert!(config.admin.token.is_some() && config.log.user_key.is_some());
    let shown = config.assertion.unwrap();
    assert_eq!(shown, Assertion::new(shown.issuer.clone(), shown.key.clone()), "its defaults");
    assert!(config.upstreams[0].health.path.is_some() && config.upstreams[0].tls.client.is_some());
    let route = &config.routes[0];
    assert!(route.host.is_some() && route.methods.is_some() && route.apps.is_some());
}

#[test]
fn only_keys_without_a_default_stand_behind_a_hash() {
    let hidden = reference().into_iter().filter(|(_, shown)| !shown.active).map(|(key, _)| key);
    // Those with a default are there too, where their section is.
    let whole = |key: &str| LEFT_OUT.iter().chain(&INSTEAD).any(|section| key.starts_with(section));
    let hidden: Vec<String> = hidden.filter(|key| !whole(key) || WITHOUT_DEFAULT.contains(&key.as_str())).collect();
    assert_eq!(hidden, WITHOUT_DEFAULT);
}

#[test]
fn the_section_that_stands_instead_of_others_shows_its_defaults_too() {
    let keys = |wanted: &dyn Fn(&str) -> bool| -> String {
        let shown = reference();
        let mine = shown.iter().filter_map(|(key, shown)| Some((key.strip_prefix(REDIS)?.strip_prefix('.')?, shown)));
        mine.filter(|(key, _)| wanted(key))
            .fold(String::new(), |text, (key, shown)| text + &format!("{key} = {}\n", shown.value))
    };
    let config = |keys: &str| {
        let seal = "[sessions.seal]\nkey = { env = \"SEAL_KEY\" }\n";
        format!("{:#?}", read(&format!("[{REDIS}]\n{keys}{seal}{MINIMAL}")).unwrap().config)
    };
    let has_default = |key: &str| !WITHOUT_DEFAULT.contains(&format!("{REDIS}.{key}").as_str());
    let with_defaults = keys(&|key| key == "url" || has_default(key));
    assert_eq!(config(&with_defaults), config(&keys(&|key| key == "url")));
    assert_eq!(with_defaults.lines().count(), 6, "{with_defaults}");
    // And the others are what they are to be.
    config(&keys(&|key| ["url", "username", "password"].contains(&key)));
    config(&keys(&|key| key.starts_with("sentinel") || has_default(key)));
    config(&keys(&|key| key == "cluster" || has_default(key)));
}

#[test]
fn the_sections_that_most_leave_out_show_their_defaults_too() {
    let shown = reference();
    let keys = |section: &str, wanted: &dyn Fn(&str) -> bool| -> String {
        let of_section =
            |key: &str| key.rsplit_once('.').filter(|(path, _)| *path == section).map(|(_, key)| key.to_owned());
        let mine = shown.iter().filter_map(|(key, shown)| Some((of_section(key)?, shown)));
        mine.filter(|(key, _)| wanted(key))
            .fold(String::new(), |text, (key, shown)| text + &format!("{key} = {}\n", shown.value))
    };
    let config = |text: String| format!("{:#?}", read(&format!("{text}{MINIMAL}")).unwrap().config);
    let tls = |wanted: &dyn Fn(&str) -> bool| format!("[server.tls]\n{}", keys("server.tls", wanted));
    let pair = tls(&|key| ["cert", "key"].contains(&key));
    assert_eq!(config(tls(&|_| true)), config(pair.clone()));
    assert_eq!(tls(&|_| true).lines().count(), 9);
    let listener =
        |wanted: &dyn Fn(&str) -> bool| format!("{pair}[[server.listeners]]\n{}", keys("server.listeners", wanted));
    assert_eq!(config(listener(&|_| true)), config(listener(&|key| key == "listen")));
    assert_eq!(listener(&|_| true).lines().count(), 9);
    let avatars = |wanted: &dyn Fn(&str) -> bool| format!("[avatars]\n{}", keys("avatars", wanted));
    let folder = format!("[avatars.folder]\n{}", keys("avatars.folder", &|_| true));
    let needed = avatars(&|key| key == "public_url");
    assert_eq!(config(avatars(&|_| true) + &folder), config(needed.clone()));
    let s3 = |wanted: &dyn Fn(&str) -> bool| format!("{needed}[avatars.s3]\n{}", keys("avatars.s3", wanted));
    let default = |key: &str| ["region", "prefix", "allow_http", "path_style"].contains(&key);
    assert_eq!(config(s3(&|_| true)), config(s3(&|key| !default(key))));
    assert_eq!(s3(&|_| true).lines().count(), 11);
    let internal = |wanted: &dyn Fn(&str) -> bool| format!("[internal]\n{}", keys("internal", wanted));
    assert_eq!(config(internal(&|_| true)), config(internal(&|key| ["listen", "token"].contains(&key))));
    assert_eq!(internal(&|_| true).lines().count(), 6);
    let webhook = |wanted: &dyn Fn(&str) -> bool| format!("[webhook]\n{}", keys("webhook", wanted));
    let needed = ["url", "secret", "ca"];
    assert_eq!(config(webhook(&|_| true)), config(webhook(&|key| needed.contains(&key))));
    assert_eq!(webhook(&|_| true).lines().count(), 12);
}

#[test]
fn the_tables_have_every_key_with_the_default_of_the_reference() {
    let tables = tables();
    assert_eq!(tables.keys().cloned().collect::<Vec<_>>(), known_keys());
    for (key, shown) in reference() {
        let expected = match key.as_str() {
            key if NEEDED.contains(&key) => "needed".to_owned(),
            key if WITHOUT_DEFAULT.contains(&key) => "–".to_owned(),
            key if CHOSEN.iter().any(|(section, name)| format!("{section}.{name}") == key) => "–".to_owned(),
            _ => format!("`{}`", shown.value),
        };
        assert_eq!(tables[&key], expected, "{key} in docs/CONFIG.md");
    }
}

#[test]
fn a_file_without_a_needed_key_is_refused() {
    for key in NEEDED {
        let (section, name) = key.split_once('.').unwrap();
        let mut here = false;
        let without: String = MINIMAL
            .lines()
            .filter(|line| {
                here = if line.starts_with('[') { *line == format!("[[{section}]]") } else { here };
                !(here && line.starts_with(&format!("{name} =")))
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        let errors = read(&without).expect_err(key);
        assert_eq!(errors.findings.iter().map(|f| f.key.as_str()).collect::<BTreeSet<_>>(), BTreeSet::from([key]));
    }
}

fn gateway_toml() -> String {
    fs::read_to_string(root().join("gateway.toml")).unwrap()
}

fn without_chosen_sections(text: &str) -> String {
    let mut chosen = false;
    let mut kept = String::new();
    for line in text.lines() {
        if line.starts_with('[') {
            chosen = CHOSEN.iter().any(|(section, _)| line.starts_with(&format!("[{section}]")));
        }
        if !chosen {
            kept += line;
            kept.push('\n');
        }
    }
    kept
}

/// `#key = value` without its `#`.
fn without_hash(line: &str) -> Option<&str> {
    let rest = line.strip_prefix('#')?;
    rest.starts_with(|c: char| c.is_ascii_lowercase()).then_some(rest)
}

/// The name in `[name]` or `[[name]]`, whether it stands behind a `#` or not.
fn title(line: &str) -> Option<&str> {
    let line = line.strip_prefix('#').unwrap_or(line);
    let name = line.starts_with('[').then(|| line.split('#').next().unwrap_or_default().trim());
    Some(name?.trim_matches(['[', ']']))
}

fn reference() -> BTreeMap<String, Shown> {
    let text = gateway_toml();
    let mut section = String::new();
    let mut shown = BTreeMap::new();
    for line in text.lines() {
        if let Some(name) = title(line) {
            name.clone_into(&mut section);
            continue;
        }
        let (line, active) = match without_hash(line) {
            Some(line) => (line, false),
            None if line.starts_with('#') => continue,
            None => (line, true),
        };
        let Some((key, rest)) = line.split_once(" = ") else { continue };
        let value = rest.split(" #").next().unwrap_or_default().trim().to_owned();
        shown.insert(format!("{section}.{key}"), Shown { value, active });
    }
    shown
}

/// Key and default of every row of docs/CONFIG.md.
fn tables() -> BTreeMap<String, String> {
    let text = fs::read_to_string(root().join("docs/CONFIG.md")).unwrap();
    let mut section = String::new();
    let mut rows = BTreeMap::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            title.trim_matches(['`', '[', ']']).clone_into(&mut section);
        }
        let cells: Vec<&str> = line.split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect();
        if let [key, default, _] = cells[..]
            && let Some(key) = key.strip_prefix('`').and_then(|key| key.strip_suffix('`'))
        {
            rows.insert(format!("{section}.{key}"), default.to_owned());
        }
    }
    rows
}
