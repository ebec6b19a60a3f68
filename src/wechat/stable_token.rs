//! The call `POST /cgi-bin/stable_token`: how it is written, and how its answer is read.
//!
//! It is asked in its normal mode, in which asking changes nothing: until five minutes before a token ends WeChat gives
//! the same one again, then another beside it. So gateways that share an app need no lock, and who asks once too often
//! spoils nothing. The other mode would end the token of everybody else who uses the app.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

use super::{
    answer::{self, required, whole_number},
    endpoint::Endpoint,
    errcode,
    error::{Error, Flaw},
};
use crate::model::AccessToken;

/// Longest token that is taken. WeChat asks for room for 512 bytes.
const MAX_TOKEN: usize = 2048;

/// What WeChat gave.
#[derive(Clone, Debug)]
pub struct Granted {
    /// The token.
    pub token: AccessToken,
    /// For how long it is good from the moment it was asked for.
    pub expires_in: Duration,
}

#[derive(Serialize)]
struct Asked<'a> {
    grant_type: &'static str,
    appid: &'a str,
    secret: &'a str,
    force_refresh: bool,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    access_token: Value,
    #[serde(default)]
    expires_in: Value,
}

pub(super) fn url(endpoint: &Endpoint) -> Url {
    endpoint.at("cgi-bin/stable_token")
}

/// It holds the AppSecret.
pub(super) fn body(endpoint: &Endpoint) -> Zeroizing<Vec<u8>> {
    let (appid, secret) = (endpoint.app.as_str(), endpoint.secret.expose());
    let asked = Asked { grant_type: "client_credential", appid, secret, force_refresh: false };
    // Texts always serialise.
    Zeroizing::new(serde_json::to_vec(&asked).unwrap_or_default())
}

pub(super) fn read(status: u16, body: &[u8]) -> Result<Granted, Error> {
    let answer = answer::decode::<Answer>(body, errcode::sort_grant);
    answer::under(status, answer.and_then(|answer| answer.granted().map_err(Error::BrokenAnswer)))
}

impl Answer {
    fn granted(self) -> Result<Granted, Flaw> {
        let token = Zeroizing::new(required("access_token", self.access_token)?);
        if token.len() > MAX_TOKEN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Flaw::BadAccessToken);
        }
        // Left out, it is good for nothing but the call that it was asked for.
        let seconds = whole_number("expires_in", &self.expires_in)?.unwrap_or_default();
        let expires_in = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        Ok(Granted { token: AccessToken::new(token.as_str()), expires_in })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::sections::App,
        model::{AppId, AppSecret},
        wechat::Refusal,
    };

    fn granted(body: &str) -> (String, u64) {
        let granted = read(200, body.as_bytes()).expect(body);
        (granted.token.expose().to_owned(), granted.expires_in.as_secs())
    }

    fn broken(body: &str) -> Flaw {
        let error = read(200, body.as_bytes()).unwrap_err();
        let Error::BrokenAnswer(flaw) = error else { unreachable!("{body} gave {error:?}") };
        flaw
    }

    #[test]
    fn the_call_is_written_as_wechat_wants_it_and_ends_nobody_elses_token() {
        let app = App {
            app_id: AppId::parse("wx1").unwrap(),
            secret: AppSecret::new("s\"x"),
            api_base: Url::parse("https://wechat.test").unwrap(),
        };
        let endpoint = Endpoint::of(&app).unwrap();
        assert_eq!(url(&endpoint).as_str(), "https://wechat.test/cgi-bin/stable_token");
        let expected =
            r#"{"grant_type":"client_credential","appid":"wx1","secret":"s\"x","force_refresh":false}"#.as_bytes();
        assert_eq!(body(&endpoint).as_slice(), expected);
    }

    #[test]
    fn a_token_is_read_in_every_form_it_may_come_in() {
        for body in [
            r#"{"access_token":"t1","expires_in":7200}"#,
            r#"{"errcode":0,"errmsg":"ok","expires_in":"7200","access_token":"t1","more":[1]}"#,
            "\u{feff}{\"access_token\":\"t1\",\"expires_in\":7200}",
        ] {
            assert_eq!(granted(body), ("t1".to_owned(), 7200));
        }
        for body in [
            r#"{"access_token":"t1"}"#,
            r#"{"access_token":"t1","expires_in":null}"#,
            r#"{"access_token":"t1","expires_in":-5}"#,
        ] {
            assert_eq!(granted(body), ("t1".to_owned(), 0), "good for once");
        }
    }

    #[test]
    fn what_could_not_stand_in_a_url_or_is_longer_than_any_is_no_token() {
        assert_eq!(broken("{}"), Flaw::Missing("access_token"));
        assert_eq!(broken(r#"{"access_token":""}"#), Flaw::Missing("access_token"));
        assert_eq!(broken(r#"{"access_token":7}"#), Flaw::WrongType("access_token"));
        assert_eq!(broken(r#"{"access_token":"t","expires_in":true}"#), Flaw::WrongType("expires_in"));
        assert_eq!(broken(r#"{"access_token":"a\r\nb"}"#), Flaw::BadAccessToken);
        assert_eq!(broken("[]"), Flaw::NotJson);
        let long = |len| format!(r#"{{"access_token":"{}"}}"#, "t".repeat(len));
        assert_eq!(granted(&long(2048)).0.len(), 2048);
        assert_eq!(broken(&long(2049)), Flaw::BadAccessToken);
    }

    #[test]
    fn a_refusal_is_told_as_a_logins_is() {
        let read = |errcode: i64| read(200, format!(r#"{{"errcode":{errcode},"errmsg":"x"}}"#).as_bytes()).unwrap_err();
        for errcode in [40001, 40013, 40125, 40164, 40243, 41002, 41004] {
            assert!(matches!(read(errcode), Error::Misconfigured { .. }), "{errcode}");
        }
        for errcode in [45009, 45011] {
            assert_eq!(read(errcode), Error::RateLimited(Refusal { errcode, rid: None }));
        }
        assert_eq!(read(-1), Error::Busy(Refusal { errcode: -1, rid: None }));
    }
}
