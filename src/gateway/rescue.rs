//! Failure → answer. The only place that picks an error's status, its machine word and whether the connection survives.
//!
//! Two audiences: the client gets a status, a stable `code`, a sentence for people and the request's id; the log gets
//! the whole chain of causes. WeChat's own words reach neither.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use crate::{
    api::{self, LoginFailure},
    auth::Denial,
    proxy,
    web::{BodyError, Problem, Refusal, headers::X_REQUEST_ID},
};

use super::failure::Failure;

/// When a client may try again after a fault of the store or of WeChat. Long enough for a hiccup to pass.
const SOON: Duration = Duration::from_secs(1);

/// WeChat counts logins per user and minute.
const NEXT_MINUTE: Duration = Duration::from_mins(1);

/// What is forwarded at all, for `Allow`.
const FORWARDED_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// The seed's own words for a login that failed. Clients compare them.
const VALIDATION_FAILED: &str = "Validation failed";

/// The answer to a failure, before it is written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rescue {
    /// The status.
    pub status: StatusCode,
    /// The stable machine word.
    pub code: &'static str,
    /// The sentence for people.
    pub message: &'static str,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
    /// `Allow`.
    pub allow: Option<&'static str>,
    /// Whether `WWW-Authenticate: Bearer` is due.
    pub bearer: bool,
    /// Whether the connection is closed, because where the next request begins is in doubt.
    pub close: bool,
}

impl Rescue {
    const fn new(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self { status, code, message, retry_after: None, allow: None, bearer: false, close: false }
    }

    fn retry_after(self, after: Duration) -> Self {
        Self { retry_after: Some(after), ..self }
    }

    fn allow(self, methods: &'static str) -> Self {
        Self { allow: Some(methods), ..self }
    }

    fn bearer(self) -> Self {
        Self { bearer: true, ..self }
    }

    fn close(self) -> Self {
        Self { close: true, ..self }
    }

    /// Writes the answer out.
    pub fn into_response(self, request_id: &HeaderValue) -> Response<Bytes> {
        let problem = Problem { code: self.code, message: self.message };
        let mut response = Response::new(problem.to_json(request_id.to_str().unwrap_or_default()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_REQUEST_ID, request_id.clone());
        if let Some(after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
        }
        if let Some(allow) = self.allow.map(HeaderValue::from_static) {
            headers.insert(header::ALLOW, allow);
        }
        if self.bearer {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Seconds, rounded up, at least one: a client that comes back too early is refused once more.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0 || duration.is_zero())
}

/// The answer to a failure.
pub fn rescue(failure: &Failure) -> Rescue {
    match failure {
        Failure::Refused(why) => refused(*why),
        Failure::Target(_) => bad_request("The request target or Host could be read in more than one way."),
        Failure::Stranger => Rescue::new(
            StatusCode::FORBIDDEN,
            "proxy_not_trusted",
            "Only a proxy that this gateway trusts may ask whether a request may pass.",
        ),
        // The question itself is well-formed, so the proxy may keep its connection.
        Failure::Original(_) => Rescue::new(
            StatusCode::BAD_REQUEST,
            "bad_request",
            "The original request is not told, is told in two ways, or could be read in more than one way.",
        ),
        Failure::Credentials(_) => bad_request("There must be at most one Authorization header."),
        Failure::Misdirected => Rescue::new(
            StatusCode::MISDIRECTED_REQUEST,
            "misdirected_request",
            "This connection is not for the host that the request names.",
        )
        .close(),
        Failure::Method => {
            Rescue::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This method is not forwarded.")
                .allow(FORWARDED_METHODS)
                .close()
        }
        Failure::NoRoute => Rescue::new(StatusCode::NOT_FOUND, "no_route", "There is nothing at this path."),
        Failure::WrongMethod(allowed) => wrong_method(allowed),
        Failure::Limited(limited) => too_many("Too many requests. Try again a little later.", limited.retry_after),
        Failure::Denied(why) => denied(*why),
        Failure::Sessions(_) => store_unavailable(),
        Failure::Api(error) => endpoint(error),
        Failure::Proxy(error) => forwarding(error),
    }
}

/// The connection goes with it: what follows may not be what it seems.
fn bad_request(message: &'static str) -> Rescue {
    Rescue::new(StatusCode::BAD_REQUEST, "bad_request", message).close()
}

fn wrong_method(allowed: &'static str) -> Rescue {
    Rescue::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This endpoint has another method.")
        .allow(allowed)
}

fn store_unavailable() -> Rescue {
    Rescue::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", "Sessions can't be looked up at the moment.")
        .retry_after(SOON)
}

fn ours() -> Rescue {
    Rescue::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong on our side.")
}

fn refused(why: Refusal) -> Rescue {
    match why {
        Refusal::HeadTooLarge | Refusal::TooManyHeaders => Rescue::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers_too_large",
            "The request's headers are larger than allowed.",
        ),
        Refusal::TargetTooLong => {
            Rescue::new(StatusCode::URI_TOO_LONG, "uri_too_long", "The request target is longer than allowed.")
        }
        Refusal::HeadTimeout => request_timeout(),
        Refusal::NotEncrypted => bad_request("This port speaks TLS; the address begins with https."),
        Refusal::Fragment => bad_request("A request target has no fragment."),
        Refusal::BareLineFeed | Refusal::Malformed => bad_request("The request is not well-formed."),
        Refusal::Framing => bad_request("Where the request's body ends could be read in more than one way."),
    }
    .close()
}

fn request_timeout() -> Rescue {
    Rescue::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "The request did not come whole in time.").close()
}

fn denied(why: Denial) -> Rescue {
    match why {
        Denial::TokenMissing => {
            Rescue::new(StatusCode::UNAUTHORIZED, "token_missing", "A session token is needed.").bearer()
        }
        Denial::TokenInvalid => {
            Rescue::new(StatusCode::UNAUTHORIZED, "token_invalid", "The session token is not valid, or no longer.")
                .bearer()
        }
        Denial::AppNotAllowed => {
            Rescue::new(StatusCode::FORBIDDEN, "app_not_allowed", "Sessions of this app may not come here.")
        }
    }
}

fn body(error: &BodyError) -> Rescue {
    match error {
        BodyError::TooLarge => {
            Rescue::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "The request body is larger than allowed.")
                .close()
        }
        BodyError::TimedOut => request_timeout(),
        BodyError::Broken(_) => bad_request("The request body broke off or is not well-formed."),
    }
}

fn endpoint(error: &api::Error) -> Rescue {
    match error {
        // The body was read whole, so the connection is fine.
        api::Error::BadInput(expected) => Rescue::new(StatusCode::BAD_REQUEST, "bad_request", expected),
        api::Error::Body(error) => body(error),
        api::Error::UnknownApp => {
            Rescue::new(StatusCode::BAD_REQUEST, "unknown_app", "This appId is not configured here.")
        }
        api::Error::Limited { retry_after } => rate_limited(*retry_after),
        api::Error::Login { why, .. } => failed_login(*why),
        api::Error::Session(_) => store_unavailable(),
        api::Error::NoSession | api::Error::Encode(_) => ours(),
    }
}

fn failed_login(why: LoginFailure) -> Rescue {
    match why {
        LoginFailure::CodeInvalid => Rescue::new(StatusCode::UNAUTHORIZED, "code_invalid", VALIDATION_FAILED),
        LoginFailure::CodeUsed => Rescue::new(StatusCode::UNAUTHORIZED, "code_used", VALIDATION_FAILED),
        LoginFailure::UserBlocked => {
            Rescue::new(StatusCode::FORBIDDEN, "user_blocked", "WeChat does not let this user log in.")
        }
        LoginFailure::RateLimited => rate_limited(NEXT_MINUTE),
        LoginFailure::Busy => {
            Rescue::new(StatusCode::SERVICE_UNAVAILABLE, "wechat_busy", "WeChat is busy. Try again with a new code.")
                .retry_after(SOON)
        }
        LoginFailure::Unreachable => {
            Rescue::new(StatusCode::BAD_GATEWAY, "wechat_unreachable", "WeChat could not be asked.")
        }
        LoginFailure::Timeout => {
            Rescue::new(StatusCode::GATEWAY_TIMEOUT, "wechat_timeout", "WeChat took too long to answer.")
        }
        LoginFailure::Misconfigured(_) => Rescue::new(
            StatusCode::BAD_GATEWAY,
            "app_misconfigured",
            "This app is not set up correctly on the server. Its operators have been told.",
        ),
        LoginFailure::Store => store_unavailable(),
        LoginFailure::Internal => ours(),
    }
}

fn rate_limited(retry_after: Duration) -> Rescue {
    too_many("Too many logins. Try again a little later.", retry_after)
}

fn too_many(message: &'static str, retry_after: Duration) -> Rescue {
    Rescue::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message).retry_after(retry_after)
}

fn forwarding(error: &proxy::Error) -> Rescue {
    match error {
        proxy::Error::NoUpstream | proxy::Error::BadTarget => ours(),
        proxy::Error::UnderscoreHeader => bad_request("Header names with an underscore are not taken here."),
        proxy::Error::NoHandshake => bad_request("This is not the opening of a WebSocket of version 13."),
        proxy::Error::Body(error) => body(error),
        proxy::Error::Overloaded(_) => Rescue::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "upstream_overloaded",
            "The service behind this gateway has too much to do.",
        )
        .retry_after(SOON),
        proxy::Error::Connect(_)
        | proxy::Error::Broken(_)
        | proxy::Error::Coded
        | proxy::Error::Switched
        | proxy::Error::WrongHandshake => Rescue::new(
            StatusCode::BAD_GATEWAY,
            "upstream_unreachable",
            "The service behind this gateway can't be reached.",
        ),
        proxy::Error::Timeout => Rescue::new(
            StatusCode::GATEWAY_TIMEOUT,
            "upstream_timeout",
            "The service behind this gateway took too long.",
        ),
    }
}

#[cfg(test)]
mod tests {
    //! The table of all failures, and that docs/ERRORS.md is the same table.

    use std::collections::BTreeSet;

    use bytes::Bytes;
    use http_body_util::Empty;
    use hyper_util::rt::TokioIo;

    use super::*;
    use crate::{
        auth,
        gateway::counting::LOGINS,
        limit::{RouteLimited, Whose},
        login,
        model::AppId,
        routing::{BadOriginal, BadTarget},
        session, store,
        upstream::ConnectError,
        wechat::{self, Flaw},
    };

    /// Names each failure. It has no arm for the rest, so that who adds one comes by here and adds a row below.
    fn name(failure: &Failure) -> String {
        let body = |error: &BodyError| match error {
            BodyError::TooLarge | BodyError::TimedOut => format!("{error:?}"),
            BodyError::Broken(_) => "Broken".to_owned(),
        };
        match failure {
            Failure::Refused(why) => format!("Refused {why:?}"),
            Failure::Target(_) => "Target".to_owned(),
            Failure::Stranger => "Stranger".to_owned(),
            Failure::Original(_) => "Original".to_owned(),
            Failure::Credentials(_) => "Credentials".to_owned(),
            Failure::Misdirected => "Misdirected".to_owned(),
            Failure::Method => "Method".to_owned(),
            Failure::NoRoute => "NoRoute".to_owned(),
            Failure::WrongMethod(_) => "WrongMethod".to_owned(),
            Failure::Limited(limited) => format!("Limited {:?}", limited.whose),
            Failure::Denied(why) => format!("Denied {why:?}"),
            Failure::Sessions(_) => "Sessions".to_owned(),
            Failure::Api(error) => match error {
                api::Error::BadInput(_) => "BadInput".to_owned(),
                api::Error::Body(error) => format!("Api body {}", body(error)),
                api::Error::UnknownApp => "UnknownApp".to_owned(),
                api::Error::Limited { .. } => "Limited".to_owned(),
                api::Error::Login { why, .. } => format!("Login {why:?}"),
                api::Error::Session(_) => "Session".to_owned(),
                api::Error::NoSession => "NoSession".to_owned(),
                api::Error::Encode(_) => "Encode".to_owned(),
            },
            Failure::Proxy(error) => match error {
                proxy::Error::NoUpstream
                | proxy::Error::BadTarget
                | proxy::Error::UnderscoreHeader
                | proxy::Error::Coded
                | proxy::Error::Switched
                | proxy::Error::NoHandshake
                | proxy::Error::WrongHandshake
                | proxy::Error::Timeout => format!("{error:?}"),
                proxy::Error::Body(error) => format!("Proxy body {}", body(error)),
                proxy::Error::Connect(_) => "Connect".to_owned(),
                proxy::Error::Overloaded(_) => "Overloaded".to_owned(),
                proxy::Error::Broken(_) => "Proxy broken".to_owned(),
            },
        }
    }

    fn failed(why: LoginFailure) -> Failure {
        let source = login::Error::WeChat(wechat::Error::BrokenAnswer(Flaw::NotJson));
        Failure::Api(api::Error::Login { why, app: AppId::parse("wx1").unwrap(), source })
    }

    /// hyper makes its errors itself: this one from a server that hangs up.
    async fn broken() -> hyper::Error {
        let (near, far) = tokio::io::duplex(64);
        drop(far);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
        let request = http::Request::new(Empty::<Bytes>::new());
        let (answer, _) = tokio::join!(sender.send_request(request), connection);
        answer.unwrap_err()
    }

    fn limited(whose: Whose) -> Failure {
        Failure::Limited(RouteLimited { whose, retry_after: Duration::from_millis(2_001) })
    }

    fn away() -> store::Error {
        store::Error::Unreadable("on trial")
    }

    const CLOSE: &str = "close";
    const BEARER: &str = "bearer";

    /// Each failure with status, code and what else the answer has.
    #[expect(clippy::too_many_lines, reason = "a line for each failure")]
    async fn table() -> Vec<(Failure, u16, &'static str, &'static str)> {
        let api = Failure::Api;
        let proxy = Failure::Proxy;
        let encode = serde_json::from_str::<u8>("x").unwrap_err();
        vec![
            (Failure::Refused(Refusal::HeadTooLarge), 431, "headers_too_large", CLOSE),
            (Failure::Refused(Refusal::TooManyHeaders), 431, "headers_too_large", CLOSE),
            (Failure::Refused(Refusal::TargetTooLong), 414, "uri_too_long", CLOSE),
            (Failure::Refused(Refusal::HeadTimeout), 408, "request_timeout", CLOSE),
            (Failure::Refused(Refusal::Fragment), 400, "bad_request", CLOSE),
            (Failure::Refused(Refusal::BareLineFeed), 400, "bad_request", CLOSE),
            (Failure::Refused(Refusal::Framing), 400, "bad_request", CLOSE),
            (Failure::Refused(Refusal::Malformed), 400, "bad_request", CLOSE),
            (Failure::Refused(Refusal::NotEncrypted), 400, "bad_request", CLOSE),
            (Failure::Misdirected, 421, "misdirected_request", CLOSE),
            (Failure::Target(BadTarget::TwoHosts), 400, "bad_request", CLOSE),
            (Failure::Stranger, 403, "proxy_not_trusted", ""),
            (Failure::Original(BadOriginal::NotCanonical), 400, "bad_request", ""),
            (Failure::Credentials(auth::BadCredentials::TwoLines), 400, "bad_request", CLOSE),
            (Failure::Method, 405, "method_not_allowed", "close allow GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
            (Failure::NoRoute, 404, "no_route", ""),
            (Failure::WrongMethod("POST"), 405, "method_not_allowed", "allow POST"),
            (limited(Whose::Address), 429, "rate_limited", "retry 3"),
            (limited(Whose::User), 429, "rate_limited", "retry 3"),
            (Failure::Denied(Denial::TokenMissing), 401, "token_missing", BEARER),
            (Failure::Denied(Denial::TokenInvalid), 401, "token_invalid", BEARER),
            (Failure::Denied(Denial::AppNotAllowed), 403, "app_not_allowed", ""),
            (Failure::Sessions(session::Error::StoreUnavailable(away())), 503, "store_unavailable", "retry 1"),
            (api(api::Error::BadInput("x")), 400, "bad_request", ""),
            (api(api::Error::Body(BodyError::TooLarge)), 413, "body_too_large", CLOSE),
            (api(api::Error::Body(BodyError::TimedOut)), 408, "request_timeout", CLOSE),
            (api(api::Error::Body(BodyError::Broken(broken().await))), 400, "bad_request", CLOSE),
            (api(api::Error::UnknownApp), 400, "unknown_app", ""),
            (api(api::Error::Limited { retry_after: Duration::from_millis(1_001) }), 429, "rate_limited", "retry 2"),
            (failed(LoginFailure::CodeInvalid), 401, "code_invalid", ""),
            (failed(LoginFailure::CodeUsed), 401, "code_used", ""),
            (failed(LoginFailure::UserBlocked), 403, "user_blocked", ""),
            (failed(LoginFailure::RateLimited), 429, "rate_limited", "retry 60"),
            (failed(LoginFailure::Busy), 503, "wechat_busy", "retry 1"),
            (failed(LoginFailure::Unreachable), 502, "wechat_unreachable", ""),
            (failed(LoginFailure::Timeout), 504, "wechat_timeout", ""),
            (failed(LoginFailure::Misconfigured("it")), 502, "app_misconfigured", ""),
            (failed(LoginFailure::Store), 503, "store_unavailable", "retry 1"),
            (failed(LoginFailure::Internal), 500, "internal", ""),
            (api(api::Error::Session(session::Error::StoreUnavailable(away()))), 503, "store_unavailable", "retry 1"),
            (api(api::Error::NoSession), 500, "internal", ""),
            (api(api::Error::Encode(encode)), 500, "internal", ""),
            (proxy(proxy::Error::NoUpstream), 500, "internal", ""),
            (proxy(proxy::Error::BadTarget), 500, "internal", ""),
            (proxy(proxy::Error::UnderscoreHeader), 400, "bad_request", CLOSE),
            (proxy(proxy::Error::NoHandshake), 400, "bad_request", CLOSE),
            (proxy(proxy::Error::WrongHandshake), 502, "upstream_unreachable", ""),
            (proxy(proxy::Error::Body(BodyError::TooLarge)), 413, "body_too_large", CLOSE),
            (proxy(proxy::Error::Body(BodyError::TimedOut)), 408, "request_timeout", CLOSE),
            (proxy(proxy::Error::Body(BodyError::Broken(broken().await))), 400, "bad_request", CLOSE),
            (proxy(proxy::Error::Connect(ConnectError::NoServer)), 502, "upstream_unreachable", ""),
            (proxy(ConnectError::Overloaded { server: "x".to_owned() }.into()), 503, "upstream_overloaded", "retry 1"),
            (proxy(proxy::Error::Broken(broken().await)), 502, "upstream_unreachable", ""),
            (proxy(proxy::Error::Coded), 502, "upstream_unreachable", ""),
            (proxy(proxy::Error::Switched), 502, "upstream_unreachable", ""),
            (proxy(proxy::Error::Timeout), 504, "upstream_timeout", ""),
        ]
    }

    /// What an answer has beyond status and code, in the words of the table.
    fn more(rescue: &Rescue) -> String {
        let said = [
            rescue.close.then(|| CLOSE.to_owned()),
            rescue.allow.map(|methods| format!("allow {methods}")),
            rescue.bearer.then(|| BEARER.to_owned()),
            rescue.retry_after.map(|after| format!("retry {}", whole_seconds(after))),
        ];
        said.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    #[tokio::test]
    async fn every_failure_has_its_answer() {
        let table = table().await;
        for (failure, status, code, expected) in &table {
            let rescue = rescue(failure);
            let got = (rescue.status.as_u16(), rescue.code, more(&rescue));
            assert_eq!(got, (*status, *code, (*expected).to_owned()), "{failure:?}");
            assert!(rescue.message == VALIDATION_FAILED || rescue.message.ends_with('.') || rescue.message == "x");
        }
        let names: BTreeSet<String> = table.iter().map(|(failure, ..)| name(failure)).collect();
        assert_eq!(names.len(), table.len(), "a failure stands twice");
    }

    #[tokio::test]
    async fn every_word_for_a_failed_login_is_one_to_count_by() {
        for (failure, _, code, _) in table().await {
            assert!(!matches!(failure, Failure::Api(_)) || LOGINS.contains(&code), "{code}");
        }
    }

    #[tokio::test]
    async fn every_status_with_retry_after_says_when() {
        for (failure, ..) in table().await {
            let rescue = rescue(&failure);
            let to_be_tried_again = matches!(rescue.status.as_u16(), 429 | 503);
            assert_eq!(rescue.retry_after.is_some(), to_be_tried_again, "{failure:?}");
            assert_eq!(rescue.bearer, matches!(failure, Failure::Denied(Denial::TokenMissing | Denial::TokenInvalid)));
        }
    }

    #[tokio::test]
    async fn the_document_lists_what_is_answered_and_nothing_else() {
        let cells = |row: &'static str| row.split('|').map(str::trim).collect::<Vec<_>>();
        let rows =
            include_str!("../../docs/ERRORS.md").lines().filter(|line| line.starts_with("| ") && line.contains('`'));
        let told = rows
            .map(cells)
            .map(|cells| (cells[1].to_owned(), cells[2].trim_matches('`').to_owned(), cells[3].to_owned()));
        let told: BTreeSet<_> = told.collect();
        let answered: BTreeSet<_> = table().await.iter().map(|(failure, ..)| row(&rescue(failure))).collect();
        assert_eq!(told, answered);
    }

    fn row(rescue: &Rescue) -> (String, String, String) {
        let headers = [
            rescue.retry_after.map(|_| "`Retry-After`"),
            rescue.allow.map(|_| "`Allow`"),
            rescue.bearer.then_some("`WWW-Authenticate`"),
        ];
        let headers = headers.into_iter().flatten().collect::<String>();
        (rescue.status.as_u16().to_string(), rescue.code.to_owned(), headers)
    }

    #[test]
    fn an_answer_is_written_out_whole() {
        let rescue = Rescue::new(StatusCode::UNAUTHORIZED, "c", "m").bearer().close().retry_after(SOON).allow("GET");
        let response = rescue.into_response(&HeaderValue::from_static("id1"));
        assert_eq!(response.status(), 401);
        assert_eq!(response.body(), r#"{"error":"m","code":"c","requestId":"id1"}"#);
        let mut headers: Vec<_> =
            response.headers().iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        headers.sort();
        assert_eq!(
            headers,
            [
                "allow: GET",
                "cache-control: no-store",
                "connection: close",
                "content-type: application/json; charset=utf-8",
                "retry-after: 1",
                "www-authenticate: Bearer",
                "x-request-id: id1",
            ]
        );
    }

    #[test]
    fn seconds_are_rounded_up_and_never_none() {
        let seconds = |millis| whole_seconds(Duration::from_millis(millis));
        assert_eq!([0, 1, 999, 1_000, 1_001, 60_000].map(seconds), [1, 1, 1, 1, 2, 60]);
    }

    #[tokio::test]
    async fn the_log_gets_the_chain_of_causes_and_the_client_none_of_it() {
        let failure = failed(LoginFailure::Unreachable);
        let cause =
            "the login failed: the code could not be exchanged: WeChat's answer can't be used: it is not a JSON object";
        assert_eq!(failure.cause().as_deref(), Some(cause));
        let response = rescue(&failure).into_response(&HeaderValue::from_static("id1"));
        assert!(!String::from_utf8_lossy(response.body()).contains("JSON"));

        let broken = Failure::Proxy(proxy::Error::Broken(broken().await)).cause().unwrap();
        assert!(broken.contains(": "), "hyper's own word comes after ours: {broken}");
        assert_eq!(Failure::NoRoute.cause(), None);
    }

    #[test]
    fn only_a_wrong_set_up_comes_with_advice_and_each_login_with_its_app() {
        let wrong = failed(LoginFailure::Misconfigured("check it"));
        assert_eq!((wrong.advice(), wrong.app().map(AppId::as_str)), (Some("check it"), Some("wx1")));
        let busy = failed(LoginFailure::Busy);
        assert_eq!((busy.advice(), busy.app().map(AppId::as_str)), (None, Some("wx1")));
        assert_eq!((Failure::NoRoute.advice(), Failure::NoRoute.app()), (None, None));
    }
}
