//! How the upstreams stand, for operators to look at.

use std::{net::IpAddr, sync::atomic::Ordering, time::Duration};

use super::{
    group::Group,
    health::{Health, Moment, Standing},
};
use crate::config::sections::Balance;

/// One upstream.
#[derive(Clone, Debug)]
pub struct Status {
    /// What routes call it.
    pub name: String,
    /// Which server a request goes to.
    pub balance: Balance,
    /// In the order of the configuration.
    pub servers: Vec<ServerStatus>,
    /// Requests sent a second time.
    pub retries: u64,
    /// Requests that wait for a connection.
    pub waiting: usize,
    /// Requests refused because too many waited.
    pub overloads: u64,
}

/// One server.
#[derive(Clone, Debug)]
pub struct ServerStatus {
    /// Its address as the configuration has it.
    pub name: String,
    /// How much it gets beside the others.
    pub weight: usize,
    /// How it stands.
    pub standing: Standing,
    /// For how long it will be left alone.
    pub ejected_for: Option<Duration>,
    /// What its name leads to.
    pub addresses: Vec<IpAddr>,
    /// Open ones, used or not.
    pub connections: usize,
    /// How often it was left alone.
    pub ejections: u64,
}

pub(super) fn of(group: &Group, health: &[Health], now: Moment) -> Status {
    let section = &group.section;
    let servers = group.servers.iter().zip(&section.servers).zip(health).map(|((server, written), health)| {
        let (standing, ejected_for) = health.standing(section.slow_start, now);
        ServerStatus {
            name: server.name.clone(),
            weight: written.weight,
            standing,
            ejected_for,
            addresses: server.addresses.borrow().as_deref().unwrap_or_default().to_vec(),
            connections: server.connections.load(Ordering::Relaxed),
            ejections: server.ejections.get(),
        }
    });
    Status {
        name: section.name.clone(),
        balance: section.balance,
        servers: servers.collect(),
        retries: group.retries.get(),
        waiting: group.waiting(),
        overloads: group.overloads.get(),
    }
}
