//! What a request head must be before it is parsed.
//!
//! Parsers repair or hide several things on which two of them could disagree: they cut a `#fragment` off the target,
//! drop `Content-Length` beside `Transfer-Encoding`, take a bare line feed for a line end. An origin behind us may
//! read the same bytes otherwise, and then it and we answer for different requests (RFC 9112, 11.2). So these heads
//! are refused here, on the raw bytes, and the limits of size and count are kept here too, before anything is taken apart.
//! This file decides nothing about what a request means.

use memchr::memchr;

use crate::web::Refusal;

/// Blank lines a client may send before a request line (RFC 9112, 2.2 asks for at least one).
const LEADING_BLANK_LINES: usize = 2;

/// The bounds of a request head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Request line, header lines and their line ends together.
    pub bytes: usize,
    /// Header lines.
    pub lines: usize,
    /// The request target.
    pub target: usize,
}

/// What is known of a head after some of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More must come.
    Partial,
    /// The head is the first so many bytes.
    Complete(usize),
    /// This is no head we pass on.
    Refused(Refusal),
}

/// Looks at one head, as more and more of it comes.
#[derive(Debug)]
pub struct HeadScreen {
    limits: HeadLimits,
    facts: Facts,
}

/// What the lines read so far have shown.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    /// Where the first unread line begins.
    line_start: usize,
    blank_lines: usize,
    request_line: bool,
    header_lines: usize,
    length: bool,
    encoding: bool,
}

impl HeadScreen {
    /// A screen for the next head.
    pub fn new(limits: HeadLimits) -> Self {
        Self { limits, facts: Facts::default() }
    }

    /// Looks at all that has come so far, of which it has not seen the end. After [`Progress::Complete`] it is ready for another
    /// head; after a refusal it is done.
    pub fn look(&mut self, head: &[u8]) -> Progress {
        match self.facts.read(&self.limits, head) {
            Ok(Some(end)) => {
                self.facts = Facts::default();
                Progress::Complete(end)
            }
            Ok(None) => Progress::Partial,
            Err(why) => Progress::Refused(why),
        }
    }

    /// Whether nothing but blank lines has come so far.
    pub fn is_blank(&self, head: &[u8]) -> bool {
        let begun = head.get(self.facts.line_start..).is_some_and(|line| !matches!(line, b"" | b"\r"));
        !self.facts.request_line && !begun
    }
}

impl Facts {
    /// Reads the whole lines of `head` that were not read yet. `Some` is where the head ends.
    fn read(&mut self, limits: &HeadLimits, head: &[u8]) -> Result<Option<usize>, Refusal> {
        while let Some(at) = memchr(b'\n', &head[self.line_start..]) {
            let line = &head[self.line_start..self.line_start + at];
            let end = self.line_start + at + 1;
            let Some(line) = line.strip_suffix(b"\r") else {
                return Err(Refusal::BareLineFeed);
            };
            if end > limits.bytes {
                return Err(Refusal::HeadTooLarge);
            }
            self.line_start = end;
            if !line.is_empty() {
                self.line(limits, line)?;
            } else if self.request_line {
                return Ok(Some(end));
            } else {
                self.blank_line()?;
            }
        }
        self.unfinished_line(limits, &head[self.line_start..], head.len())?;
        Ok(None)
    }

    fn blank_line(&mut self) -> Result<(), Refusal> {
        self.blank_lines += 1;
        if self.blank_lines > LEADING_BLANK_LINES { Err(Refusal::Malformed) } else { Ok(()) }
    }

    /// A line that never ends must not be waited for longer than a line may be.
    fn unfinished_line(&self, limits: &HeadLimits, rest: &[u8], total: usize) -> Result<(), Refusal> {
        // The end of the line may have come by half.
        let line = rest.strip_suffix(b"\r").unwrap_or(rest);
        if !self.request_line && target_len(line) > limits.target {
            return Err(Refusal::TargetTooLong);
        }
        if total >= limits.bytes { Err(Refusal::HeadTooLarge) } else { Ok(()) }
    }

    fn line(&mut self, limits: &HeadLimits, line: &[u8]) -> Result<(), Refusal> {
        if self.request_line {
            return self.header_line(limits, line);
        }
        self.request_line = true;
        // The target of a line that is no longer than a target may be is not too long either.
        if line.len() > limits.target && target_len(line) > limits.target {
            return Err(Refusal::TargetTooLong);
        }
        if memchr(b'#', line).is_some() { Err(Refusal::Fragment) } else { Ok(()) }
    }

    fn header_line(&mut self, limits: &HeadLimits, line: &[u8]) -> Result<(), Refusal> {
        self.header_lines += 1;
        if self.header_lines > limits.lines {
            return Err(Refusal::TooManyHeaders);
        }
        match line[0] {
            // A folded line: obsolete since RFC 7230, and read as a line of its own by some.
            b' ' | b'\t' => Err(Refusal::Malformed),
            b'c' | b'C' if is_named(line, b"content-length") => {
                // Twice, even with equal values, is a list that some refuse, some join and some cut.
                let again = std::mem::replace(&mut self.length, true);
                if again || self.encoding { Err(Refusal::Framing) } else { Ok(()) }
            }
            b't' | b'T' if is_named(line, b"transfer-encoding") => {
                let again = std::mem::replace(&mut self.encoding, true);
                let value = line.splitn(2, |b| *b == b':').nth(1).unwrap_or_default();
                let chunked = value.trim_ascii().eq_ignore_ascii_case(b"chunked");
                if again || self.length || !chunked { Err(Refusal::Framing) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }
}

/// The length of the second word of a request line; of what is there of it when the line is unfinished.
fn target_len(line: &[u8]) -> usize {
    let Some(method) = memchr(b' ', line) else { return 0 };
    let target = &line[method + 1..];
    memchr(b' ', target).unwrap_or(target.len())
}

/// Whether this header line has this name, also with white space before the colon, which some parsers forgive.
fn is_named(line: &[u8], name: &[u8]) -> bool {
    line.len() > name.len()
        && line[..name.len()].eq_ignore_ascii_case(name)
        && line[name.len()..].trim_ascii_start().first() == Some(&b':')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 1024, lines: 4, target: 64 };

    fn whole(head: &str) -> Progress {
        HeadScreen::new(LIMITS).look(head.as_bytes())
    }

    #[test]
    fn a_plain_head_ends_where_it_ends() {
        let head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(whole(head), Progress::Complete(head.len()));
        assert_eq!(whole(&format!("{head}GET /next")), Progress::Complete(head.len()));
        assert_eq!(whole(&format!("\r\n{head}")), Progress::Complete(head.len() + 2));
    }

    #[test]
    fn a_target_is_as_long_with_half_a_line_end_behind_it() {
        let line = format!("GET /{}\r", "a".repeat(LIMITS.target - 1));
        assert_eq!(whole(&line), Progress::Partial);
        assert_eq!(whole(&format!("{line}\n")), Progress::Partial);
        assert_eq!(whole(&line.replace("/a", "/aa")), Progress::Refused(Refusal::TargetTooLong));
    }

    #[test]
    fn what_two_parsers_read_differently_is_refused() {
        for (head, why) in [
            ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Fragment),
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", Refusal::BareLineFeed),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", Refusal::BareLineFeed),
            ("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", Refusal::Malformed),
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::Framing),
            ("POST / HTTP/1.1\r\nTRANSFER-encoding:chunked\r\ncontent-length:1\r\n\r\n", Refusal::Framing),
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", Refusal::Framing),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Refusal::Framing),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::Framing),
            ("POST / HTTP/1.1\r\nTransfer-Encoding : xchunked\r\n\r\n", Refusal::Framing),
            ("\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n", Refusal::Malformed),
        ] {
            assert_eq!(whole(head), Progress::Refused(why), "{head:?}");
        }
    }

    #[test]
    fn limits_hold_before_the_head_is_whole() {
        let long_target = format!("GET /{}", "a".repeat(64));
        assert_eq!(whole(&long_target), Progress::Refused(Refusal::TargetTooLong));
        let long_line = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(1024));
        assert_eq!(whole(&long_line), Progress::Refused(Refusal::HeadTooLarge));
        let many = format!("GET / HTTP/1.1\r\n{}", "A: b\r\n".repeat(5));
        assert_eq!(whole(&many), Progress::Refused(Refusal::TooManyHeaders));
        let most = format!("GET /{} HTTP/1.1\r\n{}\r\n", "a".repeat(63), "A: b\r\n".repeat(4));
        assert_eq!(whole(&most), Progress::Complete(most.len()));
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            head in "(GET|POST) /[a-z#]{0,8} HTTP/1.1\r?\n(((Content-Length|Transfer-Encoding|A): ?(1|chunked))\r?\n){0,5}\r?\nrest",
            cuts in proptest::collection::vec(1usize..12, 0..40),
        ) {
            let expected = whole(&head);
            let mut screen = HeadScreen::new(LIMITS);
            let (mut come, mut cuts) = (0, cuts.into_iter());
            let got = loop {
                come = (come + cuts.next().unwrap_or(head.len())).min(head.len());
                match screen.look(&head.as_bytes()[..come]) {
                    Progress::Partial if come < head.len() => {}
                    progress => break progress,
                }
            };
            prop_assert_eq!(got, expected);
        }
    }
}
