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
    runtime,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::spawn_local,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    Listener, Options, Place, Service,
    arrival::{self, Accepted},
    connection::{self, Shared},
    current::Current,
    drain::Drain,
    gate::Gate,
    handover::Handover,
    http2::UnderWay,
    tls::Tls,
    unix_socket::SocketFile,
};

/// How often a worker does what is not tied to a request.
const TICK: Duration = Duration::from_millis(250);

/// How long to wait when the system has no file descriptor left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the workers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Order {
    Serve,
    /// Drain, and leave those who wait at the sockets to the process that has them too.
    Leave,
    Drain,
    Cut,
}

/// The workers of one [`start`](super::start).
#[derive(Debug)]
pub struct Running {
    places: Vec<Place>,
    addrs: Vec<SocketAddr>,
    /// Removed when nobody listens there any more.
    files: Vec<SocketFile>,
    handover: Handover,
    orders: watch::Sender<Order>,
    ended: mpsc::UnboundedReceiver<()>,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    /// Where it listens, one per listener.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Its addresses, with real ports.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// Stops accepting. Idle connections are closed, the others after the answer they are at.
    pub fn drain(&self) {
        self.order(Order::Drain);
    }

    /// The same where another process has taken the listening sockets over.
    pub fn leave(&mut self) {
        self.order(Order::Leave);
        self.files.drain(..).for_each(SocketFile::leave);
    }

    /// Its listening sockets, for another process to take over.
    pub fn handover(&self) -> Handover {
        self.handover.clone()
    }

    /// Nothing is taken back: whoever drains does not leave, and whoever is cut does neither.
    fn order(&self, order: Order) {
        self.handover.close();
        self.orders.send_if_modified(|given| {
            let begins = *given == Order::Serve;
            *given = if begins { order } else { *given };
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
        drop(self.files);
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
    let handover = Handover::of(&listeners)?;
    let (alive, ended) = mpsc::unbounded_channel();
    let permits = Arc::new(Semaphore::new(options.max_connections.min(Semaphore::MAX_PERMITS)));
    let mut threads = Vec::new();
    for number in 0..options.workers.max(1) {
        let gates = listeners.iter_mut().enumerate().filter_map(|(number, l)| Gate::of(number, l)).collect::<Vec<_>>();
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
                    runtime.block_on(work(gates, options, permits, orders, || make(number)));
                }
                Err(error) => drop(begun.send(Err(error))),
            }
        })?;
        has_begun.recv().map_err(io::Error::other)??;
        threads.push(thread);
    }
    let (places, files): (Vec<_>, Vec<_>) = listeners.into_iter().map(Listener::into_rest).unzip();
    let addrs = places.iter().filter_map(Place::addr).collect();
    Ok(Running { places, addrs, files: files.into_iter().flatten().collect(), handover, orders, ended, threads })
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
    gates: Vec<Gate>,
    options: Options,
    permits: Arc<Semaphore>,
    orders: watch::Receiver<Order>,
    make: impl FnOnce() -> S,
) {
    let tls = options.tls.clone().map(Rc::new);
    let shared = Rc::new(Shared {
        service: Rc::new(Current::new(make())),
        http: connection::http1(&options),
        under_way: UnderWay::at_most(options.max_requests()),
        options: Rc::new(options),
        drain: Rc::new(Drain::default()),
        handshakes: Semaphore::new(tls.as_deref().map_or(0, Tls::max_handshakes)),
        tls,
    });
    let accepting =
        gates.into_iter().map(|g| spawn_local(accept(g, Rc::clone(&shared), Arc::clone(&permits), orders.clone())));
    let accepting = accepting.collect::<Vec<_>>();
    spawn_local(tick(Rc::clone(&shared)));
    let service = Rc::clone(&shared.service);
    spawn_local(async move { service.follow().await });
    until(orders.clone(), Order::Leave).await;
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
    gate: Gate,
    shared: Rc<Shared<S>>,
    permits: Arc<Semaphore>,
    orders: watch::Receiver<Order>,
) {
    let gate = match gate.open() {
        Ok(gate) => gate,
        Err(error) => {
            tracing::error!(%error, "a listening socket could not be used");
            return;
        }
    };
    let mut stop = std::pin::pin!(until(orders.clone(), Order::Leave));
    let mut waiting = None;
    loop {
        // The permit comes second. A worker that held one while it waited for somebody to come would keep it from the
        // worker that somebody came to.
        let accepted = tokio::select! {
            accepted = gate.accept() => match accepted {
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
                Ok(permit) => spawn(accepted, &shared, permit),
                Err(_) => return,
            },
            () = &mut stop => {
                waiting = Some(accepted);
                break;
            }
        }
    }
    // Those who wait in the queue are taken in, as far as there is room for them.
    let queue = if *orders.borrow() == Order::Leave { gate.leave() } else { gate.close() };
    for accepted in waiting.into_iter().chain(queue) {
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else { return };
        spawn(accepted, &shared, permit);
    }
}

fn spawn<S: Service>(accepted: Accepted, shared: &Rc<Shared<S>>, permit: OwnedSemaphorePermit) {
    let shared = Rc::clone(shared);
    spawn_local(async move {
        arrival::serve(accepted, &shared).await;
        drop(permit);
    });
}

/// Out of file descriptors, most likely: trying again at once would only burn the processor.
async fn pause(error: &io::Error) {
    tracing::warn!(%error, "a connection could not be accepted");
    sleep(ACCEPT_PAUSE).await;
}
