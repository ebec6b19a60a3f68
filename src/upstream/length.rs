//! How long an answer says that its body is.

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::Fault;

/// The one length that an answer's lines agree on (RFC 9112, 6.3), none where they say nothing. What is said several times is said
/// once from here on, and what can't be read, by an answer that never has a body, no more: passed on as they
/// are, they would be read in two ways.
pub(super) fn settle(headers: &mut HeaderMap, status: StatusCode) -> Result<Option<u64>, Fault> {
    let mut lines = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lines.next() else { return Ok(None) };
    if lines.next().is_none()
        && let Some(length) = number(first.as_bytes())
    {
        return Ok(Some(length));
    }
    let agreed = agreed(headers);
    if let Some(length) = agreed {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    } else if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        headers.remove(header::CONTENT_LENGTH);
    } else {
        return Err(Fault::Lengths);
    }
    Ok(agreed)
}

fn agreed(headers: &HeaderMap) -> Option<u64> {
    let lines = headers.get_all(header::CONTENT_LENGTH).iter();
    let mut said = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let first = said.next()?;
    let length = number(first)?;
    said.all(|other| other == first).then_some(length)
}

/// The number that a line says.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let value = char::from(*digit).to_digit(10)?;
        number.checked_mul(10)?.checked_add(value.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_in_one_way_is_said_once_and_anything_else_is_no_length() {
        for (lines, status, is, left) in [
            (&[][..], 200, Some(None), None),
            (&["5"], 200, Some(Some(5)), Some("5")),
            (&["5", "5"], 200, Some(Some(5)), Some("5")),
            (&["5, 5"], 200, Some(Some(5)), Some("5")),
            (&["5 ,5", "5"], 304, Some(Some(5)), Some("5")),
            (&["5", "6"], 304, Some(None), None),
            (&["a"], 204, Some(None), None),
            (&["5", "6"], 200, None, Some("5")),
            (&["5, 05"], 200, None, Some("5, 05")),
            (&[""], 200, None, Some("")),
            (&["+5"], 200, None, Some("+5")),
            (&["-5"], 200, None, Some("-5")),
            (&["18446744073709551616"], 200, None, Some("18446744073709551616")),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::CONTENT_LENGTH, HeaderValue::from_static(line));
            }
            let settled = settle(&mut headers, StatusCode::from_u16(status).unwrap());
            assert_eq!(settled.ok(), is, "{lines:?}");
            let said = headers.get(header::CONTENT_LENGTH).map(|line| line.to_str().unwrap());
            assert_eq!(said, left, "{lines:?}");
        }
    }
}
