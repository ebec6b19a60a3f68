//! Access tokens as WeChat gives them. Its `stable_token` gives one for as long as that has five minutes to live, then another
//! beside it. Its older `token` gives another each time, and leaves five minutes to the one before. The two know nothing of each
//! other.

use std::collections::HashMap;

use serde::Deserialize;

use crate::model::Timestamp;

/// How long a token lives, in seconds.
const LIFE: u64 = 7200;

/// So long before its end a token has a successor. Both are good then.
const OVERLAP: u64 = 300;

/// The body of the call; absent and empty are the same.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct TokenCall {
    pub(super) appid: String,
    pub(super) secret: String,
    pub(super) grant_type: String,
    pub(super) force_refresh: bool,
    /// Asked of the older call.
    #[serde(skip)]
    pub(super) plain: bool,
}

/// All tokens that were given.
#[derive(Default)]
pub(super) struct Tokens(HashMap<String, Token>);

struct Token {
    app: String,
    /// From the older call.
    plain: bool,
    /// In seconds since 1970.
    ends: u64,
    /// It was ended before its time.
    replaced: bool,
}

impl TokenCall {
    /// Reads the query string of the older call.
    pub(super) fn plain(query: &str) -> Self {
        let mut call = Self { plain: true, ..Self::default() };
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "appid" => call.appid = value.into_owned(),
                "secret" => call.secret = value.into_owned(),
                "grant_type" => call.grant_type = value.into_owned(),
                _ => {}
            }
        }
        call
    }

    pub(super) fn complete(&self) -> Result<(), i64> {
        let missing = [(&self.appid, 41002), (&self.secret, 41004)];
        if let Some((_, errcode)) = missing.iter().find(|(value, _)| value.is_empty()) {
            return Err(*errcode);
        }
        if self.grant_type == "client_credential" { Ok(()) } else { Err(40002) }
    }
}

impl Tokens {
    /// The app's token and how many seconds it has left. `fresh` becomes one where the app has none to give again.
    pub(super) fn give(&mut self, app: &str, now: Timestamp, force: bool, fresh: String) -> (String, u64) {
        let now = now.as_secs();
        if force {
            self.of(app, false).for_each(|token| token.replaced = true);
        }
        // What ended an hour ago is asked for by nobody but a test that waits for just that.
        self.0.retain(|_, token| token.ends + LIFE > now);
        let good = self.0.iter().find(|(_, token)| token.app == app && token.is_worth_giving(now));
        if let Some((text, token)) = good {
            return (text.clone(), token.ends - now);
        }
        self.0.insert(fresh.clone(), Token::fresh(app, false, now));
        (fresh, LIFE)
    }

    /// `fresh` as the app's token of the older call, and how many seconds it has. The one before has five minutes yet.
    pub(super) fn renew(&mut self, app: &str, now: Timestamp, fresh: String) -> (String, u64) {
        let now = now.as_secs();
        self.0.retain(|_, token| token.ends + LIFE > now);
        self.of(app, true).for_each(|token| token.ends = token.ends.min(now + OVERLAP));
        self.0.insert(fresh.clone(), Token::fresh(app, true, now));
        (fresh, LIFE)
    }

    /// Ends all tokens of the app, as somebody does who asks for one by force.
    pub(super) fn replace(&mut self, app: &str) {
        self.0.values_mut().filter(|token| token.app == app).for_each(|token| token.replaced = true);
    }

    fn of(&mut self, app: &str, plain: bool) -> impl Iterator<Item = &mut Token> {
        self.0.values_mut().filter(move |token| token.app == app && token.plain == plain)
    }

    /// Whose token it is, or the errcode that says why it is nobody's.
    pub(super) fn app_of(&self, text: &str, now: Timestamp) -> Result<&str, i64> {
        if text.is_empty() {
            return Err(41001);
        }
        match self.0.get(text) {
            Some(token) if token.replaced => Err(40001),
            Some(token) if token.ends <= now.as_secs() => Err(42001),
            Some(token) => Ok(&token.app),
            None => Err(40001),
        }
    }
}

impl Token {
    fn fresh(app: &str, plain: bool, now: u64) -> Self {
        Self { app: app.to_owned(), plain, ends: now + LIFE, replaced: false }
    }

    fn is_worth_giving(&self, now: u64) -> bool {
        !self.plain && !self.replaced && self.ends > now + OVERLAP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn the_same_token_is_given_until_it_has_five_minutes_left() {
        let mut tokens = Tokens::default();
        assert_eq!(tokens.give("wx1", at(0), false, "a".into()), ("a".into(), 7200));
        assert_eq!(tokens.give("wx1", at(6899), false, "b".into()), ("a".into(), 301));
        assert_eq!(tokens.give("wx2", at(6899), false, "c".into()), ("c".into(), 7200), "another app's");
        assert_eq!(tokens.give("wx1", at(6900), false, "d".into()), ("d".into(), 7200));
        assert_eq!((tokens.app_of("a", at(7199)), tokens.app_of("d", at(7199))), (Ok("wx1"), Ok("wx1")));
        assert_eq!((tokens.app_of("a", at(7200)), tokens.app_of("d", at(7200))), (Err(42001), Ok("wx1")));
    }

    #[test]
    fn who_forces_a_new_token_ends_the_one_before() {
        let mut tokens = Tokens::default();
        tokens.give("wx1", at(0), false, "a".into());
        assert_eq!(tokens.give("wx1", at(1), true, "b".into()), ("b".into(), 7200));
        assert_eq!((tokens.app_of("a", at(2)), tokens.app_of("b", at(2))), (Err(40001), Ok("wx1")));
        assert_eq!((tokens.app_of("", at(2)), tokens.app_of("x", at(2))), (Err(41001), Err(40001)));
    }

    #[test]
    fn the_older_call_leaves_five_minutes_to_the_token_before() {
        let mut tokens = Tokens::default();
        tokens.give("wx1", at(0), false, "stable".into());
        assert_eq!(tokens.renew("wx1", at(0), "a".into()), ("a".into(), 7200));
        tokens.renew("wx2", at(1), "other".into());
        assert_eq!(tokens.renew("wx1", at(1000), "b".into()), ("b".into(), 7200));
        assert_eq!((tokens.app_of("a", at(1299)), tokens.app_of("b", at(1299))), (Ok("wx1"), Ok("wx1")));
        assert_eq!((tokens.app_of("a", at(1300)), tokens.app_of("b", at(1300))), (Err(42001), Ok("wx1")));
        assert_eq!((tokens.app_of("stable", at(1300)), tokens.app_of("other", at(1300))), (Ok("wx1"), Ok("wx2")));
        tokens.give("wx1", at(1301), true, "forced".into());
        assert_eq!((tokens.app_of("stable", at(1302)), tokens.app_of("b", at(1302))), (Err(40001), Ok("wx1")));
    }
}
