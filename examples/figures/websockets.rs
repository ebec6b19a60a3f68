//! What an echo through a WebSocket costs, beside nginx. A message is one echo: there and back.

use std::{cell::Cell, io, net::SocketAddr, rc::Rc, thread, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    runtime::{Builder, LocalOptions, LocalRuntime},
    task::spawn_local,
    time,
};
use tokio_rustls::TlsConnector;

use super::{
    Args, lean, median,
    processes::{Core, Process},
    proxies,
    tls::{self, Key, NAME},
};

/// As much as the backend reads at once.
const ROOM: usize = 16 * 1024;

/// A frame of binary data, whole.
const BINARY: u8 = 0x82;
const MASKED: u8 = 0x80;
/// Stands for a length in the next two bytes.
const LONG: u8 = 126;

/// The example of RFC 6455, 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const OPENED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

const WARM_UP: Duration = Duration::from_secs(1);

pub(super) fn measure(args: &Args, connections: usize, sizes: &[u16], over_tls: bool) -> io::Result<()> {
    Core::Second.take()?;
    let folder = tempfile::tempdir()?;
    let (_stand_in, wechat) = proxies::stand_in(&args.wxgate)?;
    let backend = start_echo()?;
    let mut config = format!("{}websocket = true\n", lean::config(wechat, backend));
    let (mut listen, mut trust, mut in_the_clear) = ("LISTEN".to_owned(), None, None);
    if over_tls {
        trust = Some(TlsConnector::from(tls::certificate(folder.path(), Key::P256)?));
        let addr = proxies::free()?;
        config = tls::served(&config, Some(addr));
        in_the_clear = Some(addr);
        listen = format!("LISTEN_TLS {}", tls::served_by_nginx(folder.path()));
    }
    let tunnel = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;";
    let server = format!("server {{ {listen} location / {{ {tunnel} proxy_pass http://{backend}; }} }}");
    let (process, addr) = proxies::wxgate(&args.wxgate, folder.path(), &config, Core::First)?;
    let token = lean::login(in_the_clear.unwrap_or(addr), wechat, "oFigures")?;
    let wxgate = ("wxgate", process, Door { addr, token, trust: trust.clone() });
    let (process, addr) = proxies::nginx(folder.path(), 1, &server, Core::First)?;
    let nginx = ("nginx", process, Door { addr, token: "nobody looks at it".to_owned(), trust });
    let proxies = [wxgate, nginx];
    let over = if over_tls { " over TLS" } else { "" };
    println!("{connections} WebSockets{over}, {} rounds of {} s, medians", args.rounds, args.seconds);
    for size in sizes {
        let mut found = proxies.each_ref().map(|_| Vec::new());
        for _ in 0..args.rounds {
            for ((_, process, door), rounds) in proxies.iter().zip(&mut found) {
                rounds.push(talk(process, door, connections, (*size).into(), args.length())?);
            }
        }
        let mut costs = Vec::new();
        for ((name, ..), rounds) in proxies.iter().zip(found) {
            let (took, paces): (Vec<_>, Vec<_>) = rounds.into_iter().unzip();
            let (least, cost, pace) = (took.iter().copied().fold(f64::INFINITY, f64::min), median(took), median(paces));
            println!(
                "{size:>5} bytes, {name:>6}: {cost:5.2} ({least:5.2}) µs of the proxy per echo, {pace:7.0} echoes per second"
            );
            costs.push((cost, least));
        }
        let (ours, others) = (costs[0], costs[1]);
        println!("{size:>5} bytes: {:.3} of nginx, by the least {:.3}", ours.0 / others.0, ours.1 / others.1);
    }
    Ok(())
}

/// How a proxy is entered.
#[derive(Clone)]
struct Door {
    addr: SocketAddr,
    token: String,
    /// What is believed, where there is TLS.
    trust: Option<TlsConnector>,
}

/// µs of the process per echo, and echoes per second.
fn talk(process: &Process, door: &Door, connections: usize, size: usize, length: Duration) -> io::Result<(f64, f64)> {
    let (echoes, is_over) = (Rc::new(Cell::new(0_u32)), Rc::new(Cell::new(false)));
    runtime()?.block_on(async {
        let talkers: Vec<_> = (0..connections)
            .map(|_| {
                let (door, echoes, is_over) = (door.clone(), Rc::clone(&echoes), Rc::clone(&is_over));
                spawn_local(async move { enter(&door, size, &echoes, &is_over).await })
            })
            .collect();
        time::sleep(WARM_UP).await;
        let (before, begun, spent) = (echoes.get(), time::Instant::now(), process.spent());
        time::sleep(length).await;
        let (said, took, spent) = (echoes.get() - before, begun.elapsed(), process.spent().saturating_sub(spent));
        is_over.set(true);
        for talker in talkers {
            talker.await.map_err(io::Error::other)??;
        }
        Ok((spent.as_secs_f64() * 1e6 / f64::from(said), f64::from(said) / took.as_secs_f64()))
    })
}

async fn enter(door: &Door, size: usize, echoes: &Cell<u32>, is_over: &Cell<bool>) -> io::Result<()> {
    let stream = TcpStream::connect(door.addr).await?;
    stream.set_nodelay(true)?;
    let Some(trust) = &door.trust else { return keep_talking(stream, &door.token, size, echoes, is_over).await };
    let name = NAME.try_into().map_err(io::Error::other)?;
    keep_talking(trust.connect(name, stream).await?, &door.token, size, echoes, is_over).await
}

async fn keep_talking(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    token: &str,
    size: usize,
    echoes: &Cell<u32>,
    is_over: &Cell<bool>,
) -> io::Result<()> {
    let opening = format!(
        "GET /chat HTTP/1.1\r\nHost: {NAME}\r\nAuthorization: Bearer {token}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    );
    stream.write_all(opening.as_bytes()).await?;
    // Nothing comes behind the 101 before something is said.
    let mut reader = BufReader::new(&mut stream);
    let opened = read_head(&mut reader).await?;
    if !opened.starts_with("HTTP/1.1 101 ") {
        return Err(io::Error::other(format!("not opened: {opened}")));
    }
    let payload = vec![b'.'; size];
    let (said, expected) = (frame(MASKED, &payload)?, frame(0, &payload)?);
    let mut answer = vec![0; expected.len()];
    while !is_over.get() {
        stream.write_all(&said).await?;
        stream.flush().await?;
        stream.read_exact(&mut answer).await?;
        if answer != expected {
            return Err(io::Error::other("that is no echo"));
        }
        echoes.set(echoes.get() + 1);
    }
    Ok(())
}

/// Masked with zeros, where it is masked.
fn frame(masked: u8, payload: &[u8]) -> io::Result<Vec<u8>> {
    let mask: &[u8] = if masked == 0 { &[] } else { &[0; 4] };
    let length = u16::try_from(payload.len()).map_err(io::Error::other)?;
    let head = match u8::try_from(length) {
        Ok(short) if short < LONG => vec![BINARY, masked | short],
        _ => [&[BINARY, masked | LONG][..], &length.to_be_bytes()].concat(),
    };
    Ok([&head, mask, payload].concat())
}

/// Starts the backend, a thread for all connections.
fn start_echo() -> io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let addr = listener.local_addr()?;
    thread::spawn(move || runtime()?.block_on(accept(listener)));
    Ok(addr)
}

async fn accept(listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        // The end of a connection is an error here, and how every one of them ends.
        spawn_local(echo(stream));
    }
}

async fn echo(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::with_capacity(ROOM, stream);
    read_head(&mut stream).await?;
    stream.write_all(OPENED).await?;
    let mut payload = Vec::with_capacity(ROOM);
    loop {
        let [kind, short] = stream.read_u16().await?.to_be_bytes();
        let length = match short & !MASKED {
            LONG => stream.read_u16().await?,
            short => short.into(),
        };
        let mask = stream.read_u32().await?.to_be_bytes();
        payload.resize(length.into(), 0);
        stream.read_exact(&mut payload).await?;
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        let mut answer = frame(0, &payload)?;
        answer[0] = kind;
        stream.write_all(&answer).await?;
    }
}

async fn read_head(stream: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

fn runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
}
