//! Where pictures are remade: a few threads of their own, and a short queue before them.
//!
//! To read a picture takes a processor for milliseconds or more, which no worker has and the control thread has not either. A
//! picture that makes a decoder panic costs its sender an answer, and nobody else anything.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
};

use tokio::sync::oneshot;

use super::{Flaw, room::Upload};

type Work = dyn Fn(&[u8]) -> Result<Vec<u8>, Flaw> + Send + Sync;

/// Threads that make of what was sent what is kept.
#[derive(Debug)]
pub(super) struct Workshop(SyncSender<Job>);

#[derive(Debug)]
struct Job {
    upload: Upload,
    done: oneshot::Sender<Result<Vec<u8>, Flaw>>,
}

impl Workshop {
    /// So many threads, and room for so many that wait. They end with the workshop.
    pub(super) fn open(
        threads: usize,
        max_waiting: usize,
        work: impl Fn(&[u8]) -> Result<Vec<u8>, Flaw> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let (work, (jobs, queue)) = (Arc::new(work), sync_channel(max_waiting));
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let (work, queue) = (Arc::clone(&work), Arc::clone(&queue));
            thread::Builder::new().name("pictures".to_owned()).spawn(move || run(&queue, &*work))?;
        }
        Ok(Self(jobs))
    }

    /// What becomes of an upload, when its turn has come. None where too many wait before it.
    pub(super) fn remake(&self, upload: Upload) -> Option<oneshot::Receiver<Result<Vec<u8>, Flaw>>> {
        let (done, answer) = oneshot::channel();
        match self.0.try_send(Job { upload, done }) {
            Ok(()) => Some(answer),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => None,
        }
    }
}

fn run(queue: &Mutex<Receiver<Job>>, work: &Work) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { upload, done }) = job else { return };
        // Nobody waits for it any more.
        if done.is_closed() {
            continue;
        }
        // What a decoder leaves behind is its own: the next picture gets a new one.
        let remade = catch_unwind(AssertUnwindSafe(|| work(upload.bytes())));
        let remade = remade.unwrap_or_else(|_| {
            tracing::error!("a picture has made its decoder panic");
            Err(Flaw::Broken)
        });
        drop(upload);
        let _ = done.send(remade);
    }
}

#[cfg(test)]
mod tests {
    use std::{panic::resume_unwind, sync::mpsc::channel};

    use super::*;
    use crate::avatar::room::Room;

    fn upload(text: &str) -> Upload {
        let mut upload = Room::for_bytes(100).upload();
        upload.add(text.as_bytes()).unwrap();
        upload
    }

    #[test]
    fn a_decoder_that_panics_costs_one_answer_and_no_thread() {
        let workshop = Workshop::open(1, 4, |bytes| {
            if bytes == b"bad" { resume_unwind(Box::new("on trial")) } else { Ok(bytes.to_vec()) }
        });
        let workshop = workshop.unwrap();
        for _ in 0..3 {
            let answer = workshop.remake(upload("bad")).unwrap();
            assert_eq!(answer.blocking_recv().unwrap(), Err(Flaw::Broken));
        }
        assert_eq!(workshop.remake(upload("good")).unwrap().blocking_recv().unwrap(), Ok(b"good".to_vec()));
    }

    #[test]
    fn who_finds_the_queue_full_does_not_wait() {
        let ((starts, started), (go, gate)) = (channel(), channel());
        let gate = Mutex::new(gate);
        let work = move |bytes: &[u8]| {
            starts.send(()).unwrap();
            gate.lock().unwrap().recv().unwrap();
            Ok(bytes.to_vec())
        };
        let workshop = Workshop::open(1, 1, work).unwrap();
        let first = workshop.remake(upload("1")).unwrap();
        started.recv().unwrap();
        let second = workshop.remake(upload("2")).unwrap();
        assert!(workshop.remake(upload("3")).is_none());
        go.send(()).unwrap();
        go.send(()).unwrap();
        assert_eq!(first.blocking_recv().unwrap(), Ok(b"1".to_vec()));
        assert_eq!(second.blocking_recv().unwrap(), Ok(b"2".to_vec()));
    }

    #[test]
    fn what_nobody_waits_for_is_not_made() {
        let ((starts, started), (go, gate)) = (channel(), channel());
        let gate = Mutex::new(gate);
        let work = move |bytes: &[u8]| {
            starts.send(bytes.to_vec()).unwrap();
            gate.lock().unwrap().recv().unwrap();
            Ok(bytes.to_vec())
        };
        let workshop = Workshop::open(1, 2, work).unwrap();
        let first = workshop.remake(upload("1")).unwrap();
        assert_eq!(started.recv().unwrap(), b"1");
        drop(workshop.remake(upload("2")).unwrap());
        let third = workshop.remake(upload("3")).unwrap();
        go.send(()).unwrap();
        go.send(()).unwrap();
        assert!(first.blocking_recv().is_ok());
        assert_eq!(started.recv().unwrap(), b"3");
        assert!(third.blocking_recv().is_ok());
    }
}
