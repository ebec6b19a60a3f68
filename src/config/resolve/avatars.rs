//! `[avatars]`, with `[avatars.folder]` or `[avatars.s3]`: what is taken of a picture, and where it rests.

use std::ops::RangeInclusive;

use url::{Host, Url};

use crate::config::{
    fields::{At, Fields, quoted},
    sections::{AvatarStorage, Avatars, S3},
};

/// A picture is held in memory whole while it is read.
const BODIES: RangeInclusive<u64> = 1024..=64 << 20;

/// From a thumbnail to what fills a screen.
const SIZES: RangeInclusive<usize> = 16..=2048;

/// Of 100 million pixels a thread needs 400 MB.
const PIXELS: RangeInclusive<usize> = 10_000..=100_000_000;

/// What stands before the path of a picture has to leave room for it in the 1024 bytes of an `avatarUrl`.
const LONGEST_URL: usize = 512;

/// The section, where the file has it.
pub(super) fn avatars(mut fields: Fields<'_, '_>) -> Option<Avatars> {
    let default = Avatars::new("");
    let public_url = public_url(&mut fields);
    let size = fields.whole("size", 512, SIZES);
    let max_pixels = fields.whole("max_pixels", 16_000_000, PIXELS);
    let avatars = Avatars {
        max_body: fields.size("max_body", default.max_body, BODIES, "between 1KiB and 64MiB"),
        size: u32::try_from(size).unwrap_or(default.size),
        max_pixels: u64::try_from(max_pixels).unwrap_or(default.max_pixels),
        threads: fields.whole("threads", default.threads, 1..=64),
        max_waiting: fields.whole("max_waiting", default.max_waiting, 1..=1024),
        ..default
    };
    let (folder, s3) = (folder(fields.section("folder")), s3(fields.section("s3")));
    let has_both = fields.has("folder") && fields.has("s3");
    if let Some(line) = fields.line_of("s3").filter(|_| has_both) {
        fields.error(line, "s3", "pictures rest in one place: leave out [avatars.folder], or this section");
    }
    let in_s3 = fields.has("s3");
    fields.finish();
    let storage = if in_s3 { AvatarStorage::S3(Box::new(s3?)) } else { folder? };
    Some(Avatars { public_url: public_url?, storage, ..avatars })
}

/// It becomes a part of addresses that everybody reads, so it has to be what a profile takes.
fn public_url(fields: &mut Fields<'_, '_>) -> Option<String> {
    if fields.given() && !fields.has("public_url") {
        let words = "missing; write public_url = \"https://api.example.com\", where clients reach this gateway";
        fields.error(fields.line, "public_url", words);
    }
    fields.parsed("public_url", None, |text| {
        let plain = text.len() <= LONGEST_URL
            && text.bytes().all(|b| b.is_ascii_graphic() && !b"\\<>\"'`?#@".contains(&b))
            && text.starts_with("https://");
        let url = plain.then(|| Url::parse(text).ok()).flatten();
        let is_name =
            |url: &Url| matches!(url.host(), Some(Host::Domain(name)) if name.trim_end_matches('.').contains('.'));
        match url {
            Some(url) if is_name(&url) => Ok(Some(text.trim_end_matches('/').to_owned())),
            _ => Err("is not an https URL with the name of a host (write https://api.example.com)".to_owned()),
        }
    })
}

fn folder(mut fields: Fields<'_, '_>) -> Option<AvatarStorage> {
    let path = fields.text("path").unwrap_or(At { line: fields.line, value: Avatars::FOLDER });
    if path.value.is_empty() {
        fields.error(path.line, "path", "is empty; write path = \"data/avatars\"");
        fields.finish();
        return None;
    }
    let storage = AvatarStorage::Folder(fields.place(&path).value);
    fields.finish();
    Some(storage)
}

fn s3(mut fields: Fields<'_, '_>) -> Option<S3> {
    let allow_http = fields.boolean("allow_http", false);
    let path_style = fields.boolean("path_style", true);
    let endpoint = needed(&mut fields, "endpoint", "\"https://s3.example.com\"");
    let endpoint = endpoint.and_then(|text| checked(&mut fields, "endpoint", &text, |text| url(text, allow_http)));
    let bucket = needed(&mut fields, "bucket", "\"avatars\"");
    let bucket = bucket.and_then(|text| checked(&mut fields, "bucket", &text, bucket_name));
    let access_key = needed(&mut fields, "access_key", "\"…\"");
    let access_key = access_key.and_then(|text| checked(&mut fields, "access_key", &text, word));
    if fields.given() && !fields.has("secret_key") {
        let words = "missing; write secret_key = { env = \"NAME\" } or { file = \"path\" }";
        fields.error(fields.line, "secret_key", words);
    }
    let secret_key = fields.secret("secret_key");
    let region = fields.parsed("region", S3::REGION.to_owned(), word);
    let prefix = fields.parsed("prefix", String::new(), prefix);
    let is_a_name = endpoint.as_ref().is_none_or(|url| matches!(url.host(), Some(Host::Domain(_))));
    if let Some(line) = fields.line_of("path_style").filter(|_| !path_style && !is_a_name) {
        fields.error(
            line,
            "path_style",
            "no bucket can stand before a number; give endpoint a name, or leave this out",
        );
    }
    fields.finish();
    Some(S3 {
        endpoint: endpoint?,
        bucket: bucket?,
        region,
        access_key: access_key?,
        secret_key: secret_key?.value,
        prefix,
        allow_http,
        path_style,
    })
}

/// A text that has to be there where the section is.
fn needed<'t>(fields: &mut Fields<'_, 't>, key: &'static str, example: &str) -> Option<At<&'t str>> {
    if fields.given() { fields.required(key, example) } else { fields.text(key) }
}

fn checked<T>(
    fields: &mut Fields<'_, '_>,
    key: &'static str,
    text: &At<&str>,
    check: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    check(text.value).map_err(|why| fields.error(text.line, key, why)).ok()
}

/// The address is not shown where it is refused: it may have a password in it.
fn url(text: &str, allow_http: bool) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(Url::has_host);
    let url = url.ok_or("is not a URL (write https://s3.example.com)")?;
    match url.scheme() {
        "https" => {}
        "http" if allow_http => {}
        "http" => {
            return Err("has no TLS; write https://, or allow_http = true where the network is your own".to_owned());
        }
        _ => return Err("must start with https:// or http://".to_owned()),
    }
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if !bare || !url.username().is_empty() || url.password().is_some() {
        return Err("must be a scheme, a host and perhaps a port; bucket and prefix have keys of their own".to_owned());
    }
    Ok(url)
}

fn bucket_name(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    if !(3..=63).contains(&text.len()) || !text.bytes().all(fits) {
        return Err(format!("{} is not 3 to 63 small letters, digits, - and .", quoted(text)));
    }
    // It may become a part of a host.
    let is_label = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
    if !text.split('.').all(is_label) {
        return Err(format!("{} has no letter or digit beside one of its dots or ends", quoted(text)));
    }
    Ok(text.to_owned())
}

/// It may be the secret by mistake, so it is not shown.
fn word(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 128 || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("must be 1 to 128 visible ASCII characters without a space".to_owned());
    }
    Ok(text.to_owned())
}

fn prefix(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let is_name = |part: &str| !part.is_empty() && part.bytes().all(fits) && part.bytes().any(|b| b != b'.');
    if text.len() > 128 || !text.is_empty() && !text.split('/').all(is_name) {
        return Err("is not names of letters, digits, - _ and . with / between them".to_owned());
    }
    Ok(text.to_owned())
}
