//! The call `GET /wxa/resetusersessionkey`: how it is written, and how its answer is read. It ends a `session_key` and brings
//! another, which runs out when the old one would have; as with a [check](super::session_check), a signature shows that we have the old one.

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::{answer, endpoint::Endpoint, errcode, session_check::signed};
use crate::{
    model::{AccessToken, OpenId, SessionKey},
    platform::{
        Error, Flaw,
        fields::{optional, session_key, under_status},
    },
};

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    openid: Value,
    #[serde(default)]
    session_key: Value,
}

/// It holds the token: it goes to the socket and nowhere else.
pub(super) fn url(endpoint: &Endpoint, token: &AccessToken, openid: &OpenId, key: &SessionKey) -> Url {
    signed(endpoint.at("wxa/resetusersessionkey"), token, openid, key)
}

/// The new key, or none where the old one was not the user's.
pub(super) fn read(status: u16, body: &[u8], openid: &OpenId) -> Result<Option<SessionKey>, Error> {
    let answer = answer::decode::<Answer>(body, errcode::sort_call);
    match under_status(status, answer) {
        Ok(answer) => new_key(answer, openid).map(Some).map_err(Error::BrokenAnswer),
        Err(error) if error.refusal().is_some_and(|no| no.errcode == errcode::SIGNATURE_INVALID) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The old key is gone by now, so an answer that leaves out what we know is taken; one that contradicts it is not.
fn new_key(Answer { openid, session_key: key }: Answer, asked: &OpenId) -> Result<SessionKey, Flaw> {
    match optional("openid", openid)? {
        Some(named) if named != asked.as_str() => Err(Flaw::ForeignUser),
        _ => session_key(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::sections::App,
        model::{AppId, AppSecret},
        platform::Refusal,
    };

    fn alice() -> OpenId {
        OpenId::parse("oAlice").unwrap()
    }

    fn read_200(body: &str) -> Result<Option<SessionKey>, Error> {
        read(200, body.as_bytes(), &alice())
    }

    #[test]
    fn the_call_is_written_as_wechat_wants_it_and_has_no_key_in_it() {
        let base = "https://wechat.test/under".parse().unwrap();
        let app = App::new(AppId::parse("wx1").unwrap(), AppSecret::new("s"), base);
        let (endpoint, key) = (Endpoint::of(&app).unwrap(), SessionKey::new("tiihtNczf5v6AKRyjwEUhQ=="));
        assert_eq!(
            url(&endpoint, &AccessToken::new("98_a&b"), &alice(), &key).as_str(),
            "https://wechat.test/under/wxa/resetusersessionkey?access_token=98_a%26b&openid=oAlice&signature=\
             7154f9f8b4b76b92f541cbf0e37d48840fa06e5e42da92a6f80168a1516a4735&sig_method=hmac_sha256"
        );
    }

    #[test]
    fn the_new_key_is_read_and_that_of_somebody_else_is_not_taken() {
        let new = Ok(Some(SessionKey::new("bmV3LWtleS1uZXcta2V5IQ==")));
        for body in [
            r#"{"errcode":0,"errmsg":"ok","openid":"oAlice","session_key":"bmV3LWtleS1uZXcta2V5IQ=="}"#,
            r#"{"errcode":"0","openid":"","session_key":"bmV3LWtleS1uZXcta2V5IQ=="}"#,
            r#"{"session_key":"bmV3LWtleS1uZXcta2V5IQ=="}"#,
        ] {
            assert_eq!(read_200(body), new, "{body}");
        }
        for (body, flaw) in [
            (r#"{"errcode":0,"openid":"oBob","session_key":"a2V5"}"#, Flaw::ForeignUser),
            (r#"{"errcode":0,"openid":7,"session_key":"a2V5"}"#, Flaw::WrongType("openid")),
            (r#"{"errcode":0,"openid":"oAlice","session_key":""}"#, Flaw::Missing("session_key")),
            (r#"{"errcode":0,"errmsg":"ok"}"#, Flaw::Missing("session_key")),
            (r#"{"errcode":0,"openid":"oAlice","session_key":"a b"}"#, Flaw::BadSessionKey),
            (r#"{"openid":"oAlice","session_key":"a","session_key":"b"}"#, Flaw::NotJson),
            ("[]", Flaw::NotJson),
        ] {
            assert_eq!(read_200(body), Err(Error::BrokenAnswer(flaw)), "{body}");
        }
    }

    #[test]
    fn a_signature_that_does_not_fit_is_a_no_and_all_else_no_answer() {
        assert_eq!(read_200(r#"{"errcode":87009,"errmsg":"invalid signature"}"#), Ok(None));
        let refused = |errcode| Refusal { errcode, rid: None };
        for errcode in [40001, 40014, 42001] {
            let told = read_200(&format!(r#"{{"errcode":{errcode}}}"#));
            assert_eq!(told, Err(Error::TokenRefused(refused(errcode))));
        }
        assert_eq!(read_200(r#"{"errcode":45011}"#), Err(Error::RateLimited(refused(45011))));
        assert!(matches!(read_200(r#"{"errcode":87008}"#), Err(Error::BrokenAnswer(_))));
        assert!(read(500, br#"{"session_key":"a2V5"}"#, &alice()).is_err());
    }
}
