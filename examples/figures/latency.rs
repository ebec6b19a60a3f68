//! What wxgate adds to the latency of a request, at rates from little to much.

use std::io;

use super::{
    Args, lean,
    load::{Latencies, Load},
    median,
    processes::Core,
    proxies,
};

const CONNECTIONS: u32 = 64;

/// Of a thousand.
const POINTS: [usize; 3] = [500, 990, 999];

pub(super) fn measure(args: &Args, rates: &[u32]) -> io::Result<()> {
    Core::Second.take()?;
    let folder = tempfile::tempdir()?;
    let (_stand_in, wechat) = proxies::stand_in(&args.wxgate)?;
    let (_backend, backend) = proxies::backend(folder.path(), 1, Core::Second)?;
    let config = lean::config(wechat, backend);
    let (_wxgate, gateway) = proxies::wxgate(&args.wxgate, folder.path(), &config, Core::First)?;
    let (_nginx, nginx) = proxies::before(folder.path(), 1, backend, Core::First)?;
    let token = lean::login(gateway, wechat, "oFigures")?;
    let ways = [("direct", backend), ("through wxgate", gateway), ("through nginx", nginx)];
    println!("{CONNECTIONS} connections, {} rounds of {} s; µs, median of the rounds", args.rounds, args.seconds);
    for &rate in rates {
        let mut rounds: Vec<Vec<Latencies>> = ways.iter().map(|_| Vec::new()).collect();
        for _ in 0..args.rounds {
            for ((_, addr), found) in ways.iter().zip(&mut rounds) {
                let load = Load {
                    addr: *addr,
                    token: &token,
                    rate,
                    connections: CONNECTIONS,
                    is_fresh: false,
                    length: args.length(),
                };
                found.push(load.run());
            }
        }
        let at = |found: &[Latencies]| POINTS.map(|point| median(found.iter().map(|it| it.at(point)).collect()));
        let direct = at(&rounds[0]);
        for ((name, _), found) in ways.iter().zip(&rounds) {
            let here = at(found);
            let added: Vec<String> =
                here.iter().zip(direct).map(|(here, direct)| format!("{:+.0}", here - direct)).collect();
            let failed: usize = found.iter().map(|it| it.failed).sum();
            let answered = found.iter().map(Latencies::count).sum::<usize>() / found.len();
            println!(
                "{rate:>6}/s {name:>14}: p50 {:5.0}, p99 {:5.0}, p99.9 {:6.0}; added {}; {answered} a round, {failed} failed",
                here[0],
                here[1],
                here[2],
                added.join(" "),
            );
        }
    }
    Ok(())
}
