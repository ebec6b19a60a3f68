//! Where one app's calls go, and who it is there.

use url::Url;

use super::errcode;
use crate::{
    config::sections::App,
    model::AppId,
    platform::{BuildError, secrets::Secrets, transport::url_of},
};

/// Where one app's calls go.
pub(super) struct Endpoint {
    base: Url,
    pub(super) app: AppId,
    pub(super) secrets: Secrets,
}

impl Endpoint {
    /// The app's `api_base`, which may have a path of its own.
    pub(super) fn of(app: &App) -> Result<Self, BuildError> {
        let base = url_of(app, [])?;
        Ok(Self { base, app: app.app_id.clone(), secrets: Secrets::of(app, errcode::WRONG_SECRET) })
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
    use crate::model::AppSecret;

    #[test]
    fn an_api_base_keeps_its_path_and_nothing_behind_it() {
        for (base, path) in [
            ("https://host", "/cgi-bin/stable_token"),
            ("https://host/", "/cgi-bin/stable_token"),
            ("https://host/openserver", "/openserver/cgi-bin/stable_token"),
            ("https://host/openserver/", "/openserver/cgi-bin/stable_token"),
            ("https://host/openserver?x=1#y", "/openserver/cgi-bin/stable_token"),
        ] {
            let app = App::new(AppId::parse("wx1").unwrap(), AppSecret::new("s"), Url::parse(base).unwrap());
            let endpoint = Endpoint::of(&app);
            assert_eq!(endpoint.unwrap().at("cgi-bin/stable_token").as_str(), format!("https://host{path}"), "{base}");
        }
    }
}
