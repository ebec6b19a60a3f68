//! The file of a gateway that runs, and those that it names: how a change is noticed, and what becomes of one that can't be
//! used. Told with the real binary, which reads them.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use rustix::process::Signal;

use crate::support::{
    Client, Recorder,
    binary::{Binary, folder},
    tls::swap,
    until,
};

/// A binary and its file.
struct Story {
    gw: Binary,
    file: PathBuf,
    upstream: Recorder,
}

/// A file with this in `[server]` and these routes beside `/`.
fn text(upstream: &Recorder, server: &str, routes: &[&str]) -> String {
    let open = |path: &&str| format!("[[routes]]\npath = \"{path}\"\nupstream = \"app\"\nauth = \"none\"\n");
    format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\nworkers = 2\n{server}\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         token = {{ file = \"token\" }}\n[[apps]]\napp_id = \"wx4f4bc4dec97d474b\"\nsecret = \"not used here\"\n\
         [[upstreams]]\nname = \"app\"\nservers = [\"http://{}\"]\n\
         [[routes]]\npath = \"/\"\nupstream = \"app\"\n{}",
        upstream.addr(),
        routes.iter().map(open).collect::<String>()
    )
}

impl Story {
    fn begin(name: &str, server: &str) -> Self {
        let (upstream, place) = (Recorder::start(), folder(name));
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("token"), "the-token-of-yesterday").unwrap();
        let gw = Binary::serve(name, &text(&upstream, server, &["/old/"]), &[]);
        Self { gw, file: place.join("gateway.toml"), upstream }
    }

    fn writes(&self, server: &str, routes: &[&str]) {
        swap(&self.file, &text(&self.upstream, server, routes));
    }

    fn until_there_is(&self, route: &str) {
        until("the route", || (self.gw.client().get(route).status == 200).then_some(()));
    }

    fn metric(&self, name: &str) -> String {
        let page = self.gw.admin().get("/metrics").text();
        page.lines().find_map(|line| line.strip_prefix(&format!("{name} ")).map(str::to_owned)).unwrap()
    }

    fn knows(&self, token: &str) -> bool {
        let bearer = format!("Bearer {token}");
        let mut admin: Client = self.gw.admin();
        admin.request("GET", "/v1/sessions/count", &[("Authorization", &bearer)], "").status == 200
    }
}

const NEVER: &str = "watch = \"0s\"";
const OFTEN: &str = "watch = \"20ms\"";

#[test]
fn a_hang_up_signal_makes_it_read_its_file_again() {
    let story = Story::begin("reload_signal", NEVER);
    assert_eq!(story.gw.client().get("/new/").status, 401);
    let hash = story.metric("wxgate_config_hash");
    story.writes(NEVER, &["/old/", "/new/"]);
    story.gw.signal(Signal::HUP);
    story.until_there_is("/new/");
    story.gw.messages.line("\"what\":\"added routes./new/\"");
    until("another hash", || (story.metric("wxgate_config_hash") != hash).then_some(()));
    story.gw.signal(Signal::HUP);
    story.gw.messages.line("nothing has changed in the configuration");
}

#[test]
fn a_changed_file_is_noticed_and_so_is_a_secret_that_it_names() {
    let story = Story::begin("reload_watch", OFTEN);
    story.writes(OFTEN, &["/new/"]);
    story.until_there_is("/new/");
    assert!(story.knows("the-token-of-yesterday"));
    swap(&folder("reload_watch").join("token"), "the-token-of-today");
    until("the new token", || story.knows("the-token-of-today").then_some(()));
    assert!(!story.knows("the-token-of-yesterday"));
    story.gw.messages.line("\"what\":\"changed admin.token\"");
    assert!(!story.gw.messages.text().contains("the-token-of"));
}

/// Each step of docs/ASSERTION.md, and a key that gets another in its own file.
#[test]
fn keys_that_sign_come_and_go_with_the_files_that_are_named() {
    let (upstream, place) = (Recorder::start(), folder("reload_keys"));
    fs::create_dir_all(&place).unwrap();
    let [ed25519, p256] = [include_str!("../../keys/ed25519.pem"), include_str!("../../keys/p256.pem")];
    for (name, text) in [("token", "the-token-of-yesterday"), ("one.pem", ed25519), ("two.pem", p256)] {
        swap(&place.join(name), text);
    }
    let signing = |key: &str, others: &str| {
        let section = "[identity.assertion]\nissuer = \"https://gate.example.com\"";
        let keys = format!("key = {{ file = \"{key}\" }}\nother_keys = [{others}]\n");
        text(&upstream, OFTEN, &[]) + &format!("{section}\n{keys}")
    };
    let gw = Binary::serve("reload_keys", &signing("one.pem", ""), &[]);
    let published = || -> Vec<String> {
        let set = gw.client().get("/.well-known/jwks.json").json();
        set["keys"].as_array().unwrap().iter().map(|key| key["alg"].as_str().unwrap().to_owned()).collect()
    };
    let until_published = |keys: &[&str]| until("these keys", || (published() == keys).then_some(()));
    until_published(&["EdDSA"]);
    let steps = [
        (signing("one.pem", "{ file = \"two.pem\" }"), &["EdDSA", "ES256"][..]),
        (signing("two.pem", "{ file = \"one.pem\" }"), &["ES256", "EdDSA"]),
        (signing("two.pem", ""), &["ES256"]),
    ];
    for (config, keys) in steps {
        swap(&place.join("gateway.toml"), &config);
        until_published(keys);
    }
    swap(&place.join("two.pem"), ed25519);
    until_published(&["EdDSA"]);
    until("a word of each change", || gw.messages.nth_line("\"what\":\"changed identity.assertion\"", 3));
    assert!(!gw.messages.text().contains("PRIVATE KEY"));
}

/// As Kubernetes mounts a folder: files are links into another folder, which is a link that is swapped.
#[test]
fn a_swapped_folder_is_noticed() {
    let (upstream, place) = (Recorder::start(), folder("reload_folder"));
    let _ = fs::remove_dir_all(&place);
    let volume = |name: &str, routes: &[&str]| {
        fs::create_dir_all(place.join(name)).unwrap();
        fs::write(place.join(name).join("gateway.toml"), text(&upstream, OFTEN, routes)).unwrap();
        fs::write(place.join(name).join("token"), "the-token-of-yesterday").unwrap();
    };
    volume("first", &[]);
    volume("second", &["/new/"]);
    symlink("first", place.join("..data")).unwrap();
    symlink("..data/gateway.toml", place.join("mounted.toml")).unwrap();
    symlink("..data/token", place.join("token")).unwrap();
    let gw = Binary::serve_file("reload_folder", "mounted.toml");
    symlink("second", place.join("..next")).unwrap();
    fs::rename(place.join("..next"), place.join("..data")).unwrap();
    until("the route", || (gw.client().get("/new/").status == 200).then_some(()));
}

#[test]
fn a_file_that_cant_be_used_changes_nothing_until_it_is_mended() {
    let story = Story::begin("reload_bad", OFTEN);
    let good = fs::read_to_string(&story.file).unwrap();
    swap(&story.file, &good.replace("upstream = \"app\"", "upstream = \"ap\""));
    let line = story.gw.messages.line("the configuration can't be used; the one before stays");
    assert!(line.contains("routes.upstream: there is no upstream \\\"ap\\\""), "{line}");
    assert_eq!(story.metric("wxgate_config_last_reload_successful"), "0");
    assert_eq!(story.gw.client().get("/old/").status, 200);
    swap(&story.file, "[server");
    story.gw.messages.line("this is not TOML");
    fs::remove_file(&story.file).unwrap();
    story.gw.messages.line("cannot be read");
    assert_eq!(story.gw.client().get("/old/").status, 200);
    story.writes(OFTEN, &["/new/"]);
    story.until_there_is("/new/");
    until("the word", || (story.metric("wxgate_config_last_reload_successful") == "1").then_some(()));
    let told = story.gw.messages.text().matches("the configuration can't be used").count();
    assert_eq!(told, 3, "each fault once");
}

#[test]
fn what_needs_a_restart_is_told_and_the_rest_is_taken() {
    let story = Story::begin("reload_restart", OFTEN);
    story.writes(&format!("{OFTEN}\nmax_headers = 50\n"), &["/new/"]);
    story.until_there_is("/new/");
    let line = story.gw.messages.line("a changed key needs a restart");
    assert!(line.contains("\"key\":\"server.max_headers\""), "{line}");
    until("its count", || (story.metric("wxgate_config_waiting_for_restart") == "1").then_some(()));
    story.writes(OFTEN, &["/newer/"]);
    story.until_there_is("/newer/");
    until("its count", || (story.metric("wxgate_config_waiting_for_restart") == "0").then_some(()));
}

#[test]
fn the_level_of_messages_follows() {
    let story = Story::begin("reload_level", NEVER);
    let quiet = text(&story.upstream, NEVER, &["/new/"]) + "[log]\nlevel = \"error\"\n";
    swap(&story.file, &quiet);
    story.gw.signal(Signal::HUP);
    story.until_there_is("/new/");
    story.writes(NEVER, &["/newer/"]);
    story.gw.signal(Signal::HUP);
    story.until_there_is("/newer/");
    let line = story.gw.messages.line("removed routes./new/");
    assert!(line.contains("changed log.level"), "{line}");
    let told = story.gw.messages.text().matches("told to read").count();
    assert_eq!(told, 1, "of the second signal it was silent");
}

/// The first start makes the key that seals, which is no change of the configuration.
#[test]
fn a_key_that_the_first_start_made_waits_for_no_restart() {
    let place = folder("reload_seal");
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("token"), "the-token-of-yesterday").unwrap();
    let upstream = Recorder::start();
    let sessions = "[sessions.snapshot]\npath = \"data/wxgate.db\"\n";
    let gw = Binary::serve("reload_seal", &(text(&upstream, NEVER, &["/old/"]) + sessions), &[]);
    assert!(place.join("data/seal.key").exists());
    gw.signal(Signal::HUP);
    gw.messages.line("nothing has changed in the configuration");
    gw.stop();
}
