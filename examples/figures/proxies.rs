//! What is measured and what it is measured with: wxgate, its stand-in for WeChat, and nginx.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    thread::{self, sleep},
    time::Duration,
};

use super::{
    lean,
    processes::{Core, Process},
};

/// What the backend answers, as long as the answers of most interfaces.
const ANSWER: &str = r#"{"ok":true,"openid":"$http_x_wx_openid","items":[1,2,3,4,5,6,7,8,9,10]}"#;

/// What nginx needs to run Lua.
pub(super) const LUA: &str = "load_module modules/ndk_http_module.so; load_module modules/ngx_http_lua_module.so;";

/// Where there is nothing to forward, nginx still forwards like this.
pub(super) const KEPT: &str = r#"proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://backend;"#;

/// The stand-in, on the second processor.
pub(super) fn stand_in(binary: &Path) -> io::Result<(Process, SocketAddr)> {
    let app = format!("{}={}", lean::APP, lean::SECRET);
    let mut command = Core::Second.command(binary);
    command.args(["simulate", "--listen", "127.0.0.1:0", "--minute-quota", "0", "--app", &app]);
    let mut process = Process(command.stdout(Stdio::piped()).spawn()?);
    let addr = address(&mut process.0.stdout.take().map(BufReader::new), "listens on")?;
    Ok((process, addr))
}

/// wxgate, with its log in this folder.
pub(super) fn wxgate(binary: &Path, folder: &Path, config: &str, core: Core) -> io::Result<(Process, SocketAddr)> {
    let path = folder.join("gateway.toml");
    fs::write(&path, config.replace("[server]", "[server]\ndrain_idle = \"0s\"\ndrain_timeout = \"100ms\""))?;
    let mut command = core.command(binary);
    command.arg("--config").arg(path).stdout(File::create(folder.join("access.log"))?).stderr(Stdio::piped());
    let mut process = Process(command.spawn()?);
    let mut said = process.0.stderr.take().map(BufReader::new);
    let addr = address(&mut said, "serving")?;
    // Nobody may be stopped by a pipe that is full.
    thread::spawn(move || said.map(|mut said| io::copy(&mut said, &mut io::sink())));
    Ok((process, addr))
}

/// nginx with this in its `http` section, where `LISTEN` is an address that it listens on, `LISTEN_TLS` with TLS, and
/// `LISTEN_HTTP2` with HTTP/2 over it.
pub(super) fn nginx(folder: &Path, workers: usize, http: &str, core: Core) -> io::Result<(Process, SocketAddr)> {
    nginx_with(folder, workers, http, core, "")
}

/// The same with these modules.
pub(super) fn nginx_with(
    folder: &Path,
    workers: usize,
    http: &str,
    core: Core,
    modules: &str,
) -> io::Result<(Process, SocketAddr)> {
    // Its own choice of a port would be told to nobody.
    let addr = free()?;
    let own = folder.join(format!("nginx-{}", addr.port()));
    let at = own.display();
    let reuse = if workers > 1 { " reuseport" } else { "" };
    let listen = |how| format!("listen {addr}{how} backlog=4096{reuse};");
    let http = http.replace("LISTEN_HTTP2", &listen(" ssl http2")).replace("LISTEN_TLS", &listen(" ssl"));
    let http = http.replace("LISTEN", &listen(""));
    let config = format!(
        "{modules} worker_processes {workers}; worker_rlimit_nofile 20000; pid {at}.pid; error_log {at}.err; daemon off;\n\
         events {{ worker_connections 19000; }}\n\
         http {{ access_log off; keepalive_timeout 1h; keepalive_requests 1000000000;\n{http}\n}}\n"
    );
    let path = own.with_extension("conf");
    fs::write(&path, config)?;
    let process = Process(core.command("nginx").arg("-c").arg(path).stderr(Stdio::null()).spawn()?);
    listening(process, addr, &format!("nginx; see {at}.err"))
}

/// HAProxy with this below its defaults, where `ADDRESS` is one that it listens on.
pub(super) fn haproxy(folder: &Path, rest: &str, core: Core) -> io::Result<(Process, SocketAddr)> {
    let addr = free()?;
    let path = folder.join(format!("haproxy-{}.cfg", addr.port()));
    let defaults = "mode http\n timeout connect 5s\n timeout client 1h\n timeout server 1h";
    let rest = rest.replace("ADDRESS", &addr.to_string());
    fs::write(&path, format!("global\n nbthread 1\n maxconn 4000\ndefaults\n {defaults}\n{rest}"))?;
    let process = core.command("haproxy").arg("-f").arg(path).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    listening(Process(process), addr, "haproxy")
}

/// Waits until it does.
fn listening(mut process: Process, addr: SocketAddr, name: &str) -> io::Result<(Process, SocketAddr)> {
    for _ in 0..300 {
        if TcpStream::connect(addr).is_ok() {
            return Ok((process, addr));
        }
        if let Some(status) = process.0.try_wait()? {
            return Err(io::Error::other(format!("ended with {status}: {name}")));
        }
        sleep(Duration::from_millis(10));
    }
    Err(io::Error::other(format!("does not listen: {name}")))
}

/// An address that nobody listens on.
pub(super) fn free() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// A backend that answers at once, with 64 KiB where it is asked for `/64k`.
pub(super) fn backend(folder: &Path, workers: usize, core: Core) -> io::Result<(Process, SocketAddr)> {
    fs::write(folder.join("64k"), vec![b'x'; 65_000])?;
    let answer = format!("location / {{ default_type application/json; return 200 '{ANSWER}'; }}");
    let server = format!("server {{ LISTEN root {}; {answer} location = /64k {{ }} }}", folder.display());
    nginx(folder, workers, &server, core)
}

/// nginx in front of it, which forwards everything.
pub(super) fn before(
    folder: &Path,
    workers: usize,
    backend: SocketAddr,
    core: Core,
) -> io::Result<(Process, SocketAddr)> {
    let upstream = format!("upstream backend {{ server {backend}; keepalive 1024; keepalive_requests 1000000000; }}");
    let server = format!("server {{ LISTEN location / {{ proxy_set_header X-WX-OPENID \"x\"; {KEPT} }} }}");
    nginx(folder, workers, &format!("{upstream}\n{server}"), core)
}

/// What a program of somebody else's prints.
pub(super) fn output(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(text + &complaints) } else { Err(io::Error::other(complaints)) }
}

/// The first loopback address in the first line that has this word in it.
fn address(said: &mut Option<BufReader<impl Read>>, word: &str) -> io::Result<SocketAddr> {
    let lines = said.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.lines();
    let found = lines.map_while(Result::ok).filter(|line| line.contains(word)).find_map(|line| {
        let digits = line.split_once("127.0.0.1:")?.1.chars().take_while(char::is_ascii_digit);
        digits.collect::<String>().parse().ok()
    });
    let port: u16 = found.ok_or_else(|| io::Error::other(format!("a process ended before it said '{word}'")))?;
    Ok(SocketAddr::from(([127, 0, 0, 1], port)))
}
