//! Where one app's calls go, and who it is there.

use url::Url;

use crate::{
    config::sections::App,
    model::{AppId, AppSecret},
};

/// Where one app's calls go.
pub(super) struct Endpoint {
    base: Url,
    pub(super) app: AppId,
    pub(super) secret: AppSecret,
}

impl Endpoint {
    /// The app's `api_base`, which may have a path of its own. `None` when no path can be appended to it (`data:…`).
    pub(super) fn of(app: &App) -> Option<Self> {
        let mut base = app.api_base.clone();
        base.set_query(None);
        base.set_fragment(None);
        base.path_segments_mut().ok()?.pop_if_empty();
        Some(Self { base, app: app.app_id.clone(), secret: app.secret.clone() })
    }

    /// The URL of the call at this path, without a query.
    pub(super) fn at(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend(path.split('/'));
        }
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_base_keeps_its_path_and_nothing_behind_it() {
        for (base, path) in [
            ("https://host", "/cgi-bin/stable_token"),
            ("https://host/", "/cgi-bin/stable_token"),
            ("https://host/openserver", "/openserver/cgi-bin/stable_token"),
            ("https://host/openserver/", "/openserver/cgi-bin/stable_token"),
            ("https://host/openserver?x=1#y", "/openserver/cgi-bin/stable_token"),
        ] {
            let endpoint = Endpoint::of(&App {
                app_id: AppId::parse("wx1").unwrap(),
                secret: AppSecret::new("s"),
                api_base: Url::parse(base).unwrap(),
            });
            assert_eq!(endpoint.unwrap().at("cgi-bin/stable_token").as_str(), format!("https://host{path}"), "{base}");
        }
    }
}
