//! The way of an access-log line out of the process: a request appends it to a buffer and never waits for the sink.
//!
//! ```text
//! LineBuffer (one per worker) ── full, or flushed ──▶ queue of 64, with 16 MiB of text ──▶ writer thread ──▶ sink
//!             ▲──────────────────────── empty again ─────────────────────┘
//! ```
//!
//! When the sink can't keep up, the queue fills and whole buffers of lines are thrown away. They are counted in
//! [`Counters::log_lines_dropped`], and once the writer has caught up it leaves one line in the log that says how many
//! are missing there. Requests are worth more than their log lines; a log with a hole must say that it has one.

use std::{
    fmt,
    io::{self, Write},
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TryRecvError},
    },
    thread,
    time::Duration,
};

use super::Counters;
use crate::config::sections::LogFormat;

/// A buffer this full is handed over without waiting for the next flush. Writing to a file costs more by the call than by the byte:
/// in pieces of a quarter of this it takes twice as long.
const FULL: usize = 1024 * 1024;

/// Room in a fresh buffer: full, and one long line more.
const ROOM: usize = FULL + 8 * 1024;

/// Buffers that may wait for the sink.
const QUEUE: usize = 64;

/// And bytes in them.
const MOST: usize = 16 * FULL;

/// Empty buffers that wait for their worker. One is on its way and one is being filled; a burst may free the rest.
const SPARES: usize = 2;

/// How long the end of the process waits for a sink that takes nothing more.
const PATIENCE: Duration = Duration::from_secs(2);

/// Writes lines to a sink on a thread of its own. Dropped, it writes what was handed over and then stops; it waits for
/// a blocked sink two seconds at most.
#[derive(Debug)]
pub struct LineWriter {
    queue: SyncSender<Message>,
    tally: Arc<Tally>,
    done: Receiver<()>,
}

impl LineWriter {
    /// Starts the thread. `format` is that of the line that reports a gap. Fails if no thread can be started.
    pub fn start(sink: impl Write + Send + 'static, format: LogFormat, counters: Arc<Counters>) -> io::Result<Self> {
        let (queue, messages) = mpsc::sync_channel(QUEUE);
        // Nothing is ever sent here: the thread's end of it goes away when the thread does.
        let (alive, done) = mpsc::sync_channel(0);
        let tally = Arc::new(Tally {
            counters,
            gap: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
        });
        let writer = Writer { sink, format, tally: Arc::clone(&tally), failing: false };
        thread::Builder::new().name("log-lines".to_owned()).spawn(move || {
            // The queue is closed before the end is told: what comes later is refused, not forgotten.
            let _alive: SyncSender<()> = alive;
            let messages = messages;
            writer.run(&messages);
        })?;
        Ok(Self { queue, tally, done })
    }

    /// A buffer for one worker.
    pub fn handle(&self) -> LineBuffer {
        let (home, spares) = mpsc::sync_channel(SPARES);
        LineBuffer {
            bytes: Vec::with_capacity(ROOM),
            lines: 0,
            queue: self.queue.clone(),
            tally: Arc::clone(&self.tally),
            home,
            spares,
        }
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        self.tally.stopping.store(true, Ordering::SeqCst);
        // It only has to wake the thread; one that finds the queue full is awake.
        let _ = self.queue.try_send(Message::Wake);
        if self.done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the access log takes nothing more; its last lines are lost");
        }
    }
}

/// The lines of one worker on their way to the [`LineWriter`]. Nothing here waits. Dropped, it hands over the rest.
pub struct LineBuffer {
    bytes: Vec<u8>,
    lines: u64,
    queue: SyncSender<Message>,
    tally: Arc<Tally>,
    /// Goes with each buffer, so that it finds its way back.
    home: SyncSender<Vec<u8>>,
    spares: Receiver<Vec<u8>>,
}

impl LineBuffer {
    /// Adds one line. `write` appends it to the bytes it is given, without the line feed, and leaves those before alone.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.bytes.push(b'\n');
        self.lines += 1;
        if self.bytes.len() >= FULL {
            self.flush();
        }
    }

    /// Hands over what there is. To be called a few times a second, so that a quiet log isn't a late one.
    pub fn flush(&mut self) {
        if self.bytes.is_empty() {
            return;
        }
        let fresh = self.spares.try_recv().unwrap_or_else(|_| Vec::with_capacity(ROOM));
        let bytes = mem::replace(&mut self.bytes, fresh);
        let lines = mem::take(&mut self.lines);
        let size = bytes.len();
        let message = Message::Lines { bytes, lines, home: self.home.clone() };
        // While one is refused another may be, though it would have room. Then there is as good as none.
        if self.tally.waiting.fetch_add(size, Ordering::Relaxed) + size > MOST {
            self.tally.taken(size);
            self.tally.lost(lines);
            return message.send_home();
        }
        if let Err(mpsc::TrySendError::Full(message) | mpsc::TrySendError::Disconnected(message)) =
            self.queue.try_send(message)
        {
            self.tally.taken(size);
            self.tally.lost(lines);
            message.send_home();
        }
    }
}

impl Drop for LineBuffer {
    fn drop(&mut self) {
        self.flush();
    }
}

impl fmt::Debug for LineBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineBuffer").field("lines", &self.lines).finish_non_exhaustive()
    }
}

enum Message {
    Lines {
        bytes: Vec<u8>,
        lines: u64,
        home: SyncSender<Vec<u8>>,
    },
    /// Look whether it is time to stop.
    Wake,
}

impl Message {
    fn send_home(self) {
        if let Message::Lines { mut bytes, home, .. } = self {
            bytes.clear();
            // Where there are spares enough, or the worker is gone, the memory is given back.
            let _ = home.try_send(bytes);
        }
    }
}

/// What both sides of the queue know.
#[derive(Debug)]
struct Tally {
    counters: Arc<Counters>,
    /// Lines lost that the log doesn't yet say are missing.
    gap: AtomicU64,
    /// Bytes that wait for the sink.
    waiting: AtomicUsize,
    stopping: AtomicBool,
}

impl Tally {
    fn lost(&self, lines: u64) {
        self.counters.log_lines_dropped.add(lines);
        self.gap.fetch_add(lines, Ordering::Relaxed);
    }

    /// So many bytes wait no longer.
    fn taken(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }
}

struct Writer<W> {
    sink: W,
    format: LogFormat,
    tally: Arc<Tally>,
    failing: bool,
}

impl<W: Write> Writer<W> {
    fn run(mut self, messages: &Receiver<Message>) {
        loop {
            // Asked before the queue is: what was handed over before the end is in there by then.
            let stopping = self.tally.stopping.load(Ordering::SeqCst);
            match messages.try_recv() {
                Ok(message) => self.take(message),
                Err(TryRecvError::Empty) => {
                    self.caught_up();
                    if stopping {
                        return;
                    }
                    match messages.recv() {
                        Ok(message) => self.take(message),
                        Err(mpsc::RecvError) => return,
                    }
                }
                Err(TryRecvError::Disconnected) => return,
            }
        }
    }

    fn take(&mut self, message: Message) {
        if let Message::Lines { bytes, lines, .. } = &message {
            let written = self.sink.write_all(bytes);
            self.tally.taken(bytes.len());
            self.check(written, *lines);
        }
        message.send_home();
    }

    fn caught_up(&mut self) {
        let missing = self.tally.gap.swap(0, Ordering::Relaxed);
        if missing > 0 {
            let line = match self.format {
                LogFormat::Json => format!("{{\"kind\":\"gap\",\"lines_dropped\":{missing}}}\n"),
                LogFormat::Text => format!("kind=\"gap\" lines_dropped={missing}\n"),
            };
            if self.sink.write_all(line.as_bytes()).is_err() {
                self.tally.gap.fetch_add(missing, Ordering::Relaxed);
            }
        }
        let flushed = self.sink.flush();
        self.check(flushed, 0);
    }

    /// Counts lines that the sink refused. Its trouble is told when it begins, not once per buffer.
    fn check(&mut self, outcome: io::Result<()>, lines: u64) {
        match outcome {
            Ok(()) => self.failing = false,
            Err(error) => {
                self.tally.lost(lines);
                if !mem::replace(&mut self.failing, true) {
                    tracing::error!(%error, "the access log can't be written; its lines are dropped");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashSet,
        sync::{Condvar, Mutex, MutexGuard},
    };

    use super::*;

    /// A sink behind a gate, as a pipe whose reader sleeps is.
    #[derive(Clone, Default)]
    struct Sink(Arc<(Mutex<Inside>, Condvar)>);

    #[derive(Default)]
    struct Inside {
        closed: bool,
        broken: bool,
        /// Writes begun, those included that wait at the gate.
        arrived: usize,
        refused: usize,
        written: Vec<u8>,
    }

    impl Sink {
        fn inside(&self) -> MutexGuard<'_, Inside> {
            self.0.0.lock().unwrap()
        }

        fn set_gate(&self, closed: bool) {
            self.inside().closed = closed;
            self.0.1.notify_all();
        }

        fn wait_until(&self, ready: impl Fn(&Inside) -> bool) -> MutexGuard<'_, Inside> {
            self.0.1.wait_while(self.inside(), |inside| !ready(inside)).unwrap()
        }

        fn text(&self) -> String {
            String::from_utf8(self.inside().written.clone()).unwrap()
        }
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.inside().arrived += 1;
            self.0.1.notify_all();
            let mut inside = self.wait_until(|inside| !inside.closed);
            if inside.broken {
                inside.refused += 1;
                self.0.1.notify_all();
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            inside.written.extend_from_slice(bytes);
            self.0.1.notify_all();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start(sink: &Sink) -> (LineWriter, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        let writer = LineWriter::start(sink.clone(), LogFormat::Json, Arc::clone(&counters)).unwrap();
        (writer, counters)
    }

    fn push(buffer: &mut LineBuffer, line: &str) {
        buffer.push(|bytes| bytes.extend_from_slice(line.as_bytes()));
    }

    /// Fills the queue behind a closed gate and says how many lines that took, one per buffer.
    fn block(sink: &Sink, buffer: &mut LineBuffer) -> usize {
        sink.set_gate(true);
        push(buffer, "at the gate");
        buffer.flush();
        drop(sink.wait_until(|inside| inside.arrived > 0));
        for n in 0..QUEUE {
            push(buffer, &format!("queued {n}"));
            buffer.flush();
        }
        QUEUE + 1
    }

    #[test]
    fn a_flushed_line_reaches_the_sink_and_one_not_flushed_waits() {
        let sink = Sink::default();
        let (writer, counters) = start(&sink);
        let mut buffer = writer.handle();
        push(&mut buffer, "one");
        buffer.flush();
        drop(sink.wait_until(|inside| inside.written == b"one\n"));
        push(&mut buffer, "two");
        assert_eq!(sink.text(), "one\n");
        drop(buffer);
        drop(writer);
        assert_eq!(sink.text(), "one\ntwo\n");
        assert_eq!(counters.log_lines_dropped.get(), 0);
    }

    #[test]
    fn a_full_buffer_goes_without_being_flushed() {
        let sink = Sink::default();
        let (writer, _) = start(&sink);
        let mut buffer = writer.handle();
        let line = "x".repeat(1023);
        let fits = FULL / 1024 - 1;
        (0..fits).for_each(|_| push(&mut buffer, &line));
        assert_eq!(buffer.lines, fits as u64);
        push(&mut buffer, &line);
        assert_eq!(buffer.lines, 0);
        drop(sink.wait_until(|inside| inside.written.len() == FULL));
    }

    #[test]
    fn so_many_bytes_wait_for_a_blocked_sink_and_no_more() {
        let sink = Sink::default();
        let (writer, counters) = start(&sink);
        let mut buffer = writer.handle();
        sink.set_gate(true);
        let line = "x".repeat(FULL - 1);
        for n in 1..=40_u64 {
            push(&mut buffer, &line);
            assert_eq!(counters.log_lines_dropped.get(), n.saturating_sub(16), "{n}");
            assert!(writer.tally.waiting.load(Ordering::Relaxed) <= MOST);
        }
        sink.set_gate(false);
        drop(buffer);
        let tally = Arc::clone(&writer.tally);
        drop(writer);
        assert_eq!((tally.waiting.load(Ordering::Relaxed), sink.inside().written.len() / FULL), (0, 16));
        assert!(sink.inside().written.ends_with(b"{\"kind\":\"gap\",\"lines_dropped\":24}\n"));
    }

    #[test]
    fn the_end_of_the_writer_leaves_nothing_behind() {
        let sink = Sink::default();
        let (writer, counters) = start(&sink);
        let workers: Vec<_> = (0..3).map(|_| writer.handle()).collect();
        thread::scope(|scope| {
            for (worker, mut buffer) in workers.into_iter().enumerate() {
                scope.spawn(move || (0..400).for_each(|n| push(&mut buffer, &format!("{worker}:{n}"))));
            }
        });
        drop(writer);
        let text = sink.text();
        assert_eq!(text.lines().collect::<HashSet<_>>().len(), 1200);
        let first: Vec<&str> = text.lines().filter(|line| line.starts_with("0:")).collect();
        assert_eq!(first, (0..400).map(|n| format!("0:{n}")).collect::<Vec<_>>(), "a worker's lines keep their order");
        assert_eq!(counters.log_lines_dropped.get(), 0);
    }

    #[test]
    fn a_blocked_sink_costs_lines_but_stops_nobody() {
        let sink = Sink::default();
        let (writer, counters) = start(&sink);
        let mut buffer = writer.handle();
        let kept = block(&sink, &mut buffer);
        // That this returns at all is the point: the gate is still shut.
        for n in 0..10_000 {
            push(&mut buffer, &format!("too many {n}"));
            buffer.flush();
        }
        assert_eq!(counters.log_lines_dropped.get(), 10_000);

        sink.set_gate(false);
        drop(sink.wait_until(|inside| inside.written.ends_with(b"}\n")));
        push(&mut buffer, "after the gap");
        drop(buffer);
        drop(writer);
        let text = sink.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), kept + 2);
        assert_eq!(lines[kept..], [r#"{"kind":"gap","lines_dropped":10000}"#, "after the gap"]);
    }

    #[test]
    fn a_gap_is_told_in_the_format_of_the_log() {
        let sink = Sink::default();
        let writer = LineWriter::start(sink.clone(), LogFormat::Text, Arc::default()).unwrap();
        let mut buffer = writer.handle();
        block(&sink, &mut buffer);
        push(&mut buffer, "too many");
        buffer.flush();
        sink.set_gate(false);
        drop(buffer);
        drop(writer);
        assert!(sink.text().ends_with("\nkind=\"gap\" lines_dropped=1\n"), "{}", sink.text());
    }

    #[test]
    fn a_sink_that_fails_is_counted_and_used_again_when_it_recovers() {
        let sink = Sink::default();
        let (writer, counters) = start(&sink);
        let mut buffer = writer.handle();
        sink.inside().broken = true;
        push(&mut buffer, "lost");
        push(&mut buffer, "lost");
        buffer.flush();
        // The write of the lines, and the attempt to report the gap.
        drop(sink.wait_until(|inside| inside.refused >= 2));
        assert_eq!(counters.log_lines_dropped.get(), 2);
        sink.inside().broken = false;
        push(&mut buffer, "back");
        drop(buffer);
        drop(writer);
        assert_eq!(sink.text(), "back\n{\"kind\":\"gap\",\"lines_dropped\":2}\n");
    }

    #[test]
    fn lines_after_the_end_of_the_writer_are_counted_as_lost() {
        let sink = Sink::default();
        let (writer, counters) = start(&sink);
        let mut buffer = writer.handle();
        drop(writer);
        push(&mut buffer, "late");
        drop(buffer);
        assert_eq!(counters.log_lines_dropped.get(), 1);
    }

    #[test]
    fn buffers_come_back_so_that_a_steady_log_allocates_nothing() {
        let sink = Sink::default();
        let (writer, _) = start(&sink);
        let mut buffer = writer.handle();
        let mut seen = HashSet::new();
        for n in 1..=200 {
            seen.insert(buffer.bytes.as_ptr());
            push(&mut buffer, "x");
            buffer.flush();
            drop(sink.wait_until(|inside| inside.written.len() == 2 * n));
        }
        // The one being filled, the one at the sink, and one that is between the two when the timing is unlucky.
        assert!(seen.len() <= 3, "{} buffers were made", seen.len());
    }
}
