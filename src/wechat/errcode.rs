//! WeChat's errcodes by name, each sorted by who has to act: the client, time, WeChat's risk control, or our operator.
//!
//! The list of the call itself:
//! <https://developers.weixin.qq.com/miniprogram/dev/server/API/user-login/api_code2session>. Several codes that do
//! occur are not in it.

use crate::platform::{Error, Flaw, Refusal};

/// The system is busy; asking once more is allowed.
pub const BUSY: i64 = -1;
/// The code is unknown or expired, or it belongs to another app than the one that asks.
pub const CODE_INVALID: i64 = 40029;
/// The code was spent before.
pub const CODE_USED: i64 = 40163;
/// The call had no code.
pub const CODE_MISSING: i64 = 41008;
/// The user is a high risk and the login was stopped.
pub const USER_BLOCKED: i64 = 40226;
/// The user's hundred calls of this minute are used up.
pub const MINUTE_QUOTA: i64 = 45011;
/// The credential, here the AppSecret, is wrong.
pub const CREDENTIAL_INVALID: i64 = 40001;
/// The grant_type is wrong.
pub const GRANT_TYPE_INVALID: i64 = 40002;
/// The AppID is wrong.
pub const APPID_INVALID: i64 = 40013;
/// The AppSecret is wrong.
pub const SECRET_INVALID: i64 = 40125;
/// The address that asks is not on the app's list of allowed addresses.
pub const ADDRESS_NOT_ALLOWED: i64 = 40164;
/// The address that asks waits for the app's administrator to agree.
pub const ADDRESS_AWAITS_CONSENT: i64 = 89501;
/// The app's administrator has to agree to this call first.
pub const CALL_AWAITS_CONSENT: i64 = 89503;
/// The app's administrator has refused the address twice, and it has to wait for a day.
pub const ADDRESS_REFUSED_TWICE: i64 = 89506;
/// The app's administrator has refused the address, and it has to wait for an hour.
pub const ADDRESS_REFUSED: i64 = 89507;
/// The AppSecret was frozen by the app's owner.
pub const SECRET_FROZEN: i64 = 40243;
/// The call had no AppID.
pub const APPID_MISSING: i64 = 41002;
/// The call had no AppSecret.
pub const SECRET_MISSING: i64 = 41004;
/// The signature, and so the session_key that made it, is not the user's, or not any more.
pub const SIGNATURE_INVALID: i64 = 87009;
/// The app's calls of this day are used up.
pub const DAY_QUOTA: i64 = 45009;
/// The app is not allowed to make this call.
pub const API_UNAUTHORIZED: i64 = 48001;
/// The call's use is not authorised.
pub const USE_UNAUTHORIZED: i64 = 50001;
/// The account is restricted.
pub const ACCOUNT_RESTRICTED: i64 = 50002;
/// The app has not authorised the third-party platform that asks.
pub const COMPONENT_UNAUTHORIZED: i64 = 61003;

/// What says that it is the AppSecret which is not taken. A frozen one may be the very one that another was made to replace.
pub(super) const WRONG_SECRET: &[i64] = &[SECRET_INVALID, CREDENTIAL_INVALID, SECRET_FROZEN];

/// The access token is malformed, or another app's.
pub const TOKEN_INVALID: i64 = 40014;
/// The access token has expired.
pub const TOKEN_EXPIRED: i64 = 42001;

/// Which failure a non-zero errcode of a login is. Codes of other calls, such as 42001 for an expired access token, have
/// no business here and count as unknown.
pub(super) fn sort(refusal: Refusal) -> Error {
    match refusal.errcode {
        // A missing code is the client's fault too: whatever it sent, WeChat did not see a code in it.
        CODE_INVALID | CODE_MISSING => Error::CodeInvalid(refusal),
        CODE_USED => Error::CodeUsed(refusal),
        USER_BLOCKED => Error::UserBlocked(refusal),
        MINUTE_QUOTA => Error::RateLimited(refusal),
        BUSY => Error::Busy(refusal),
        code => match mend(code) {
            Some(mend) => Error::Misconfigured { refusal, mend },
            None => Error::BrokenAnswer(Flaw::UnknownErrcode(refusal)),
        },
    }
}

/// The same where an access token is asked for. It is not one user who asks here, so the app's daily quota comes back by
/// itself before anybody could raise it, and until then it is a limit like the other.
pub(super) fn sort_grant(refusal: Refusal) -> Error {
    match refusal.errcode {
        DAY_QUOTA => Error::RateLimited(refusal),
        _ => sort(refusal),
    }
}

/// The same for calls that an access token is sent with. What a secret is to a login, the token is to them.
pub(super) fn sort_call(refusal: Refusal) -> Error {
    match refusal.errcode {
        CREDENTIAL_INVALID | TOKEN_INVALID | TOKEN_EXPIRED => Error::TokenRefused(refusal),
        _ => sort_grant(refusal),
    }
}

/// The same for the call that spends phone codes. The AppID stands in no parameter there: what is wrong with it is that the
/// code was given to another app.
pub(super) fn sort_phone(refusal: Refusal) -> Error {
    match refusal.errcode {
        APPID_INVALID => Error::CodeInvalid(refusal),
        _ => sort_call(refusal),
    }
}

/// What the operator has to mend.
fn mend(code: i64) -> Option<&'static str> {
    Some(match code {
        APPID_INVALID => "check this app's `app_id` in [[apps]], case matters",
        APPID_MISSING => "check this app's `app_id` and `api_base` in [[apps]]: no AppID arrived",
        CREDENTIAL_INVALID | SECRET_INVALID => "check this app's `secret` in [[apps]]: it is not this AppID's",
        SECRET_MISSING => "check this app's `secret` and `api_base` in [[apps]]: no AppSecret arrived",
        SECRET_FROZEN => {
            "the AppSecret is frozen: thaw it in the app's console, or put a new one into `secret` in [[apps]]"
        }
        ADDRESS_NOT_ALLOWED => "add this machine's outgoing address to the address list in the app's console",
        ADDRESS_AWAITS_CONSENT | CALL_AWAITS_CONSENT => {
            "the app's administrator has to agree to this machine's outgoing address: WeChat has asked, and the app's console shows it"
        }
        ADDRESS_REFUSED | ADDRESS_REFUSED_TWICE => {
            "the app's administrator has refused this machine's outgoing address: have it allowed in the app's console"
        }
        GRANT_TYPE_INVALID => "check this app's `api_base` in [[apps]]: it does not know the login call",
        DAY_QUOTA => "the app's daily quota of calls is used up: raise or reset it in the app's console",
        API_UNAUTHORIZED | USE_UNAUTHORIZED => {
            "check this app's `app_id` in [[apps]]: this kind of account can't do what was asked for"
        }
        ACCOUNT_RESTRICTED => "WeChat has restricted the app: see the notices in its console",
        COMPONENT_UNAUTHORIZED => "check this app's `api_base` in [[apps]]: the app has not authorised that platform",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(errcode: i64) -> Error {
        sort(Refusal { errcode, rid: None })
    }

    #[test]
    fn every_code_of_the_table_has_its_class() {
        let refusal = |errcode| Refusal { errcode, rid: None };
        assert_eq!(sorted(40029), Error::CodeInvalid(refusal(40029)));
        assert_eq!(sorted(41008), Error::CodeInvalid(refusal(41008)));
        assert_eq!(sorted(40163), Error::CodeUsed(refusal(40163)));
        assert_eq!(sorted(40226), Error::UserBlocked(refusal(40226)));
        assert_eq!(sorted(45011), Error::RateLimited(refusal(45011)));
        assert_eq!(sorted(-1), Error::Busy(refusal(-1)));
        let of_the_set_up = [
            40013, 40125, 40164, 40243, 41002, 41004, 40001, 40002, 45009, 48001, 50001, 50002, 61003, 89501, 89503,
            89506, 89507,
        ];
        for code in of_the_set_up {
            let error = sorted(code);
            assert!(matches!(error, Error::Misconfigured { .. }), "{code}: {error:?}");
        }
        for code in [40014, 42001, 87008, 87009, 61010, 1, i64::MIN, i64::MAX] {
            assert_eq!(sorted(code), Error::BrokenAnswer(Flaw::UnknownErrcode(refusal(code))));
        }
    }

    #[test]
    fn the_codes_of_a_refused_token_are_these_three() {
        for errcode in [40001, 40014, 42001] {
            let refusal = Refusal { errcode, rid: None };
            assert_eq!(sort_call(refusal.clone()), Error::TokenRefused(refusal));
        }
        assert!(matches!(sort_grant(Refusal { errcode: 40001, rid: None }), Error::Misconfigured { .. }));
    }

    #[test]
    fn where_no_login_is_asked_for_a_days_quota_is_a_limit_and_all_else_the_same() {
        let quota = Refusal { errcode: 45009, rid: None };
        for sort_other in [sort_grant, sort_call] {
            assert_eq!(sort_other(quota.clone()), Error::RateLimited(quota.clone()));
            for errcode in [-1, 40013, 40029, 40125, 40163, 40164, 40243, 41002, 41004, 45011, 48001, 99999] {
                let refusal = Refusal { errcode, rid: None };
                assert_eq!(sort_other(refusal.clone()), sort(refusal));
            }
        }
    }

    #[test]
    fn a_wrong_secret_says_which_key_to_mend() {
        assert_eq!(
            sorted(40125).to_string(),
            "the platform refuses our set-up (errcode 40125): check this app's `secret` in [[apps]]: it is not this AppID's"
        );
    }

    #[test]
    fn an_unknown_code_is_named() {
        assert_eq!(sorted(99999).to_string(), "the platform's answer can't be used: it has an unknown errcode 99999");
    }
}
