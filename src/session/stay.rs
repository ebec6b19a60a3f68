//! How long the sessions of an app stay. It is settled at the login and kept with the session: whoever changes it changes
//! it for the logins that follow.

use crate::{config::sections, model::Terms};

/// How long a session stays, and how many of them a user has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stay {
    /// When it ends.
    pub terms: Terms,
    /// The newest so many sessions of a user in an app stay; 0 is no limit.
    pub per_user: usize,
}

impl Stay {
    /// As `[sessions]` has it.
    pub fn usual(section: &sections::Sessions) -> Self {
        let terms = Terms { idle: section.idle, lifetime: section.lifetime };
        Self { terms, per_user: section.per_user }
    }

    /// In this app, which may have something of its own to say.
    pub fn in_app(app: &sections::App, section: &sections::Sessions) -> Self {
        let usual = Self::usual(section);
        let terms = Terms {
            idle: app.idle.unwrap_or(usual.terms.idle),
            lifetime: app.lifetime.unwrap_or(usual.terms.lifetime),
        };
        Self { terms, per_user: app.per_user.unwrap_or(usual.per_user) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{AppId, AppSecret};

    #[test]
    fn what_an_app_leaves_out_is_as_for_all() {
        let hours = Duration::from_hours;
        let section =
            sections::Sessions { idle: hours(5), lifetime: hours(50), per_user: 7, ..sections::Sessions::default() };
        let api_base = "https://wechat.test".parse().unwrap();
        let mut app = sections::App::new(AppId::parse("wx1").unwrap(), AppSecret::new("s"), api_base);
        assert_eq!(Stay::in_app(&app, &section), Stay::usual(&section));
        app.idle = Some(hours(1));
        let stay = |idle, lifetime, per_user| Stay { terms: Terms { idle, lifetime }, per_user };
        assert_eq!(Stay::in_app(&app, &section), stay(hours(1), hours(50), 7));
        (app.lifetime, app.per_user) = (Some(hours(2)), Some(0));
        assert_eq!(Stay::in_app(&app, &section), stay(hours(1), hours(2), 0));
    }
}
