//! The call `POST /api/apps/v2/jscode2session`: how it is written, and how its answer is read.
//!
//! The documents: <https://developer.open-douyin.com/docs/resource/zh-CN/mini-app/develop/server/log-in/code-2-session>. Only
//! `code` is sent. An `anonymous_code` stands for a device and not for a user, and gives no openid.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::errno;
use crate::{
    config::sections::App,
    model::{AppId, AppSecret, LoginCode},
    platform::{
        BuildError, CodeSession, Error, Flaw, Refusal, error::trace_id, fields, secrets::Secrets, transport::url_of,
    },
};

/// Where one app's codes are exchanged.
pub(super) struct Endpoint {
    url: Url,
    app: AppId,
    pub(super) secrets: Secrets,
}

impl Endpoint {
    /// Where the codes of `app` are exchanged.
    pub(super) fn of(app: &App) -> Result<Self, BuildError> {
        let url = url_of(app, ["api", "apps", "v2", "jscode2session"])?;
        Ok(Self { url, app: app.app_id.clone(), secrets: Secrets::of(app, errno::WRONG_SECRET) })
    }

    /// Where the body goes. Nothing secret is in it.
    pub(super) fn url(&self) -> Url {
        self.url.clone()
    }

    /// The body that spends `code`. It holds the AppSecret: it goes to the socket and nowhere else.
    pub(super) fn body(&self, secret: &AppSecret, code: &LoginCode) -> Vec<u8> {
        let body = json!({ "appid": self.app.as_str(), "secret": secret.expose(), "code": code.expose() });
        body.to_string().into_bytes()
    }
}

/// Reads an answer's body. Douyin says failures with HTTP 200 as well, so the body alone decides.
///
/// Success is a non-empty openid and a non-empty session_key in `data`, without an `err_no` other than 0.
pub fn decode(body: &[u8]) -> Result<CodeSession, Error> {
    let said: Said = fields::object(body)?;
    let errno = fields::number("err_no", &said.err_no)?;
    if errno != 0 {
        let rid = said.log_id.as_str().and_then(trace_id);
        return Err(errno::sort(Refusal { errcode: errno, rid }));
    }
    // Not before: in a failure `data` may be anything.
    let told: Told = fields::object(body).map_err(|_| Error::BrokenAnswer(Flaw::WrongType("data")))?;
    let data = told.data.unwrap_or_default();
    fields::session(data.openid, data.unionid, data.session_key).map_err(Error::BrokenAnswer)
}

/// Reads an answer as a whole.
pub(super) fn read(status: u16, body: &[u8]) -> Result<CodeSession, Error> {
    fields::under_status(status, decode(body))
}

/// What came of the call.
#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    err_no: Value,
    #[serde(default)]
    log_id: Value,
}

#[derive(Deserialize)]
struct Told {
    data: Option<Data>,
}

/// The fields we read, still of any type.
#[derive(Default, Deserialize)]
struct Data {
    #[serde(default)]
    openid: Value,
    #[serde(default)]
    unionid: Value,
    #[serde(default)]
    session_key: Value,
    /// Nothing of it is wanted. But with it the derived reader takes an object for `data`, and no array.
    #[serde(flatten)]
    _others: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::InvalidId;

    fn broken(body: &str) -> Flaw {
        let error = decode(body.as_bytes()).unwrap_err();
        let Error::BrokenAnswer(flaw) = error else { unreachable!("{body} gave {error:?}") };
        flaw
    }

    #[test]
    fn the_call_is_written_as_douyin_wants_it() {
        let app_id = AppId::parse("tt5daf2b0123457910").unwrap();
        let base = Url::parse("https://douyin.test/base/?x=1").unwrap();
        let app = App::new(app_id, AppSecret::new("s\"e"), base);
        let endpoint = Endpoint::of(&app).unwrap();
        assert_eq!(endpoint.url().as_str(), "https://douyin.test/base/api/apps/v2/jscode2session");
        let body = endpoint.body(&app.secret, &LoginCode::new("c\",\"appid\":\"tt\n"));
        let written: Value = serde_json::from_slice(&body).unwrap();
        let wanted = json!({ "appid": "tt5daf2b0123457910", "secret": "s\"e", "code": "c\",\"appid\":\"tt\n" });
        assert_eq!(written, wanted, "no code breaks out of its field");
    }

    #[test]
    fn a_login_is_read_in_every_form_it_is_known_to_come_in() {
        for form in [
            r#"{"err_no":0,"err_tips":"success","data":{"session_key":"k==","openid":"o","anonymous_openid":"","unionid":"u"}}"#,
            r#"{"data":{"unionid":"u","openid":"o","session_key":"k==","dopenid":""},"err_no":"0","log_id":"2024"}"#,
        ] {
            let session = decode(form.as_bytes()).unwrap();
            assert_eq!((session.openid.as_str(), session.session_key.expose()), ("o", "k=="));
            assert_eq!(session.unionid.unwrap().as_str(), "u");
        }
    }

    #[test]
    fn an_empty_unionid_is_none() {
        for unionid in ["\"\"", "null"] {
            let body = format!(r#"{{"err_no":0,"data":{{"openid":"o","session_key":"k","unionid":{unionid}}}}}"#);
            assert_eq!(decode(body.as_bytes()).unwrap().unionid, None);
        }
    }

    #[test]
    fn a_refusal_is_read_whatever_its_data_is_and_with_its_log_id() {
        for data in ["null", "\"\"", "[]", "{}", r#"{"openid":"","session_key":"","unionid":""}"#, "7"] {
            let body = format!(r#"{{"err_no":40018,"err_tips":"bad code","log_id":"20241021","data":{data}}}"#);
            let error = decode(body.as_bytes()).unwrap_err();
            assert_eq!(error, Error::CodeInvalid(Refusal { errcode: 40018, rid: Some("20241021".into()) }), "{data}");
        }
        let beside = r#"{"err_no":"40018","data":{"openid":"o","session_key":"k"}}"#;
        assert!(decode(beside.as_bytes()).is_err(), "an openid beside a refusal logs nobody in");
    }

    #[test]
    fn an_anonymous_user_is_not_logged_in() {
        let body = r#"{"err_no":0,"data":{"session_key":"k","openid":"","anonymous_openid":"a","unionid":""}}"#;
        assert_eq!(broken(body), Flaw::Missing("openid"));
    }

    #[test]
    fn what_is_no_login_is_broken() {
        assert_eq!(broken("{}"), Flaw::Missing("openid"));
        assert_eq!(broken(r#"{"err_no":0,"data":null}"#), Flaw::Missing("openid"));
        assert_eq!(broken(r#"{"err_no":0,"openid":"o","session_key":"k"}"#), Flaw::Missing("openid"));
        assert_eq!(broken(r#"{"err_no":0,"data":{"openid":"o"}}"#), Flaw::Missing("session_key"));
        assert_eq!(broken(r#"{"err_no":true}"#), Flaw::WrongType("err_no"));
        for data in [r#"["o","u","k"]"#, "\"o\"", r#"{"openid":"o","openid":"p","session_key":"k"}"#] {
            assert_eq!(broken(&format!(r#"{{"err_no":0,"data":{data}}}"#)), Flaw::WrongType("data"), "{data}");
        }
        let bad = Flaw::BadId { field: "openid", why: InvalidId::NotVisibleAscii };
        assert_eq!(broken(r#"{"err_no":0,"data":{"openid":"o 1","session_key":"k"}}"#), bad);
        for body in ["", "null", "[0]", "<html>", r#"{"err_no":0,"err_no":0}"#] {
            assert_eq!(broken(body), Flaw::NotJson, "{body}");
        }
    }

    #[test]
    fn another_status_than_200_is_believed_only_with_a_number() {
        let login = br#"{"err_no":0,"data":{"openid":"o","session_key":"k"}}"#;
        assert!(read(200, login).is_ok());
        assert_eq!(read(502, login).unwrap_err(), Error::BrokenAnswer(Flaw::Status(502)));
        assert!(matches!(read(400, br#"{"err_no":40018}"#), Err(Error::CodeInvalid(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic_or_pass_a_bad_id(body in any::<Vec<u8>>(), id in ".{0,8}") {
            let _ = decode(&body);
            let body = json!({ "err_no": 0, "data": { "openid": id, "session_key": "k" } }).to_string();
            let plain = !id.is_empty() && id.bytes().all(|b| b.is_ascii_graphic());
            prop_assert_eq!(decode(body.as_bytes()).is_ok(), plain);
        }
    }
}
