//! The store that is a SQLite file, under the suite.

use std::{path::PathBuf, sync::Arc};

use wxgate::{
    model::{SealKey, SystemEntropy},
    store::{Sealer, Sqlite, Store},
};

use super::{UnderTest, every_promise};

struct InAFile {
    store: Option<Arc<Sqlite>>,
    key: SealKey,
    folder: tempfile::TempDir,
}

impl InAFile {
    fn path(&self) -> PathBuf {
        self.folder.path().join("data/wxgate.db")
    }

    fn open(&mut self) {
        let sealer = Sealer::new(&self.key, &[], Arc::new(SystemEntropy));
        self.store = Some(Arc::new(Sqlite::open(&self.path(), Arc::new(sealer)).expect("a store")));
    }
}

impl UnderTest for InAFile {
    async fn fresh() -> Self {
        let key = SealKey::generate(&SystemEntropy).expect("randomness");
        let folder = tempfile::tempdir().expect("a folder");
        let mut fresh = Self { store: None, key, folder };
        fresh.open();
        fresh
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(self.store.as_ref().expect("it is open")) as Arc<dyn Store>
    }

    async fn reopen(&mut self) -> bool {
        let store = self.store.take().expect("it is open");
        // The file is another's only when nobody has the store any more.
        drop(Arc::into_inner(store).expect("nobody else has it"));
        self.open();
        true
    }
}

every_promise!(InAFile);
