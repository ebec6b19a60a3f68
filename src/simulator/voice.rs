//! How an answer is written: as WeChat does, as those do who speak its protocol elsewhere, or as Douyin does.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{reply::response, wechat::Answer};

/// How somebody speaks WeChat's protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// A success without an errcode, a failure with nothing else.
    #[default]
    WeChat,
    /// A success with an errcode of 0, and an empty `unionid` where there is none.
    Qq,
    /// All fields in every answer, empty where there is nothing to say, and a `requestId`.
    Container,
    /// The errcode as a text, 0 too.
    Component,
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    /// WeChat, or somebody like it.
    WeChat(Dialect),
    /// WeChat, where an access token is asked for or sent along.
    ServerApi,
    /// Douyin.
    Douyin,
}

impl Voice {
    /// The answer as it goes out, with status 200 for failures too. WeChat labels the JSON of a login as text, and other as what it is.
    pub(super) fn write(self, answer: &Answer) -> Response<Bytes> {
        let (label, written) = match self {
            Self::WeChat(dialect) => ("text/plain", dialect.put(answer.clone())),
            Self::ServerApi => ("application/json; encoding=utf-8", answer.clone()),
            Self::Douyin => ("application/json; charset=utf-8", douyin(answer)),
        };
        response(StatusCode::OK, label, serde_json::to_vec(&written).unwrap_or_default())
    }
}

impl Dialect {
    fn put(self, mut answer: Answer) -> Answer {
        let mut absent = |fields: Value| {
            for (name, value) in fields.as_object().into_iter().flatten() {
                answer.entry(name).or_insert_with(|| value.clone());
            }
        };
        match self {
            Self::WeChat => {}
            Self::Qq => absent(json!({ "errcode": 0, "errmsg": "", "unionid": "" })),
            Self::Container => absent(json!({
                "errcode": 0, "errmsg": "", "openid": "", "session_key": "", "unionid": "",
                "requestId": "5f1c6f2e-0d8b-4a52-a0f1-6f3f3f1d7c11",
            })),
            Self::Component => {
                let number = answer.get("errcode").and_then(Value::as_i64).unwrap_or(0);
                answer.insert("errcode".to_owned(), number.to_string().into());
            }
        }
        answer
    }
}

/// The same in Douyin's words.
fn douyin(answer: &Answer) -> Answer {
    let field = |name: &str| answer.get(name).cloned().unwrap_or_else(|| "".into());
    let number = match answer.get("errcode") {
        None => json!(0),
        Some(errcode) => errcode.as_i64().map_or_else(|| errcode.clone(), |errcode| in_douyin(errcode).into()),
    };
    let failed = number != json!(0);
    let tips = if failed { field("errmsg") } else { "success".into() };
    let mut data = Map::new();
    data.insert("anonymous_openid".to_owned(), "".into());
    for name in ["openid", "session_key", "unionid"] {
        // A field that a fault took away is not there.
        if failed || answer.contains_key(name) || name == "unionid" {
            data.insert(name.to_owned(), if failed { "".into() } else { field(name) });
        }
    }
    let mut written = Map::new();
    written.insert("err_no".to_owned(), number);
    written.insert("err_tips".to_owned(), tips);
    written.insert("log_id".to_owned(), "2026112619250100E8ABC6F2D070B1A3".into());
    written.insert("data".to_owned(), data.into());
    written
}

/// What Douyin calls what WeChat calls so. Any other number is meant as it is.
fn in_douyin(errcode: i64) -> i64 {
    match errcode {
        40029 | 40163 => 40018,
        40013 => 40015,
        40125 => 40017,
        41002 | 41004 | 41008 | 40002 | 43001 => 40014,
        40226 => 28_001_046,
        45011 => 28_003_018,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(voice: Voice, answer: Value) -> Value {
        let Value::Object(answer) = answer else { unreachable!("an object") };
        serde_json::from_slice(voice.write(&answer).body()).unwrap()
    }

    #[test]
    fn each_dialect_says_a_login_and_a_refusal_in_its_own_way() {
        let rows = [
            (Dialect::WeChat, json!({ "openid": "o", "session_key": "k" }), json!({ "errcode": 40029, "errmsg": "x" })),
            (
                Dialect::Qq,
                json!({ "openid": "o", "session_key": "k", "errcode": 0, "errmsg": "", "unionid": "" }),
                json!({ "errcode": 40029, "errmsg": "x", "unionid": "" }),
            ),
            (
                Dialect::Component,
                json!({ "openid": "o", "session_key": "k", "errcode": "0" }),
                json!({ "errcode": "40029", "errmsg": "x" }),
            ),
        ];
        for (dialect, login, refusal) in rows {
            let voice = Voice::WeChat(dialect);
            assert_eq!(written(voice, json!({ "openid": "o", "session_key": "k" })), login, "{dialect:?}");
            assert_eq!(written(voice, json!({ "errcode": 40029, "errmsg": "x" })), refusal, "{dialect:?}");
        }
        let container = written(Voice::WeChat(Dialect::Container), json!({ "errcode": 40029, "errmsg": "x" }));
        assert_eq!((&container["openid"], &container["unionid"]), (&json!(""), &json!("")));
        assert!(container["requestId"].is_string());
    }

    #[test]
    fn douyin_says_the_same_in_its_own_words() {
        let login = written(Voice::Douyin, json!({ "openid": "o", "session_key": "k", "unionid": "u" }));
        assert_eq!((&login["err_no"], &login["err_tips"]), (&json!(0), &json!("success")));
        assert_eq!((&login["data"]["openid"], &login["data"]["unionid"]), (&json!("o"), &json!("u")));
        for (errcode, number) in [(40163, 40018), (40125, 40017), (40013, 40015), (28_001_005, 28_001_005)] {
            let refusal = written(Voice::Douyin, json!({ "errcode": errcode, "errmsg": "x" }));
            assert_eq!((&refusal["err_no"], &refusal["data"]["openid"]), (&json!(number), &json!("")), "{errcode}");
        }
    }
}
