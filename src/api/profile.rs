//! `/v1/profile`: what the caller has told of himself. Whose profile it is follows from the session and from nothing else.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};

use crate::{
    auth::Access,
    model::UserKey,
    profile::{Expected, Profile, Told},
    web::RequestBody,
};

use super::{Api, Error, input, json};

/// Encrypted data has at most a few thousand bytes, and the same may come signed with it.
const MAX_BYTES: u64 = 16 * 1024;

const EXPECTED: &str = "The body must be a JSON object, with each field at most once and proofs as strings.";
const NO_CONDITION: &str = "A profile is removed whatever its version; send no If-Match.";
const IF_MATCH: &str = "If-Match must be the ETag of a profile, or *.";

pub(super) async fn answer(
    api: &Api,
    request: Request<RequestBody>,
    access: &Access,
) -> Result<Response<Bytes>, Error> {
    let user = &access.session().ok_or(Error::NoSession)?.identity().user;
    let (head, body) = request.into_parts();
    match head.method {
        Method::PUT => change(api, user, &head.headers, body).await,
        Method::DELETE => forget(api, user, &head.headers).await,
        _ => told(&api.profiles.of(user).await.map_err(Error::Profile)?),
    }
}

async fn change(api: &Api, user: &UserKey, headers: &HeaderMap, body: RequestBody) -> Result<Response<Bytes>, Error> {
    enter(api, user)?;
    let body = input::read_up_to(body, MAX_BYTES).await?;
    let expected = expected(headers)?;
    let asked: Told = input::decode(&body, EXPECTED)?;
    let key = if asked.has_proof() { api.sessions.session_key(user).await.map_err(Error::Session)? } else { None };
    let patch = asked.patch(user, key.as_ref(), api.clock.now()).map_err(Error::profile)?;
    told(&api.profiles.change(user, &patch, expected).await.map_err(Error::profile)?)
}

async fn forget(api: &Api, user: &UserKey, headers: &HeaderMap) -> Result<Response<Bytes>, Error> {
    enter(api, user)?;
    // Passed over, it would remove what the client has never seen.
    if headers.contains_key(header::IF_MATCH) {
        return Err(Error::BadInput(NO_CONDITION));
    }
    api.profiles.forget(user).await.map_err(Error::Profile)?;
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

pub(super) fn enter(api: &Api, user: &UserKey) -> Result<(), Error> {
    api.limits.profiles.enter(user).map_err(|limited| Error::ProfileLimited { retry_after: limited.retry_after })
}

/// Which profile is meant. One that is not known by a tag of ours is not guessed at.
fn expected(headers: &HeaderMap) -> Result<Expected, Error> {
    let mut lines = headers.get_all(header::IF_MATCH).iter();
    let Some(line) = lines.next() else { return Ok(Expected::Anything) };
    if line == "*" && lines.next().is_none() {
        return Ok(Expected::Something);
    }
    let tag = line.to_str().ok().and_then(|line| line.strip_prefix('"')?.strip_suffix('"'));
    let digits = tag.filter(|tag| tag.bytes().all(|byte| byte.is_ascii_digit()));
    match (digits.and_then(|digits| digits.parse().ok()), lines.next()) {
        (Some(version), None) => Ok(Expected::Version(version)),
        _ => Err(Error::BadInput(IF_MATCH)),
    }
}

pub(super) fn told(profile: &Profile) -> Result<Response<Bytes>, Error> {
    let mut response = json(profile)?;
    if let Ok(tag) = HeaderValue::try_from(format!("\"{}\"", profile.version())) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&'static str]) -> Option<Expected> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::IF_MATCH, HeaderValue::from_static(line));
        }
        expected(&headers).ok()
    }

    #[test]
    fn if_match_names_one_profile() {
        assert_eq!(of(&[]), Some(Expected::Anything));
        assert_eq!(of(&["*"]), Some(Expected::Something));
        assert_eq!(of(&["\"0\""]), Some(Expected::Version(0)));
        assert_eq!(of(&["\"1790000000000\""]), Some(Expected::Version(1_790_000_000_000)));
        for odd in
            ["", "1", "\"", "\"\"", "\"x\"", "\"+1\"", "\"-1\"", "W/\"1\"", "\"1\", \"2\"", "\"18446744073709551616\""]
        {
            assert_eq!(of(&[odd]), None, "{odd}");
        }
        assert_eq!(of(&["\"1\"", "\"1\""]), None);
        assert_eq!(of(&["*", "\"1\""]), None);
    }
}
