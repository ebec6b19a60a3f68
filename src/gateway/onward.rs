//! What an upstream is asked for: the path of its route, and the host.

use std::borrow::Cow;

use http::{HeaderValue, Request, Version, header};

use crate::{
    auth::carriers,
    routing::{self, BadTarget, Rule, Target},
    web::RequestBody,
};

/// What the upstream is told as `Host` where the client sends no such line: the authority of an absolute target.
pub(super) fn host_of(request: &Request<RequestBody>, target: &Target<'_>) -> Option<HeaderValue> {
    // In HTTP/1.1 there is one, or the request has been refused.
    if request.version() == Version::HTTP_11 || request.headers().contains_key(header::HOST) {
        return None;
    }
    HeaderValue::from_str(target.host.as_ref()?.received()).ok()
}

/// The path to ask the upstream for.
pub(super) fn upstream_path<'a>(target: &'a Target<'_>, rule: &Rule) -> Result<Cow<'a, str>, BadTarget> {
    target.path.refuse_unless_allowed(rule)?;
    Ok(match &rule.strip_prefix {
        None => Cow::Borrowed(target.path.as_str()),
        Some(prefix) => {
            let stripped = routing::strip_prefix(&target.path, prefix)?;
            stripped.refuse_unless_allowed(rule)?;
            Cow::Owned(stripped.as_str().to_owned())
        }
    })
}

/// The query that goes along: as received, but for what carries a session token that the upstream is not to see.
pub(super) fn upstream_query<'a>(target: &Target<'a>, rule: &Rule) -> Option<Cow<'a, str>> {
    if rule.forward_token {
        return target.query.map(Cow::Borrowed);
    }
    carriers::query_without(target.query, &rule.carriers)
}
