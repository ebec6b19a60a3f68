//! `valid/*.toml` load; `invalid/*.toml` are refused in exactly the words of the `.txt` beside each.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use wxgate::{
    config::{
        Config,
        sections::{
            AuthRule, AvatarStorage, Avatars, Balance, Ejection, Endpoint, HostPattern, ListenAt, Listener, LogFormat,
            LogLevel, NewestSealKey, PlatformKind, Redis, RedisServers, Retry, S3, Seal, Speaks, StatusPattern,
            TlsVersion, UnderscoreHeaders,
        },
    },
    model::{SealKey, Secret, SigningKey},
};

use super::support::{ASSERTION_KEY, MARK, MINIMAL, NEXT_ASSERTION_KEY, SEAL_KEY, examples, read};

#[test]
fn an_invalid_file_is_refused_in_the_words_beside_it() {
    let mut wrong = Vec::new();
    for path in examples("invalid") {
        let text = fs::read_to_string(&path).unwrap();
        let said = read(&text).map_or_else(|errors| errors.to_string(), |_| "nothing: it loads".to_owned());
        let expected = fs::read_to_string(path.with_extension("txt")).unwrap_or_else(|_| "(no .txt)\n".to_owned());
        if format!("{said}\n") != expected {
            wrong.push(format!("{}\n--- expected\n{expected}--- said\n{said}\n", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_valid_file_loads_with_the_warnings_beside_it() {
    let mut wrong = Vec::new();
    for path in examples("valid") {
        let text = fs::read_to_string(&path).unwrap();
        let said = match read(&text) {
            Ok(loaded) => loaded.warnings.iter().map(|warning| warning.in_file("gateway.toml") + "\n").collect(),
            Err(errors) => format!("refused: {errors}\n"),
        };
        let expected = fs::read_to_string(path.with_extension("txt")).unwrap_or_default();
        if said != expected {
            wrong.push(format!("{}\n--- expected\n{expected}--- said\n{said}\n", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_message_shows_a_secret() {
    let mut with_a_secret = 0;
    for path in examples("invalid").into_iter().chain(examples("valid")) {
        let text = fs::read_to_string(&path).unwrap();
        with_a_secret += usize::from(text.contains(MARK));
        let said = match read(&text) {
            Ok(loaded) => format!("{loaded:?}"),
            Err(errors) => format!("{errors}\n{errors:?}"),
        };
        assert!(!said.contains(MARK), "{}: {said}", path.display());
    }
    assert!(with_a_secret >= 10, "only {with_a_secret} examples have a secret in them");
}

#[test]
fn every_key_has_an_invalid_example() {
    let shown: BTreeSet<String> = examples("invalid")
        .into_iter()
        .flat_map(|path| read(&fs::read_to_string(path).unwrap()).unwrap_err().findings)
        .map(|finding| finding.key)
        .collect();
    let never_wrong: Vec<String> = wxgate::config::known_keys()
        .into_iter()
        .filter(|key| !shown.iter().any(|said| said == key || said.starts_with(&format!("{key}."))))
        .collect();
    assert_eq!(never_wrong, Vec::<String>::new());
}

#[test]
fn every_listener_arrives_with_what_is_spoken_there() {
    let server = read(include_str!("valid/everything.toml")).unwrap().config.server;
    let at = |text: &str| ListenAt::Tcp(text.parse().unwrap());
    let systemd = ListenAt::Systemd("wxgate.socket".to_owned());
    assert_eq!(server.listen, [at("127.0.0.1:8443"), at("[::1]:8443"), systemd.clone()]);
    let others = [
        Listener { listen: at("127.0.0.1:8080"), speaks: Speaks::Redirect(8443), proxy_protocol: true },
        Listener { listen: ListenAt::Unix("wxgate.sock".into()), speaks: Speaks::Http, proxy_protocol: true },
        Listener { listen: at("127.0.0.1:9443"), speaks: Speaks::Https, proxy_protocol: false },
    ];
    assert_eq!(server.listeners, others);
    assert_eq!(server.all_listeners()[2], Listener { listen: systemd, speaks: Speaks::Https, proxy_protocol: true });
    assert_eq!(server.socket_mode, 0o600);
    let tls = server.tls.unwrap();
    let files: Vec<_> =
        tls.certificates.iter().map(|c| (c.cert.as_path(), c.key.as_path(), c.certificate.name())).collect();
    let first = (Path::new("tls/fullchain.pem"), Path::new("tls/key.pem"), "api.example.com");
    assert_eq!(files, [first, (Path::new("tls/other.pem"), Path::new("tls/other.key"), "other.example")]);
    assert_eq!((tls.min_version, tls.strict_sni, tls.tickets), (TlsVersion::Tls13, true, 2));
    assert_eq!(
        (tls.handshake_timeout, tls.max_handshakes, tls.watch),
        (Duration::from_secs(5), 50, Duration::from_mins(1))
    );
}

#[test]
fn every_key_arrives_where_it_belongs() {
    let Config { server, admin, api, wechat, sessions, identity, assertion, limits, log, .. } =
        read(include_str!("valid/everything.toml")).unwrap().config;
    let secs = Duration::from_secs;

    assert_eq!((server.workers, server.max_connections, server.max_headers), (2, 500, 50));
    assert_eq!((server.header_timeout, server.body_timeout), (secs(5), secs(60)));
    assert_eq!((server.keepalive_timeout, server.write_timeout), (secs(90), secs(20)));
    assert_eq!((server.max_header_bytes, server.max_uri_bytes, server.max_body), (65_536, 4096, 1 << 30));
    assert_eq!((server.drain_timeout, server.drain_idle), (secs(90), Duration::ZERO));
    let http2 = server.http2;
    assert_eq!((http2.enabled, http2.prior_knowledge, http2.max_streams), (true, true, 50));
    assert_eq!((http2.stream_window, http2.connection_window), (65_535, 2 << 20));
    let nets: Vec<String> = server.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(nets, ["10.0.0.0/8", "fd00::1/128", "127.0.0.1/32"]);
    assert_eq!(server.underscore_headers, UnderscoreHeaders::Keep);

    assert_eq!(admin.listen, "127.0.0.1:9000".parse().unwrap());
    assert_eq!(admin.hosts, ["wxgate.internal", "ops.example.com"]);
    assert_eq!(admin.token.unwrap().expose(), "hunter2-admin-token");
    assert_eq!(api.prefix, "/wx/v1");

    assert_eq!((wechat.timeout, wechat.replay_window), (Duration::from_millis(2500), secs(3)));
    assert_eq!((sessions.idle, sessions.lifetime), (secs(7200), secs(30 * 86_400)));
    assert_eq!((sessions.capacity, sessions.per_user), (5000, 3));
    assert_eq!(sessions.snapshot.unwrap().path, Path::new("data/wxgate.db"));
    let key = |text: &str| SealKey::parse(&Secret::new(text)).unwrap();
    let seal = Seal { key: NewestSealKey::Given(key(SEAL_KEY)), old_keys: vec![key(&SEAL_KEY.replacen('h', "H", 1))] };
    assert_eq!(sessions.seal, Some(seal));
    let names = [identity.openid, identity.app_id, identity.unionid, identity.phone];
    assert_eq!(names, ["x-user", "x-app", "x-union", "x-phone"]);
    let assertion = assertion.unwrap();
    let key = |text: &str| SigningKey::parse(&Secret::new(text)).unwrap();
    assert_eq!((assertion.issuer.as_str(), assertion.ttl), ("https://gate.example.com", secs(90)));
    assert_eq!((assertion.key, assertion.other_keys), (key(ASSERTION_KEY), vec![key(NEXT_ASSERTION_KEY)]));
    assert_eq!(assertion.header, "x-signed");
    assert_eq!((limits.verify_per_ip.count.get(), limits.verify_per_ip.per), (5, secs(1)));
    assert_eq!(limits.verify_in_flight, 10);
    assert_eq!((limits.profile_per_user.count.get(), limits.profile_per_user.per), (7, secs(3600)));
    assert_eq!((log.level, log.format, log.access), (LogLevel::Debug, LogFormat::Text, false));
    assert_eq!(log.user_key.unwrap().expose(), "hunter2-log-key-hunter2");
}

#[test]
fn every_key_of_an_app_arrives_at_that_app() {
    let Config { apps, .. } = read(include_str!("valid/everything.toml")).unwrap().config;
    let secs = Duration::from_secs;

    let (other, kinds) = (apps[1].clone(), apps.iter().map(|app| app.platform).collect::<Vec<_>>());
    let apps: Vec<_> = apps.iter().map(|a| (a.app_id.as_str(), a.secret.expose(), a.api_base.as_str())).collect();
    let wechats = ("wx4f4bc4dec97d474b", "hunter2-app-secret", "https://api.weixin.qq.com/");
    let qqs = ("1109999999", "hunter2-from-a-file", "https://api.q.qq.com/openserver/");
    let douyins = ("tt5daf2b0123457910", "hunter2-app-secret", "https://developer.toutiao.com/");
    assert_eq!(apps, [wechats, qqs, douyins]);
    assert_eq!(kinds, [PlatformKind::WeChat, PlatformKind::WeChat, PlatformKind::Douyin]);
    assert_eq!((other.idle, other.lifetime, other.per_user), (Some(secs(1800)), Some(secs(86_400)), Some(2)));
    assert_eq!(other.other_secret.unwrap().expose(), "hunter2-admin-token");
}

#[test]
fn every_key_of_pictures_arrives_there() {
    let Config { avatars, .. } = read(include_str!("valid/everything.toml")).unwrap().config;
    let s3 = S3 {
        endpoint: "http://minio.internal:9000".parse().unwrap(),
        bucket: "wxgate-avatars".to_owned(),
        region: "cn-north-1".to_owned(),
        access_key: "AKIDEXAMPLE".to_owned(),
        secret_key: Secret::new("hunter2-s3"),
        prefix: "mini/pictures".to_owned(),
        allow_http: true,
        path_style: false,
    };
    let expected = Avatars {
        public_url: "https://api.example.com/gate".to_owned(),
        max_body: 2 << 20,
        size: 256,
        max_pixels: 4_000_000,
        threads: 2,
        max_waiting: 8,
        storage: AvatarStorage::S3(Box::new(s3)),
    };
    assert_eq!(avatars, Some(expected));
}

#[test]
fn every_key_of_a_route_arrives_at_that_route() {
    let Config { upstreams, routes, .. } = read(include_str!("valid/everything.toml")).unwrap().config;
    let secs = Duration::from_secs;

    assert_eq!((upstreams[0].audience(), upstreams[1].audience()), ("app", "https://assets.internal"));
    assert_eq!(routes.len(), 5);
    assert_eq!(
        (routes[0].path.as_str(), routes[0].upstream.as_str(), routes[0].auth),
        ("/", "app", AuthRule::Required)
    );
    let chat = &routes[1];
    assert_eq!(chat.token_header.as_ref().unwrap(), "x-session-token");
    assert_eq!((chat.websocket_idle, chat.websocket_max_age), (secs(60), Some(secs(12 * 3600))));
    assert!(chat.websocket && chat.token_subprotocol && chat.token_query.is_none());
    assert_eq!((chat.websocket_per_user, routes[0].websocket_per_user), (Some(4), None));
    let assets = &routes[2];
    assert_eq!((assets.path.as_str(), assets.upstream.as_str(), assets.auth), ("/assets/", "assets", AuthRule::None));
    assert_eq!(assets.methods.as_deref().unwrap(), [http::Method::GET, http::Method::HEAD]);
    assert!(assets.strip_prefix && assets.allow_encoded_slash && assets.allow_semicolon && !assets.forward_token);
    assert_eq!(routes[3].host, Some(HostPattern::Suffix(".example.com".to_owned())));
    assert_eq!(routes[3].auth, AuthRule::Optional);
    assert_eq!(routes[4].host, Some(HostPattern::Exact("api.example.com".to_owned())));
    assert_eq!(routes[4].apps.as_deref().unwrap()[0].as_str(), "wx4f4bc4dec97d474b");
    assert!(routes[4].forward_token && routes[4].forward_phone && !routes[4].strip_prefix);
    let timeouts = (routes[4].connect_timeout, routes[4].response_timeout);
    assert_eq!(timeouts, (Some(Duration::from_millis(500)), Some(secs(120))));
}

#[test]
fn every_key_of_an_upstream_arrives_where_it_belongs() {
    let upstreams = read(include_str!("valid/everything.toml")).unwrap().config.upstreams;
    let secs = Duration::from_secs;
    let servers = |at: usize| -> Vec<(String, usize)> {
        upstreams[at].servers.iter().map(|server| (server.address.to_string(), server.weight)).collect()
    };
    let server = |url: &str, weight| (url.to_owned(), weight);
    let listed = [("http://127.0.0.1:3000", 1), ("https://[::1]:3000", 3), ("unix:/run/app.sock", 1)];
    assert_eq!(
        (upstreams[0].name.as_str(), servers(0)),
        ("app", listed.map(|(url, weight)| server(url, weight)).to_vec())
    );
    let listed = ["http://assets.internal:80", "h2://assets.internal:8443", "h2c://assets.internal:8080"];
    assert_eq!((upstreams[1].name.as_str(), servers(1)), ("assets", listed.map(|url| server(url, 1)).to_vec()));
    let app = &upstreams[0];
    assert_eq!((app.connect_timeout, app.response_timeout, app.idle_timeout), (secs(1), secs(10), secs(60)));
    assert_eq!((app.max_idle, app.max_connections, app.max_pending), (8, 100, 50));
    assert_eq!((app.balance, app.dns_refresh, app.slow_start), (Balance::HashOpenid, secs(60), Duration::ZERO));
    let health = &app.health;
    assert_eq!((health.path.as_deref(), health.interval, health.timeout), (Some("/health?deep=1"), secs(3), secs(1)));
    let status = StatusPattern::Exactly(204);
    assert_eq!((health.healthy_after, health.unhealthy_after, health.status), (1, 5, status));
    assert_eq!(app.eject, Ejection { failures: 2, time: secs(60), max_time: secs(3600) });
    assert_eq!(app.retry, Retry { percent: 5, min_per_second: 0 });
    assert!(app.tls.ca.is_some() && app.tls.client.as_ref().is_some_and(|client| client.key.expose().contains(MARK)));
    assert_eq!(app.tls.server_name.as_deref(), Some("app.internal"));
}

#[test]
fn a_seal_key_that_is_not_there_is_to_be_made_beside_the_snapshot() {
    let seal = |text: &str| read(text).unwrap().config.sessions.seal.unwrap().key;
    let beside = NewestSealKey::ToBeMade("data/seal.key".into());
    assert_eq!(seal(include_str!("valid/snapshot_alone.toml")), beside);
    let elsewhere = "[sessions.snapshot]\npath = \"wxgate.db\"\n[sessions.seal]\nkey = { file = \"keys/a\" }\n";
    assert_eq!(seal(&format!("{elsewhere}{MINIMAL}")), NewestSealKey::ToBeMade("keys/a".into()));
    let there = seal(include_str!("valid/snapshot_with_its_key.toml"));
    assert!(matches!(there, NewestSealKey::Given(_)), "{there:?}");
}

fn redis(text: &str) -> Redis {
    read(text).unwrap().config.sessions.redis.unwrap()
}

fn redis_at(host: &str, port: u16) -> Endpoint {
    Endpoint { host: host.to_owned(), port }
}

#[test]
fn every_key_of_redis_arrives_where_it_belongs() {
    let all = redis(include_str!("valid/redis_everything.toml"));
    assert!(matches!(&all.servers, RedisServers::One(at) if *at == redis_at("redis.internal", 6379)), "{all:?}");
    assert!(all.tls && all.ca.is_some());
    assert_eq!(all.login.username.as_deref(), Some("wxgate"));
    assert_eq!(all.login.password.as_ref().map(Secret::expose), Some("hunter2-redis"));
    assert_eq!((all.stale_for, all.timeout), (Duration::ZERO, Duration::from_millis(300)));
    assert_eq!((all.wait_replicas, all.connections, all.database), (1, 4, 0));
    assert_eq!(all.key_prefix, "shop:wxg");

    let in_url = redis(include_str!("valid/redis_password_in_url.toml"));
    assert_eq!((in_url.login.password.as_ref().map(Secret::expose), in_url.database), (Some("hunter2"), 3));
    assert!(in_url.login.username.is_none() && !in_url.tls);
}

#[test]
fn redis_may_be_many_servers() {
    let watched = redis(include_str!("valid/redis_sentinel.toml"));
    let RedisServers::Sentinel(sentinel) = watched.servers else { unreachable!("no sentinels") };
    assert_eq!(sentinel.sentinels, [redis_at("10.0.0.1", 26379), redis_at("10.0.0.2", 26379)]);
    assert_eq!((sentinel.master.as_str(), sentinel.login.username.as_deref()), ("main", Some("watcher")));
    assert!(sentinel.login.password.is_some() && watched.login.password.is_some());

    let cluster = redis(include_str!("valid/redis_cluster.toml"));
    let RedisServers::Cluster(members) = cluster.servers else { unreachable!("no Cluster") };
    assert!(members == [redis_at("10.0.0.1", 7000), redis_at("10.0.0.2", 7000)] && cluster.tls);
}

#[test]
fn a_small_head_limit_takes_the_target_limit_along() {
    let config = read(include_str!("valid/small_heads.toml")).unwrap().config;
    assert_eq!((config.server.max_header_bytes, config.server.max_uri_bytes), (4096, 4096));
}

#[test]
fn every_fault_of_a_file_is_reported_at_once() {
    let text = MINIMAL.replace("\"/\"", "\"nowhere\"").replace("http:", "ftp:").replace("secret", "sekret");
    let lines: Vec<usize> = read(&text).unwrap_err().findings.iter().map(|finding| finding.line).collect();
    assert_eq!(lines, [1, 3, 7, 10]);
}
