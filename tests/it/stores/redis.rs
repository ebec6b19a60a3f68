//! The store that is a Redis, under the suite: a server of its own for each store.

use std::{sync::Arc, time::Duration};

use redis::Commands;
use wxgate::{
    model::{SealKey, SystemEntropy, Timestamp},
    store::{RedisStore, Sealer, Store},
};

use super::{UnderTest, every_promise};
use crate::support::redis_server::RedisServer;

struct InRedis {
    store: Arc<RedisStore>,
    key: SealKey,
    server: RedisServer,
}

impl InRedis {
    fn open(server: &RedisServer, key: &SealKey) -> Arc<RedisStore> {
        let sealer = Arc::new(Sealer::new(key, &[], Arc::new(SystemEntropy)));
        let runtime = tokio::runtime::Handle::current();
        let store = RedisStore::open(&server.section(), sealer, Arc::new(SystemEntropy), &runtime).expect("a store");
        assert!(store.wait_until_linked(Duration::from_secs(10)), "no link");
        Arc::new(store)
    }
}

impl UnderTest for InRedis {
    async fn fresh() -> Self {
        let (server, key) = (RedisServer::start(), SealKey::generate(&SystemEntropy).expect("randomness"));
        Self { store: Self::open(&server, &key), key, server }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store) as Arc<dyn Store>
    }

    async fn reopen(&mut self) -> bool {
        self.store = Self::open(&self.server, &self.key);
        true
    }

    /// Redis removes by its own clock, which no test can move. This removes what it would have.
    async fn clock_moved(&self, now: Timestamp) {
        let mut connection = self.server.connection();
        let keys: Vec<String> = connection.keys("wxg:s:*").expect("names");
        for key in keys {
            let record: Vec<u8> = connection.get(&key).expect("a record");
            let number = |at: std::ops::Range<usize>| record[at].iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
            let [created, seen, idle, lifetime] = [1..9, 9..13, 13..17, 17..21].map(number);
            let unused = (seen + idle) * 1000 + idle * 50 + 60_000;
            if now.as_millis() >= created + unused.min(lifetime * 1000) {
                let _: () = connection.del(&key).expect("removed");
            }
        }
    }
}

every_promise!(InRedis);
