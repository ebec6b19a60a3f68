//! Requests on connections of their own over TLS, with a key that makes each handshake dear for the server and cheap
//! for the client: a load that is nearly all the gateway's.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
};

use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::{
    Args, lean, median,
    processes::Core,
    proxies,
    tls::{self, Key, NAME},
};

const CLIENTS: usize = 16;

pub(super) fn measure(args: &Args, folder: &Path, wechat: SocketAddr, backend: SocketAddr) -> io::Result<()> {
    let trust = tls::certificate(folder, Key::Rsa4096)?;
    println!("GET over TLS, a handshake with RSA-4096 for each; {} rounds of {} s, medians", args.rounds, args.seconds);
    let mut found = [(1, Vec::new(), Vec::new()), (2, Vec::new(), Vec::new())];
    for _ in 0..args.rounds {
        for (workers, paces, costs) in &mut found {
            let config = lean::config(wechat, backend).replace("workers = 1", &format!("workers = {workers}"));
            let config =
                tls::served(&config, None).replacen("upstream = \"app\"", "upstream = \"app\"\nauth = \"none\"", 1);
            let (process, addr) = proxies::wxgate(&args.wxgate, folder, &config, Core::Both)?;
            let spent = process.spent();
            let asked = ask_for(args, addr, &trust)?;
            paces.push(f64::from(asked) / args.length().as_secs_f64());
            costs.push(process.spent().saturating_sub(spent).as_secs_f64() * 1e6 / f64::from(asked));
        }
    }
    let paces = found.map(|(workers, paces, costs)| {
        let (pace, cost) = (median(paces), median(costs));
        println!("{workers} workers: {pace:6.0} requests per second, {cost:6.0} µs each");
        pace
    });
    println!("the second makes it {:.2} times as many", paces[1] / paces[0]);
    Ok(())
}

/// How many requests are answered meanwhile.
fn ask_for(args: &Args, addr: SocketAddr, trust: &Arc<ClientConfig>) -> io::Result<u32> {
    let (asked, is_over) = (AtomicU32::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        ask(addr, trust)?;
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                    io::Result::Ok(())
                })
            })
            .collect();
        thread::sleep(args.length());
        let sum = asked.load(Ordering::Relaxed);
        is_over.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().map_err(|_| io::Error::other("a client fell over"))??;
        }
        Ok(sum)
    })
}

fn ask(addr: SocketAddr, trust: &Arc<ClientConfig>) -> io::Result<()> {
    let name = NAME.try_into().map_err(io::Error::other)?;
    let client = ClientConnection::new(Arc::clone(trust), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(client, TcpStream::connect(addr)?);
    stream.write_all(b"GET /api/items HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    if answer.starts_with(b"HTTP/1.1 200 ") { Ok(()) } else { Err(io::Error::other("not answered with 200")) }
}
