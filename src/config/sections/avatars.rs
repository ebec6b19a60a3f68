//! `[avatars]`: pictures that users upload, how large they may be, and where they rest.

use std::path::PathBuf;

use url::Url;

use crate::model::Secret;

/// Pictures that users upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Avatars {
    /// Where clients reach this gateway, without a slash at the end: what the address of a picture begins with.
    pub public_url: String,
    /// The most bytes of an upload, the form around the picture included.
    pub max_body: u64,
    /// The sides of what is kept of a picture.
    pub size: u32,
    /// The most pixels of one that is read.
    pub max_pixels: u64,
    /// Threads that read pictures.
    pub threads: usize,
    /// Pictures that wait for one.
    pub max_waiting: usize,
    /// Where they rest.
    pub storage: AvatarStorage,
}

/// Where pictures rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AvatarStorage {
    /// `[avatars.folder]`: in this folder, from where wxgate runs.
    Folder(PathBuf),
    /// `[avatars.s3]`: in a bucket.
    S3(Box<S3>),
}

/// A bucket of something that speaks S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3 {
    /// Where it is.
    pub endpoint: Url,
    /// The bucket.
    pub bucket: String,
    /// Part of what is signed.
    pub region: String,
    /// Who we are.
    pub access_key: String,
    /// Proves it.
    pub secret_key: Secret,
    /// What the name of every object begins with, without a slash at the end.
    pub prefix: String,
    /// Whether the endpoint may be one without TLS.
    pub allow_http: bool,
    /// Whether the bucket stands in the path, or else before the host.
    pub path_style: bool,
}

impl Avatars {
    /// A section with every optional key at its default.
    pub fn new(public_url: impl Into<String>) -> Self {
        Self {
            public_url: public_url.into(),
            max_body: 5 << 20,
            size: 512,
            max_pixels: 16_000_000,
            threads: 1,
            max_waiting: 16,
            storage: AvatarStorage::Folder(Self::FOLDER.into()),
        }
    }

    /// Where pictures rest when nothing is said of it.
    pub const FOLDER: &str = "data/avatars";
}

impl S3 {
    /// The default of `region`, which most that are not Amazon's take.
    pub const REGION: &str = "us-east-1";
}
