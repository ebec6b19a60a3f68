//! A redis-server for as long as the example runs.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use redis::{Connection, Value};
use wxgate::config::sections::Endpoint;

/// A redis-server on the loopback, which keeps nothing. Dropped, it is killed.
pub(crate) struct Server {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .spawn()?;
        let server = Self { child, port, _folder: folder };
        for _ in 0..200 {
            if server.connection().is_ok() {
                return Ok(server);
            }
            thread::sleep(Duration::from_millis(10));
        }
        anyhow::bail!("redis-server does not answer")
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint { host: "127.0.0.1".to_owned(), port: self.port }
    }

    pub(crate) fn empty(&self) -> anyhow::Result<()> {
        redis::cmd("FLUSHALL").query::<Value>(&mut self.connection()?)?;
        Ok(())
    }

    /// A figure of `INFO memory`, in bytes. `used_memory` is what its data takes.
    pub(crate) fn memory(&self, figure: &str) -> anyhow::Result<u64> {
        let info: String = redis::cmd("INFO").arg("memory").query(&mut self.connection()?)?;
        let bytes = info.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'));
        Ok(bytes.ok_or_else(|| anyhow::anyhow!("no {figure}"))?.trim().parse()?)
    }

    /// What each of the keys of some user takes by itself.
    pub(crate) fn parts(&self) -> anyhow::Result<Vec<(&'static str, u64)>> {
        let mut connection = self.connection()?;
        let mut parts = Vec::new();
        for (what, pattern) in [("session", "wxg:s:*"), ("user", "wxg:u:*"), ("session_key", "wxg:k:*")] {
            let scan = redis::cmd("SCAN").arg(0).arg("MATCH").arg(pattern).arg("COUNT").arg(1000).take();
            let (_, keys): (u64, Vec<String>) = scan.query(&mut connection)?;
            let key = keys.first().ok_or_else(|| anyhow::anyhow!("no {what}"))?;
            parts.push((what, redis::cmd("MEMORY").arg("USAGE").arg(key).query(&mut connection)?));
        }
        Ok(parts)
    }

    fn connection(&self) -> redis::RedisResult<Connection> {
        redis::Client::open(format!("redis://127.0.0.1:{}", self.port))?.get_connection()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
