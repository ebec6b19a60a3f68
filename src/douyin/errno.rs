//! Douyin's numbers by name, each sorted by who has to act: the client, time, Douyin's risk control, or our operator.
//!
//! Those of the call itself:
//! <https://developer.open-douyin.com/docs/resource/zh-CN/mini-app/develop/server/log-in/code-2-session>; those of eight digits are
//! of the platform as a whole: <https://developer.open-douyin.com/docs/resource/zh-cn/dop/develop/openapi/status-code>.

use crate::platform::{Error, Flaw, Refusal};

/// The system failed; asking once more is allowed.
pub const SYSTEM_ERROR: i64 = -1;
/// Something that the call needs is missing.
pub const INCOMPLETE: i64 = 40014;
/// The AppID is wrong.
pub const APPID_INVALID: i64 = 40015;
/// The AppSecret is wrong.
pub const SECRET_INVALID: i64 = 40017;
/// The code is unknown, expired, spent or another app's; Douyin does not say which.
pub const CODE_INVALID: i64 = 40018;
/// The code for anonymous users is wrong.
pub const ANONYMOUS_CODE_INVALID: i64 = 40019;
/// The platform is busy.
pub const BUSY: i64 = 28_001_005;
/// A call within the platform failed.
pub const BUSY_WITHIN: i64 = 28_001_006;
/// A parameter is not what it should be.
pub const PARAMETER_INVALID: i64 = 28_001_007;
/// The app has no abilities at all.
pub const APP_UNAUTHORIZED: i64 = 28_001_014;
/// The app is banned or was taken down.
pub const APP_BANNED: i64 = 28_001_016;
/// The app does not have this ability.
pub const ABILITY_MISSING: i64 = 28_001_018;
/// The app had this ability, which is banned or was taken down.
pub const ABILITY_BANNED: i64 = 28_001_019;
/// The user may not use an app that is still on trial.
pub const USER_NOT_ON_TRIAL: i64 = 28_001_020;
/// The trial of the app is over.
pub const TRIAL_OVER: i64 = 28_001_021;
/// The user has closed the account.
pub const USER_GONE: i64 = 28_001_045;
/// The user is banned.
pub const USER_BANNED: i64 = 28_001_046;
/// The calls look risky: fewer of them.
pub const RISKY: i64 = 28_001_052;
/// The app's calls are used up.
pub const QUOTA: i64 = 28_003_017;
/// The calls are too many at once.
pub const TOO_MANY: i64 = 28_003_018;

/// What says that it is the AppSecret which is wrong.
pub(super) const WRONG_SECRET: &[i64] = &[SECRET_INVALID];

/// Which failure a number other than 0 is. Numbers of other calls count as unknown.
pub(super) fn sort(refusal: Refusal) -> Error {
    match refusal.errcode {
        // Of what the call brings only the code is another each time, and the set-up has numbers of its own. So a missing
        // or odd parameter is the client's.
        CODE_INVALID | ANONYMOUS_CODE_INVALID | INCOMPLETE | PARAMETER_INVALID => Error::CodeInvalid(refusal),
        USER_NOT_ON_TRIAL | USER_GONE | USER_BANNED => Error::UserBlocked(refusal),
        RISKY | TOO_MANY => Error::RateLimited(refusal),
        SYSTEM_ERROR | BUSY | BUSY_WITHIN => Error::Busy(refusal),
        number => match mend(number) {
            Some(mend) => Error::Misconfigured { refusal, mend },
            None => Error::BrokenAnswer(Flaw::UnknownErrcode(refusal)),
        },
    }
}

/// What the operator has to mend.
fn mend(number: i64) -> Option<&'static str> {
    Some(match number {
        APPID_INVALID => "check this app's `app_id` in [[apps]]: Douyin does not know it",
        SECRET_INVALID => "check this app's `secret` in [[apps]]: it is not this AppID's",
        APP_UNAUTHORIZED | ABILITY_MISSING | ABILITY_BANNED => {
            "check this app's `app_id` in [[apps]]: it may not log users in; see its abilities in Douyin's console"
        }
        APP_BANNED => "Douyin has banned the app or taken it down: see the notices in its console",
        TRIAL_OVER => "the trial of the app is over: see Douyin's console",
        QUOTA => "the app's quota of calls is used up: raise it in Douyin's console",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(number: i64) -> Error {
        sort(Refusal { errcode: number, rid: None })
    }

    #[test]
    fn every_number_of_the_table_has_its_class() {
        let refusal = |errcode| Refusal { errcode, rid: None };
        for number in [40018, 40019, 40014, 28_001_007] {
            assert_eq!(sorted(number), Error::CodeInvalid(refusal(number)));
        }
        for number in [28_001_020, 28_001_045, 28_001_046] {
            assert_eq!(sorted(number), Error::UserBlocked(refusal(number)));
        }
        for number in [28_001_052, 28_003_018] {
            assert_eq!(sorted(number), Error::RateLimited(refusal(number)));
        }
        for number in [-1, 28_001_005, 28_001_006] {
            assert_eq!(sorted(number), Error::Busy(refusal(number)));
        }
        for number in [40015, 40017, 28_001_014, 28_001_016, 28_001_018, 28_001_019, 28_001_021, 28_003_017] {
            let error = sorted(number);
            assert!(matches!(error, Error::Misconfigured { .. }), "{number}: {error:?}");
        }
        // WeChat's own, an access token's, and what nobody has heard of.
        for number in [40029, 40163, 28_001_003, 28_001_008, 1, i64::MIN, i64::MAX] {
            assert_eq!(sorted(number), Error::BrokenAnswer(Flaw::UnknownErrcode(refusal(number))));
        }
    }

    #[test]
    fn a_wrong_secret_says_which_key_to_mend() {
        assert_eq!(
            sorted(40017).to_string(),
            "the platform refuses our set-up (errcode 40017): check this app's `secret` in [[apps]]: it is not this AppID's"
        );
    }
}
