//! `wxgate check` as a user runs it: the real binary, its output and its exit code.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, SystemTime},
};

use rcgen::{CertificateParams, KeyPair};

use super::support::{ASSERTION_KEY, MARK, MINIMAL, NEXT_ASSERTION_KEY, SEAL_KEY, pair, root};

#[test]
fn check_says_what_the_gateway_would_do() {
    let folder = folder("check_says");
    fs::create_dir(folder.join("secrets")).unwrap();
    fs::write(folder.join("secrets/app"), "hunter2-from-a-file\n").unwrap();
    fs::write(folder.join("secrets/old_seal"), SEAL_KEY.replacen('h', "H", 1)).unwrap();
    fs::write(folder.join("secrets/ca.pem"), &pair(0).0).unwrap();
    fs::create_dir(folder.join("tls")).unwrap();
    fs::write(folder.join("tls/wxgate.key"), &pair(0).1).unwrap();
    fs::write(folder.join("tls/clients_ca.pem"), &pair(0).0).unwrap();
    for (which, chain, key) in [(0, "fullchain.pem", "key.pem"), (1, "other.pem", "other.key")] {
        fs::write(folder.join("tls").join(chain), &pair(which).0).unwrap();
        fs::write(folder.join("tls").join(key), &pair(which).1).unwrap();
    }
    fs::write(folder.join("secrets/assertion.pem"), ASSERTION_KEY).unwrap();
    fs::write(folder.join("secrets/next_assertion.pem"), NEXT_ASSERTION_KEY).unwrap();
    let config = folder.join("gateway.toml");
    fs::copy(root().join("tests/config/valid/everything.toml"), &config).unwrap();

    let output = check(&config);
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    let said = text(&output.stdout).replace(&folder.display().to_string(), "");
    // Whether others may read the secret's file depends on the umask of whoever runs this.
    let said = said.split("\nwarnings\n").next().unwrap_or_default();
    assert_eq!(without_days(said), include_str!("check_everything.txt"));
}

/// What is said of a file where this one runs.
fn diff(folder: &Path, running: &str, wanted: &str) -> String {
    let (old, new) = (folder.join("running.toml"), folder.join("gateway.toml"));
    fs::write(&old, running).unwrap();
    fs::write(&new, wanted).unwrap();
    let output = wxgate().arg("check").arg("--config").arg(&new).arg("--diff").arg(&old).output().unwrap();
    assert_eq!((text(&output.stderr), output.status.code()), (String::new(), Some(0)));
    text(&output.stdout)
}

#[test]
fn check_says_what_would_change_and_what_needs_a_restart() {
    let folder = folder("check_diff");
    let (chain, key) = pair(0);
    fs::write(folder.join("chain.pem"), chain).unwrap();
    fs::write(folder.join("key.pem"), key).unwrap();
    let wanted = "[server]\nworkers = 3\nmax_body = \"1MiB\"\n[sessions.snapshot]\npath = \"wxgate.db\"\n\
                  [server.tls]\ncert = \"chain.pem\"\nkey = \"key.pem\"\n"
        .to_owned()
        + &MINIMAL.replace("WX_APP_SECRET", "ADMIN_TOKEN").replace(":3000", ":3001")
        + "[[routes]]\nmethods = [\"GET\"]\nhost = \"*.example.com\"\npath = \"/new\"\nupstream = \"app\"\n";
    assert_eq!(diff(&folder, MINIMAL, &wanted), include_str!("check_diff.txt"));
    assert_eq!(diff(&folder, &wanted, &wanted), "nothing would change\n");
}

#[test]
fn check_prints_every_fault_and_exits_2() {
    let config = folder("check_faults").join("gateway.toml");
    fs::write(&config, MINIMAL.replace("name =", "nane =").replace("path = \"/\"", "path = \"/a//b\"")).unwrap();

    let output = check(&config);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout), "");
    let file = config.display();
    let expected = format!(
        "{file}:5: upstreams.name: missing; write name = \"app\"\n\
         {file}:6: upstreams.nane: unknown key; did you mean \"name\"?\n\
         {file}:10: routes.path: \"/a//b\" has two slashes in a row; requests lose the second\n"
    );
    assert_eq!(text(&output.stderr), expected);
}

/// What only the start would stumble over, after another process has made way for it.
#[test]
fn check_refuses_upstreams_that_no_tls_can_be_spoken_to() {
    let folder = folder("check_upstream_tls");
    let (config, ca) = (folder.join("gateway.toml"), folder.join("ca.pem"));
    fs::write(&ca, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let tls = "[upstreams.tls]\nca = \"ca.pem\"\n";
    let wanted = MINIMAL.replace("http://127", "https://127").replace("[[routes]]", &format!("{tls}[[routes]]"));
    fs::write(&config, wanted).unwrap();

    let output = check(&config);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
    let said = text(&output.stderr);
    assert!(said.contains("no TLS to the upstream app: ca has a certificate that can't be trusted"), "{said}");
}

/// What fails at the start for certain fails here, or a restart finds it out.
#[test]
fn check_refuses_a_redis_that_can_not_be_spoken_to() {
    let folder = folder("check_redis");
    let (config, ca) = (folder.join("gateway.toml"), folder.join("ca.pem"));
    fs::write(&ca, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let redis = "[sessions.redis]\nurl = \"rediss://redis.internal\"\nca = \"ca.pem\"\n";
    fs::write(&config, format!("{redis}[sessions.seal]\nkey = {SEAL_KEY:?}\n{MINIMAL}")).unwrap();
    let output = check(&config);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    let expected = format!("wxgate: {}: the configuration can't be used: no sessions: ", config.display());
    assert!(said.starts_with(&expected), "{said}");
}

#[test]
fn check_of_a_missing_file_names_it_and_exits_2() {
    let config = folder("check_missing").join("none.toml");
    let output = check(&config);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.starts_with(&format!("{}: cannot be read: ", config.display())), "{said}");
}

#[test]
fn the_reference_passes_the_check_with_one_variable_set() {
    let output = check(&root().join("gateway.toml"));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(!text(&output.stdout).contains("warnings"), "{}", text(&output.stdout));
}

#[test]
fn serving_refuses_what_check_refuses() {
    let config = folder("serve_refuses").join("gateway.toml");
    fs::write(&config, "").unwrap();
    let output = wxgate().arg("--config").arg(&config).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stderr), text(&check(&config).stderr));
    assert_eq!(text(&output.stderr).lines().count(), 3);
}

#[test]
fn a_secret_file_that_others_can_read_is_warned_about() {
    let folder = folder("open_secret");
    let secret = folder.join("app.secret");
    fs::write(&secret, "hunter2-from-a-file\n").unwrap();
    let config = folder.join("gateway.toml");
    fs::write(&config, MINIMAL.replace("{ env = \"WX_APP_SECRET\" }", "{ file = \"app.secret\" }")).unwrap();
    let warnings_with_mode = |mode| {
        fs::set_permissions(&secret, fs::Permissions::from_mode(mode)).unwrap();
        let output = text(&check(&config).stdout);
        output.split_once("\nwarnings\n").map(|(_, warnings)| warnings.to_owned())
    };

    assert_eq!(warnings_with_mode(0o600), None);
    let warning = "apps.secret.file: \"app.secret\" can be read by others; chmod 600 keeps it to its owner";
    assert_eq!(warnings_with_mode(0o640), Some(format!("  {}:3: {warning}\n", config.display())));
    assert_eq!(warnings_with_mode(0o604), Some(format!("  {}:3: {warning}\n", config.display())));
}

#[test]
fn check_says_how_long_a_certificate_is_valid_and_warns_of_a_key_that_others_can_read() {
    let folder = folder("check_certificate");
    let (chain, key) = (folder.join("chain.pem"), folder.join("key.pem"));
    let config = folder.join("gateway.toml");
    fs::write(&config, format!("[server.tls]\ncert = \"chain.pem\"\nkey = \"key.pem\"\n{MINIMAL}")).unwrap();
    #[expect(clippy::disallowed_methods, reason = "the binary has no other clock than this")]
    let now = SystemTime::now();
    let hour = Duration::from_hours(1);
    let says = |from: SystemTime, to: SystemTime, mode| {
        let pair = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["api.example.com".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (from.into(), to.into());
        fs::write(&chain, params.self_signed(&pair).unwrap().pem()).unwrap();
        fs::write(&key, pair.serialize_pem()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let output = check(&config);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let line = |until: &str| format!("           {} for api.example.com; {until}\n", chain.display());
    let said = says(now - hour, now + (90 * 24 + 12) * hour, 0o600);
    assert!(said.contains(&line("valid for 90 more days")) && !said.contains("warnings"), "{said}");
    assert!(says(now - 2 * hour, now - hour, 0o600).contains(&line("EXPIRED")));
    assert!(says(now + hour, now + 2 * hour, 0o600).contains(&line("NOT VALID YET")));
    let warning = "server.tls.key: \"key.pem\" can be read by others; chmod 600 keeps it to its owner";
    assert!(says(now - hour, now + hour, 0o640).contains(warning));
}

#[test]
fn a_pair_that_does_not_fit_is_refused_with_the_file_and_the_key() {
    let folder = folder("check_pair");
    fs::write(folder.join("chain.pem"), &pair(0).0).unwrap();
    fs::write(folder.join("key.pem"), &pair(1).1).unwrap();
    let config = folder.join("gateway.toml");
    fs::write(&config, format!("[server.tls]\ncert = \"chain.pem\"\nkey = \"key.pem\"\n{MINIMAL}")).unwrap();
    let output = check(&config);
    assert_eq!(output.status.code(), Some(2));
    let why = "holds a private key that does not belong to the first certificate of the chain";
    assert_eq!(text(&output.stderr), format!("{}:3: server.tls.key: \"key.pem\" {why}\n", config.display()));
}

/// How many days are left depends on the day.
fn without_days(said: &str) -> String {
    let mut pieces = said.split("valid for ");
    let mut out = pieces.next().unwrap().to_owned();
    for piece in pieces {
        out += "valid for …";
        out += piece.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    out
}

/// Runs `check` with one secret in the environment of each kind; none may come out again.
fn check(config: &Path) -> Output {
    let output = wxgate().arg("check").arg("--config").arg(config).output().unwrap();
    for said in [&output.stdout, &output.stderr] {
        assert!(!text(said).contains(MARK), "{}", text(said));
    }
    output
}

fn wxgate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wxgate"));
    command.env_clear();
    for name in ["WX_APP_SECRET", "ADMIN_TOKEN", "INTERNAL_TOKEN", "LOG_KEY", "S3_SECRET"] {
        command.env(name, format!("hunter2-for-{name}"));
    }
    command.env("SEAL_KEY", SEAL_KEY);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A folder of this test's own, empty.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}
