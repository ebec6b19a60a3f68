//! Whatever WeChat's side answers, a session comes of it only where another reader finds the same in it, and only with
//! identifiers that can stand in a header; and no refusal is anything but the errcode that stands there.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use wxgate::platform::{CodeSession, Error};

fuzz_target!(|body: &[u8]| {
    let read = wxgate::wechat::decode(body);
    let told = plainly(body);
    match read {
        Ok(session) => {
            bounded(&session);
            // A plainer reader stumbles where ours passes over a field unread: nested too deep, or a number beyond all bounds.
            if let Some(told) = told {
                same(&session, &told);
            }
        }
        Err(error) => {
            // Its words for the log are ours, not the answer's.
            assert!(error.to_string().is_ascii(), "{error}");
            if let Some(refusal) = error.refusal() {
                assert_ne!(refusal.errcode, 0);
                if let Some(told) = told {
                    assert_eq!(number(told.get("errcode")), Some(refusal.errcode));
                }
            } else {
                assert!(matches!(error, Error::BrokenAnswer(_)), "{error:?}");
            }
        }
    }
});

/// The object as a reader takes it that knows none of our fields, and lets the last one of a name count.
fn plainly(body: &[u8]) -> Option<Map<String, Value>> {
    let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
    serde_json::from_slice(body).ok()
}

/// What goes into headers can stand there.
fn bounded(session: &CodeSession) {
    let unionid = session.unionid.as_ref().map(|id| id.as_str());
    for text in [Some(session.openid.as_str()), Some(session.session_key.expose()), unionid].into_iter().flatten() {
        assert!(!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()), "{text:?}");
    }
}

/// The session is what stands there, whole, and there is no errcode beside it.
fn same(session: &CodeSession, told: &Map<String, Value>) {
    let text = |name: &str| told.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    assert_eq!(Some(session.openid.as_str()), text("openid"));
    assert_eq!(Some(session.session_key.expose()), text("session_key"));
    assert_eq!(session.unionid.as_ref().map(|id| id.as_str()), text("unionid"));
    assert!(matches!(number(told.get("errcode")), None | Some(0)), "a session beside an errcode");
}

/// An errcode, also one in quotes.
fn number(value: Option<&Value>) -> Option<i64> {
    match value? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}
