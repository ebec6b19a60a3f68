//! `[sessions.redis]`: the Redis or Valkey that several instances share their sessions in.

use std::time::Duration;

use super::Endpoint;
use crate::model::Secret;

/// The Redis or Valkey that several instances share their sessions in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// Which servers these are.
    pub servers: RedisServers,
    /// Whether all of them, the sentinels included, are spoken to over TLS.
    pub tls: bool,
    /// The certificates that a server's own has to come from, as PEM. Without it those that the system trusts.
    pub ca: Option<String>,
    /// Who we are to the servers. Neither is needed where they ask for nothing.
    pub login: RedisLogin,
    /// The number of the database; 0 in a Cluster.
    pub database: u32,
    /// How long sessions in memory still count while we can't hear of changes.
    pub stale_for: Duration,
    /// For one call.
    pub timeout: Duration,
    /// So many replicas have to have a login or a log-out before it is answered.
    pub wait_replicas: usize,
    /// To each server, for calls. One more hears of changes.
    pub connections: usize,
    /// What every key begins with.
    pub key_prefix: String,
}

/// One server, or how to find the one, or many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisServers {
    /// Always this one.
    One(Endpoint),
    /// The one that these sentinels call the master.
    Sentinel(RedisSentinels),
    /// A Cluster, of which these are members.
    Cluster(Vec<Endpoint>),
}

/// Who knows which server is the master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisSentinels {
    /// They are asked in this order until one knows.
    pub sentinels: Vec<Endpoint>,
    /// The name that they know it by.
    pub master: String,
    /// Who we are to the sentinels.
    pub login: RedisLogin,
}

/// A user name and its password.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedisLogin {
    /// An ACL user; left out, the default one.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
}

impl Redis {
    /// These servers, with everything else as it is without a word about it.
    pub fn new(servers: RedisServers) -> Self {
        Self {
            servers,
            tls: false,
            ca: None,
            login: RedisLogin::default(),
            database: 0,
            stale_for: Duration::from_secs(30),
            timeout: Duration::from_secs(1),
            wait_replicas: 0,
            connections: 2,
            key_prefix: "wxg".to_owned(),
        }
    }
}
