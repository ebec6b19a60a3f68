//! The call `GET /wxa/checksession`: how it is written, and how its answer is read. It asks whether a `session_key` still is its user's,
//! and shows WeChat that we have it without sending it: by a signature.

use serde::Deserialize;
use url::Url;

use super::{answer, crypto, endpoint::Endpoint, errcode};
use crate::{
    model::{AccessToken, OpenId, SessionKey},
    platform::{Error, fields::under_status},
};

#[derive(Deserialize)]
struct Answer {}

/// It holds the token: it goes to the socket and nowhere else.
pub(super) fn url(endpoint: &Endpoint, token: &AccessToken, openid: &OpenId, key: &SessionKey) -> Url {
    signed(endpoint.at("wxa/checksession"), token, openid, key)
}

/// A call about a user, whose key signs it.
pub(super) fn signed(mut url: Url, token: &AccessToken, openid: &OpenId, key: &SessionKey) -> Url {
    url.query_pairs_mut()
        .append_pair("access_token", token.expose())
        .append_pair("openid", openid.as_str())
        .append_pair("signature", &crypto::signature(b"", key))
        .append_pair("sig_method", "hmac_sha256");
    url
}

/// Whether the key is the user's.
pub(super) fn read(status: u16, body: &[u8]) -> Result<bool, Error> {
    let answer = answer::decode::<Answer>(body, errcode::sort_call);
    match under_status(status, answer) {
        Ok(Answer {}) => Ok(true),
        Err(error) if error.refusal().is_some_and(|no| no.errcode == errcode::SIGNATURE_INVALID) => Ok(false),
        Err(error) => Err(error),
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

    #[test]
    fn the_call_is_written_as_wechat_wants_it_and_has_no_key_in_it() {
        let base = "https://wechat.test".parse().unwrap();
        let app = App::new(AppId::parse("wx1").unwrap(), AppSecret::new("s"), base);
        let (endpoint, key) = (Endpoint::of(&app).unwrap(), SessionKey::new("tiihtNczf5v6AKRyjwEUhQ=="));
        let url = url(&endpoint, &AccessToken::new("98_a&b"), &OpenId::parse("oAlice").unwrap(), &key);
        assert_eq!(
            url.as_str(),
            "https://wechat.test/wxa/checksession?access_token=98_a%26b&openid=oAlice&signature=\
             7154f9f8b4b76b92f541cbf0e37d48840fa06e5e42da92a6f80168a1516a4735&sig_method=hmac_sha256"
        );
    }

    #[test]
    fn a_signature_that_does_not_fit_is_a_no_and_all_else_no_answer() {
        assert_eq!(read(200, br#"{"errcode":0,"errmsg":"ok"}"#), Ok(true));
        assert_eq!(read(200, br#"{"errcode":87009,"errmsg":"invalid signature"}"#), Ok(false));
        let refused = Error::TokenRefused(Refusal { errcode: 40001, rid: None });
        assert_eq!(read(200, br#"{"errcode":40001}"#), Err(refused));
        for odd in [&b""[..], b"[]", br#"{"errcode":87008}"#, br#"{"errcode":99999}"#] {
            assert!(matches!(read(200, odd), Err(Error::BrokenAnswer(_))), "{odd:?}");
        }
        assert!(read(500, b"{}").is_err());
    }
}
