//! A storage that goes on where what is below it cannot be written: a full disk
//! takes no certificate from a site. What could not be written is remembered,
//! and written once that is possible.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::error::CertError;
use super::storage::{CertStorage, Item, Lock};

/// How often what could not be written is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// A storage, and what could not be written to it.
#[derive(Debug)]
pub(super) struct Remembering {
    storage: Arc<dyn CertStorage>,
    /// `None` stands for what is to be removed.
    unwritten: Mutex<HashMap<Item, Option<Vec<u8>>>>,
    /// Held while something is written, so that nothing old comes after it.
    writing: tokio::sync::Mutex<()>,
}

impl Remembering {
    /// Nothing yet.
    pub(super) fn new(storage: Arc<dyn CertStorage>) -> Self {
        Self { storage, unwritten: Mutex::default(), writing: tokio::sync::Mutex::default() }
    }

    /// Writes what could not be written, whenever that is possible, for ever.
    /// Cancel safe.
    pub(super) async fn catch_up(&self) {
        loop {
            tokio::time::sleep(AGAIN_AFTER).await;
            self.write_all().await;
        }
    }

    async fn write_all(&self) {
        let items: Vec<_> = self.unwritten().keys().cloned().collect();
        for item in items {
            let _alone = self.writing.lock().await;
            let Some(content) = self.unwritten().get(&item).cloned() else { continue };
            match self.write(&item, content).await {
                Ok(()) => {
                    tracing::info!(?item, "written at last to the state directory");
                    self.unwritten().remove(&item);
                }
                Err(error) => tracing::error!(reason = error.story(), "still kept in memory only"),
            }
        }
    }

    async fn write(&self, item: &Item, content: Option<Vec<u8>>) -> Result<(), CertError> {
        match content {
            Some(content) => self.storage.store(item, content).await,
            None => self.storage.remove(item).await,
        }
    }

    /// Writes it, or remembers it.
    async fn put(&self, item: &Item, content: Option<Vec<u8>>) {
        let _alone = self.writing.lock().await;
        match self.write(item, content.clone()).await {
            Ok(()) => {
                self.unwritten().remove(item);
            }
            Err(error) => {
                tracing::error!(reason = error.story(), "kept in memory only, and tried again each minute");
                self.unwritten().insert(item.clone(), content);
            }
        }
    }

    fn unwritten(&self) -> MutexGuard<'_, HashMap<Item, Option<Vec<u8>>>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CertStorage for Remembering {
    fn load<'a>(&'a self, item: &'a Item) -> BoxFuture<'a, Result<Option<Vec<u8>>, CertError>> {
        let unwritten = self.unwritten().get(item).cloned();
        match unwritten {
            Some(content) => Box::pin(std::future::ready(Ok(content))),
            None => self.storage.load(item),
        }
    }

    fn store<'a>(&'a self, item: &'a Item, content: Vec<u8>) -> BoxFuture<'a, Result<(), CertError>> {
        Box::pin(async move {
            self.put(item, Some(content)).await;
            Ok(())
        })
    }

    fn remove<'a>(&'a self, item: &'a Item) -> BoxFuture<'a, Result<(), CertError>> {
        Box::pin(async move {
            self.put(item, None).await;
            Ok(())
        })
    }

    fn lock<'a>(&'a self, item: &'a Item) -> BoxFuture<'a, Result<Lock, CertError>> {
        self.storage.lock(item)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::certs::storage::FileStorage;
    use crate::certs::testing::now;

    #[tokio::test]
    async fn what_cannot_be_written_is_kept_and_written_later() {
        let state = tempfile::tempdir().unwrap();
        // A file where a directory has to be: not even root writes under it.
        fs::write(state.path().join("acme"), b"").unwrap();
        let storage = Remembering::new(Arc::new(FileStorage::open(state.path(), now()).unwrap()));
        let item = Item::account("https://ca.test/dir");
        storage.store(&item, b"old".to_vec()).await.unwrap();
        storage.store(&item, b"new".to_vec()).await.unwrap();
        assert_eq!(storage.load(&item).await.unwrap().as_deref(), Some(&b"new"[..]));
        storage.write_all().await;
        assert_eq!(storage.unwritten().len(), 1);

        fs::remove_file(state.path().join("acme")).unwrap();
        storage.write_all().await;
        assert_eq!(storage.unwritten().len(), 0);
        let below = FileStorage::open(state.path(), now()).unwrap();
        assert_eq!(below.load(&item).await.unwrap().as_deref(), Some(&b"new"[..]));
        storage.remove(&item).await.unwrap();
        assert_eq!(storage.load(&item).await.unwrap(), None);
    }
}
