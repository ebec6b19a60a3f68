//! Which user a request is about: named in its path, or in its body by AppID and openid, or there by a session token.

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{Internal, answer::Refusal, decrypt::MAX_BYTES, watched::About};
use crate::{
    model::{AppId, OpenId, SessionKey, UserKey},
    session::SessionToken,
    web::{RequestBody, json_body},
};

const EXPECTED: &str = "The body must be a JSON object with app and openid, or token.";
const OPENID: &str = "This can't be an openid.";
const ENCODED: &str =
    "The path has a % in it that is not followed by two hexadecimal digits, or bytes that are no UTF-8.";
const NAMED: &str = "Name the user either by app and openid or by token.";

/// A user, as a body names one.
#[derive(Deserialize)]
pub(super) struct Named {
    app: Option<String>,
    openid: Option<String>,
    token: Option<Zeroizing<String>>,
}

impl Named {
    /// Who that is. A token counts as used: the backend asks for the user who has just come with it.
    ///
    /// A body names a user for the sake of his key, and each use of that counts as a change of the profile does.
    pub(super) async fn user(&self, of: &Internal, about: &mut About<'_>) -> Result<UserKey, Refusal> {
        let user = match (&self.app, &self.openid, &self.token) {
            (Some(app), Some(openid), None) => known(of, app, openid)?,
            (None, None, Some(token)) => of_token(of, token, about).await?,
            _ => return Err(Refusal::BadInput(NAMED)),
        };
        about.user(&of.sessions, &user);
        of.limits.enter(&user).map_err(|limited| Refusal::Limited(limited.retry_after))?;
        Ok(user)
    }
}

/// The user that a body names, with nothing else in it, and the key that is known of that user.
pub(super) async fn with_key(
    of: &Internal,
    body: RequestBody,
    about: &mut About<'_>,
) -> Result<(UserKey, SessionKey), Refusal> {
    let body = json_body::read(body, MAX_BYTES).await?;
    let asked: Named = json_body::decode(&body).ok_or(Refusal::BadInput(EXPECTED))?;
    let user = asked.user(of, about).await?;
    let key = key_of(of, &user, about).await?.ok_or(Refusal::NoKey)?;
    Ok((user, key))
}

/// The key that is known of a user, if there is one.
pub(super) async fn key_of(
    of: &Internal,
    user: &UserKey,
    about: &mut About<'_>,
) -> Result<Option<SessionKey>, Refusal> {
    of.sessions.session_key(user).await.map_err(|error| about.blame(error))
}

/// The user that a path names. What is encoded in two ways, or in none, is not guessed at.
pub(super) fn of_path(of: &Internal, app: &str, openid: &str) -> Result<UserKey, Refusal> {
    known(of, &decoded(app)?, &decoded(openid)?)
}

async fn of_token(of: &Internal, token: &str, about: &mut About<'_>) -> Result<UserKey, Refusal> {
    let token = SessionToken::parse(token.as_bytes()).ok_or(Refusal::NoSession)?;
    let session = of.sessions.resolve(&token).await.map_err(|error| about.blame(error))?.ok_or(Refusal::NoSession)?;
    let user = session.identity().user.clone();
    // Its sessions outlive an app that is taken out of the configuration.
    if of.apps.contains(&user.app) { Ok(user) } else { Err(Refusal::UnknownApp) }
}

/// The app of this AppID.
pub(super) fn app(of: &Internal, app: &str) -> Result<AppId, Refusal> {
    AppId::parse(app).ok().filter(|app| of.apps.contains(app)).ok_or(Refusal::UnknownApp)
}

fn known(of: &Internal, app: &str, openid: &str) -> Result<UserKey, Refusal> {
    let app = self::app(of, app)?;
    let openid = OpenId::parse(openid).map_err(|_| Refusal::BadInput(OPENID))?;
    Ok(UserKey { app, openid })
}

fn decoded(piece: &str) -> Result<String, Refusal> {
    let is_encoded = |(at, _)| {
        let digits = piece.as_bytes().get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let decoded = percent_decode_str(piece).decode_utf8().map_err(|_| Refusal::BadInput(ENCODED))?;
    if piece.match_indices('%').all(is_encoded) { Ok(decoded.into_owned()) } else { Err(Refusal::BadInput(ENCODED)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_of_a_path_is_decoded_once_and_strictly() {
        for (piece, text) in [("oAlice", "oAlice"), ("o%2FA", "o/A"), ("%25%32%46", "%2F"), ("a+b", "a+b"), ("", "")] {
            assert_eq!(decoded(piece), Ok(text.to_owned()), "{piece}");
        }
        for piece in ["%", "a%", "a%4", "%zz", "%+1", "%ff", "a%2", "%%41"] {
            assert_eq!(decoded(piece), Err(Refusal::BadInput(ENCODED)), "{piece}");
        }
    }
}
