//! One try: a signed POST, and what its answer means.
//!
//! Only 2xx is a yes, and only 410 a no for good. Anything else, a 401 or a 404 too, is more likely a receiver that is being set up or
//! is broken, and it is better that it hears late than never. A redirect is not followed: it would hand personal data to
//! somebody whom nobody has configured.

use std::{fmt, time::Duration};

use reqwest::{Certificate, Client, header};
use url::Url;

use super::sign::Signer;
use crate::{config::sections, model::Timestamp, store::Notice};

/// The answer of who wants no more of it.
const GONE: u16 = 410;

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// `secret` is no key.
    #[error("webhook.secret can't be used")]
    Secret,
    /// `ca` has something in it that is no certificate.
    #[error("webhook.ca has a certificate that can't be used")]
    Ca(#[source] reqwest::Error),
    /// The library found no way to check certificates.
    #[error("the webhook's HTTPS client could not be set up (are the system's CA certificates installed?)")]
    Transport(#[source] reqwest::Error),
}

/// What came of a try.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It was taken.
    Delivered,
    /// The receiver wants no more of it.
    Gone,
    /// Neither; it is tried again.
    Failed {
        /// In words, without anything of what was sent.
        why: String,
        /// What `Retry-After` says.
        asked_to_wait: Option<Duration>,
    },
}

/// Sends to one receiver.
pub(super) struct Delivery {
    http: Client,
    url: Url,
    signer: Signer,
}

impl Delivery {
    pub(super) fn new(section: &sections::Webhook) -> Result<Self, SetupError> {
        let signer =
            Signer::new([&section.secret].into_iter().chain(&section.old_secrets)).ok_or(SetupError::Secret)?;
        let http = transport(section)?.build().map_err(|error| SetupError::Transport(error.without_url()))?;
        Ok(Self { http, url: section.url.clone(), signer })
    }

    pub(super) async fn send(&self, notice: &Notice, now: Timestamp) -> Outcome {
        let id = format!("msg_{:032x}", u128::from_be_bytes(notice.id));
        let seconds = now.as_millis() / 1000;
        let request = self.http.post(self.url.clone()).header(header::CONTENT_TYPE, "application/json");
        let request = request.header("webhook-signature", self.signer.sign(&id, seconds, &notice.bytes));
        let request = request.header("webhook-id", id).header("webhook-timestamp", seconds.to_string());
        match request.body(notice.bytes.clone()).send().await {
            Ok(answer) => judge(&answer),
            Err(error) => Outcome::Failed { why: in_words(&error).to_owned(), asked_to_wait: None },
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

fn transport(section: &sections::Webhook) -> Result<reqwest::ClientBuilder, SetupError> {
    let builder = Client::builder()
        .user_agent(concat!("wxgate/", env!("CARGO_PKG_VERSION")))
        // A proxy from the environment would see profiles.
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        // What is sent again, and when, is decided here.
        .retry(reqwest::retry::never())
        .http1_only()
        .timeout(section.timeout)
        .tls_backend_rustls();
    match &section.ca {
        Some(pem) => {
            let certificates = Certificate::from_pem_bundle(pem.as_bytes()).map_err(SetupError::Ca)?;
            Ok(builder.tls_certs_only(certificates))
        }
        // In the clear it shall start on machines that have no CA certificates.
        None if section.url.scheme() == "http" => Ok(builder.tls_certs_only([])),
        None => Ok(builder),
    }
}

fn judge(answer: &reqwest::Response) -> Outcome {
    let status = answer.status();
    if status.is_success() {
        return Outcome::Delivered;
    }
    if status.as_u16() == GONE {
        return Outcome::Gone;
    }
    let wait = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Outcome::Failed { why: format!("status {}", status.as_u16()), asked_to_wait: wait.map(Duration::from_secs) }
}

/// The error itself has the URL in it, and ends here.
fn in_words(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the connection broke"
    }
}
