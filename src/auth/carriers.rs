//! Where a route lets the session token come in beside `Authorization`: a header of its own, a parameter of the query, the
//! subprotocols of a WebSocket. It is found there, and taken out of what goes on.
//!
//! A place that the route does not name is not looked at and stays as it is. Two tokens are never weighed against each
//! other, not even two that are the same: a request that has more than one belongs to nobody.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};
use memchr::memmem;
use percent_encoding::percent_decode;

use super::bearer::{self, BadCredentials, Credentials, TOKEN_PREFIX};
use crate::{routing::Carriers, session::SessionToken};

/// The subprotocol that a client may offer beside its token, for an answer that says nothing of the token.
pub const MARKER: &str = "wxgate";

/// Finds the credentials of a request with this query, wherever these carriers let them be.
pub fn find(headers: &HeaderMap, query: Option<&str>, carriers: &Carriers) -> Result<Credentials, BadCredentials> {
    let line = bearer::find(headers)?;
    if !carriers.any() {
        return Ok(line);
    }
    let header = carriers.header.iter().flat_map(|name| headers.get_all(name)).map(HeaderValue::as_bytes);
    let parameters = carriers.query.iter().flat_map(|name| pieces(query).filter(|piece| is_named(piece, name)));
    let parameters = parameters.map(|piece| piece.split_once('=').map_or("", |(_, value)| value).as_bytes());
    let offered = carriers.subprotocol.then(|| subprotocols(headers)).into_iter().flatten();
    let mut shown = header.chain(parameters).chain(offered.filter(|offer| holds_a_token(offer)));
    let Some(value) = shown.next() else { return Ok(line) };
    // A line without anything of ours in it is between the client and the backend.
    if shown.next().is_some() || bearer::holds_a_token(headers) {
        return Err(BadCredentials::Several);
    }
    // A token needs no escapes, so what has some is none.
    Ok(SessionToken::parse(value).map_or(Credentials::Garbage, Credentials::Token))
}

/// The query without what carries the token in it; all the rest stays byte for byte.
pub fn query_without<'q>(query: Option<&'q str>, carriers: &Carriers) -> Option<Cow<'q, str>> {
    let Some(name) = &carriers.query else { return query.map(Cow::Borrowed) };
    if !pieces(query).any(|piece| is_named(piece, name)) {
        return query.map(Cow::Borrowed);
    }
    let kept: Vec<&str> = pieces(query).filter(|piece| !is_named(piece, name)).collect();
    (!kept.is_empty()).then(|| Cow::Owned(kept.join("&")))
}

/// Takes out of the headers what carries the token there, unless they are to `keep` it, and [`MARKER`], which is for us.
/// Says whether that was offered.
pub fn take_out(headers: &mut HeaderMap, carriers: &Carriers, keep: bool) -> bool {
    if let Some(name) = carriers.header.as_ref().filter(|_| !keep) {
        headers.remove(name);
    }
    if !carriers.subprotocol {
        return false;
    }
    let is_marker = |offer: &&[u8]| *offer == MARKER.as_bytes();
    let is_ours = |offer: &&[u8]| is_marker(offer) || (!keep && holds_a_token(offer));
    let marked = subprotocols(headers).any(|offer| is_marker(&offer));
    if subprotocols(headers).any(|offer| is_ours(&offer)) {
        let others: Vec<&[u8]> = subprotocols(headers).filter(|offer| !is_ours(offer)).collect();
        match HeaderValue::from_bytes(&others.join(&b", "[..])) {
            Ok(line) if !line.is_empty() => _ = headers.insert(SEC_WEBSOCKET_PROTOCOL, line),
            _ => _ = headers.remove(SEC_WEBSOCKET_PROTOCOL),
        }
    }
    marked
}

/// Whether a URL, or another text, has a token of ours in it, however its letters are escaped.
pub fn holds_a_token(text: &[u8]) -> bool {
    let plain: Cow<'_, [u8]> = percent_decode(text).into();
    memmem::find(&plain, TOKEN_PREFIX.as_bytes()).is_some()
}

/// What stands between the `&` of a query.
fn pieces(query: Option<&str>) -> impl Iterator<Item = &str> {
    query.into_iter().flat_map(|query| query.split('&'))
}

/// Whether this is the parameter of that name. Its letters may be escaped, and whoever is behind us reads them as letters.
fn is_named(piece: &str, name: &str) -> bool {
    let written = piece.split('=').next().unwrap_or_default();
    percent_decode(written.as_bytes()).eq(name.bytes())
}

/// What a client offers to speak over a WebSocket.
fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter();
    lines
        .flat_map(|line| line.as_bytes().split(|b| *b == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|offer| !offer.is_empty())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, header::AUTHORIZATION};
    use proptest::prelude::*;

    use super::*;
    use crate::model::SystemEntropy;

    fn every_carrier() -> Carriers {
        let header = Some(HeaderName::from_static("x-session-token"));
        Carriers { header, query: Some("token".to_owned()), subprotocol: true }
    }

    fn token() -> (SessionToken, String) {
        let token = SessionToken::mint(&SystemEntropy).unwrap();
        let text = token.expose().to_owned();
        (token, text)
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    const HEADER: &str = "x-session-token";
    const OFFER: &str = "sec-websocket-protocol";

    #[test]
    fn a_token_is_found_in_each_place_that_the_route_names_and_in_no_other() {
        let (token, text) = token();
        let query = format!("room=1&token={text}&x=%20");
        let offer = format!("wxgate, {text}, chat");
        let cases = [
            (headers(&[(HEADER, &text)]), None),
            (headers(&[]), Some(query.as_str())),
            (headers(&[(OFFER, &offer)]), None),
            (headers(&[(OFFER, "chat"), (OFFER, &text)]), None),
        ];
        for (headers, query) in &cases {
            let found = find(headers, *query, &every_carrier());
            assert_eq!(found, Ok(Credentials::Token(token.clone())), "{headers:?} {query:?}");
            assert_eq!(find(headers, *query, &Carriers::default()), Ok(Credentials::None));
        }
    }

    #[test]
    fn a_token_beside_another_is_nobodys_even_where_they_are_the_same() {
        let (_, text) = token();
        let (bearer, query) = (format!("Bearer {text}"), format!("token={text}"));
        let (twice, offers) = (format!("{query}&{query}"), format!("{text}, {text}"));
        for (lines, query) in [
            (&[(HEADER, &*text), (AUTHORIZATION.as_str(), &*bearer)][..], None),
            (&[(HEADER, &text), (AUTHORIZATION.as_str(), "Bearer wxg_other")], None),
            (&[(HEADER, &text), (HEADER, &text)], None),
            (&[(HEADER, "")], Some(&*query)),
            (&[(HEADER, &text), (OFFER, &text)], None),
            (&[(OFFER, &offers)], None),
            (&[(OFFER, &text), (OFFER, "wxg_other")], None),
            (&[], Some(&twice)),
            (&[], Some("token&token")),
            (&[], Some("%74oken=a&tok%65n=b")),
        ] {
            assert_eq!(
                find(&headers(lines), query, &every_carrier()),
                Err(BadCredentials::Several),
                "{lines:?} {query:?}"
            );
        }
        let two = headers(&[(AUTHORIZATION.as_str(), "Basic a"), (AUTHORIZATION.as_str(), "Basic b"), (HEADER, &text)]);
        assert_eq!(find(&two, None, &every_carrier()), Err(BadCredentials::TwoLines));
    }

    #[test]
    fn the_backends_own_credentials_may_stand_beside_a_token() {
        let (token, text) = token();
        for line in ["Basic dXNlcjpwdw==", "Bearer eyJhbGciOiJub25lIn0.e30."] {
            let lines = headers(&[(AUTHORIZATION.as_str(), line), (HEADER, &text)]);
            assert_eq!(find(&lines, None, &every_carrier()), Ok(Credentials::Token(token.clone())), "{line}");
        }
    }

    #[test]
    fn what_stands_in_the_place_of_a_token_and_is_none_is_garbage() {
        let (_, text) = token();
        let escaped = text.replacen('w', "%77", 1);
        for query in
            ["token=", "token", "token=x", "token=wxg_", &format!("token={escaped}"), &format!("token={text}=")]
        {
            assert_eq!(find(&headers(&[]), Some(query), &every_carrier()), Ok(Credentials::Garbage), "{query}");
        }
        for lines in [[(HEADER, "")], [(HEADER, "Bearer wxg_x")], [(OFFER, "chat, wxgate.wxg_x")]] {
            assert_eq!(find(&headers(&lines), None, &every_carrier()), Ok(Credentials::Garbage), "{lines:?}");
        }
        for lines in [[(OFFER, "chat, wxgate")], [("x-session", &text)]] {
            assert_eq!(find(&headers(&lines), None, &every_carrier()), Ok(Credentials::None), "{lines:?}");
        }
    }

    #[test]
    fn the_rest_of_a_query_stays_byte_for_byte() {
        for (query, rest) in [
            (None, None),
            (Some(""), Some("")),
            (Some("a=1&&b=%7e+;token=x"), Some("a=1&&b=%7e+;token=x")),
            (Some("token=x"), None),
            (Some("token"), None),
            (Some("a=%41&token=x&&b"), Some("a=%41&&b")),
            (Some("%74%6Fken=x&a=token=y"), Some("a=token=y")),
            (Some("tokens=1&token=x&Token=2&%2574oken=3"), Some("tokens=1&Token=2&%2574oken=3")),
            (Some("token=a&x&token=b"), Some("x")),
            (Some("token=x&"), Some("")),
        ] {
            assert_eq!(query_without(query, &every_carrier()).as_deref(), rest, "{query:?}");
            assert_eq!(query_without(query, &Carriers::default()).as_deref(), query);
        }
    }

    #[test]
    fn what_carries_the_token_goes_and_the_others_keep_their_order() {
        let (_, text) = token();
        let taken = |lines: &[(&'static str, &str)], keep| {
            let mut headers = headers(lines);
            let marked = take_out(&mut headers, &every_carrier(), keep);
            let mut rest: Vec<_> = headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
            rest.sort();
            (marked, rest)
        };
        let offer = format!("v2.chat, {text},chat");
        assert_eq!(
            taken(&[(HEADER, &text), (OFFER, &offer), ("x", "y")], false).1,
            ["sec-websocket-protocol: v2.chat, chat", "x: y"]
        );
        assert_eq!(
            taken(&[(OFFER, "b"), (OFFER, &text), (OFFER, "a, wxgate")], false),
            (true, vec!["sec-websocket-protocol: b, a".to_owned()])
        );
        assert_eq!(taken(&[(OFFER, "wxgate"), (OFFER, "%77xg_x")], false), (true, vec![]));
        assert_eq!(taken(&[(OFFER, "b,a")], false), (false, vec!["sec-websocket-protocol: b,a".to_owned()]));
        let kept = taken(&[(HEADER, &text), (OFFER, &offer)], true).1;
        assert_eq!(kept, [format!("{OFFER}: {offer}"), format!("{HEADER}: {text}")]);
        let mut untouched = headers(&[(HEADER, &text), (OFFER, &offer)]);
        assert!(!take_out(&mut untouched, &Carriers::default(), false));
        assert_eq!(untouched, headers(&[(HEADER, &text), (OFFER, &offer)]));
    }

    proptest! {
        /// Whoever is behind us and reads the query as it is commonly read finds no parameter of that name in it.
        #[test]
        fn no_parameter_of_the_name_is_left_however_it_is_written(
            query in "((t|%74|%54|T)(oken|%6fken|%6F%6b%65%6e)|a|token)?([=&;+]|%3d|%26|wxg_x){0,6}(&token=wxg_y)?",
        ) {
            let rest = query_without(Some(&query), &every_carrier()).unwrap_or_default().into_owned();
            let names = rest.split('&').map(|piece| piece.split('=').next().unwrap_or_default());
            for name in names {
                prop_assert_ne!(&*percent_decode(name.as_bytes()).decode_utf8_lossy(), "token", "{} of {}", rest, query);
            }
        }
    }
}
