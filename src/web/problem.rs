//! The body of every answer that says no.

use bytes::Bytes;
use serde::Serialize;

/// What went wrong, as the client is told: a word for programs and a sentence for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Stable; part of the API.
    pub code: &'static str,
    /// Not stable, and never somebody else's text.
    pub message: &'static str,
}

impl Problem {
    /// `{"error":…,"code":…,"requestId":…}`, in this order, UTF-8.
    pub fn to_json(self, request_id: &str) -> Bytes {
        let body = Body { error: self.message, code: self.code, request_id };
        // Three strings always serialise.
        serde_json::to_vec(&body).unwrap_or_default().into()
    }
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    code: &'a str,
    #[serde(rename = "requestId")]
    request_id: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_what_the_contract_says() {
        let problem = Problem { code: "code_used", message: "Validation failed" };
        assert_eq!(problem.to_json("01HZX"), r#"{"error":"Validation failed","code":"code_used","requestId":"01HZX"}"#);
    }

    #[test]
    fn nothing_in_it_can_break_out() {
        let problem = Problem { code: "bad_request", message: "says \"no\"\nand 不" };
        assert_eq!(
            problem.to_json("\"},{\""),
            r#"{"error":"says \"no\"\nand 不","code":"bad_request","requestId":"\"},{\""}"#
        );
    }
}
