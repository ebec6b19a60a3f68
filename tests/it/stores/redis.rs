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
            let hex = key.rsplit(':').next().expect("a digest");
            let byte = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hex");
            let digest = wxgate::model::TokenDigest::new(std::array::from_fn(byte));
            if self.store.load(&digest, now).await.expect("an answer").is_none() {
                let _: () = connection.del(&key).expect("removed");
            }
        }
    }
}

every_promise!(InRedis);
