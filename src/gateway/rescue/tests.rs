//! Each failure and its answer.

//! The table of all failures, and that docs/ERRORS.md is the same table.

use std::collections::BTreeSet;

use super::*;
use crate::{
    assertion, auth, avatar,
    gateway::counting::LOGINS,
    limit::{RouteLimited, Whose},
    login,
    model::AppId,
    phone,
    platform::{self, Flaw},
    routing::{BadOriginal, BadTarget},
    session, store,
    upstream::ConnectError,
    wechat,
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
        Failure::Credentials(why) => format!("Credentials {why:?}"),
        Failure::Misdirected => "Misdirected".to_owned(),
        Failure::Method => "Method".to_owned(),
        Failure::NoRoute => "NoRoute".to_owned(),
        Failure::WrongMethod(_) => "WrongMethod".to_owned(),
        Failure::Limited(limited) => format!("Limited {:?}", limited.whose),
        Failure::Denied(why) => format!("Denied {why:?}"),
        Failure::Sessions(_) => "Sessions".to_owned(),
        Failure::Phone(_) => "Phone".to_owned(),
        Failure::Api(error) => match error {
            api::Error::PhoneLimited { .. } => "PhoneLimited".to_owned(),
            api::Error::Phone { why, .. } => format!("Phone {why:?}"),
            api::Error::BadInput(_) => "BadInput".to_owned(),
            api::Error::Body(error) => format!("Api body {}", body(error)),
            api::Error::UnknownApp => "UnknownApp".to_owned(),
            api::Error::Limited { .. } => "Limited".to_owned(),
            api::Error::ProfileLimited { .. } => "ProfileLimited".to_owned(),
            api::Error::UploadLimited { .. } => "UploadLimited".to_owned(),
            api::Error::Profile(error) => match error {
                profile::Error::Invalid(_) => "Profile invalid".to_owned(),
                profile::Error::Store(_) => "Profile store".to_owned(),
                profile::Error::Stale(_) | profile::Error::Changed | profile::Error::Crowded => {
                    format!("Profile {error:?}")
                }
            },
            api::Error::Avatar(error) => name_with_a_picture(error),
            api::Error::NothingHere => "NothingHere".to_owned(),
            api::Error::Login { why, .. } => format!("Login {why:?}"),
            api::Error::Session(_) => "Session".to_owned(),
            api::Error::NoSession => "NoSession".to_owned(),
            api::Error::Encode(_) => "Encode".to_owned(),
        },
        Failure::Proxy(error) => match error {
            proxy::Error::NoUpstream
            | proxy::Error::BadTarget
            | proxy::Error::UnderscoreHeader
            | proxy::Error::Switched
            | proxy::Error::NoSwitch
            | proxy::Error::NoHandshake
            | proxy::Error::WrongHandshake
            | proxy::Error::Timeout => format!("{error:?}"),
            proxy::Error::Identity(_) => "Identity".to_owned(),
            proxy::Error::Body(error) => format!("Proxy body {}", body(error)),
            proxy::Error::Connect(_) => "Connect".to_owned(),
            proxy::Error::Overloaded(_) => "Overloaded".to_owned(),
            proxy::Error::Broken(_) => "Proxy broken".to_owned(),
        },
    }
}

fn name_with_a_picture(error: &avatar::Error) -> String {
    match error {
        avatar::Error::Picture(flaw) => format!("Avatar {flaw:?}"),
        avatar::Error::Storage(_) => "Avatar storage".to_owned(),
        avatar::Error::Profile(_) => "Avatar profile".to_owned(),
        avatar::Error::Overloaded | avatar::Error::Address | avatar::Error::Interrupted => format!("Avatar {error:?}"),
    }
}

fn failed(why: LoginFailure) -> Failure {
    let source = login::Error::Platform(platform::Error::BrokenAnswer(Flaw::NotJson));
    Failure::Api(api::Error::Login { why, app: AppId::parse("wx1").unwrap(), source })
}

fn no_phone(why: PhoneFailure) -> Failure {
    Failure::Api(api::Error::Phone { why, app: AppId::parse("wx1").unwrap(), source: phone::Error::Old })
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
fn table() -> Vec<(Failure, u16, &'static str, &'static str)> {
    let api = Failure::Api;
    let encode = serde_json::from_str::<u8>("x").unwrap_err();
    let mut table = vec![
        (Failure::Refused(Refusal::HeadTooLarge), 431, "headers_too_large", CLOSE),
        (Failure::Refused(Refusal::TooManyHeaders), 431, "headers_too_large", CLOSE),
        (Failure::Refused(Refusal::TargetTooLong), 414, "uri_too_long", CLOSE),
        (Failure::Refused(Refusal::HeadTimeout), 408, "request_timeout", CLOSE),
        (Failure::Refused(Refusal::Fragment), 400, "bad_request", CLOSE),
        (Failure::Refused(Refusal::BareLineFeed), 400, "bad_request", CLOSE),
        (Failure::Refused(Refusal::Framing), 400, "bad_request", CLOSE),
        (Failure::Refused(Refusal::Malformed), 400, "bad_request", CLOSE),
        (Failure::Refused(Refusal::Overloaded), 503, "overloaded", "retry 1"),
        (Failure::Refused(Refusal::NotEncrypted), 400, "bad_request", CLOSE),
        (Failure::Misdirected, 421, "misdirected_request", CLOSE),
        (Failure::Target(BadTarget::TwoHosts), 400, "bad_request", CLOSE),
        (Failure::Stranger, 403, "proxy_not_trusted", ""),
        (Failure::Original(BadOriginal::NotCanonical), 400, "bad_request", ""),
        (Failure::Credentials(auth::BadCredentials::TwoLines), 400, "bad_request", CLOSE),
        (Failure::Credentials(auth::BadCredentials::Several), 400, "bad_request", CLOSE),
        (Failure::Method, 405, "method_not_allowed", "close allow GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        (Failure::NoRoute, 404, "no_route", ""),
        (Failure::WrongMethod("POST"), 405, "method_not_allowed", "allow POST"),
        (limited(Whose::Address), 429, "rate_limited", "retry 3"),
        (limited(Whose::User), 429, "rate_limited", "retry 3"),
        (limited(Whose::WebSockets), 429, "too_many_websockets", "retry 3"),
        (Failure::Denied(Denial::TokenMissing), 401, "token_missing", BEARER),
        (Failure::Denied(Denial::TokenInvalid), 401, "token_invalid", BEARER),
        (Failure::Denied(Denial::AppNotAllowed), 403, "app_not_allowed", ""),
        (Failure::Sessions(session::Error::StoreUnavailable(away())), 503, "store_unavailable", "retry 1"),
        (api(api::Error::BadInput("x")), 400, "bad_request", ""),
        (api(api::Error::Body(BodyError::TooLarge)), 413, "body_too_large", CLOSE),
        (api(api::Error::Body(BodyError::TimedOut)), 408, "request_timeout", CLOSE),
        (api(api::Error::Body(BodyError::Broken("it broke off".into()))), 400, "bad_request", CLOSE),
        (api(api::Error::UnknownApp), 400, "unknown_app", ""),
        (api(api::Error::Limited { retry_after: Duration::from_millis(1_001) }), 429, "rate_limited", "retry 2"),
        (api(api::Error::ProfileLimited { retry_after: Duration::from_millis(1_001) }), 429, "rate_limited", "retry 2"),
        (api(api::Error::UploadLimited { retry_after: Duration::from_secs(1) }), 429, "rate_limited", "retry 1"),
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
    ];
    table.extend(with_a_profile());
    table.extend(with_a_phone());
    table.extend(with_a_picture());
    table.extend(on_the_way_to_an_upstream());
    table
}

fn with_a_profile() -> Vec<(Failure, u16, &'static str, &'static str)> {
    let profile = |error| Failure::Api(api::Error::Profile(error));
    vec![
        (profile(profile::Error::Invalid("x")), 400, "bad_request", ""),
        (profile(profile::Error::Stale(wechat::Stale)), 409, "session_key_stale", ""),
        (profile(profile::Error::Changed), 412, "profile_changed", ""),
        (profile(profile::Error::Crowded), 503, "store_unavailable", "retry 1"),
        (profile(profile::Error::Store(away())), 503, "store_unavailable", "retry 1"),
    ]
}

fn with_a_phone() -> Vec<(Failure, u16, &'static str, &'static str)> {
    let limited = Failure::Api(api::Error::PhoneLimited { retry_after: Duration::from_millis(1_001) });
    let wechat = |why| no_phone(PhoneFailure::WeChat(why));
    vec![
        (limited, 429, "rate_limited", "retry 2"),
        (no_phone(PhoneFailure::CodeInvalid), 400, "phone_code_invalid", ""),
        (no_phone(PhoneFailure::WrongKind), 400, "wrong_code_kind", ""),
        (no_phone(PhoneFailure::NotOffered), 404, "no_route", ""),
        (no_phone(PhoneFailure::Store), 503, "store_unavailable", "retry 1"),
        (wechat(LoginFailure::UserBlocked), 403, "user_blocked", ""),
        (wechat(LoginFailure::RateLimited), 429, "rate_limited", "retry 60"),
        (wechat(LoginFailure::Busy), 503, "wechat_busy", "retry 1"),
        (wechat(LoginFailure::Unreachable), 502, "wechat_unreachable", ""),
        (wechat(LoginFailure::Timeout), 504, "wechat_timeout", ""),
        (wechat(LoginFailure::Misconfigured("it")), 502, "app_misconfigured", ""),
        (wechat(LoginFailure::Internal), 500, "internal", ""),
        (Failure::Phone(profile::Error::Store(away())), 503, "store_unavailable", "retry 1"),
    ]
}

fn with_a_picture() -> Vec<(Failure, u16, &'static str, &'static str)> {
    let picture = |error| Failure::Api(api::Error::Avatar(error));
    vec![
        (picture(avatar::Error::Picture(avatar::Flaw::Unknown)), 415, "unsupported_image", ""),
        (picture(avatar::Error::Picture(avatar::Flaw::Broken)), 415, "unsupported_image", ""),
        (picture(avatar::Error::Picture(avatar::Flaw::TooLarge)), 413, "image_too_large", ""),
        (picture(avatar::Error::Overloaded), 503, "overloaded", "retry 1"),
        (picture(avatar::Error::Storage(avatar::StorageError::TimedOut)), 503, "store_unavailable", "retry 1"),
        (picture(avatar::Error::Profile(profile::Error::Store(away()))), 503, "store_unavailable", "retry 1"),
        (picture(avatar::Error::Address), 500, "internal", ""),
        (picture(avatar::Error::Interrupted), 500, "internal", ""),
        (Failure::Api(api::Error::NothingHere), 404, "no_route", ""),
    ]
}

fn on_the_way_to_an_upstream() -> Vec<(Failure, u16, &'static str, &'static str)> {
    let proxy = Failure::Proxy;
    vec![
        (proxy(proxy::Error::NoUpstream), 500, "internal", ""),
        (proxy(proxy::Error::BadTarget), 500, "internal", ""),
        (proxy(proxy::Error::Identity(assertion::Error::Header)), 500, "internal", ""),
        (proxy(proxy::Error::UnderscoreHeader), 400, "bad_request", CLOSE),
        (proxy(proxy::Error::NoHandshake), 400, "bad_request", CLOSE),
        (proxy(proxy::Error::WrongHandshake), 502, "upstream_unreachable", ""),
        (proxy(proxy::Error::Body(BodyError::TooLarge)), 413, "body_too_large", CLOSE),
        (proxy(proxy::Error::Body(BodyError::TimedOut)), 408, "request_timeout", CLOSE),
        (proxy(proxy::Error::Body(BodyError::Broken("it broke off".into()))), 400, "bad_request", CLOSE),
        (proxy(proxy::Error::Connect(ConnectError::NoServer)), 502, "upstream_unreachable", ""),
        (proxy(ConnectError::Overloaded { server: "x".to_owned() }.into()), 503, "upstream_overloaded", "retry 1"),
        (proxy(proxy::Error::Broken(proxy::Fault::Closed)), 502, "upstream_unreachable", ""),
        (proxy(proxy::Error::NoSwitch), 500, "internal", ""),
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

#[test]
fn every_failure_has_its_answer() {
    let table = table();
    for (failure, status, code, expected) in &table {
        let rescue = rescue(failure);
        let got = (rescue.status.as_u16(), rescue.code, more(&rescue));
        assert_eq!(got, (*status, *code, (*expected).to_owned()), "{failure:?}");
        assert!(rescue.message == VALIDATION_FAILED || rescue.message.ends_with('.') || rescue.message == "x");
    }
    let names: BTreeSet<String> = table.iter().map(|(failure, ..)| name(failure)).collect();
    assert_eq!(names.len(), table.len(), "a failure stands twice");
}

#[test]
fn every_word_for_a_failed_login_is_one_to_count_by() {
    for (failure, _, code, _) in table() {
        let is_of_a_login = matches!(&failure, Failure::Api(error) if !matches!(error, api::Error::Profile(_) | api::Error::Phone { .. } | api::Error::Avatar(_) | api::Error::NothingHere));
        assert!(!is_of_a_login || LOGINS.contains(&code), "{code}");
    }
}

#[test]
fn every_status_with_retry_after_says_when() {
    for (failure, ..) in table() {
        let rescue = rescue(&failure);
        let to_be_tried_again = matches!(rescue.status.as_u16(), 429 | 503);
        assert_eq!(rescue.retry_after.is_some(), to_be_tried_again, "{failure:?}");
        assert_eq!(rescue.bearer, matches!(failure, Failure::Denied(Denial::TokenMissing | Denial::TokenInvalid)));
    }
}

#[test]
fn the_document_lists_what_is_answered_and_nothing_else() {
    let cells = |row: &'static str| row.split('|').map(str::trim).collect::<Vec<_>>();
    let rows =
        include_str!("../../../docs/ERRORS.md").lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    let told =
        rows.map(cells).map(|cells| (cells[1].to_owned(), cells[2].trim_matches('`').to_owned(), cells[3].to_owned()));
    let told: BTreeSet<_> = told.collect();
    let answered: BTreeSet<_> = table().iter().map(|(failure, ..)| row(&rescue(failure))).collect();
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
    let response = rescue.into_response(RequestId::told(b"id1").unwrap());
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

#[test]
fn the_log_gets_the_chain_of_causes_and_the_client_none_of_it() {
    let failure = failed(LoginFailure::Unreachable);
    let cause = "the login failed: the code could not be exchanged: the platform's answer can't be used: it is not a JSON object";
    assert_eq!(failure.cause().as_deref(), Some(cause));
    let response = rescue(&failure).into_response(RequestId::told(b"id1").unwrap());
    assert!(!String::from_utf8_lossy(response.body()).contains("JSON"));

    let broken = Failure::Proxy(proxy::Error::Broken(proxy::Fault::Closed)).cause().unwrap();
    assert_eq!(broken, "the upstream gave no answer: it closed the connection");
    assert_eq!(Failure::NoRoute.cause(), None);
}

#[test]
fn only_a_wrong_set_up_comes_with_advice_and_each_login_with_its_app() {
    let wrong = failed(LoginFailure::Misconfigured("check it"));
    assert_eq!((wrong.advice(), wrong.app().map(AppId::as_str)), (Some("check it"), Some("wx1")));
    let busy = failed(LoginFailure::Busy);
    assert_eq!((busy.advice(), busy.app().map(AppId::as_str)), (None, Some("wx1")));
    let phone = no_phone(PhoneFailure::WeChat(LoginFailure::Misconfigured("check it")));
    assert_eq!((phone.advice(), phone.app().map(AppId::as_str)), (Some("check it"), Some("wx1")));
    assert_eq!((Failure::NoRoute.advice(), Failure::NoRoute.app()), (None, None));
}
