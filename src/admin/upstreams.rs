//! How the upstreams stand, to look at.

use bytes::Bytes;
use http::Response;
use serde::Serialize;

use super::answer::{Refusal, json};
use crate::{
    config::sections::Balance,
    upstream::{ServerStatus, Standing, Status, Upstreams},
};

#[derive(Serialize)]
struct Listed {
    upstreams: Vec<Shown>,
}

/// One upstream.
#[derive(Serialize)]
struct Shown {
    name: String,
    balance: &'static str,
    waiting: usize,
    servers: Vec<Server>,
}

/// One of its servers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Server {
    url: String,
    weight: usize,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ejected_for: Option<u64>,
    addresses: Vec<String>,
    connections: usize,
    ejections: u64,
}

pub(super) fn answer(upstreams: &Upstreams, id: &str) -> Result<Response<Bytes>, Refusal> {
    json(&Listed { upstreams: upstreams.status().into_iter().map(shown).collect() }, id)
}

fn shown(status: Status) -> Shown {
    let balance = match status.balance {
        Balance::LeastOutstanding => "least_outstanding",
        Balance::RoundRobin => "round_robin",
        Balance::HashOpenid => "hash_openid",
    };
    let servers = status.servers.into_iter().map(server).collect();
    Shown { name: status.name, balance, waiting: status.waiting, servers }
}

fn server(status: ServerStatus) -> Server {
    Server {
        url: status.name,
        weight: status.weight,
        state: match status.standing {
            Standing::Up => "up",
            Standing::SlowStart => "slow_start",
            Standing::Unhealthy => "unhealthy",
            Standing::Ejected => "ejected",
        },
        // Rounded up: what has not ended takes at least another second.
        ejected_for: status.ejected_for.map(|left| left.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)),
        addresses: status.addresses.iter().map(ToString::to_string).collect(),
        connections: status.connections,
        ejections: status.ejections,
    }
}
