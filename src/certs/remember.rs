//! A storage that goes on where what is below it cannot be written: a full disk
//! takes no certificate from a site. What could not be written is remembered,
//! and written once that is possible. An order stays below until its certificate
//! is there: the next process goes on with it if this one loses the certificate.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::error::CertError;
use super::storage::{CertStorage, Item, Lock};

/// How often what could not be written is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// For how long it is waited for where the process is about to end.
const WRITTEN_WITHIN: Duration = Duration::from_secs(3);

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

    /// Writes what could not be written, if that is possible within a few seconds.
    ///
    /// # Errors
    /// If a certificate is still in memory only: why.
    pub(super) async fn write_down(&self) -> Result<(), CertError> {
        let failed = tokio::time::timeout(WRITTEN_WITHIN, self.write_all()).await.unwrap_or_default();
        let Some(item) = self.unwritten_certificate() else { return Ok(()) };
        Err(failed.unwrap_or_else(|| CertError::Storage {
            action: "write",
            path: item.path().to_owned(),
            source: io::ErrorKind::TimedOut.into(),
        }))
    }

    /// Says why a certificate could not be written, if one could not.
    async fn write_all(&self) -> Option<CertError> {
        let mut items: Vec<_> =
            self.unwritten().iter().map(|(item, it)| (it.is_none(), item.clone())).collect();
        // What is to be removed may be needed until the rest is written.
        items.sort_by_key(|(is_removed, _)| *is_removed);
        let mut failed = None;
        for (_, item) in items {
            let _alone = self.writing.lock().await;
            let Some(content) = self.unwritten().get(&item).cloned() else { continue };
            if content.is_none() && self.is_needed(&item) {
                continue;
            }
            match self.write(&item, content).await {
                Ok(()) => {
                    tracing::info!(?item, "written at last to the state directory");
                    self.unwritten().remove(&item);
                }
                Err(error) => {
                    tracing::error!(reason = error.story(), "still kept in memory only");
                    failed = failed.or(Some(error).filter(|_| item.is_certificate()));
                }
            }
        }
        failed
    }

    /// True for an order whose certificate is in memory only.
    fn is_needed(&self, item: &Item) -> bool {
        item.ordered().is_some_and(|certificate| self.unwritten().contains_key(&certificate))
    }

    fn unwritten_certificate(&self) -> Option<Item> {
        let unwritten = self.unwritten();
        let is_certificate =
            |(item, content): &(&Item, &Option<_>)| item.is_certificate() && content.is_some();
        unwritten.iter().find(is_certificate).map(|(item, _)| item.clone())
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
        if content.is_none() && self.is_needed(item) {
            self.unwritten().insert(item.clone(), None);
            return;
        }
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

    #[tokio::test]
    async fn an_order_stays_until_its_certificate_is_written() {
        let state = tempfile::tempdir().unwrap();
        let storage = Remembering::new(Arc::new(FileStorage::open(state.path(), now()).unwrap()));
        let below = FileStorage::open(state.path(), now()).unwrap();
        let (order, certificate) = (
            Item::order("https://ca.test/dir", "a.test"),
            Item::acme_certificate("https://ca.test/dir", "a.test"),
        );
        storage.store(&order, b"order".to_vec()).await.unwrap();
        // A directory where the file has to be.
        let in_the_way = state.path().join("acme/ca.test+dir/a.test.pem");
        fs::create_dir(&in_the_way).unwrap();
        storage.store(&certificate, b"certificate".to_vec()).await.unwrap();
        storage.remove(&order).await.unwrap();
        assert_eq!(storage.load(&order).await.unwrap(), None);
        let error = storage.write_down().await.unwrap_err();
        assert!(error.to_string().ends_with("a.test.pem"), "{error}");
        assert_eq!(below.load(&order).await.unwrap().as_deref(), Some(&b"order"[..]));

        fs::remove_dir(&in_the_way).unwrap();
        storage.write_down().await.unwrap();
        assert_eq!(below.load(&order).await.unwrap(), None);
        assert_eq!(below.load(&certificate).await.unwrap().as_deref(), Some(&b"certificate"[..]));
    }

    #[derive(Debug)]
    struct Hung;

    impl CertStorage for Hung {
        fn load<'a>(&'a self, _: &'a Item) -> BoxFuture<'a, Result<Option<Vec<u8>>, CertError>> {
            Box::pin(std::future::pending())
        }

        fn store<'a>(&'a self, _: &'a Item, _: Vec<u8>) -> BoxFuture<'a, Result<(), CertError>> {
            Box::pin(std::future::pending())
        }

        fn remove<'a>(&'a self, _: &'a Item) -> BoxFuture<'a, Result<(), CertError>> {
            Box::pin(std::future::pending())
        }

        fn lock<'a>(&'a self, _: &'a Item) -> BoxFuture<'a, Result<Lock, CertError>> {
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_is_waited_for_a_few_seconds() {
        let storage = Remembering::new(Arc::new(Hung));
        storage.unwritten().insert(Item::account("https://ca.test/dir"), Some(Vec::new()));
        storage.write_down().await.unwrap();
        storage.unwritten().insert(Item::acme_certificate("https://ca.test/dir", "a.test"), Some(Vec::new()));
        let error = storage.write_down().await.unwrap_err();
        assert_eq!(error.story(), "cannot write acme/ca.test+dir/a.test.pem: timed out");
    }
}
