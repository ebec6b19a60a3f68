//! The call `GET /sns/jscode2session`: how it is written, and how its answer is read.
//!
//! The answer is read leniently where WeChat and its kin are known to vary, and strictly where something of it goes
//! on into the house: a session exists only with an openid and a session_key that are what they claim to be.

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::{
    CodeSession,
    answer::{self, optional, required},
    endpoint::Endpoint,
    errcode,
    error::{Error, Flaw},
};
use crate::model::{InvalidId, LoginCode, OpenId, SessionKey, UnionId};

/// Longest session_key that is taken. WeChat's have 24 bytes.
const MAX_SESSION_KEY: usize = 256;

/// The URL that spends `code`. It holds the AppSecret: it goes to the socket and nowhere else.
pub(super) fn url(endpoint: &Endpoint, code: &LoginCode) -> Url {
    let mut url = endpoint.at("sns/jscode2session");
    url.query_pairs_mut()
        .append_pair("appid", endpoint.app.as_str())
        .append_pair("secret", endpoint.secret.expose())
        .append_pair("js_code", code.expose())
        .append_pair("grant_type", "authorization_code");
    url
}

/// Reads an answer's body. Success is a non-empty openid and a non-empty session_key without an errcode other than 0.
pub fn decode(body: &[u8]) -> Result<CodeSession, Error> {
    let answer: Answer = answer::decode(body, errcode::sort)?;
    answer.into_session().map_err(Error::BrokenAnswer)
}

/// Reads an answer as a whole.
pub(super) fn read(status: u16, body: &[u8]) -> Result<CodeSession, Error> {
    answer::under(status, decode(body))
}

/// The fields we read, still of any type.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    openid: Value,
    #[serde(default)]
    unionid: Value,
    #[serde(default)]
    session_key: Value,
}

impl Answer {
    fn into_session(self) -> Result<CodeSession, Flaw> {
        let openid = required("openid", self.openid)?;
        let session_key = required("session_key", self.session_key)?;
        let unionid = optional("unionid", self.unionid)?;
        if session_key.len() > MAX_SESSION_KEY || !session_key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Flaw::BadSessionKey);
        }
        Ok(CodeSession {
            openid: OpenId::parse(&openid).map_err(bad_id("openid"))?,
            unionid: unionid.map(|id| UnionId::parse(&id).map_err(bad_id("unionid"))).transpose()?,
            session_key: SessionKey::new(session_key),
        })
    }
}

fn bad_id(field: &'static str) -> impl Fn(InvalidId) -> Flaw {
    move |why| Flaw::BadId { field, why }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::error::Refusal, *};
    use crate::{
        config::sections::App,
        model::{AppId, AppSecret},
    };

    fn endpoint(api_base: &str) -> Endpoint {
        Endpoint::of(&App {
            app_id: AppId::parse("wx4f4bc4dec97d474b").unwrap(),
            secret: AppSecret::new("s&cr=t"),
            api_base: Url::parse(api_base).unwrap(),
        })
        .unwrap()
    }

    fn query_of(code: &str) -> String {
        url(&endpoint("https://wechat.test"), &LoginCode::new(code)).query().unwrap().to_owned()
    }

    fn broken(body: &str) -> Flaw {
        let error = decode(body.as_bytes()).unwrap_err();
        let Error::BrokenAnswer(flaw) = error else { unreachable!("{body} gave {error:?}") };
        flaw
    }

    fn refused(body: &str) -> Refusal {
        decode(body.as_bytes()).unwrap_err().refusal().unwrap().clone()
    }

    #[test]
    fn the_call_is_written_as_wechat_wants_it() {
        let url = url(&endpoint("https://wechat.test"), &LoginCode::new("051v0m000ObAyK19vV"));
        assert_eq!(
            url.as_str(),
            "https://wechat.test/sns/jscode2session?appid=wx4f4bc4dec97d474b&secret=s%26cr%3Dt\
             &js_code=051v0m000ObAyK19vV&grant_type=authorization_code"
        );
    }

    #[test]
    fn an_api_base_keeps_its_path() {
        for base in ["https://host/openserver", "https://host/openserver/", "https://host/openserver?x=1#y"] {
            assert_eq!(url(&endpoint(base), &LoginCode::new("c")).path(), "/openserver/sns/jscode2session", "{base}");
        }
    }

    #[test]
    fn a_code_can_not_break_out_of_its_parameter() {
        for code in ["a\"b'c", "a b+c", "a&secret=x", "a=b", "100%25", "登录", "a\r\nX-Y: z", "a#b", "a;b", "\0"] {
            let query = query_of(code);
            let pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            assert_eq!(pairs.len(), 4, "{query}");
            assert_eq!(pairs[2], ("js_code".into(), code.into()));
            assert!(query.bytes().all(|b| b.is_ascii_alphanumeric() || b"=&%+-_.*".contains(&b)), "{query}");
        }
    }

    #[test]
    fn a_login_is_read_in_every_form_it_is_known_to_come_in() {
        let forms = [
            r#"{"openid":"oGZU","session_key":"tiih==","unionid":"uX"}"#,
            r#"{"session_key":"tiih==","errmsg":"ok","errcode":0,"unionid":"uX","openid":"oGZU"}"#,
            r#"{"errcode":"0","openid":"oGZU","session_key":"tiih==","unionid":"uX","expires_in":7200}"#,
            r#"{"errcode":null,"new":{"a":[1]},"openid":"oGZU","session_key":"tiih==","unionid":"uX"}"#,
            "\u{feff} {\"errcode\":\"\",\"openid\":\"oGZU\",\"session_key\":\"tiih==\",\"unionid\":\"uX\"}\r\n",
        ];
        for form in forms {
            let session = decode(form.as_bytes()).expect(form);
            assert_eq!(session.openid.as_str(), "oGZU");
            assert_eq!(session.session_key.expose(), "tiih==");
            assert_eq!(session.unionid.unwrap().as_str(), "uX");
        }
    }

    #[test]
    fn an_empty_unionid_is_none() {
        for unionid in ["\"\"", "null"] {
            let body = format!(r#"{{"openid":"o","session_key":"k","unionid":{unionid}}}"#);
            assert_eq!(decode(body.as_bytes()).unwrap().unionid, None);
        }
    }

    #[test]
    fn a_refusal_is_read_with_its_number_in_quotes_or_not_and_with_empty_fields() {
        let plain = r#"{"errcode":40029,"errmsg":"invalid code, rid: 65-1d-5b"}"#;
        let quoted = r#"{"errmsg":"invalid code, hints: [ req_id: 65-1d-5b ]","errcode":"40029"}"#;
        let container = r#"{"errcode":40029,"errmsg":"x, rid: 65-1d-5b","openid":"","session_key":"","unionid":""}"#;
        for body in [plain, quoted, container] {
            assert_eq!(refused(body), Refusal { errcode: 40029, rid: Some("65-1d-5b".into()) });
        }
        assert_eq!(refused(r#"{"errcode":"-1"}"#), Refusal { errcode: -1, rid: None });
        assert_eq!(refused(r#"{"errcode":-1,"errmsg":7}"#), Refusal { errcode: -1, rid: None });
    }

    #[test]
    fn an_openid_beside_an_errcode_logs_nobody_in() {
        assert_eq!(refused(r#"{"errcode":40226,"openid":"o","session_key":"k"}"#).errcode, 40226);
    }

    #[test]
    fn an_answer_without_its_two_fields_is_broken() {
        assert_eq!(broken("{}"), Flaw::Missing("openid"));
        assert_eq!(broken(r#"{"errcode":0,"errmsg":"ok"}"#), Flaw::Missing("openid"));
        assert_eq!(broken(r#"{"openid":"","session_key":"k"}"#), Flaw::Missing("openid"));
        assert_eq!(broken(r#"{"openid":"o"}"#), Flaw::Missing("session_key"));
        assert_eq!(broken(r#"{"openid":"o","session_key":""}"#), Flaw::Missing("session_key"));
        assert_eq!(broken(r#"{"openid":7,"session_key":"k"}"#), Flaw::WrongType("openid"));
        assert_eq!(broken(r#"{"errcode":true}"#), Flaw::WrongType("errcode"));
        assert_eq!(broken(r#"{"errcode":1.5}"#), Flaw::WrongType("errcode"));
        assert_eq!(broken(r#"{"errcode":"busy"}"#), Flaw::WrongType("errcode"));
    }

    #[test]
    fn an_openid_that_is_not_plain_visible_ascii_is_broken() {
        let openid = |text| broken(&format!(r#"{{"openid":"{text}","session_key":"k"}}"#));
        let bad = |why| Flaw::BadId { field: "openid", why };
        assert_eq!(openid(r"o\r\nX-Admin: 1"), bad(InvalidId::NotVisibleAscii));
        assert_eq!(openid("o 1"), bad(InvalidId::NotVisibleAscii));
        assert_eq!(openid("用户"), bad(InvalidId::NotVisibleAscii));
        assert_eq!(openid(&"o".repeat(129)), bad(InvalidId::TooLong));
        assert_eq!(
            broken(r#"{"openid":"o","session_key":"k","unionid":"u\n"}"#),
            Flaw::BadId { field: "unionid", why: InvalidId::NotVisibleAscii }
        );
    }

    #[test]
    fn a_session_key_that_is_none_is_broken() {
        let key = |text: &str| broken(&format!(r#"{{"openid":"o","session_key":"{text}"}}"#));
        assert_eq!(key("a b"), Flaw::BadSessionKey);
        assert_eq!(key(r"a\u0000"), Flaw::BadSessionKey);
        assert_eq!(key(&"k".repeat(257)), Flaw::BadSessionKey);
    }

    #[test]
    fn what_is_not_one_json_object_is_broken() {
        let cut = r#"{"openid":"o","session_key":"#;
        let array = r#"["o",null,"k",0,"ok"]"#;
        let twice = r#"{"openid":"o1","session_key":"k","openid":"o2"}"#;
        let more = r#"{"openid":"o","session_key":"k"}{}"#;
        for body in ["", "\u{feff}", "null", "\"o\"", "<html>502</html>", cut, array, twice, more] {
            assert_eq!(broken(body), Flaw::NotJson, "{body}");
        }
        assert!(decode(b"{\"openid\":\"\xff\",\"session_key\":\"k\"}").is_err());
        assert_eq!(broken(&"{\"a\":".repeat(10_000)), Flaw::NotJson);
    }

    #[test]
    fn another_status_than_200_is_believed_only_with_an_errcode() {
        let login = br#"{"openid":"o","session_key":"k"}"#;
        assert!(read(200, login).is_ok());
        assert_eq!(read(502, login).unwrap_err(), Error::BrokenAnswer(Flaw::Status(502)));
        assert_eq!(read(502, b"<html>").unwrap_err(), Error::BrokenAnswer(Flaw::Status(502)));
        let busy = Error::Busy(Refusal { errcode: -1, rid: None });
        assert_eq!(read(503, br#"{"errcode":-1}"#).unwrap_err(), busy);
    }

    #[test]
    fn a_broken_answer_is_not_quoted() {
        for body in [r#"{"openid":"o","session_key":["hunter2"]}"#, r#"{"errcode":"hunter2"}"#, "{\"hunter2"] {
            let error = decode(body.as_bytes()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic_or_pass_a_bad_id(body in any::<Vec<u8>>(), id in ".{0,8}") {
            let _ = decode(&body);
            let body = serde_json::json!({ "openid": id, "session_key": "k" }).to_string();
            let plain = !id.is_empty() && id.bytes().all(|b| b.is_ascii_graphic());
            prop_assert_eq!(decode(body.as_bytes()).is_ok(), plain);
        }
    }
}
