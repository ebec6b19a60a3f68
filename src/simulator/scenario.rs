//! Faults in the order they were ordered: what the next calls to WeChat run into, and what an answer looks like then.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    reply::{Reply, response},
    wechat::{Answer, WeChat},
};

/// What can go wrong with a call. In JSON: `{"fault": "errcode", "errcode": 40029}`, `{"fault": "halfAnswer"}` and so on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "fault", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Fault {
    /// WeChat refuses with this errcode. -1 and 45011 leave the code good.
    Errcode {
        /// Any number.
        errcode: i64,
        /// Instead of WeChat's usual words; the trace id follows it.
        errmsg: Option<String>,
    },
    /// The same, with the number in quotes, as the documents show it in one place.
    ErrcodeText {
        /// Any number.
        errcode: i64,
    },
    /// A refusal as private containers write it: the fields of a success are there, empty.
    EmptyStrings {
        /// Any number but 0.
        errcode: i64,
    },
    /// A success that says `"errcode": 0` and `"errmsg": "ok"`.
    ErrcodeZero,
    /// A success with fields nobody has documented.
    UnknownFields,
    /// A success for this openid, whatever characters it is made of.
    Openid {
        /// Goes into the answer as it is.
        openid: String,
    },
    /// The true answer without one of its fields.
    Without {
        /// The field's name.
        field: String,
    },
    /// This text, with status 200.
    Body {
        /// Any text.
        body: String,
    },
    /// An HTML page with status 200.
    NotJson,
    /// Status 200 and nothing else.
    EmptyBody,
    /// This HTTP status and an HTML page. The code stays good.
    Status {
        /// 200 to 599.
        status: u16,
    },
    /// 302 to somewhere else. The code stays good.
    Redirect {
        /// The `Location`.
        location: String,
    },
    /// The true answer, later. WeChat has done its work at once: giving up does not bring the code back.
    Latency {
        /// In milliseconds of real time.
        millis: u64,
    },
    /// The true answer once somebody calls for release. WeChat has done its work at once here too.
    Hang,
    /// The connection is closed before anything is read from it; to the client that is a reset. The code stays good.
    CutUnread,
    /// The connection is closed after the request was read and acted on, without a byte of answer.
    Cut,
    /// The connection is closed in the middle of the true answer.
    HalfAnswer,
    /// The true answer, and spaces after it up to this length.
    Oversize {
        /// Of the whole body.
        bytes: u64,
    },
    /// The true answer, and spaces after it without end.
    Endless,
}

/// A fault, how often, and what it does to the login code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    fault: Fault,
    times: u32,
    burns_code: bool,
    on: Option<String>,
}

/// An order that can't be taken.
#[derive(Debug, thiserror::Error)]
pub enum InvalidOrder {
    /// Not a fault, or not one of its fields.
    #[error("not a fault: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A field that this fault does not have.
    #[error("this fault has no field `{name}`")]
    Surplus {
        /// The field.
        name: String,
    },
    /// `times` is not a whole number from 1.
    #[error("`times` must be a whole number from 1 to 4294967295")]
    Times,
    /// `on` is not a path.
    #[error("`on` must be the path of a call")]
    On,
    /// `burnsCode` is neither true nor false.
    #[error("`burnsCode` must be true or false")]
    BurnsCode,
    /// `status` is outside 200 to 599.
    #[error("`status` must be from 200 to 599")]
    Status,
    /// `location` can't stand in a header.
    #[error("`location` has a character no header can carry")]
    Location,
}

impl Order {
    /// For the next `times` calls.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Says whether the code that meets the fault can be used again. Each fault has a sensible answer of its own.
    #[must_use]
    pub fn burns_code(mut self, burns: bool) -> Self {
        self.burns_code = burns;
        self
    }

    /// For calls of this path only. Without it, whichever call comes next meets the fault.
    #[must_use]
    pub fn on(mut self, path: &str) -> Self {
        self.on = Some(path.to_owned());
        self
    }

    fn meets(&self, path: &str) -> bool {
        self.on.as_ref().is_none_or(|on| on == path)
    }

    /// Reads `{"fault": "<name>", …, "times"?: 1, "burnsCode"?: true, "on"?: "<path>"}`.
    pub(super) fn parse(body: &[u8]) -> Result<Self, InvalidOrder> {
        let mut fields: Answer = serde_json::from_slice(body)?;
        let times = fields.remove("times");
        let burns = fields.remove("burnsCode");
        let on = fields.remove("on");
        let surplus = fields.keys().find(|name| *name != "fault").cloned();
        let fault = Fault::deserialize(Value::Object(fields))?.checked()?;
        // serde refuses unknown fields only where a fault has fields at all.
        if let Some(name) = surplus.filter(|_| fault.is_bare()) {
            return Err(InvalidOrder::Surplus { name });
        }
        let mut order = Self::from(fault);
        if let Some(times) = times {
            let times = times.as_u64().and_then(|times| u32::try_from(times).ok());
            order.times = times.filter(|times| *times > 0).ok_or(InvalidOrder::Times)?;
        }
        if let Some(burns) = burns {
            order.burns_code = burns.as_bool().ok_or(InvalidOrder::BurnsCode)?;
        }
        if let Some(on) = on {
            let on = on.as_str().filter(|on| on.starts_with('/'));
            order = order.on(on.ok_or(InvalidOrder::On)?);
        }
        Ok(order)
    }
}

impl From<Fault> for Order {
    fn from(fault: Fault) -> Self {
        let burns_code = fault.usually_burns_code();
        Self { fault, times: 1, burns_code, on: None }
    }
}

/// The faults still to come.
#[derive(Default)]
pub(super) struct Script(Mutex<VecDeque<Order>>);

impl Script {
    /// Adds to the end.
    pub(super) fn append(&self, order: Order) {
        if order.times > 0 {
            self.orders().push_back(order);
        }
    }

    /// What the call of `path` that is here now runs into, and whether its code is burnt.
    pub(super) fn next(&self, path: &str) -> Option<(Fault, bool)> {
        let mut orders = self.orders();
        let place = orders.iter().position(|order| order.meets(path))?;
        let order = orders.get_mut(place)?;
        order.times -= 1;
        let turn = (order.fault.clone(), order.burns_code);
        if order.times == 0 {
            orders.remove(place);
        }
        Some(turn)
    }

    /// Whether the next call may have to be cut before it is read.
    pub(super) fn may_cut_unread(&self) -> bool {
        self.orders().iter().any(|order| order.fault == Fault::CutUnread)
    }

    /// Whether the next call of `path` is to be cut before it is read.
    pub(super) fn cuts_unread(&self, path: &str) -> bool {
        self.orders().iter().find(|order| order.meets(path)).is_some_and(|order| order.fault == Fault::CutUnread)
    }

    /// Calls everything off.
    pub(super) fn clear(&self) {
        self.orders().clear();
    }

    fn orders(&self) -> MutexGuard<'_, VecDeque<Order>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fault {
    /// Turns WeChat's true answer into the one this fault gives.
    pub(super) fn spoil(self, mut answer: Answer, wechat: &WeChat) -> Reply {
        match self {
            Self::Errcode { errcode, errmsg } => plain(&wechat.refusal(errcode, errmsg.as_deref())),
            Self::ErrcodeText { errcode } => {
                answer = wechat.refusal(errcode, None);
                answer.insert("errcode".to_owned(), errcode.to_string().into());
                plain(&answer)
            }
            Self::EmptyStrings { errcode } => {
                answer = wechat.refusal(errcode, None);
                plain(&with(answer, json!({ "openid": "", "session_key": "", "unionid": "", "requestId": "" })))
            }
            Self::ErrcodeZero => plain(&on_success(answer, json!({ "errcode": 0, "errmsg": "ok" }))),
            Self::UnknownFields => {
                plain(&on_success(answer, json!({ "expires_in": 7200, "is_new": [true, { "a": null }] })))
            }
            Self::Openid { openid } => plain(&on_success(answer, json!({ "openid": openid }))),
            Self::Without { field } => {
                answer.remove(&field);
                plain(&answer)
            }
            Self::Body { body } => text(body),
            Self::NotJson => text("<html><body>502 Bad Gateway</body></html>".to_owned()),
            Self::EmptyBody => text(String::new()),
            Self::Status { status } => page(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY)),
            Self::Redirect { location } => redirect(&location),
            Self::Latency { .. } | Self::Hang => plain(&answer),
            Self::CutUnread | Self::Cut => Reply::Hangup,
            Self::HalfAnswer => Reply::HalfAnswer(plain_response(&answer)),
            Self::Oversize { bytes } => Reply::Oversize(plain_response(&answer), bytes),
            Self::Endless => Reply::Endless(plain_response(&answer)),
        }
    }

    fn usually_burns_code(&self) -> bool {
        match self {
            Self::Errcode { errcode, .. } | Self::ErrcodeText { errcode } | Self::EmptyStrings { errcode } => {
                !matches!(errcode, -1 | 45011)
            }
            Self::Status { .. } | Self::Redirect { .. } | Self::CutUnread => false,
            _ => true,
        }
    }

    fn is_bare(&self) -> bool {
        match self {
            Self::ErrcodeZero
            | Self::UnknownFields
            | Self::NotJson
            | Self::EmptyBody
            | Self::Hang
            | Self::CutUnread
            | Self::Cut
            | Self::HalfAnswer
            | Self::Endless => true,
            Self::Errcode { .. }
            | Self::ErrcodeText { .. }
            | Self::EmptyStrings { .. }
            | Self::Openid { .. }
            | Self::Without { .. }
            | Self::Body { .. }
            | Self::Status { .. }
            | Self::Redirect { .. }
            | Self::Latency { .. }
            | Self::Oversize { .. } => false,
        }
    }

    fn checked(self) -> Result<Self, InvalidOrder> {
        match &self {
            Self::Status { status } if !(200..600).contains(status) => Err(InvalidOrder::Status),
            Self::Redirect { location } if HeaderValue::from_str(location).is_err() => Err(InvalidOrder::Location),
            _ => Ok(self),
        }
    }
}

/// An answer as the calls give it that take an access token, labelled as what it is.
pub(super) fn labelled(answer: &Answer) -> Reply {
    let body = serde_json::to_vec(answer).unwrap_or_default();
    Reply::Answer(response(StatusCode::OK, "application/json; encoding=utf-8", body))
}

/// An answer as `jscode2session` gives it: status 200 for failures too, and the label `text/plain` on JSON.
pub(super) fn plain(answer: &Answer) -> Reply {
    Reply::Answer(plain_response(answer))
}

fn plain_response(answer: &Answer) -> Response<Bytes> {
    response(StatusCode::OK, "text/plain", serde_json::to_vec(answer).unwrap_or_default())
}

fn text(body: String) -> Reply {
    Reply::Answer(response(StatusCode::OK, "text/plain", body))
}

fn page(status: StatusCode) -> Reply {
    Reply::Answer(response(status, "text/html", format!("<html><body>{status}</body></html>")))
}

fn redirect(location: &str) -> Reply {
    let mut response = response(StatusCode::FOUND, "text/html", "<html><body>302 Found</body></html>");
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Reply::Answer(response)
}

/// Adds to a success; a refusal stays as it is.
fn on_success(answer: Answer, fields: Value) -> Answer {
    if answer.get("errcode").is_none_or(|errcode| *errcode == 0) { with(answer, fields) } else { answer }
}

fn with(mut answer: Answer, fields: Value) -> Answer {
    if let Value::Object(fields) = fields {
        answer.extend(fields);
    }
    answer
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        model::{SystemClock, SystemEntropy},
        simulator::wechat::Apps,
    };

    /// What a client reads when the true answer is a success for oAlice.
    fn spoilt(fault: Fault) -> Response<Bytes> {
        let minutes = Duration::from_mins(5);
        let wechat = WeChat::new(Apps::Any, minutes, 0, Arc::new(SystemClock), Arc::new(SystemEntropy));
        let truth = json!({ "openid": "oAlice", "session_key": "tiihtNczf5v6AKRyjwEUhQ==" });
        fault.spoil(truth.as_object().unwrap().clone(), &wechat).whole().unwrap()
    }

    fn spoilt_json(fault: Fault) -> Value {
        serde_json::from_slice(spoilt(fault).body()).unwrap()
    }

    #[test]
    fn an_ordered_errcode_carries_the_usual_words_or_the_given_ones() {
        let usual = spoilt_json(Fault::Errcode { errcode: 40163, errmsg: None });
        assert_eq!(usual["errcode"], 40163);
        assert!(usual["errmsg"].as_str().unwrap().starts_with("code been used, rid: "), "{usual}");
        let given = spoilt_json(Fault::Errcode { errcode: 7, errmsg: Some("odd".into()) });
        assert!(given["errmsg"].as_str().unwrap().starts_with("odd, rid: "), "{given}");
        assert_eq!(given.get("openid"), None);
    }

    #[test]
    fn each_odd_dialect_of_the_api_can_be_spoken() {
        assert_eq!(spoilt_json(Fault::ErrcodeText { errcode: 40029 })["errcode"], "40029");
        let empty = spoilt_json(Fault::EmptyStrings { errcode: 40029 });
        assert_eq!(
            (&empty["openid"], &empty["session_key"], &empty["errcode"]),
            (&json!(""), &json!(""), &json!(40029))
        );
        let zero = spoilt_json(Fault::ErrcodeZero);
        assert_eq!((&zero["openid"], &zero["errcode"]), (&json!("oAlice"), &json!(0)));
        assert_eq!(spoilt_json(Fault::UnknownFields)["openid"], "oAlice");
        assert_eq!(spoilt_json(Fault::Openid { openid: "o\r\nX: 1".into() })["openid"], "o\r\nX: 1");
        assert_eq!(spoilt_json(Fault::Without { field: "session_key".into() }), json!({ "openid": "oAlice" }));
    }

    #[test]
    fn answers_that_are_no_answers_keep_their_status() {
        assert_eq!(spoilt(Fault::EmptyBody).body(), "");
        assert!(spoilt(Fault::NotJson).body().starts_with(b"<html>"));
        assert_eq!(spoilt(Fault::Body { body: "[1]".into() }).body(), "[1]");
        assert_eq!(spoilt(Fault::Status { status: 500 }).status(), 500);
        let moved = spoilt(Fault::Redirect { location: "http://127.0.0.1/".into() });
        assert_eq!(
            (moved.status().as_u16(), &moved.headers()["location"]),
            (302, &"http://127.0.0.1/".parse().unwrap())
        );
    }

    #[test]
    fn orders_are_served_in_turn_and_as_often_as_asked() {
        let script = Script::default();
        script.append(Order::from(Fault::Cut).times(2));
        script.append(Fault::NotJson.into());
        let turns: Vec<_> = std::iter::from_fn(|| script.next("/any")).map(|(fault, _)| fault).collect();
        assert_eq!(turns, [Fault::Cut, Fault::Cut, Fault::NotJson]);
        script.append(Fault::Hang.into());
        script.clear();
        assert_eq!(script.next("/any"), None);
    }

    #[test]
    fn an_order_for_one_call_lets_the_others_pass() {
        let script = Script::default();
        script.append(Order::from(Fault::Cut).on("/b"));
        script.append(Fault::CutUnread.into());
        assert!(script.may_cut_unread() && script.cuts_unread("/a") && !script.cuts_unread("/b"));
        assert_eq!(script.next("/a"), Some((Fault::CutUnread, false)));
        assert_eq!((script.next("/a"), script.next("/b")), (None, Some((Fault::Cut, true))));
        let order = Order::parse(br#"{"fault":"hang","on":"/b"}"#).unwrap();
        assert!(order == Order::from(Fault::Hang).on("/b"));
        assert!(matches!(Order::parse(br#"{"fault":"hang","on":"b"}"#), Err(InvalidOrder::On)));
    }

    #[test]
    fn a_code_survives_the_faults_in_which_wechat_did_not_look_at_it() {
        let burns = |fault: Fault| Order::from(fault).burns_code;
        assert!(!burns(Fault::Errcode { errcode: -1, errmsg: None }));
        assert!(!burns(Fault::CutUnread));
        assert!(!burns(Fault::Status { status: 500 }));
        assert!(burns(Fault::Errcode { errcode: 40226, errmsg: None }));
        assert!(burns(Fault::Cut));
        assert!(!Order::from(Fault::Cut).burns_code(false).burns_code);
    }

    #[test]
    fn an_order_is_read_from_json() {
        let order = Order::parse(br#"{"fault":"errcode","errcode":-1,"times":2,"burnsCode":true}"#).unwrap();
        assert_eq!(order, Order::from(Fault::Errcode { errcode: -1, errmsg: None }).times(2).burns_code(true));
        assert_eq!(Order::parse(br#"{"fault":"halfAnswer"}"#).unwrap(), Fault::HalfAnswer.into());
    }

    #[test]
    fn an_order_nobody_could_serve_is_refused() {
        let rows: [(&str, &str); 8] = [
            ("", "not a fault: EOF while parsing a value at line 1 column 0"),
            (r#"{"fault":"rain"}"#, "not a fault: unknown variant `rain`"),
            (r#"{"fault":"hang","latency":3}"#, "this fault has no field `latency`"),
            (r#"{"fault":"latency","seconds":3}"#, "not a fault: unknown field `seconds`"),
            (r#"{"fault":"hang","times":0}"#, "`times` must be a whole number from 1 to 4294967295"),
            (r#"{"fault":"hang","burnsCode":1}"#, "`burnsCode` must be true or false"),
            (r#"{"fault":"status","status":99}"#, "`status` must be from 200 to 599"),
            (r#"{"fault":"redirect","location":"a\nb"}"#, "`location` has a character no header can carry"),
        ];
        for (body, message) in rows {
            let error = Order::parse(body.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(message), "{body}: {error}");
        }
    }
}
