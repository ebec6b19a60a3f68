//! `POST /v1/profile/avatar`: a picture becomes the caller's. And `GET /v1/avatars/…`: anybody looks at it.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};

use crate::{auth::Access, web::RequestBody, web::endpoints};

use super::{Api, Error, form, profile};

/// An address is given to one picture and to no other, ever.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// What a browser is told of a picture, so that it takes it for a picture whatever it looks like, and lets other sites show it.
const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (header::CONTENT_TYPE, HeaderValue::from_static("image/jpeg")),
    (header::CACHE_CONTROL, FOR_EVER),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("cross-origin")),
];

pub(super) async fn upload(
    api: &Api,
    request: Request<RequestBody>,
    access: &Access,
) -> Result<Response<Bytes>, Error> {
    let avatars = api.avatars.as_ref().ok_or(Error::NothingHere)?;
    let user = &access.session().ok_or(Error::NoSession)?.identity().user;
    let place = api.limits.profiles.enter_upload(user);
    let _place = place.map_err(|limited| Error::UploadLimited { retry_after: limited.retry_after })?;
    profile::enter(api, user)?;
    let (head, body) = request.into_parts();
    let upload = form::file(&head.headers, body, avatars.max_body(), avatars.upload(), &*api.clock).await?;
    profile::told(&avatars.keep(user, upload, &api.prefix).await.map_err(Error::Avatar)?)
}

pub(super) async fn picture(api: &Api, request: &Request<RequestBody>) -> Result<Response<Bytes>, Error> {
    let avatars = api.avatars.as_ref().ok_or(Error::NothingHere)?;
    let name = name(&api.prefix, request.uri().path()).ok_or(Error::NothingHere)?;
    let tag = format!("\"{name}\"");
    let is_known = is_known(request.headers(), &tag);
    // Whoever is not sent the picture only asks whether it is there.
    let (picture, size) = if is_known || request.method() == Method::HEAD {
        (Bytes::new(), avatars.size(name).await.map_err(Error::Avatar)?.ok_or(Error::NothingHere)?)
    } else {
        let picture = avatars.find(name).await.map_err(Error::Avatar)?.ok_or(Error::NothingHere)?;
        let size = picture.len() as u64;
        (picture, size)
    };
    let mut response = Response::new(picture);
    let headers = response.headers_mut();
    headers.extend(HEADERS.clone());
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    if is_known {
        headers.remove(header::CONTENT_TYPE);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    }
    Ok(response)
}

/// The name in the path as it was sent: one that would have to be mended first is none.
fn name<'a>(prefix: &str, path: &'a str) -> Option<&'a str> {
    path.strip_prefix(prefix)?.strip_prefix(endpoints::AVATARS)?.strip_suffix(".jpg")
}

/// Whether the client has it already. Here a weak tag is as good as a strong one (RFC 9110, 13.1.2).
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let lines = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_one_path() {
        assert_eq!(name("/v1", "/v1/avatars/abc.jpg"), Some("abc"));
        assert_eq!(name("/v1", "/v1/avatars/../abc.jpg"), Some("../abc"), "which is no name");
        for path in [
            "/v1/avatars/abc",
            "/v1/avatars/abc.png",
            "/v1/avatar/abc.jpg",
            "/avatars/abc.jpg",
            "/v1/%61vatars/abc.jpg",
        ] {
            assert_eq!(name("/v1", path), None, "{path}");
        }
    }

    #[test]
    fn a_tag_is_known_in_a_list_and_weak() {
        let known = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::IF_NONE_MATCH, HeaderValue::from_static(line));
            }
            is_known(&headers, "\"abc\"")
        };
        for lines in [&["\"abc\""][..], &["W/\"abc\""], &["\"x\", \"abc\""], &["\"x\"", "\"abc\""], &["*"]] {
            assert!(known(lines), "{lines:?}");
        }
        for lines in [&[][..], &["abc"], &["\"ab\""], &["\"abcd\""]] {
            assert!(!known(lines), "{lines:?}");
        }
    }
}
