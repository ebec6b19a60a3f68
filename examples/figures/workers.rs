//! What a second worker brings.
//!
//! Where load and backend need a processor themselves, two processors can't show it in requests per second. So there
//! are three answers: the same with work that is nearly all wxgate's, TLS handshakes with a large RSA key; the
//! processor time per request, which grows where workers get into each other's way, beside two processes that have
//! nothing in common and beside nginx; and how often a thread has to wait for another in the kernel.

use std::{fs, io, net::SocketAddr, path::Path, process::Command, thread, time::Duration};

use super::{
    Args,
    client::Client,
    handshakes, lean, median,
    processes::{Core, Process},
    proxies,
};

/// wrk's, for all that it is sent to.
const CONNECTIONS: usize = 64;

const WARM_UP: Duration = Duration::from_secs(1);

/// The ones under load at the same time, and where they listen.
type Party = Vec<(Process, SocketAddr)>;

/// What was found in one round.
struct Round {
    per_second: f64,
    cost: f64,
    /// How often a thread gave its processor up, or lost it, per request.
    waits: f64,
    losses: f64,
}

pub(super) fn measure(args: &Args) -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let (_stand_in, wechat) = proxies::stand_in(&args.wxgate)?;
    let (_backend, backend) = proxies::backend(folder.path(), 2, Core::Both)?;
    requests(args, folder.path(), wechat, backend)?;
    handshakes::measure(args, folder.path(), wechat, backend)
}

fn requests(args: &Args, folder: &Path, wechat: SocketAddr, backend: SocketAddr) -> io::Result<()> {
    let wxgate = |name: &str, workers: usize| {
        let own = folder.join(name);
        fs::create_dir_all(&own)?;
        let config = lean::config(wechat, backend).replace("workers = 1", &format!("workers = {workers}"));
        proxies::wxgate(&args.wxgate, &own, &config, Core::Both)
    };
    let start = |name: &str| -> io::Result<Party> {
        Ok(match name {
            "1 worker" => vec![wxgate("one", 1)?],
            "2 workers" => vec![wxgate("one", 2)?],
            "2 processes of 1" => vec![wxgate("one", 1)?, wxgate("other", 1)?],
            "nginx, 1 worker" => vec![proxies::before(folder, 1, backend, Core::Both)?],
            _ => vec![proxies::before(folder, 2, backend, Core::Both)?],
        })
    };
    let names = ["1 worker", "2 workers", "2 processes of 1", "nginx, 1 worker", "nginx, 2 workers"];
    let mut found = names.map(|name| (name, Vec::new()));
    println!(
        "GET, {CONNECTIONS} connections, all on two processors; {} rounds of {} s, medians",
        args.rounds, args.seconds
    );
    for _ in 0..args.rounds {
        for (name, rounds) in &mut found {
            let party = start(name)?;
            let tokens = party.iter().map(|(_, addr)| {
                if name.starts_with("nginx") { Ok(String::new()) } else { lean::login(*addr, wechat, "oFigures") }
            });
            let tokens = tokens.collect::<io::Result<Vec<_>>>()?;
            press(&party, &tokens, WARM_UP)?;
            rounds.push(press(&party, &tokens, args.length())?);
        }
    }
    for (name, rounds) in &found {
        let of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
        println!(
            "{name:>16}: {:6.0} requests per second, {:5.2} µs each; per 1000: {:5.1} waits, {:5.1} times put off",
            of(|it| it.per_second),
            of(|it| it.cost),
            of(|it| it.waits) * 1000.0,
            of(|it| it.losses) * 1000.0
        );
    }
    let party = start("2 workers")?;
    let tokens = [lean::login(party[0].1, wechat, "oFigures")?];
    let calls = futexes(&party, &tokens)?;
    println!("2 workers, traced: {calls:.2} calls for a lock or a wake-up of another thread per 1000 requests");
    Ok(())
}

/// A load for all of them at once.
fn press(party: &Party, tokens: &[String], length: Duration) -> io::Result<Round> {
    let usage = || {
        party.iter().fold((Duration::ZERO, (0, 0)), |(spent, (waits, losses)), (process, _)| {
            let (more_waits, more_losses) = process.switches();
            (spent + process.spent(), (waits + more_waits, losses + more_losses))
        })
    };
    let (spent, (waits, losses)) = usage();
    let (requests, per_second) = thread::scope(|scope| {
        let loads: Vec<_> = party
            .iter()
            .zip(tokens)
            .map(|((_, addr), token)| {
                scope.spawn(move || Client::plain(*addr, token, CONNECTIONS / party.len()).ask(length))
            })
            .collect();
        loads.into_iter().try_fold((0.0, 0.0), |(requests, per_second), load| {
            let load = load.join().map_err(|_| io::Error::other("a thread fell over"))??;
            io::Result::Ok((requests + load.answered, per_second + load.per_second))
        })
    })?;
    let (spent_then, (waits_then, losses_then)) = usage();
    let per_request = |before: u64, after: u64| as_float(after - before) / requests;
    Ok(Round {
        per_second,
        cost: spent_then.saturating_sub(spent).as_secs_f64() * 1e6 / requests,
        waits: per_request(waits, waits_then),
        losses: per_request(losses, losses_then),
    })
}

/// How often a thread goes to the kernel for a lock or another thread, per 1000 requests. Tracing makes all of it
/// slower.
fn futexes(party: &Party, tokens: &[String]) -> io::Result<f64> {
    let seconds = Duration::from_secs(3);
    thread::scope(|scope| {
        let pid = party[0].0.0.id().to_string();
        let mut command = Command::new("timeout");
        command.args(["-s", "INT", "2", "strace", "-f", "-c", "-U", "name,calls", "-p", &pid]);
        let load = scope.spawn(|| press(party, tokens, seconds));
        thread::sleep(Duration::from_millis(500));
        let output = command.output()?;
        load.join().map_err(|_| io::Error::other("a thread fell over"))??;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let calls = |name: &str| {
            let line = said.lines().find_map(|line| line.trim().strip_prefix(name)).unwrap_or_default();
            line.trim().parse::<f64>().unwrap_or(0.0)
        };
        // Four of these make a request: two reads and two writes.
        let requests = (calls("recvfrom") + calls("writev") + calls("sendto")) / 4.0;
        if requests < 1.0 {
            return Err(io::Error::other(format!("nothing traced: {said}")));
        }
        Ok(calls("futex") * 1000.0 / requests)
    })
}

/// No count here is beyond what a float can tell.
fn as_float(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
