//! The threads that read: a session that is not in memory is found without waiting for a login that is being written.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    connect,
    files::Claim,
    queries::Queries,
    threads::Threads,
    trouble::{PATIENCE, Trouble, leaves_the_connection_good, within},
};
use crate::store::Error;

/// One that answers look-ups while the other is at something longer.
pub(super) const THREADS: usize = 2;

/// Questions that may wait. At 20 µs each that is a tenth of a second.
const QUEUE: usize = 4096;

/// How long a stop waits for them. They have nothing that could get lost.
const STOP: Duration = Duration::from_secs(1);

/// Asks, answers whoever waits, and says whether the connection is still good.
type Question = Box<dyn FnOnce(Result<&Queries, Error>) -> bool + Send>;

/// The way to the threads that read. They end when this goes.
#[derive(Debug)]
pub(super) struct Readers {
    queue: Option<mpsc::SyncSender<Question>>,
    threads: Threads,
    /// How long an answer may take. Tests have less time.
    pub(super) patience: Duration,
}

impl Readers {
    /// Opens the file once for each thread.
    pub(super) fn start(claim: &Arc<Claim>) -> Result<Self, Error> {
        let (queue, questions) = mpsc::sync_channel(QUEUE);
        let questions = Arc::new(Mutex::new(questions));
        let readers = Self { queue: Some(queue), threads: Threads::new(), patience: PATIENCE };
        for _ in 0..THREADS {
            let queries = Queries::new(connect::for_reading(claim.path())?);
            let reader = Reader { queries: Some(queries), claim: Arc::clone(claim) };
            let questions = Arc::clone(&questions);
            let started = readers.threads.start("sqlite-reader", move || reader.serve(&questions));
            started.map_err(|error: io::Error| Error::Unavailable(Arc::new(error)))?;
        }
        Ok(readers)
    }

    /// Asks on whichever thread is free.
    pub(super) async fn ask<T, W>(&self, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: FnOnce(&Queries) -> Result<T, Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let question = Box::new(move |queries: Result<&Queries, Error>| {
            let found = queries.and_then(work);
            let good = found.as_ref().err().is_none_or(leaves_the_connection_good);
            // Nobody waits any more, and nothing was changed.
            let _ = reply.send(found);
            good
        });
        let queue = self.queue.as_ref().ok_or(Trouble::Gone)?;
        queue.try_send(question).map_err(|refused| match refused {
            mpsc::TrySendError::Full(_) => Trouble::QueueFull,
            mpsc::TrySendError::Disconnected(_) => Trouble::Gone,
        })?;
        within(self.patience, answer).await
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.queue = None;
        // One that hangs has the file open until it comes back, and the writer says what that means.
        self.threads.end_within(STOP);
    }
}

struct Reader {
    /// None after an I/O error.
    queries: Option<Queries>,
    /// Last, so that it goes when the connection has gone.
    claim: Arc<Claim>,
}

impl Reader {
    fn serve(mut self, questions: &Mutex<mpsc::Receiver<Question>>) {
        // The lock is held while waiting, and given up with a question in hand: the next thread waits then.
        while let Some(question) = next(questions) {
            let good = question(self.queries());
            if !good {
                self.queries = None;
            }
        }
    }

    fn queries(&mut self) -> Result<&Queries, Error> {
        if self.queries.is_none() {
            self.queries = Some(Queries::new(connect::for_reading(self.claim.path())?));
        }
        self.queries.as_ref().ok_or_else(|| Trouble::Gone.into())
    }
}

fn next(questions: &Mutex<mpsc::Receiver<Question>>) -> Option<Question> {
    questions.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}
