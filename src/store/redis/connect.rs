//! How a connection to one server comes about: TCP or TLS, a login, and the question whether it is a master.

use std::{fmt, sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, PushInfo,
    RedisConnectionInfo, TlsCertificates, Value, aio::MultiplexedConnection, io::tcp::TcpSettings,
};
use tokio::time::timeout;

use super::{RedisError, RedisStore, cause::Cause};
use crate::config::sections::{Endpoint, Redis, RedisLogin};

/// What is called for each push.
pub(super) type OnPush = Arc<dyn Fn(PushInfo) + Send + Sync>;

/// Opens connections.
pub(super) struct Connector {
    tls: bool,
    certificates: TlsCertificates,
    login: RedisLogin,
    database: i64,
    /// For a connection to come about, and for each answer on it.
    pub(super) timeout: Duration,
    /// Calls that one connection takes at once.
    pub(super) in_flight: usize,
}

impl Connector {
    pub(super) fn new(section: &Redis, in_flight: usize) -> Self {
        let root_cert = section.ca.as_ref().map(|pem| pem.clone().into_bytes());
        Self {
            tls: section.tls,
            certificates: TlsCertificates { client_tls: None, root_cert },
            login: section.login.clone(),
            database: section.database.into(),
            timeout: section.timeout,
            in_flight,
        }
    }

    /// Tries out what no server is needed for.
    pub(super) fn check(&self) -> Result<(), Cause> {
        let nowhere = Endpoint { host: "localhost".to_owned(), port: 1 };
        self.client(&nowhere, &self.login, ProtocolVersion::RESP3, self.database).map(drop)
    }

    /// A connection to a server that says that it is a master.
    pub(super) async fn master(&self, at: &Endpoint, on_push: OnPush) -> Result<MultiplexedConnection, Cause> {
        let mut connection = self.server(at, on_push).await?;
        self.is_master(&mut connection).await?;
        Ok(connection)
    }

    /// A connection to a server, whatever it is.
    pub(super) async fn server(&self, at: &Endpoint, on_push: OnPush) -> Result<MultiplexedConnection, Cause> {
        let client = self.client(at, &self.login, ProtocolVersion::RESP3, self.database)?;
        let config = self.config().set_push_sender(move |push: PushInfo| {
            on_push(push);
            Ok::<(), ()>(())
        });
        self.open(&client, &config).await
    }

    /// A connection to a sentinel.
    pub(super) async fn sentinel(&self, at: &Endpoint, login: &RedisLogin) -> Result<MultiplexedConnection, Cause> {
        let client = self.client(at, login, ProtocolVersion::RESP2, 0)?;
        self.open(&client, &self.config()).await
    }

    /// One command and its answer.
    pub(super) async fn ask(&self, connection: &mut MultiplexedConnection, cmd: &Cmd) -> Result<Value, Cause> {
        let answer = timeout(self.timeout, cmd.query_async(connection)).await;
        Ok(answer.map_err(|_| Cause::Late)??)
    }

    /// Fails where the server is none, or does not say so in time.
    pub(super) async fn is_master(&self, connection: &mut MultiplexedConnection) -> Result<(), Cause> {
        says_master(&self.ask(connection, &redis::cmd("ROLE")).await?)
    }

    async fn open(&self, client: &Client, config: &AsyncConnectionConfig) -> Result<MultiplexedConnection, Cause> {
        let opening = client.get_multiplexed_async_connection_with_config(config);
        Ok(timeout(self.timeout, opening).await.map_err(|_| Cause::Late)??)
    }

    /// Calls have their deadline where they are made, so the connection has none of its own.
    fn config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(self.in_flight)
    }

    fn client(
        &self,
        at: &Endpoint,
        login: &RedisLogin,
        protocol: ProtocolVersion,
        database: i64,
    ) -> Result<Client, Cause> {
        let info = self.address(at)?;
        let mut redis = RedisConnectionInfo::default().set_protocol(protocol).set_db(database).set_skip_set_lib_name();
        if let Some(username) = &login.username {
            redis = redis.set_username(username);
        }
        if let Some(password) = &login.password {
            redis = redis.set_password(password.expose());
        }
        let info = info.set_redis_settings(redis).set_tcp_settings(TcpSettings::default().set_nodelay(true));
        if self.tls {
            return Ok(Client::build_with_tls(info, self.certificates.clone())?);
        }
        Ok(Client::open(info)?)
    }

    fn address(&self, at: &Endpoint) -> Result<ConnectionInfo, Cause> {
        let addr = if self.tls {
            ConnectionAddr::TcpTls { host: at.host.clone(), port: at.port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(at.host.clone(), at.port)
        };
        Ok(addr.into_connection_info()?)
    }
}

impl RedisStore {
    /// Tries out what no server is needed for.
    pub fn rehearse(section: &Redis) -> Result<(), RedisError> {
        Connector::new(section, 1).check().map_err(RedisError)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("tls", &self.tls).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// Whether the answer to `ROLE` is that of a master.
pub(super) fn says_master(role: &Value) -> Result<(), Cause> {
    match role.as_sequence().and_then(<[Value]>::first) {
        Some(Value::BulkString(role)) if role == b"master" => Ok(()),
        Some(_) => Err(Cause::NotMaster),
        None => Err(Cause::Odd("ROLE")),
    }
}
