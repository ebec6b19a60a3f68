//! A request head is judged the same in one piece and in many, and what passes has no line that ends oddly.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wxgate::server::screen::{HeadLimits, HeadScreen, Progress};

const LIMITS: HeadLimits = HeadLimits { bytes: 512, lines: 8, target: 64 };

fuzz_target!(|input: (u8, &[u8])| {
    let (step, head) = (usize::from(input.0 % 32) + 1, input.1);
    let whole = HeadScreen::new(LIMITS).look(head);
    let mut screen = HeadScreen::new(LIMITS);
    let mut pieces = Progress::Partial;
    for come in (step..).step_by(step).map(|come| come.min(head.len())) {
        pieces = screen.look(&head[..come]);
        if pieces != Progress::Partial || come == head.len() {
            break;
        }
    }
    // A head too large may be found out by its size or by what is wrong in it, whichever is seen first.
    if !matches!((whole, pieces), (Progress::Refused(_), Progress::Refused(_))) {
        assert_eq!(whole, pieces, "{}", head.escape_ascii());
    }
    if let Progress::Complete(end) = whole {
        let head = &head[..end];
        assert!(head.ends_with(b"\r\n\r\n"), "{}", head.escape_ascii());
        let bare = head.iter().enumerate().any(|(at, byte)| *byte == b'\n' && (at == 0 || head[at - 1] != b'\r'));
        assert!(!bare, "{}", head.escape_ascii());
    }
});
