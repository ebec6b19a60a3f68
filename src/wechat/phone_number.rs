//! The call `POST /wxa/business/getuserphonenumber`: how it is written, and how its answer is read.

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
use crate::model::{AccessToken, AppId, PhoneCode, PhoneNumber, Timestamp};

/// What a phone code was worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldNumber {
    /// The number.
    pub number: PhoneNumber,
    /// When its user agreed to tell it.
    pub agreed: Timestamp,
}

#[derive(Serialize)]
struct Asked<'a> {
    code: &'a str,
}

#[derive(Deserialize)]
struct Answer {
    phone_info: Option<Info>,
}

/// The fields we read, still of any type.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    #[serde(default)]
    phone_number: Value,
    #[serde(default)]
    pure_phone_number: Value,
    #[serde(default)]
    country_code: Value,
    watermark: Option<Watermark>,
}

#[derive(Deserialize)]
struct Watermark {
    #[serde(default)]
    appid: Value,
    #[serde(default)]
    timestamp: Value,
}

/// It holds the token: it goes to the socket and nowhere else.
pub(super) fn url(endpoint: &Endpoint, token: &AccessToken) -> Url {
    let mut url = endpoint.at("wxa/business/getuserphonenumber");
    url.query_pairs_mut().append_pair("access_token", token.expose());
    url
}

pub(super) fn body(code: &PhoneCode) -> Zeroizing<Vec<u8>> {
    // A text always serialises.
    Zeroizing::new(serde_json::to_vec(&Asked { code: code.expose() }).unwrap_or_default())
}

/// Reads what was told to `app`. A number that is another app's is not taken, whoever sends it.
pub(super) fn read(status: u16, body: &[u8], app: &AppId) -> Result<ToldNumber, Error> {
    let answer = answer::decode::<Answer>(body, errcode::sort_phone);
    answer::under(status, answer.and_then(|answer| answer.told(app).map_err(Error::BrokenAnswer)))
}

impl Answer {
    fn told(self, app: &AppId) -> Result<ToldNumber, Flaw> {
        let info = self.phone_info.ok_or(Flaw::Missing("phone_info"))?;
        let watermark = info.watermark.ok_or(Flaw::Missing("watermark"))?;
        if required("appid", watermark.appid)? != app.as_str() {
            return Err(Flaw::ForeignWatermark);
        }
        let seconds = whole_number("timestamp", &watermark.timestamp)?.ok_or(Flaw::Missing("timestamp"))?;
        let seconds = u64::try_from(seconds).map_err(|_| Flaw::WrongType("timestamp"))?;
        let whole = Zeroizing::new(required("phoneNumber", info.phone_number)?);
        let pure = Zeroizing::new(required("purePhoneNumber", info.pure_phone_number)?);
        // The documents call it a text and show a number.
        let country = whole_number("countryCode", &info.country_code)?.ok_or(Flaw::Missing("countryCode"))?;
        let number = PhoneNumber::parse(&whole, &pure, &country.to_string()).map_err(|_| Flaw::BadPhoneNumber)?;
        Ok(ToldNumber { number, agreed: Timestamp::from_millis(seconds.saturating_mul(1000)) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{config::sections::App, model::AppSecret, wechat::Refusal};

    fn app() -> AppId {
        AppId::parse("wx1").unwrap()
    }

    fn told(body: &Value) -> Result<ToldNumber, Error> {
        read(200, body.to_string().as_bytes(), &app())
    }

    fn broken(body: &Value) -> Flaw {
        let error = told(body).unwrap_err();
        let Error::BrokenAnswer(flaw) = error else { unreachable!("{body} gave {error:?}") };
        flaw
    }

    /// As the documents show it, with these values in `phone_info`.
    fn answer(changes: &Value) -> Value {
        let mut info = json!({
            "phoneNumber": "13800000000", "purePhoneNumber": "13800000000", "countryCode": "86",
            "watermark": { "timestamp": 1_637_744_274, "appid": "wx1" }
        });
        info.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        json!({ "errcode": 0, "errmsg": "ok", "phone_info": info })
    }

    #[test]
    fn the_call_is_written_as_wechat_wants_it() {
        let app = App { app_id: app(), secret: AppSecret::new("s"), api_base: "https://wechat.test".parse().unwrap() };
        let endpoint = Endpoint::of(&app).unwrap();
        let url = url(&endpoint, &AccessToken::new("98_a&b"));
        assert_eq!(url.as_str(), "https://wechat.test/wxa/business/getuserphonenumber?access_token=98_a%26b");
        assert_eq!(body(&PhoneCode::new("a\"b")).as_slice(), br#"{"code":"a\"b"}"#);
    }

    #[test]
    fn a_number_is_read_whether_its_country_is_a_text_or_a_number() {
        for country in [json!("86"), json!(86)] {
            let told = told(&answer(&json!({ "countryCode": country }))).unwrap();
            assert_eq!(told.number, PhoneNumber::parse("13800000000", "13800000000", "86").unwrap());
            assert_eq!(told.agreed, Timestamp::from_millis(1_637_744_274_000));
        }
    }

    #[test]
    fn a_number_that_was_told_to_another_app_is_not_taken() {
        let foreign = json!({ "watermark": { "timestamp": 1, "appid": "wx2" } });
        assert_eq!(broken(&answer(&foreign)), Flaw::ForeignWatermark);
        assert_eq!(broken(&answer(&json!({ "watermark": null }))), Flaw::Missing("watermark"));
    }

    #[test]
    fn what_is_no_number_is_not_taken_and_not_quoted() {
        assert_eq!(broken(&json!({ "errcode": 0 })), Flaw::Missing("phone_info"));
        assert_eq!(broken(&answer(&json!({ "phoneNumber": "" }))), Flaw::Missing("phoneNumber"));
        assert_eq!(broken(&answer(&json!({ "phoneNumber": "1\r\nX: hunter2" }))), Flaw::BadPhoneNumber);
        assert_eq!(broken(&answer(&json!({ "countryCode": "cn" }))), Flaw::WrongType("countryCode"));
        assert_eq!(broken(&answer(&json!({ "countryCode": -86 }))), Flaw::BadPhoneNumber);
        assert!(!format!("{:?}", told(&answer(&json!({ "phoneNumber": ["hunter2"] })))).contains("hunter2"));
        assert!(!format!("{:?}", told(&answer(&json!({})))).contains("138"));
    }

    #[test]
    fn a_code_of_another_app_is_the_clients_fault_and_no_set_up() {
        for errcode in [40013, 40029] {
            let refusal = Refusal { errcode, rid: None };
            assert_eq!(told(&json!({ "errcode": errcode })), Err(Error::CodeInvalid(refusal)));
        }
    }
}
