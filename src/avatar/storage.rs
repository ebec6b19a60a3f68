//! Where pictures rest: a folder, or a bucket of S3. What a client says never gets here; a place is made of a name that this
//! gateway has made.
//!
//! ```text
//! prefix/owner/name.jpg
//! ```

use std::{error::Error as StdError, future::Future, io, iter, path::PathBuf, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt;
use object_store::{
    BackoffConfig, ClientOptions, Error as ObjectError, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig,
    aws::AmazonS3Builder, local::LocalFileSystem, path::Path,
};
use tokio::{sync::Semaphore, time::timeout};

use super::name::Name;
use crate::{
    config::sections::{AvatarStorage, S3},
    model::Timestamp,
    store::make_folder,
};

/// What pictures are called behind their names.
const EXTENSION: &str = "jpg";

/// For one thing that is asked, with the tries that it takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// For one try of it.
const ONE_TRY: Duration = Duration::from_secs(4);

/// So much is asked at once by those who look, and as much by those who keep and remove; who comes then waits.
const AT_ONCE: usize = 64;

/// What we have written has a tenth of it at most. Something else is not read into memory.
const LARGEST: u64 = 16 << 20;

/// So many of one owner are looked at. There are one or two, but for those that something has left behind.
const OF_ONE_OWNER: usize = 100;

/// Why pictures can't be kept anywhere.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder.
    #[error("the folder {} of [avatars.folder] can't be used", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The bucket. Whether it is there is not asked at the start.
    #[error("[avatars.s3] can't be used: {0}")]
    S3(&'static str),
    /// Threads to read pictures.
    #[error("no threads to read pictures with")]
    Threads(#[source] io::Error),
    /// There is no key for names.
    #[error("no randomness for the names of pictures")]
    Entropy(#[from] crate::model::EntropyError),
}

/// Why a picture could not be read, kept or removed. No address and no name is part of it.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// It did not answer in time.
    #[error("the storage of pictures did not answer in time")]
    TimedOut,
    /// It said no, or could not be asked.
    #[error("the storage of pictures: {what}")]
    Failed {
        /// What is the matter, as far as it is known.
        what: &'static str,
        /// What the system says, where it was asked.
        #[source]
        system: Option<SystemError>,
    },
}

/// What the system said.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SystemError(io::ErrorKind);

/// The folder or the bucket.
#[derive(Debug)]
pub(super) struct Storage {
    objects: Box<dyn ObjectStore>,
    prefix: String,
    /// Apart from the other: everybody looks, and uploads in plenty are no reason to wait.
    looking: Semaphore,
    keeping: Semaphore,
}

impl Storage {
    /// What the section names. A folder is made where it is missing.
    pub(super) fn open(section: &AvatarStorage) -> Result<Self, OpenError> {
        let (objects, prefix): (Box<dyn ObjectStore>, _) = match section {
            AvatarStorage::Folder(path) => {
                let failed = |source| OpenError::Folder { path: path.clone(), source };
                make_folder(path).map_err(failed)?;
                let folder = LocalFileSystem::new_with_prefix(path).map_err(|error| failed(io::Error::other(error)))?;
                (Box::new(folder.with_fsync(true).with_automatic_cleanup(true)), String::new())
            }
            AvatarStorage::S3(section) => (bucket(section)?, section.prefix.clone()),
        };
        Ok(Self { objects, prefix, looking: Semaphore::new(AT_ONCE), keeping: Semaphore::new(AT_ONCE) })
    }

    /// Keeps a picture. When this answers it is as safe as this storage makes it.
    pub(super) async fn put(&self, name: Name, picture: Bytes) -> Result<(), StorageError> {
        let place = self.place(name);
        self.ask(&self.keeping, async { self.objects.put(&place, picture.into()).await }).await.map(drop)
    }

    /// The picture of this name, if there is one.
    pub(super) async fn get(&self, name: Name) -> Result<Option<Bytes>, StorageError> {
        let place = self.place(name);
        let found = self.ask(&self.looking, async {
            let found = self.objects.get(&place).await?;
            if found.meta.size > LARGEST {
                return Ok(None);
            }
            found.bytes().await.map(Some)
        });
        found.await.or_else(|error| if is_missing(&error) { Ok(None) } else { Err(error) })
    }

    /// How many bytes the picture of this name has, if there is one. Nothing of it is read.
    pub(super) async fn size(&self, name: Name) -> Result<Option<u64>, StorageError> {
        let place = self.place(name);
        let found = self.ask(&self.looking, async { self.objects.head(&place).await });
        match found.await {
            Ok(meta) => Ok(Some(meta.size).filter(|size| *size <= LARGEST)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes a picture. One that is not there is removed.
    pub(super) async fn remove(&self, name: Name) -> Result<(), StorageError> {
        let place = self.place(name);
        let removed = self.ask(&self.keeping, async { self.objects.delete(&place).await }).await;
        removed.or_else(|error| if is_missing(&error) { Ok(()) } else { Err(error) })
    }

    /// What there is of an owner, and since when. A name is left to the caller to recognise.
    pub(super) async fn of_owner(&self, owner: &str) -> Result<Vec<(String, Timestamp)>, StorageError> {
        let folder = self.folder(owner);
        let all = self.ask(&self.keeping, async {
            let mut all = Vec::new();
            let mut listed = self.objects.list(Some(&folder)).take(OF_ONE_OWNER);
            while let Some(meta) = listed.next().await {
                all.extend(entry(&meta?));
            }
            Ok(all)
        });
        all.await.or_else(|error| if is_missing(&error) { Ok(Vec::new()) } else { Err(error) })
    }

    fn folder(&self, owner: &str) -> Path {
        Path::from(self.prefix.as_str()).join(owner)
    }

    fn place(&self, name: Name) -> Path {
        self.folder(&name.owner()).join(format!("{}.{EXTENSION}", name.to_text()))
    }

    async fn ask<T>(
        &self,
        room: &Semaphore,
        question: impl Future<Output = Result<T, ObjectError>>,
    ) -> Result<T, StorageError> {
        let answer = timeout(PATIENCE, async {
            // It is never closed, and if it were there would be nobody to keep waiting.
            let _permit = room.acquire().await;
            question.await
        });
        answer.await.map_err(|_| StorageError::TimedOut)?.map_err(|error| told(&error))
    }
}

fn bucket(section: &S3) -> Result<Box<dyn ObjectStore>, OpenError> {
    let endpoint = address(section).ok_or(OpenError::S3("the bucket can't stand before this host"))?;
    let options = ClientOptions::new()
        .with_allow_http(section.allow_http)
        .with_connect_timeout(ONE_TRY)
        .with_timeout(ONE_TRY)
        .with_http1_only();
    let bucket = AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_virtual_hosted_style_request(!section.path_style)
        .with_bucket_name(&section.bucket)
        .with_region(&section.region)
        .with_access_key_id(&section.access_key)
        .with_secret_access_key(section.secret_key.expose())
        .with_allow_http(section.allow_http)
        .with_client_options(options)
        // Not all that speak S3 can remove several at once.
        .with_disable_bulk_delete(true)
        .with_retry(RetryConfig { backoff: BackoffConfig::default(), max_retries: 2, retry_timeout: PATIENCE });
    Ok(Box::new(bucket.build().map_err(|_| OpenError::S3("its values don't fit together"))?))
}

/// Where the bucket is asked for. The library wants it whole where the bucket is a part of the host.
fn address(section: &S3) -> Option<String> {
    let mut endpoint = section.endpoint.clone();
    if !section.path_style {
        let host = format!("{}.{}", section.bucket, endpoint.host_str()?);
        endpoint.set_host(Some(&host)).ok()?;
    }
    Some(endpoint.as_str().trim_end_matches('/').to_owned())
}

fn entry(meta: &ObjectMeta) -> Option<(String, Timestamp)> {
    let (name, extension) = meta.location.filename()?.split_once('.')?;
    let since = u64::try_from(meta.last_modified.timestamp_millis()).ok()?;
    (extension == EXTENSION).then(|| (name.to_owned(), Timestamp::from_millis(since)))
}

const MISSING: &str = "it has no such place";

/// For a folder as for a bucket: what is to be read or removed is not there.
fn is_missing(error: &StorageError) -> bool {
    matches!(error, StorageError::Failed { what: MISSING, .. })
}

/// What an error says without the address and the place that its own words have in them.
fn told(error: &ObjectError) -> StorageError {
    let what = match error {
        ObjectError::NotFound { .. } => MISSING,
        ObjectError::PermissionDenied { .. } => "we may not do that",
        ObjectError::Unauthenticated { .. } => "it does not know who we are",
        ObjectError::InvalidPath { .. } => "a place that it does not take",
        ObjectError::JoinError { .. } => "the question was not put to its end",
        _ => "it can't be asked, or does not do it",
    };
    let causes = iter::successors(Some(error as &dyn StdError), |&error| error.source());
    let system = causes.filter_map(|error| error.downcast_ref::<io::Error>()).last().map(io::Error::kind);
    StorageError::Failed { what, system: system.map(SystemError) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        avatar::name::Names,
        model::{AppId, OpenId, Secret, SystemEntropy, UserKey},
    };

    fn address_of(endpoint: &str, path_style: bool) -> Option<String> {
        let endpoint = endpoint.parse().unwrap();
        let (bucket, region, access_key) = ("pictures".to_owned(), S3::REGION.to_owned(), "AKID".to_owned());
        let secret_key = Secret::new("secret");
        let prefix = String::new();
        address(&S3 { endpoint, bucket, region, access_key, secret_key, prefix, allow_http: false, path_style })
    }

    #[test]
    fn a_bucket_stands_in_the_path_or_before_the_host() {
        assert_eq!(address_of("https://minio.internal:9000", true).unwrap(), "https://minio.internal:9000");
        let before = address_of("https://oss-cn-hangzhou.aliyuncs.com/", false).unwrap();
        assert_eq!(before, "https://pictures.oss-cn-hangzhou.aliyuncs.com");
        assert_eq!(address_of("https://192.0.2.1:9000", false), None);
    }

    #[tokio::test]
    async fn uploads_in_plenty_keep_nobody_from_looking() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open(&AvatarStorage::Folder(folder.path().to_owned())).unwrap();
        let user = UserKey { app: AppId::parse("wx1").unwrap(), openid: OpenId::parse("oAlice").unwrap() };
        let names = Names::new(None, &SystemEntropy).unwrap();
        let name = names.make(&user, b"picture", &SystemEntropy).unwrap();
        storage.put(name, Bytes::from_static(b"picture")).await.unwrap();
        let all = u32::try_from(AT_ONCE).unwrap();
        let uploads = storage.keeping.acquire_many(all).await.unwrap();
        assert_eq!(storage.get(name).await.unwrap().as_deref(), Some(&b"picture"[..]));
        assert_eq!(storage.size(name).await.unwrap(), Some(7));
        drop(uploads);
        let _looks = storage.looking.acquire_many(all).await.unwrap();
        storage.remove(name).await.unwrap();
    }
}
