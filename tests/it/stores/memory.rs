//! The store that is only memory, under the suite.

use std::{future::Future, sync::Arc};

use wxgate::store::{Memory, Store};

use super::{UnderTest, every_promise};

struct InMemory(Arc<Memory>);

impl UnderTest for InMemory {
    async fn fresh() -> Self {
        Self(Arc::new(Memory::new()))
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.0) as Arc<dyn Store>
    }

    fn reopen(&mut self) -> impl Future<Output = bool> {
        std::future::ready(false)
    }
}

every_promise!(InMemory);
