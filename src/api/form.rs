//! The form that `wx.uploadFile` sends: one file, and perhaps a few texts beside it.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use multer::Multipart;
use tokio::sync::mpsc;

use crate::{
    avatar::{self, Upload},
    model::Clock,
    web::{BodyError, RequestBody},
};

use super::Error;

/// More than any form has that is filled in by people.
const MAX_PARTS: usize = 32;

/// RFC 2046, 5.1.1.
const LONGEST_BOUNDARY: usize = 70;

/// What stands before a part, and its headers. The parser keeps all of that and looks through it again with each piece.
const LONGEST_HEAD: usize = 16 * 1024;

/// A picture has a bound, so its upload has one too: whoever sends byte by byte would take the room of others for hours.
const LONGEST_UPLOAD: Duration = Duration::from_mins(2);

const EXPECTED: &str = "The body must be multipart/form-data with one file.";

#[derive(Debug, thiserror::Error)]
#[error("a part has no head that ends")]
struct HeadTooLong;

/// Reads the form to its end and takes the file in. What it is called, and what kind the client says it is, counts for nothing.
pub(super) async fn file(
    headers: &HeaderMap,
    mut body: RequestBody,
    max: u64,
    upload: Upload,
    clock: &dyn Clock,
) -> Result<Upload, Error> {
    let until = clock.steady() + LONGEST_UPLOAD;
    let boundary = boundary(headers)?;
    body.limit(max).map_err(Error::Body)?;
    // The parser wants a stream that can go to another thread, which a body can't. So the two stand side by side here, with
    // room for one piece between them.
    let (to, from) = mpsc::channel(1);
    let is_late = || clock.steady() >= until;
    let whole = async { tokio::join!(pass_on(body, to, is_late), find(boundary, from, upload)) };
    // Who sends nothing at all has no piece to be late with.
    let whole = tokio::time::timeout(LONGEST_UPLOAD, whole).await;
    let (read, file) = whole.map_err(|_| Error::Body(BodyError::TimedOut))?;
    read.map_err(Error::Body)?;
    file
}

fn boundary(headers: &HeaderMap) -> Result<String, Error> {
    let mut lines = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return Err(Error::BadInput(EXPECTED)) };
    let boundary = line.to_str().ok().and_then(|line| multer::parse_boundary(line).ok());
    boundary.filter(|text| (1..=LONGEST_BOUNDARY).contains(&text.len())).ok_or(Error::BadInput(EXPECTED))
}

/// Reads the whole body, also where nobody wants the rest of it: it is bounded, and the connection goes on.
async fn pass_on(mut body: RequestBody, to: mpsc::Sender<Bytes>, is_late: impl Fn() -> bool) -> Result<(), BodyError> {
    while let Some(frame) = body.frame().await {
        if is_late() {
            return Err(BodyError::TimedOut);
        }
        if let Ok(data) = frame?.into_data() {
            // Whoever parses may have seen enough.
            let _ = to.send(data).await;
        }
    }
    Ok(())
}

async fn find(boundary: String, from: mpsc::Receiver<Bytes>, mut upload: Upload) -> Result<Upload, Error> {
    // What the parser has had since it last made something of it.
    let unread = &AtomicUsize::new(0);
    let pieces = stream::unfold(from, |mut from| async move {
        let piece = from.recv().await?;
        let before = unread.fetch_add(piece.len(), Ordering::Relaxed);
        Some((if before > LONGEST_HEAD { Err(HeadTooLong) } else { Ok(piece) }, from))
    });
    let mut form = Multipart::new(pieces, boundary);
    let mut files = 0;
    for _ in 0..MAX_PARTS {
        // The parser's own words may quote what was sent.
        let Some(mut part) = form.next_field().await.map_err(|_| Error::BadInput(EXPECTED))? else {
            return if files == 1 { Ok(upload) } else { Err(Error::BadInput(EXPECTED)) };
        };
        unread.store(0, Ordering::Relaxed);
        let is_file = part.file_name().is_some();
        files += usize::from(is_file);
        if files > 1 {
            break;
        }
        while let Some(piece) = part.chunk().await.map_err(|_| Error::BadInput(EXPECTED))? {
            unread.store(0, Ordering::Relaxed);
            if is_file {
                upload.add(&piece).map_err(|_| Error::Avatar(avatar::Error::Overloaded))?;
            }
        }
    }
    Err(Error::BadInput(EXPECTED))
}
