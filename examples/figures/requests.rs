//! What a request costs, beside the proxies that one would take instead: processor time of the proxy's whole process, alone on
//! one core, with the load and the backend on the other. All of them are there at once, and each has its turn under load, in an
//! order that is drawn for each round.

use std::{
    fmt::Write,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::{
    Args,
    client::{Client, Over, Scenario},
    lean, median,
    processes::{Core, Process},
    proxies,
    tls::{self, Key},
};

/// Sessions that the others know.
const SESSIONS: usize = 10_000;

const WARM_UP: Duration = Duration::from_secs(1);

/// Who may be asked for, apart from wxgate and other builds of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Peer {
    /// Looks sessions up in a shared dictionary
    NginxLua,
    /// Forwards
    Nginx,
    /// Looks sessions up in a map
    HaproxyMap,
    /// Passes bytes on without reading them; in the clear only
    HaproxyBytes,
}

/// One that is measured.
struct Proxy {
    name: String,
    process: Process,
    addr: SocketAddr,
    token: String,
    /// µs of each round.
    costs: Vec<f64>,
    paces: Vec<f64>,
}

/// Where all of them are, and what they have in common.
struct Place<'a> {
    folder: &'a Path,
    backend: SocketAddr,
    wechat: SocketAddr,
    over: Over,
}

pub(super) fn measure(
    args: &Args,
    scenario: Scenario,
    over: Over,
    peers: &[Peer],
    others: &[(String, PathBuf)],
) -> io::Result<()> {
    Core::Second.take()?;
    let folder = tempfile::tempdir()?;
    let (_stand_in, wechat) = proxies::stand_in(&args.wxgate)?;
    let (_backend, backend) = proxies::backend(folder.path(), 1, Core::Second)?;
    tls::certificate(folder.path(), Key::P256)?;
    let body = folder.path().join("body");
    fs::write(&body, [b'a'; 1024])?;
    let all = Place { folder: folder.path(), backend, wechat, over };
    let mut found = vec![all.wxgate("wxgate", &args.wxgate)?];
    for (name, binary) in others {
        found.push(all.wxgate(name, binary)?);
    }
    for peer in peers {
        if over == Over::Plain || *peer != Peer::HaproxyBytes {
            found.push(all.peer(*peer)?);
        }
    }
    println!("{scenario:?}, {over:?}: {} rounds of {} s, medians (least)", args.rounds, args.seconds);
    let mut order: Vec<usize> = (0..found.len()).collect();
    let mut drawn = StdRng::seed_from_u64(1);
    for _ in 0..args.rounds {
        order.shuffle(&mut drawn);
        for at in &order {
            let proxy = &mut found[*at];
            let client = Client::of(scenario, over, proxy.addr, &proxy.token, &body);
            client.ask(WARM_UP)?;
            let spent = proxy.process.spent();
            let answers = client.ask(args.length())?;
            let spent = proxy.process.spent().saturating_sub(spent);
            proxy.costs.push(spent.as_secs_f64() * 1e6 / answers.answered);
            proxy.paces.push(answers.per_second);
        }
    }
    let figures = |proxy: &Proxy| {
        let least = proxy.costs.iter().copied().fold(f64::INFINITY, f64::min);
        (median(proxy.costs.clone()), least, median(proxy.paces.clone()))
    };
    let ours = figures(&found[0]);
    for proxy in &found {
        let (cost, least, pace) = figures(proxy);
        let name = &proxy.name;
        let (of_it, of_least) = (ours.0 / cost, ours.1 / least);
        println!(
            "{name:>14}: {cost:5.2} ({least:5.2}) µs, {pace:7.0}/s; wxgate takes {of_it:.3} of it, by the least {of_least:.3}"
        );
    }
    Ok(())
}

impl Place<'_> {
    fn wxgate(&self, name: &str, binary: &Path) -> io::Result<Proxy> {
        let own = self.folder.join(name);
        fs::create_dir_all(&own)?;
        let mut config = lean::config(self.wechat, self.backend);
        let mut in_the_clear = None;
        if self.over != Over::Plain {
            fs::copy(self.folder.join(tls::CERT), own.join(tls::CERT))?;
            fs::copy(self.folder.join(tls::KEY), own.join(tls::KEY))?;
            let addr = proxies::free()?;
            config = tls::served(&config, Some(addr));
            in_the_clear = Some(addr);
        }
        let (process, addr) = proxies::wxgate(binary, &own, &config, Core::First)?;
        let token = lean::login(in_the_clear.unwrap_or(addr), self.wechat, "oFigures")?;
        Ok(Proxy { name: name.to_owned(), process, addr, token, costs: Vec::new(), paces: Vec::new() })
    }

    fn peer(&self, peer: Peer) -> io::Result<Proxy> {
        let (process, addr) = match peer {
            Peer::NginxLua => proxies::nginx_with(self.folder, 1, &self.lua(), Core::First, proxies::LUA)?,
            Peer::Nginx => proxies::nginx(self.folder, 1, &self.server(""), Core::First)?,
            Peer::HaproxyMap => proxies::haproxy(self.folder, &self.map()?, Core::First)?,
            Peer::HaproxyBytes => {
                let relay = format!("listen bytes\n mode tcp\n bind ADDRESS\n server backend {}\n", self.backend);
                proxies::haproxy(self.folder, &relay, Core::First)?
            }
        };
        let token = session(77);
        Ok(Proxy { name: format!("{peer:?}"), process, addr, token, costs: Vec::new(), paces: Vec::new() })
    }

    fn server(&self, access: &str) -> String {
        let listen = match self.over {
            Over::Plain => "LISTEN".to_owned(),
            Over::Tls => format!("LISTEN_TLS {}", tls::served_by_nginx(self.folder)),
            Over::Http2 => format!("LISTEN_HTTP2 {}", tls::served_by_nginx(self.folder)),
        };
        let openid = if access.is_empty() { "proxy_set_header X-WX-OPENID x;" } else { "" };
        let upstream =
            format!("upstream backend {{ server {}; keepalive 1024; keepalive_requests 1000000000; }}", self.backend);
        format!("{upstream}\nserver {{ {listen} location / {{ {openid} {access} {} }} }}", proxies::KEPT)
    }

    fn lua(&self) -> String {
        let access = r#"access_by_lua_block {
            local bearer = ngx.var.http_authorization
            local openid = bearer and ngx.shared.sessions:get(string.sub(bearer, 8))
            if not openid then return ngx.exit(401) end
            ngx.req.set_header("X-WX-OPENID", openid)
        }"#;
        let fill = format!(
            "lua_shared_dict sessions 100m;\ninit_by_lua_block {{ for i = 0, {} do \
             ngx.shared.sessions:set(string.format('tok%040d', i), string.format('openid%022d', i)) end }}",
            SESSIONS - 1
        );
        format!("{fill}\n{}", self.server(access))
    }

    fn map(&self) -> io::Result<String> {
        let mut sessions = String::new();
        for number in 0..SESSIONS {
            writeln!(sessions, "{} openid{number:022}", session(number)).map_err(io::Error::other)?;
        }
        let path = self.folder.join("sessions.map");
        fs::write(&path, sessions)?;
        let bind = match self.over {
            Over::Plain => String::new(),
            Over::Tls => self.haproxy_tls("http/1.1")?,
            Over::Http2 => self.haproxy_tls("h2")?,
        };
        Ok(format!(
            "frontend front\n bind ADDRESS{bind}\n http-request set-var(txn.openid) \
             req.hdr(authorization),regsub('^Bearer ',''),map_str({})\n \
             http-request deny deny_status 401 if !{{ var(txn.openid) -m found }}\n \
             http-request set-header X-WX-OPENID %[var(txn.openid)]\n default_backend back\n\
             backend back\n http-reuse always\n server backend {}\n",
            path.display(),
            self.backend
        ))
    }

    /// HAProxy wants both in one file.
    fn haproxy_tls(&self, alpn: &str) -> io::Result<String> {
        let both = [tls::CERT, tls::KEY].map(|name| fs::read(self.folder.join(name)));
        let [cert, key] = both;
        let path = self.folder.join("haproxy.pem");
        fs::write(&path, [cert?, key?].concat())?;
        Ok(format!(" ssl crt {} alpn {alpn}", path.display()))
    }
}

/// A token that all but wxgate know.
fn session(number: usize) -> String {
    format!("tok{number:040}")
}
