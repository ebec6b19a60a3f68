//! A worker: a thread, its runtime, its share of the listening sockets, its copy of the service.

use std::{
    io,
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, mpsc::sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    runtime,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::spawn_local,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    Listener, Options, Service,
    connection::{self, Shared},
    drain::Drain,
};

/// How often a worker does what is not tied to a request.
const TICK: Duration = Duration::from_millis(250);

/// How long to wait when the system has no file descriptor left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the workers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Order {
    Serve,
    Drain,
    Cut,
}

/// The workers of one [`start`](super::start).
#[derive(Debug)]
pub struct Running {
    addrs: Vec<SocketAddr>,
    orders: watch::Sender<Order>,
    ended: mpsc::UnboundedReceiver<()>,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    /// Where it listens, one per listener, with real ports.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// Stops accepting. Idle connections are closed, the others after the answer they are at.
    pub fn drain(&self) {
        self.orders.send_if_modified(|order| {
            let begins = *order < Order::Drain;
            *order = if begins { Order::Drain } else { *order };
            begins
        });
    }

    /// Closes everything at once.
    pub fn cut(&self) {
        self.orders.send_replace(Order::Cut);
    }

    /// Returns when a worker has ended: because it drained, was cut, or died.
    pub async fn any_ended(&mut self) {
        self.ended.recv().await;
    }

    /// Returns when all workers have ended.
    pub async fn all_ended(&mut self) {
        while self.ended.recv().await.is_some() {}
    }

    /// Waits for the threads. An error names a worker that died.
    pub fn join(self) -> io::Result<()> {
        for thread in self.threads {
            let name = thread.thread().name().unwrap_or("worker").to_owned();
            thread.join().map_err(|_| io::Error::other(format!("{name} died of a panic")))?;
        }
        Ok(())
    }
}

pub(super) fn start<S, F>(mut listeners: Vec<Listener>, options: &Options, make: F) -> io::Result<Running>
where
    S: Service,
    F: Fn(usize) -> S + Clone + Send + 'static,
{
    let (orders, _) = watch::channel(Order::Serve);
    let (alive, ended) = mpsc::unbounded_channel();
    let permits = Arc::new(Semaphore::new(options.max_connections.min(Semaphore::MAX_PERMITS)));
    let addrs = listeners.iter().map(Listener::addr).collect();
    let mut threads = Vec::new();
    for number in 0..options.workers.max(1) {
        let sockets = listeners.iter_mut().filter_map(Listener::take).collect::<Vec<_>>();
        let (make, options, permits) = (make.clone(), options.clone(), Arc::clone(&permits));
        let (orders, alive) = (orders.subscribe(), alive.clone());
        let (begun, has_begun) = sync_channel(1);
        let thread = thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            let _alive = Alive(alive);
            let built =
                runtime::Builder::new_current_thread().enable_all().build_local(runtime::LocalOptions::default());
            match built {
                Ok(runtime) => {
                    let _ = begun.send(Ok(()));
                    runtime.block_on(work(sockets, options, permits, orders, || make(number)));
                }
                Err(error) => drop(begun.send(Err(error))),
            }
        })?;
        has_begun.recv().map_err(io::Error::other)??;
        threads.push(thread);
    }
    Ok(Running { addrs, orders, ended, threads })
}

/// Says so when its thread ends, also by a panic.
struct Alive(mpsc::UnboundedSender<()>);

impl Drop for Alive {
    fn drop(&mut self) {
        // Nobody listens any more when the whole process is going down.
        let _ = self.0.send(());
    }
}

async fn work<S: Service>(
    sockets: Vec<std::net::TcpListener>,
    options: Options,
    permits: Arc<Semaphore>,
    orders: watch::Receiver<Order>,
    make: impl FnOnce() -> S,
) {
    let shared = Rc::new(Shared {
        service: Rc::new(make()),
        http: connection::http1(&options),
        options: Rc::new(options),
        drain: Rc::new(Drain::default()),
    });
    let accepting =
        sockets.into_iter().map(|s| spawn_local(accept(s, Rc::clone(&shared), Arc::clone(&permits), orders.clone())));
    let accepting = accepting.collect::<Vec<_>>();
    spawn_local(tick(Rc::clone(&shared)));
    until(orders.clone(), Order::Drain).await;
    for task in accepting {
        // A listener that panicked has nothing left to drain.
        let _ = task.await;
    }
    shared.drain.begin();
    tokio::select! {
        () = shared.drain.done() => {}
        () = until(orders, Order::Cut) => {}
    }
    shared.service.tick();
}

/// Returns when the order has come, or nobody is left to give one.
async fn until(mut orders: watch::Receiver<Order>, order: Order) {
    let _ = orders.wait_for(|given| *given >= order).await;
}

async fn tick<S: Service>(shared: Rc<Shared<S>>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        shared.service.tick();
    }
}

async fn accept<S: Service>(
    socket: std::net::TcpListener,
    shared: Rc<Shared<S>>,
    permits: Arc<Semaphore>,
    orders: watch::Receiver<Order>,
) {
    let listener = match TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "a listening socket could not be used");
            return;
        }
    };
    let mut stop = std::pin::pin!(until(orders, Order::Drain));
    let mut waiting = None;
    loop {
        // The permit comes second. A worker that held one while it waited for somebody to come would keep it from the
        // worker that somebody came to.
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    pause(&error).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        tokio::select! {
            biased;
            permit = Arc::clone(&permits).acquire_owned() => match permit {
                Ok(permit) => spawn(stream, peer, &shared, permit),
                Err(_) => return,
            },
            () = &mut stop => {
                waiting = Some((stream, peer));
                break;
            }
        }
    }
    accept_rest(waiting, listener, &shared, &permits);
}

/// Closing a shared listening socket drops the connections in its queue, so they are taken in first, as far as there is
/// room for them.
fn accept_rest<S: Service>(
    waiting: Option<(TcpStream, SocketAddr)>,
    listener: TcpListener,
    shared: &Rc<Shared<S>>,
    permits: &Arc<Semaphore>,
) {
    // The system is asked, not the runtime, which hears of new connections only after its next wait.
    let Ok(listener) = listener.into_std() else { return };
    let queue = std::iter::from_fn(|| {
        let (stream, peer) = listener.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        Some((TcpStream::from_std(stream).ok()?, peer))
    });
    for (stream, peer) in waiting.into_iter().chain(queue) {
        let Ok(permit) = Arc::clone(permits).try_acquire_owned() else { return };
        spawn(stream, peer, shared, permit);
    }
}

fn spawn<S: Service>(stream: TcpStream, peer: SocketAddr, shared: &Rc<Shared<S>>, permit: OwnedSemaphorePermit) {
    // Without this a small write may wait 40 ms for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let shared = Rc::clone(shared);
    spawn_local(async move {
        let conn = shared.service.connected(peer);
        connection::run(stream, conn, &shared).await;
        drop(permit);
    });
}

/// Out of file descriptors, most likely: trying again at once would only burn the processor.
async fn pause(error: &io::Error) {
    tracing::warn!(%error, "a connection could not be accepted");
    sleep(ACCEPT_PAUSE).await;
}
