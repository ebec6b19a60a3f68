//! The only reader of `Authorization`: which credentials does a request carry, if any?

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};

use crate::session::SessionToken;

/// What every session token begins with.
pub const TOKEN_PREFIX: &str = "wxg_";

/// What a request carries to be recognised by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing.
    None,
    /// A well-formed token. Whether it opens anything is not known yet.
    Token(SessionToken),
    /// `Bearer` with something that can't be a token of ours.
    Garbage,
    /// Another scheme, such as `Basic`: none of our business.
    Foreign,
}

/// The request can't be answered, since two parties could take it for two callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCredentials {
    /// More than one line.
    #[error("the request has two Authorization lines")]
    TwoLines,
    /// More than one token, in one place or in several.
    #[error("the request has more than one session token")]
    Several,
}

/// Finds the credentials of a request.
pub fn find(headers: &HeaderMap) -> Result<Credentials, BadCredentials> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let Some(line) = lines.next() else { return Ok(Credentials::None) };
    if lines.next().is_some() {
        return Err(BadCredentials::TwoLines);
    }
    Ok(parse(line.as_bytes()))
}

/// Whether the request's `Authorization` has something of ours in it, well-formed or not. Such a line stays here, unless
/// the route forwards tokens; a backend's own credentials travel on.
pub fn holds_a_token(headers: &HeaderMap) -> bool {
    let holds = |line: &HeaderValue| memchr::memmem::find(line.as_bytes(), TOKEN_PREFIX.as_bytes()).is_some();
    headers.get_all(AUTHORIZATION).iter().any(holds)
}

fn parse(line: &[u8]) -> Credentials {
    let end = memchr::memchr(b' ', line).unwrap_or(line.len());
    let (scheme, rest) = line.split_at(end);
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Credentials::Foreign;
    }
    // A list, as in `Bearer a, Bearer b`, is no token: whoever sent it hopes that somebody takes the other one.
    SessionToken::parse(rest.trim_ascii()).map_or(Credentials::Garbage, Credentials::Token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SystemEntropy;

    fn credentials(lines: &[&str]) -> Result<Credentials, BadCredentials> {
        find(&headers(lines))
    }

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn a_token_is_found_however_the_scheme_is_spelled() {
        let token = SessionToken::mint(&SystemEntropy).unwrap();
        let text = token.expose();
        for line in [format!("Bearer {text}"), format!("bearer {text}"), format!("BEARER   {text} ")] {
            assert_eq!(credentials(&[&line]), Ok(Credentials::Token(token.clone())), "{line}");
        }
    }

    #[test]
    fn what_can_not_be_a_token_is_garbage() {
        let token = SessionToken::mint(&SystemEntropy).unwrap();
        let text = token.expose();
        let cases = [
            "Bearer".to_owned(),
            "Bearer ".to_owned(),
            "Bearer wxg_".to_owned(),
            "Bearer eyJhbGciOiJub25lIn0.e30.".to_owned(),
            format!("Bearer {text}x"),
            format!("Bearer {}", &text[..text.len() - 1]),
            format!("Bearer {text}, Bearer {text}"),
            format!("Bearer {text},"),
            format!("Bearer \"{text}\""),
            format!("Bearer Bearer {text}"),
        ];
        for line in cases {
            assert_eq!(credentials(&[&line]), Ok(Credentials::Garbage), "{line}");
        }
    }

    #[test]
    fn other_schemes_and_nothing_are_told_apart_from_garbage() {
        let token = SessionToken::mint(&SystemEntropy).unwrap();
        assert_eq!(credentials(&[]), Ok(Credentials::None));
        for line in ["Basic dXNlcjpwdw==", "", "Bearerx y", token.expose(), "é"] {
            assert_eq!(credentials(&[line]), Ok(Credentials::Foreign), "{line}");
        }
    }

    /// Envoy's `ext_authz` once looked at the last of several lines, and the backend at the first.
    #[test]
    fn two_lines_are_refused_in_either_order() {
        let good = format!("Bearer {}", SessionToken::mint(&SystemEntropy).unwrap().expose());
        for lines in [[&good, "Bearer garbage"], ["Bearer garbage", &good], [&good, &good], ["Basic a", "Basic b"]] {
            assert_eq!(credentials(&lines), Err(BadCredentials::TwoLines), "{lines:?}");
        }
    }

    #[test]
    fn whatever_looks_like_a_token_is_held_back_and_nothing_else() {
        let token = SessionToken::mint(&SystemEntropy).unwrap();
        for line in [&format!("Bearer {}", token.expose()), "Bearer jwt, Bearer wxg_x", "wxg_x", "Token wxg_"] {
            assert!(holds_a_token(&headers(&[line])), "{line}");
        }
        assert!(holds_a_token(&headers(&["Basic a", "Bearer wxg_x"])));
        for lines in [&[][..], &["Basic dXNlcjpwdw=="], &["Bearer eyJhbGciOiJub25lIn0.e30."]] {
            assert!(!holds_a_token(&headers(lines)), "{lines:?}");
        }
    }
}
