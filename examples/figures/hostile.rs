//! What other clients notice while some misbehave, and what it costs the process.
//!
//! Load, backend and attackers share the second processor, the attackers with the least claim to it. What that does to
//! the latency shows in the requests that go to the backend directly meanwhile.

use std::{
    io,
    process::{Command, Stdio},
    sync::LazyLock,
    thread::{self, sleep},
    time::Duration,
};

use clap::ValueEnum;

use super::{
    Args,
    attack::Kind,
    lean,
    load::{Latencies, Load},
    median,
    processes::Core,
    proxies,
};

/// So long the attackers have before anything is measured, and so much longer they go on.
const LEAD: Duration = Duration::from_secs(2);
const REST: Duration = Duration::from_secs(1);

const MIB: usize = 1 << 20;

const SMALL: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{\"ok\":true}";

static BIG: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 16 * MIB).into_bytes();
    answer.resize(answer.len() + 16 * MIB, b'.');
    answer
});

fn answer(head: &[u8]) -> &'static [u8] {
    if head.starts_with(b"GET /big") { &BIG } else { SMALL }
}

/// What was found in one round.
struct Round {
    kept: Latencies,
    fresh: Latencies,
    direct: Latencies,
    /// MiB before, and at most.
    before: f64,
    most: f64,
    /// Of the first processor.
    busy: f64,
    attacks: f64,
}

pub(super) fn measure(args: &Args, only: &[Kind]) -> io::Result<()> {
    Core::Second.take()?;
    println!("other clients: 1000 requests per second on 16 connections, 100 on new ones, and 500 to the backend");
    println!(
        "{} rounds of {} s, medians; ms p50/p99/p99.9; MiB resident before and at most",
        args.rounds, args.seconds
    );
    let kinds = if only.is_empty() { Kind::value_variants() } else { only };
    let mut found: Vec<Vec<Round>> = kinds.iter().map(|_| Vec::new()).collect();
    for _ in 0..args.rounds {
        for (kind, rounds) in kinds.iter().zip(&mut found) {
            rounds.push(endure(args, *kind)?);
        }
    }
    for (kind, rounds) in kinds.iter().zip(&found) {
        report(*kind, rounds);
    }
    Ok(())
}

fn endure(args: &Args, kind: Kind) -> io::Result<Round> {
    let folder = tempfile::tempdir()?;
    let (_stand_in, wechat) = proxies::stand_in(&args.wxgate)?;
    let backend = lean::start_backend(answer)?;
    let config = lean::config(wechat, backend).replace("[admin]", "[server.http2]\nprior_knowledge = true\n\n[admin]");
    let (wxgate, gateway) = proxies::wxgate(&args.wxgate, folder.path(), &config, Core::First)?;
    let token = lean::login(gateway, wechat, "oFigures")?;
    let load = |addr, rate, connections, is_fresh, length| {
        Load { addr, token: &token, rate, connections, is_fresh, length }.run()
    };
    load(gateway, 1000, 16, false, Duration::from_secs(1));
    let (before, _) = wxgate.memory();
    let name = kind.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let all_along = LEAD + args.length() + REST;
    let mut command = Command::new("nice");
    command.args(["-n", "19"]).arg(std::env::current_exe()?);
    command.args(["--seconds", &all_along.as_secs().to_string(), "attack", &name, &gateway.to_string(), &token]);
    let attackers = command.stdout(Stdio::piped()).spawn()?;
    sleep(LEAD);
    let spent = wxgate.spent();
    let (kept, fresh, direct) = thread::scope(|scope| {
        let kept = scope.spawn(|| load(gateway, 1000, 16, false, args.length()));
        let fresh = scope.spawn(|| load(gateway, 100, 16, true, args.length()));
        let direct = scope.spawn(|| load(backend, 500, 16, false, args.length()));
        let fallen = |_| io::Error::other("a thread fell over");
        io::Result::Ok((kept.join().map_err(fallen)?, fresh.join().map_err(fallen)?, direct.join().map_err(fallen)?))
    })?;
    let busy = wxgate.spent().saturating_sub(spent).as_secs_f64() / args.length().as_secs_f64();
    let (_, most) = wxgate.memory();
    let output = attackers.wait_with_output()?;
    let attacks = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or(f64::NAN);
    let mib = |kib: u64| f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1024.0;
    Ok(Round { kept, fresh, direct, before: mib(before), most: mib(most), busy, attacks })
}

fn report(kind: Kind, rounds: &[Round]) {
    let of = |figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    let failed: usize = rounds.iter().map(|it| it.kept.failed + it.fresh.failed + it.direct.failed).sum();
    let told = |which: fn(&Round) -> &Latencies| {
        [500, 990, 999].map(|point| format!("{:.2}", of(&|it| which(it).at(point)) / 1000.0)).join("/")
    };
    println!(
        "{:>11}: kept {}, new {}, direct {}; {failed} failed; {:.1} -> {:.1} MiB; {:3.0} %; {:.0} {}",
        format!("{kind:?}"),
        told(|it| &it.kept),
        told(|it| &it.fresh),
        told(|it| &it.direct),
        of(&|it| it.before),
        of(&|it| it.most),
        of(&|it| it.busy) * 100.0,
        of(&|it| it.attacks),
        kind.counted(),
    );
}
