//! What a request is counted as when it is over.

use crate::{
    api::Endpoint,
    limit::Whose,
    telemetry::{Traffic, WorkerTraffic},
};

use super::access_log::Entry;

/// The classes of answers. `gone` is no answer: the client went away before there was one. An upstream may answer with a
/// status that HTTP does not know; it is an `other`.
const CLASSES: &[&str] = &["2xx", "3xx", "4xx", "5xx", "gone", "other"];
const GONE: usize = 4;
const OTHER: usize = 5;

/// What a login can come to: the code words of its answers, `success`, and `gone`, where the client did not wait.
pub(super) const LOGINS: &[&str] = &[
    SUCCESS,
    "bad_request",
    "body_too_large",
    "request_timeout",
    "unknown_app",
    "rate_limited",
    "code_invalid",
    "code_used",
    "user_blocked",
    "wechat_busy",
    "wechat_unreachable",
    "wechat_timeout",
    "app_misconfigured",
    "store_unavailable",
    "internal",
    CLIENT_GONE,
    "other",
];
const SUCCESS: &str = "success";
const CLIENT_GONE: &str = "gone";

/// What a limit of a route counts by.
const LIMITS: &[&str] = &["ip", "user", "websocket"];

/// A request that asks for a login with the wrong method asks for none.
const NO_LOGIN: &str = "method_not_allowed";

/// The cells for requests to these routes, whose labels stand in match order.
pub fn traffic(routes: &[String]) -> Traffic {
    Traffic::new(routes, &Endpoint::labels(), CLASSES, LOGINS, LIMITS)
}

/// Counts a request that is over.
pub(super) fn count(traffic: &WorkerTraffic, entry: &Entry) {
    let class = entry.status.map_or(GONE, |status| match status.as_u16() {
        200..=299 => 0,
        300..=399 => 1,
        400..=499 => 2,
        500..=599 => 3,
        _ => OTHER,
    });
    // What another proxy asks about has a route too, but is not sent there.
    let route = entry.route.filter(|_| entry.endpoint.is_none());
    traffic.request(route, entry.endpoint, class);
    if entry.endpoint == Some(Endpoint::Verify.label()) && entry.code != Some(NO_LOGIN) {
        traffic.login(entry.code.unwrap_or(if entry.status.is_some() { SUCCESS } else { CLIENT_GONE }));
    }
}

/// Counts a request that a limit of its route refused.
pub(super) fn count_limited(traffic: &WorkerTraffic, route: usize, limit: Whose) {
    traffic.limited(
        route,
        match limit {
            Whose::Address => "ip",
            Whose::User => "user",
            Whose::WebSockets => "websocket",
        },
    );
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use http::StatusCode;

    use super::*;
    use crate::{telemetry::Place, web::RequestId};

    fn entry(status: Option<u16>) -> Entry {
        let status = status.map(|status| StatusCode::from_u16(status).unwrap());
        Entry { status, ..Entry::new(RequestId::told(b"id").unwrap(), IpAddr::V4(Ipv4Addr::LOCALHOST)) }
    }

    /// The classes that these statuses are counted as.
    fn classes(statuses: &[Option<u16>]) -> Vec<(&'static str, u64)> {
        let traffic = traffic(&[]);
        let worker = traffic.worker();
        for status in statuses {
            count(&worker, &entry(*status));
        }
        traffic.read().requests.into_iter().map(|(_, class, n)| (class, n)).filter(|(_, n)| *n > 0).collect()
    }

    #[test]
    fn every_status_has_its_class() {
        let statuses = [Some(200), Some(204), Some(304), Some(401), Some(499), Some(503), None, Some(999)];
        let expected = [("2xx", 2), ("3xx", 1), ("4xx", 2), ("5xx", 1), ("gone", 1), ("other", 1)];
        assert_eq!(classes(&statuses), expected);
    }

    #[test]
    fn what_another_proxy_asks_about_counts_as_a_question_and_not_for_its_route() {
        let traffic = traffic(&["/".to_owned()]);
        let asked = Entry { route: Some(0), endpoint: Some("authorize"), ..entry(Some(200)) };
        count(&traffic.worker(), &asked);
        let counted: Vec<_> = traffic.read().requests.into_iter().filter(|(.., n)| *n > 0).collect();
        assert_eq!(counted, [(Place::Endpoint("authorize"), "2xx", 1)]);
    }

    #[test]
    fn a_login_counts_by_its_code_word_and_a_wrong_method_is_none() {
        let traffic = traffic(&[]);
        let worker = traffic.worker();
        let verify = |status, code| Entry { endpoint: Some("verify"), code, ..entry(status) };
        for (status, code) in [
            (Some(200), None),
            (Some(401), Some("code_used")),
            (None, None),
            (Some(405), Some("method_not_allowed")),
            (Some(418), Some("a word of tomorrow")),
        ] {
            count(&worker, &verify(status, code));
        }
        count(&worker, &Entry { endpoint: Some("logout"), ..entry(Some(204)) });
        let counted: Vec<_> = traffic.read().logins.into_iter().filter(|(_, n)| *n > 0).collect();
        assert_eq!(counted, [("success", 1), ("code_used", 1), ("gone", 1), ("other", 1)]);
    }
}
