//! Why an endpoint of ours can't give what was asked for.

use std::time::Duration;

use crate::{avatar, login, model::AppId, phone, platform, profile, session, web::BodyError};

/// Why an endpoint of ours can't give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The body is not what the endpoint takes; the text says what it should be.
    #[error("{0}")]
    BadInput(&'static str),
    /// The body broke off, came too late or was too large.
    #[error("the request body could not be read")]
    Body(#[source] BodyError),
    /// The AppID is not in the configuration, or was left out where there are several.
    #[error("the app is not configured")]
    UnknownApp,
    /// Too many logins from this address, or at once.
    #[error("a login limit of ours was reached")]
    Limited {
        /// When another try makes sense.
        retry_after: Duration,
    },
    /// The user's profile was changed too often.
    #[error("the limit on changes of a profile was reached")]
    ProfileLimited {
        /// When another change makes sense.
        retry_after: Duration,
    },
    /// The user has as many pictures under way as one may have.
    #[error("the limit on uploads of a user at once was reached")]
    UploadLimited {
        /// When another try makes sense.
        retry_after: Duration,
    },
    /// Too many codes wait for WeChat.
    #[error("a limit of ours on phone codes was reached")]
    PhoneLimited {
        /// When another try makes sense.
        retry_after: Duration,
    },
    /// A phone code gave no number, or the number could not be kept or removed.
    #[error("there is no phone number")]
    Phone {
        /// What the answer depends on.
        why: PhoneFailure,
        /// Of which app the user is.
        app: AppId,
        /// The whole story.
        #[source]
        source: phone::Error,
    },
    /// The profile could not be told or changed.
    #[error("the profile could not be told or changed")]
    Profile(#[source] profile::Error),
    /// The picture could not be taken or told.
    #[error("the picture could not be taken or told")]
    Avatar(#[source] avatar::Error),
    /// There is no picture of this name, or there are no pictures here at all.
    #[error("there is no such picture")]
    NothingHere,
    /// WeChat said no, or could not be asked.
    #[error("the login failed")]
    Login {
        /// What the answer depends on.
        why: LoginFailure,
        /// Where to.
        app: AppId,
        /// The whole story.
        #[source]
        source: login::Error,
    },
    /// The session store could not be asked.
    #[error("the session could not be changed")]
    Session(#[source] session::Error),
    /// An endpoint that needs a session was called without one; a fault of ours.
    #[error("no session where one was promised")]
    NoSession,
    /// An answer could not be written as JSON; a fault of ours.
    #[error("the answer could not be encoded")]
    Encode(#[source] serde_json::Error),
}

/// Why a login failed, as far as the answer depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginFailure {
    /// The code is wrong, expired or another app's.
    CodeInvalid,
    /// The code was spent before.
    CodeUsed,
    /// WeChat blocks the user.
    UserBlocked,
    /// WeChat wants fewer logins of this user.
    RateLimited,
    /// WeChat is too busy.
    Busy,
    /// WeChat was not reached, or its answer can't be used.
    Unreachable,
    /// WeChat took too long.
    Timeout,
    /// WeChat refuses our set-up. The text says what to mend.
    Misconfigured(&'static str),
    /// The session could not be kept.
    Store,
    /// A fault of ours.
    Internal,
}

/// Why a phone code gave no number, as far as the answer depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhoneFailure {
    /// The code is wrong, expired, spent or another app's.
    CodeInvalid,
    /// It is a login's.
    WrongKind,
    /// The app's platform has no such codes.
    NotOffered,
    /// WeChat has told the number, but it could not be kept; or it could not be removed.
    Store,
    /// What else can go wrong between WeChat and us, as with a login.
    WeChat(LoginFailure),
}

impl Error {
    /// A phone code of a user of `app` that gave no number.
    pub(super) fn phone(app: &AppId, source: phone::Error) -> Self {
        Error::Phone { why: PhoneFailure::of(&source), app: app.clone(), source }
    }

    /// A login to `app` that failed.
    pub(super) fn login(app: &AppId, source: login::Error) -> Self {
        Error::Login { why: LoginFailure::of(&source), app: app.clone(), source }
    }

    /// A change of a profile that failed. That a value is none of its field's is told in the field's own words.
    pub(super) fn profile(error: profile::Error) -> Self {
        match error {
            profile::Error::Invalid(expected) => Error::BadInput(expected),
            error => Error::Profile(error),
        }
    }
}

impl PhoneFailure {
    fn of(error: &phone::Error) -> Self {
        match error {
            phone::Error::WeChat(platform::Error::UnknownApp) => PhoneFailure::NotOffered,
            phone::Error::WeChat(error) => match LoginFailure::of_platform(error) {
                LoginFailure::CodeInvalid | LoginFailure::CodeUsed => PhoneFailure::CodeInvalid,
                why => PhoneFailure::WeChat(why),
            },
            phone::Error::WrongKind(_) => PhoneFailure::WrongKind,
            phone::Error::Old => PhoneFailure::CodeInvalid,
            phone::Error::Keep(_) => PhoneFailure::Store,
            phone::Error::Interrupted => PhoneFailure::WeChat(LoginFailure::Internal),
        }
    }
}

impl LoginFailure {
    fn of(error: &login::Error) -> Self {
        match error {
            login::Error::Platform(error) => Self::of_platform(error),
            login::Error::Session(_) => LoginFailure::Store,
            login::Error::Interrupted => LoginFailure::Internal,
        }
    }

    fn of_platform(error: &platform::Error) -> Self {
        match error {
            platform::Error::CodeInvalid(_) => LoginFailure::CodeInvalid,
            platform::Error::CodeUsed(_) => LoginFailure::CodeUsed,
            platform::Error::UserBlocked(_) => LoginFailure::UserBlocked,
            platform::Error::RateLimited(_) => LoginFailure::RateLimited,
            platform::Error::Busy(_) => LoginFailure::Busy,
            platform::Error::BrokenAnswer(_) | platform::Error::Unreachable(_) | platform::Error::TokenRefused(_) => {
                LoginFailure::Unreachable
            }
            platform::Error::Timeout => LoginFailure::Timeout,
            platform::Error::Misconfigured { mend, .. } => LoginFailure::Misconfigured(mend),
            platform::Error::UnknownApp | platform::Error::Interrupted => LoginFailure::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::platform::{Flaw, Refusal, Stage, Trouble};
    use crate::store;

    #[test]
    fn every_way_a_login_fails_has_its_answer() {
        let no = || Refusal { errcode: 1, rid: None };
        let trouble = Trouble { stage: Stage::Connect, kind: None };
        for (error, why) in [
            (platform::Error::CodeInvalid(no()), LoginFailure::CodeInvalid),
            (platform::Error::CodeUsed(no()), LoginFailure::CodeUsed),
            (platform::Error::UserBlocked(no()), LoginFailure::UserBlocked),
            (platform::Error::RateLimited(no()), LoginFailure::RateLimited),
            (platform::Error::Busy(no()), LoginFailure::Busy),
            (platform::Error::BrokenAnswer(Flaw::NotJson), LoginFailure::Unreachable),
            (platform::Error::Unreachable(trouble), LoginFailure::Unreachable),
            (platform::Error::Timeout, LoginFailure::Timeout),
            (platform::Error::Misconfigured { refusal: no(), mend: "it" }, LoginFailure::Misconfigured("it")),
            (platform::Error::TokenRefused(no()), LoginFailure::Unreachable),
            (platform::Error::UnknownApp, LoginFailure::Internal),
            (platform::Error::Interrupted, LoginFailure::Internal),
        ] {
            assert_eq!(LoginFailure::of(&login::Error::Platform(error.clone())), why, "{error:?}");
        }
        let away = session::Error::StoreUnavailable(store::Error::Unreadable("on trial"));
        let store = login::Error::Session(Arc::new(away));
        assert_eq!(LoginFailure::of(&store), LoginFailure::Store);
        assert_eq!(LoginFailure::of(&login::Error::Interrupted), LoginFailure::Internal);
    }

    #[test]
    fn every_way_a_phone_code_fails_has_its_answer() {
        let no = || Refusal { errcode: 1, rid: None };
        let kept = Arc::new(profile::Error::Crowded);
        let wechat = |error| phone::Error::WeChat(error);
        for (error, why) in [
            (wechat(platform::Error::CodeInvalid(no())), PhoneFailure::CodeInvalid),
            (wechat(platform::Error::CodeUsed(no())), PhoneFailure::CodeInvalid),
            (wechat(platform::Error::Busy(no())), PhoneFailure::WeChat(LoginFailure::Busy)),
            (wechat(platform::Error::UnknownApp), PhoneFailure::NotOffered),
            (wechat(platform::Error::TokenRefused(no())), PhoneFailure::WeChat(LoginFailure::Unreachable)),
            (phone::Error::WrongKind(platform::Error::CodeInvalid(no())), PhoneFailure::WrongKind),
            (phone::Error::Old, PhoneFailure::CodeInvalid),
            (phone::Error::Keep(kept), PhoneFailure::Store),
            (phone::Error::Interrupted, PhoneFailure::WeChat(LoginFailure::Internal)),
        ] {
            assert_eq!(PhoneFailure::of(&error), why, "{error:?}");
        }
    }

    #[test]
    fn a_failed_login_tells_the_app_and_the_whole_story() {
        let app = AppId::parse("wx1").unwrap();
        let error = Error::login(&app, login::Error::Platform(platform::Error::Timeout));
        assert!(matches!(&error, Error::Login { why: LoginFailure::Timeout, app: told, .. } if *told == app));
        let source = std::error::Error::source(&error).map(ToString::to_string);
        assert_eq!(
            (error.to_string(), source.as_deref()),
            ("the login failed".to_owned(), Some("the code could not be exchanged"))
        );
    }
}
