//! The house rules that a compiler doesn't know: who may import whom, how a file begins and how long it may grow, and
//! which file alone may do what. It reads `src/` as text; a small scanner blanks what is not code.

#![expect(clippy::panic, reason = "a broken source tree has no better end than a test that says where")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// Each module and what it may import. A row names only rows above it, so there can be no circle.
const MAY_IMPORT: &[(&str, &str)] = &[
    ("model", ""),
    ("web", ""),
    ("config", "model"),
    ("telemetry", "model config"),
    ("routing", "model config web"),
    ("limit", "model config"),
    // `model`, for the certificates that it shows.
    ("server", "model config web"),
    ("platform", "model config telemetry"),
    ("wechat", "model config platform telemetry"),
    ("douyin", "model config platform telemetry"),
    ("store", "model config"),
    ("once", "model"),
    ("session", "model config telemetry store"),
    ("profile", "model wechat store"),
    ("avatar", "model config telemetry store profile"),
    ("upstream", "model config telemetry web"),
    ("webhook", "model config telemetry store"),
    ("assertion", "model config"),
    ("phone", "model platform wechat profile once"),
    ("login", "model platform telemetry once"),
    ("auth", "model routing session"),
    // `auth`, for its `Access`: forwarding takes the proof of a decision, which nobody else can build.
    ("proxy", "model config upstream assertion web auth"),
    ("admin", "model config session profile upstream telemetry web"),
    ("internal", "model config telemetry limit session profile web wechat platform"),
    // No platform: a stand-in that shares code with what it tests would share its mistakes.
    ("simulator", "model"),
    ("api", "model auth login session profile avatar phone platform limit web telemetry"),
    // `session`, to hand the sessions to `authenticate` and to name what can go wrong there.
    ("gateway", "model routing limit session profile avatar auth api proxy telemetry web"),
    (
        "app",
        "model web config telemetry routing limit server platform wechat douyin store session profile avatar upstream webhook phone \
         login assertion proxy admin internal api gateway",
    ),
    // `routing`, to print what `wxgate explain` finds; `session`, to print how long those of an app stay; `server`, for the
    // signals and file limits of the process; `model`, for the type that keeps the admin token from being printed.
    ("cli", "app model config server telemetry simulator routing session"),
    ("main", "cli"),
];

/// Lines of code a file may have: blank lines, comments and tests are not counted.
const MAX_CODE_LINES: usize = 400;

/// The statuses that don't say that something failed.
const NO_ERROR: &[&str] = &[
    "CONTINUE",
    "SWITCHING_PROTOCOLS",
    "EARLY_HINTS",
    "OK",
    "CREATED",
    "ACCEPTED",
    "NO_CONTENT",
    "NOT_MODIFIED",
    "PERMANENT_REDIRECT",
];

// --- who may import whom

#[test]
fn no_module_imports_what_the_table_forbids() {
    let wrong: Vec<_> = imports()
        .into_iter()
        .filter(|((from, to), _)| !permitted(from).contains(to))
        .map(|((from, to), files)| format!("{from} -> {to} in {files:?}"))
        .collect();
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn no_permission_is_unused() {
    let used = imports();
    let unused: Vec<_> = MAY_IMPORT
        .iter()
        .flat_map(|(from, _)| permitted(from).into_iter().map(|to| ((*from).to_owned(), to)))
        .filter(|edge| !used.contains_key(edge))
        .collect();
    assert_eq!(unused, Vec::<(String, String)>::new());
}

#[test]
fn the_table_has_every_module_once_and_no_circle() {
    let modules: BTreeSet<_> = sources().iter().filter_map(|s| s.module.first().cloned()).collect();
    let rows: BTreeSet<_> = MAY_IMPORT.iter().map(|(row, _)| (*row).to_owned()).collect();
    assert_eq!(rows, modules);
    assert_eq!(rows.len(), MAY_IMPORT.len(), "a row stands twice");
    for (at, (row, _)) in MAY_IMPORT.iter().enumerate() {
        let above: BTreeSet<_> = MAY_IMPORT[..at].iter().map(|(name, _)| (*name).to_owned()).collect();
        let below: Vec<_> = permitted(row).difference(&above).cloned().collect();
        assert_eq!(below, Vec::<String>::new(), "{row} names a module that does not stand above it");
    }
}

#[test]
fn the_map_shows_the_table_that_is_tested() {
    let map = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ARCHITECTURE.md"))
        .unwrap_or_else(|e| panic!("docs/ARCHITECTURE.md: {e}"));
    let (_, section) = map.split_once("\n## Who may import whom\n").unwrap_or_default();
    let shown: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
    let tested: Vec<_> = MAY_IMPORT
        .iter()
        .map(|(row, names)| format!("| `{row}` | {} |", if names.is_empty() { "–" } else { names }))
        .collect();
    assert_eq!(shown, tested);
}

// --- how a file looks

#[test]
fn every_file_opens_with_what_it_is_responsible_for() {
    assert_eq!(offenders(|s| !s.raw.starts_with("//! ")), NOBODY);
}

#[test]
fn no_file_grows_beyond_its_limit() {
    assert_eq!(offenders(|s| s.code.lines().filter(|l| !l.trim().is_empty()).count() > MAX_CODE_LINES), NOBODY);
}

#[test]
fn nothing_is_left_unsaid_or_unfinished() {
    let words = [".unwrap()", "todo!", "unimplemented!", "dbg!"];
    assert_eq!(offenders(|s| words.iter().any(|word| s.code.contains(word))), NOBODY);
}

#[test]
fn no_file_is_named_for_nothing() {
    let empty_names = ["utils", "util", "common", "helpers", "helper", "manager", "misc"];
    assert_eq!(offenders(|s| s.module.iter().any(|name| empty_names.contains(&name.as_str()))), NOBODY);
}

#[test]
fn the_linker_lays_together_what_is_there() {
    let script = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("build/hot.ld"))
        .unwrap_or_else(|e| panic!("build/hot.ld: {e}"));
    let patterns: Vec<_> = script.split([' ', '(', ')']).filter(|word| word.starts_with(".text.*")).collect();
    let ours: Vec<_> = patterns.iter().filter_map(|pattern| Some((*pattern, ours(pattern)?))).collect();
    assert!(ours.len() > 20, "{patterns:?}");
    let sources = sources();
    for (pattern, names) in ours {
        let begins = |s: &Source, depth| s.module.len() >= depth && s.module[..depth] == names[..depth];
        let depth = (1..=names.len()).rev().find(|depth| sources.iter().any(|s| begins(s, *depth))).unwrap_or_default();
        let has = |s: &Source, name: &str| s.code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == name);
        let is_there = sources.iter().any(|s| begins(s, depth) && names[depth..].iter().all(|name| has(s, name)));
        assert!(depth > 0 && is_there, "{pattern}: there is nothing of that name");
    }
}

// --- which file alone may do what

#[test]
fn only_the_config_loader_reads_files_and_the_environment() {
    let reads = |s: &Source| s.uses(&["std", "fs"]) || s.uses(&["std", "env"]) || s.uses(&["tokio", "fs"]);
    // Sessions rest in a file, which has to be there, locked and closed to others before SQLite may have it; and what
    // is sealed there has a key, whose file the first start makes. Both may need a folder. A Unix socket has a file that is
    // made and removed.
    let may =
        ["config/load.rs", "server/unix_socket.rs", "store/folder.rs", "store/key_file.rs", "store/sqlite/files.rs"];
    assert_eq!(others(&may, reads), NOBODY);
}

#[test]
fn only_the_clock_reads_the_time_of_day() {
    assert_eq!(others(&["model/clock.rs"], |s| s.code.contains("SystemTime::now")), NOBODY);
}

#[test]
fn only_bearer_reads_authorization() {
    // `proxy/identity.rs` removes the header where a route does not forward tokens; it never looks at its value. The
    // listeners that are not the public's have tokens of their own, and the configuration only forbids the name for other uses.
    let others_business = ["auth/bearer.rs", "proxy/identity.rs", "web/gate.rs", "config/resolve/identity.rs"];
    let names_it = |s: &Source| {
        let code = s.code.replace("PROXY_AUTHORIZATION", "");
        code.contains("AUTHORIZATION") || s.code_and_text.to_ascii_lowercase().contains("\"authorization\"")
    };
    assert_eq!(others(&others_business, names_it), NOBODY);
}

#[test]
fn only_the_trust_boundary_tells_who_calls() {
    // Others hand the section with the names on, or say in the configuration which names there may be.
    let may = ["proxy/identity.rs", "proxy/mod.rs", "web/headers.rs"];
    let names_them = |s: &Source| {
        !["config", "simulator"].contains(&s.module[0].as_str())
            && (["X_WX_", "IdentityHeaders"].iter().any(|name| s.code.contains(name))
                || s.code_and_text.to_ascii_lowercase().contains("\"x-wx-"))
    };
    assert_eq!(others(&may, names_them), NOBODY);
}

#[test]
fn secrets_are_read_only_where_they_are_needed() {
    let may = [
        "admin/mod.rs",             // the admin token, for the gate to keep its hash
        "internal/mod.rs",          // the token of backends, likewise
        "internal/access_token.rs", // an access token, for a backend
        "api/verify.rs",            // the token, for its client
        "app/services.rs",          // the token, on its way there
        "avatar/name.rs",           // the key, to derive that of names from it
        "avatar/storage.rs",        // the secret of a bucket, for the library
        "cli/demo.rs",              // the demo's own secret, for the stand-in
        "cli/sessions/ask.rs",      // the admin token, for the operators' listener
        "login/mod.rs",             // the code, to ask with it once
        "model/certificate.rs",     // the key of a certificate, to read it from its text
        "model/phone.rs",           // defines a number
        "model/seal_key.rs",        // reads a key from its text
        "model/secret.rs",          // defines it
        "model/signing_key.rs",     // reads a key from its text
        "douyin/code2session.rs",   // the AppSecret and the code, for Douyin
        "once/memory.rs",           // the code that the memory of an answer is locked with
        "phone/mod.rs",             // the code and the number, to ask once and to remember
        "session/token.rs",         // defines it
        "store/key_file.rs",        // the key, to write it down
        "store/memory/kept_key.rs", // the session_key, to hold it in less room
        "store/redis/connect.rs",   // the password, for the server
        "store/seal.rs",            // a session_key, to seal it, and the key to do it with
        "simulator/apps.rs",        // the secrets of apps that do not exist
        "upstream/tls.rs",          // the key of our certificate, for the library
        "telemetry/redact.rs",      // the key of the hash that stands for a user
        "webhook/sign.rs",          // the secret that the receiver has too
        "wechat/code2session.rs",   // the AppSecret and the code, for WeChat
        "wechat/crypto.rs",         // the session_key, to see what WeChat did with it
        "wechat/phone_number.rs",   // the access token and the code, for WeChat
        "wechat/session_check.rs",  // the access token, for WeChat
        "wechat/stable_token.rs",   // the AppSecret, for WeChat
    ];
    let reads = |s: &Source| s.module[0] != "config" && s.code.contains(".expose()");
    assert_eq!(others(&may, reads), NOBODY);
}

#[test]
fn only_rescue_chooses_an_error_status() {
    // The stand-in and the listeners of operators and backends answer for themselves: no Mini Program ever sees those answers.
    let chooses = |s: &Source| {
        !["simulator", "admin", "internal"].contains(&s.module[0].as_str())
            && s.code.match_indices("StatusCode::").any(|(at, word)| is_error_status(&s.code[at + word.len()..]))
    };
    assert_eq!(others(&["gateway/rescue.rs"], chooses), NOBODY);
}

#[test]
fn only_the_transport_opens_connections_to_platforms() {
    // The command line asks the operators' listener of a gateway, and the webhook its receiver, and nobody else.
    assert_eq!(
        others(&["platform/transport.rs", "webhook/delivery.rs", "cli/sessions/ask.rs"], |s| s
            .code
            .contains("reqwest")),
        NOBODY
    );
}

#[test]
fn login_and_session_know_no_http() {
    let libraries = ["http", "hyper", "hyper_util", "http_body", "http_body_util", "reqwest", "url"];
    let knows = |s: &Source| {
        ["login", "session"].contains(&s.module[0].as_str()) && libraries.iter().any(|library| s.uses(&[library]))
    };
    assert_eq!(offenders(knows), NOBODY);
}

#[test]
fn the_stand_in_and_the_client_it_tests_share_nothing() {
    let edges = imports();
    for (from, to) in ["platform", "wechat", "douyin"].into_iter().flat_map(|of| [("simulator", of), (of, "simulator")])
    {
        assert_eq!(edges.get(&(from.to_owned(), to.to_owned())), None, "{from} imports {to}");
    }
}

// --- the scanner, on planted sources: a check that can't fail is no check

#[test]
fn the_scanner_finds_every_form_of_an_import() {
    let planted = r#"//! Head, with a link to crate::in_a_doc.
use crate::{config::{self, Route}, model::AppId as Id};
use super::super::{web, limit::Limit};
use super::{beside, super::login};
use std::{env, collections::BTreeMap};
fn f() -> crate::session::Session { let _ = "crate::in_a_string"; let c = '"'; self::g(c, '\'', crate::auth::X) }
/* crate::in_a_comment /* nested */ */
#[cfg(test)] use crate::in_a_test;
#[cfg(test)]
mod tests { use crate::in_tests; fn braces() { "}"; } }
macro_rules! m { () => { $crate::telemetry::Counters } }
"#;
    let source = Source::new(Path::new("proxy/deep.rs"), planted.to_owned());
    let found: Vec<_> = source.imports().into_iter().collect();
    assert_eq!(found, ["auth", "config", "limit", "login", "model", "session", "telemetry", "web"]);
    assert!(source.uses(&["std", "env"]));
    assert!(!source.uses(&["std", "fs"]));
}

#[test]
fn the_scanner_keeps_raw_strings_and_lifetimes_apart_from_code() {
    let planted = "//! Head.\nfn f<'a>(x: &'a str) -> &'a str { r#\"a \" .unwrap() \"#; b'\"'; x }\nfn after() {}\n";
    let source = Source::new(Path::new("web/x.rs"), planted.to_owned());
    assert!(!source.code.contains("unwrap"), "{}", source.code);
    assert!(source.code.contains("fn after() {}"), "{}", source.code);
}

#[test]
fn the_scanner_knows_an_error_status() {
    assert!(is_error_status("BAD_GATEWAY, x"));
    assert!(is_error_status("from_u16(404)"));
    assert!(!is_error_status("NO_CONTENT)"));
    assert!(!is_error_status("from_u16(code)"));
}

// --- helpers

const NOBODY: Vec<String> = Vec::new();

/// One file below `src/`.
struct Source {
    /// Relative to `src/`, with slashes.
    path: String,
    /// Its module path: `["proxy", "hop"]` for `proxy/hop.rs`; empty for `lib.rs`.
    module: Vec<String>,
    raw: String,
    /// Without comments and tests.
    code_and_text: String,
    /// Without comments, tests and what stands in quotes.
    code: String,
    /// Every path that begins at a crate or at a module above, groups taken apart.
    paths: Vec<Vec<String>>,
}

impl Source {
    fn new(path: &Path, raw: String) -> Self {
        let mut module: Vec<_> =
            path.with_extension("").components().map(|c| c.as_os_str().to_string_lossy().into_owned()).collect();
        if module.last().is_some_and(|last| last == "mod" || last == "lib") {
            module.pop();
        }
        let is_tests = module.iter().any(|part| part == "tests");
        let keep = if is_tests { Vec::new() } else { without_tests(&blank(&raw, true)) };
        let pick =
            |text: &str| -> String { keep.iter().map(|range| &text[range.clone()]).collect::<Vec<_>>().join("\n") };
        let (code, code_and_text) = (pick(&blank(&raw, true)), pick(&blank(&raw, false)));
        let paths = paths(&code);
        Self { path: path.to_string_lossy().replace('\\', "/"), module, raw, code_and_text, code, paths }
    }

    /// Whether a path in it begins so.
    fn uses(&self, start: &[&str]) -> bool {
        self.paths.iter().any(|path| path.len() >= start.len() && path.iter().zip(start).all(|(a, b)| a == b))
    }

    /// The names of the crate's root that it mentions, its own module left out.
    fn imports(&self) -> BTreeSet<String> {
        let from_root = self.paths.iter().filter_map(|path| {
            let ups = path.iter().take_while(|segment| *segment == "super").count();
            match path[0].as_str() {
                "crate" | "wxgate" => path.get(1),
                "super" if ups >= self.module.len() => path.get(ups),
                _ => None,
            }
        });
        from_root.filter(|name| Some(*name) != self.module.first() && *name != "self").cloned().collect()
    }
}

fn sources() -> Vec<Source> {
    fn walk(dir: &Path, root: &Path, into: &mut Vec<Source>) {
        for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
            let path = entry.unwrap_or_else(|e| panic!("{}: {e}", dir.display())).path();
            if path.is_dir() {
                walk(&path, root, into);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let raw = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                into.push(Source::new(path.strip_prefix(root).unwrap_or(&path), raw));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    assert!(found.len() > 20, "src/ was not found: {} files", found.len());
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// What a pattern for mangled names says behind our own: `6wxgate5proxy` or `wxgate..proxy`.
fn ours(pattern: &str) -> Option<Vec<String>> {
    if let Some((_, rest)) = pattern.split_once("wxgate..") {
        return Some(rest.trim_end_matches('*').split("..").map(str::to_owned).collect());
    }
    let (_, mut rest) = pattern.split_once("6wxgate")?;
    let mut names = Vec::new();
    while let Ok(length) = rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<usize>() {
        let (name, more) = rest.trim_start_matches(|c: char| c.is_ascii_digit()).split_at_checked(length)?;
        names.push(name.to_owned());
        rest = more;
    }
    Some(names)
}

fn offenders(breaks: impl Fn(&Source) -> bool) -> Vec<String> {
    others(&[], breaks)
}

/// The files that do it and are not among those that may.
fn others(may: &[&str], does: impl Fn(&Source) -> bool) -> Vec<String> {
    let all = sources().into_iter().filter(|s| !s.module.is_empty());
    all.filter(|s| !may.contains(&s.path.as_str()) && does(s)).map(|s| s.path).collect()
}

fn permitted(module: &str) -> BTreeSet<String> {
    let row = MAY_IMPORT.iter().find(|(name, _)| *name == module);
    row.map(|(_, names)| names.split_whitespace().map(str::to_owned).collect()).unwrap_or_default()
}

/// Who imports whom, and in which files.
fn imports() -> BTreeMap<(String, String), Vec<String>> {
    let mut edges = BTreeMap::<_, Vec<_>>::new();
    for source in sources() {
        let from = source.module.first().map_or("lib", String::as_str).to_owned();
        for to in source.imports() {
            edges.entry((from.clone(), to)).or_default().push(source.path.clone());
        }
    }
    edges
}

fn is_error_status(after: &str) -> bool {
    let name: String = after.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    if name == "from_u16" {
        return after.starts_with("from_u16(4") || after.starts_with("from_u16(5");
    }
    name.chars().all(|c| c.is_ascii_uppercase() || c == '_') && !NO_ERROR.contains(&name.as_str())
}

/// The text with comments turned into spaces, and with what stands in quotes too if asked for. Lengths stay.
fn blank(raw: &str, strings: bool) -> String {
    let bytes = raw.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let (end, hide) = match &bytes[at..] {
            [b'/', b'/', ..] => (at + until(&bytes[at..], b"\n"), true),
            [b'/', b'*', ..] => (at + block_comment(&bytes[at..]), true),
            [b'"', ..] => (at + quoted(&bytes[at..]), strings),
            [b'r', rest @ ..] if raw_string(rest).is_some() && !in_a_word(bytes, at) => {
                (at + 1 + raw_string(rest).unwrap_or_default(), strings)
            }
            [b'\'', b'\\', ..] => (at + 2 + until(&bytes[at + 2..], b"'").max(1) + 1, strings),
            [b'\'', _, b'\'', ..] => (at + 3, strings),
            _ => (at + 1, false),
        };
        let end = end.min(bytes.len());
        if hide {
            out[at..end].iter_mut().filter(|b| **b != b'\n').for_each(|b| *b = b' ');
        }
        at = end;
    }
    String::from_utf8(out).unwrap_or_else(|e| panic!("{e}"))
}

fn in_a_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() && bytes[at - 1] != b'b' || bytes[at - 1] == b'_')
}

fn until(bytes: &[u8], end: &[u8]) -> usize {
    bytes.windows(end.len()).position(|window| window == end).unwrap_or(bytes.len())
}

fn block_comment(bytes: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

fn quoted(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// How long the rest of a raw string is, given what follows its `r`.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let hashes = rest.iter().take_while(|b| **b == b'#').count();
    let close = [b"\"".as_slice(), &rest[..hashes]].concat();
    (rest.get(hashes) == Some(&b'"')).then(|| hashes + 1 + until(&rest[hashes + 1..], &close) + close.len())
}

/// The stretches of blanked code that are not marked `#[cfg(test)]`.
fn without_tests(code: &str) -> Vec<std::ops::Range<usize>> {
    let mut keep = Vec::new();
    let mut from = 0;
    while let Some(found) = code[from..].find("#[cfg(test)]") {
        keep.push(from..from + found);
        let item = from + found + "#[cfg(test)]".len();
        let mut depth = 0;
        let end = code[item..].bytes().position(|b| {
            depth += i32::from(b == b'{') - i32::from(b == b'}');
            depth == 0 && matches!(b, b'}' | b';')
        });
        from = end.map_or(code.len(), |end| item + end + 1);
    }
    keep.push(from..code.len());
    keep
}

/// Every `a::b::c` of the code, with `a::{b, c::d}` taken apart.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut tokens: Vec<&str> = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let len = if word > 0 {
            word
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        tokens.push(&rest[..len]);
        rest = rest[len..].trim_start();
    }
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        at = path(&tokens, at, &[], &mut found).max(at + 1);
    }
    found
}

/// Reads the path that starts at `at`, as a continuation of `prefix`; returns where it ends.
fn path(tokens: &[&str], mut at: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut segments = prefix.to_vec();
    while let Some(token) = tokens.get(at) {
        let is_name = token.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '*');
        if *token == "{" && !segments.is_empty() {
            at += 1;
            while tokens.get(at).is_some_and(|token| *token != "}") {
                let renamed = tokens[at] == "as";
                at = if renamed { at + 2 } else { path(tokens, at, &segments, found).max(at + 1) };
            }
            return at + 1;
        }
        if !is_name {
            return at;
        }
        segments.push((*token).to_owned());
        at += 1;
        if tokens.get(at) != Some(&"::") {
            break;
        }
        at += 1;
    }
    if segments.len() > 1 {
        found.push(segments);
    }
    at
}
