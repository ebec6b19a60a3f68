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
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    Listener, Options, Place, Service,
    arrival::{self, Accepted},
    connection::Shared,
    current::Current,
    date::Date,
    drain::{Drain, Stage},
    gate::Gate,
    handover::Handover,
    http1::Room,
    http2::UnderWay,
    tls::Tls,
    unix_socket::SocketFile,
};
use crate::web::later;

/// How often a worker does what is not tied to a request.
const TICK: Duration = Duration::from_millis(250);

/// How long to wait when the system has no file descriptor left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often it is looked whether anybody is still there.
const LOOK: Duration = Duration::from_millis(10);

/// So much of what the system has to tell is heard at once. All of it is read before any of it is written ([`later`]), and what was read
/// is still at hand then. Where some have to take a second turn, both fit in before the runtime asks the system again (61 turns), or more
/// and more would lie there half done.
const EVENTS_AT_ONCE: usize = 16;

/// What the workers are told.
#[derive(Clone, Copy, Debug, Default)]
struct Order {
    stage: Stage,
    /// Another process has the listening sockets too: those who wait at them are left to it.
    others_have_the_door: bool,
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
    /// One for each connection that there may be.
    permits: Arc<Semaphore>,
    most: usize,
    ended: mpsc::UnboundedReceiver<()>,
    threads: Vec<JoinHandle<()>>,
    runtimes: Vec<runtime::Handle>,
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

    /// Goes on, but from here on every answer says that its connection ends with it. So clients leave as they are answered,
    /// and hardly one sends a request into a close.
    pub fn tell(&self) {
        self.reach(Stage::Telling);
    }

    /// Returns when no connection is left.
    pub async fn deserted(&self) {
        while self.permits.available_permits() < self.most {
            sleep(LOOK).await;
        }
    }

    /// Stops accepting. Idle connections are closed, the others after the answer they are at.
    pub fn drain(&self) {
        self.reach(Stage::Closing);
    }

    /// Stops accepting, since another process has taken the listening sockets over. Idle connections stay for now.
    pub fn leave(&mut self) {
        self.leave_sockets();
        self.reach(Stage::Shut);
    }

    /// Whoever waits at the sockets when they are closed is left to another process, and so are the sockets' files.
    pub fn leave_sockets(&mut self) {
        self.orders.send_modify(|order| order.others_have_the_door = true);
        self.files.drain(..).for_each(SocketFile::leave);
    }

    /// Its listening sockets, for another process to take over.
    pub fn handover(&self) -> Handover {
        self.handover.clone()
    }

    /// How many tasks its workers have: one for each connection, for each stream of HTTP/2, and a few of their own.
    pub fn tasks(&self) -> usize {
        self.runtimes.iter().map(|runtime| runtime.metrics().num_alive_tasks()).sum()
    }

    fn reach(&self, stage: Stage) {
        if stage >= Stage::Shut {
            self.handover.close();
        }
        self.orders.send_modify(|order| order.stage = if stage > order.stage { stage } else { order.stage });
    }

    /// Closes everything at once.
    pub fn cut(&self) {
        self.reach(Stage::Cut);
    }

    /// Returns when a worker has ended: because it drained, was cut, or died.
    pub async fn any_ended(&mut self) {
        self.ended.recv().await;
    }

    /// Returns when all workers have ended.
    pub async fn all_ended(&mut self) {
        while self.ended.recv().await.is_some() {}
    }

    /// Waits for the threads, which have nothing more to do, but not for ever: one that stands still is left behind. An error
    /// names a worker that does, or that died.
    pub async fn join(mut self, patience: Duration) -> io::Result<()> {
        self.files.clear();
        let all = timeout(patience, self.all_ended()).await.is_ok();
        for thread in self.threads {
            let name = thread.thread().name().unwrap_or("worker").to_owned();
            if !all && !thread.is_finished() {
                return Err(io::Error::other(format!("{name} stands still")));
            }
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
    let (orders, _) = watch::channel(Order::default());
    let handover = Handover::of(&listeners)?;
    let (alive, ended) = mpsc::unbounded_channel();
    let most = options.max_connections.min(Semaphore::MAX_PERMITS);
    let permits = Arc::new(Semaphore::new(most));
    let (mut threads, mut runtimes) = (Vec::new(), Vec::new());
    for number in 0..options.workers.max(1) {
        let gates = listeners.iter_mut().enumerate().filter_map(|(number, l)| Gate::of(number, l)).collect::<Vec<_>>();
        let (make, options, permits) = (make.clone(), options.clone(), Arc::clone(&permits));
        let (orders, alive) = (orders.subscribe(), alive.clone());
        let (begun, has_begun) = sync_channel(1);
        let thread = thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            let _alive = Alive(alive);
            let built = runtime::Builder::new_current_thread()
                .enable_all()
                .max_io_events_per_tick(EVENTS_AT_ONCE)
                .build_local(runtime::LocalOptions::default());
            match built {
                Ok(runtime) => {
                    let _ = begun.send(Ok(runtime.handle().clone()));
                    runtime.block_on(work(gates, options, permits, orders, || make(number)));
                }
                Err(error) => drop(begun.send(Err(error))),
            }
        })?;
        runtimes.push(has_begun.recv().map_err(io::Error::other)??);
        threads.push(thread);
    }
    let rest = listeners.into_iter().map(Listener::into_rest).collect::<io::Result<Vec<_>>>()?;
    let (places, files): (Vec<_>, Vec<_>) = rest.into_iter().unzip();
    let addrs = places.iter().filter_map(Place::addr).collect();
    let files = files.into_iter().flatten().collect();
    Ok(Running { places, addrs, files, handover, orders, permits, most, ended, threads, runtimes })
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
        date: Date::default(),
        room: Room::default(),
        under_way: UnderWay::at_most(options.max_requests()),
        options: Rc::new(options),
        drain: Rc::new(Drain::default()),
        handshakes: Semaphore::new(tls.as_deref().map_or(0, Tls::max_handshakes)),
        tls,
    });
    let accepting =
        gates.into_iter().map(|g| spawn_local(accept(g, Rc::clone(&shared), Arc::clone(&permits), orders.clone())));
    let accepting = accepting.collect::<Vec<_>>();
    spawn_local(later::carry());
    spawn_local(tick(Rc::clone(&shared)));
    let service = Rc::clone(&shared.service);
    spawn_local(async move { service.follow().await });
    until(&orders, Stage::Telling).await;
    shared.drain.reach(Stage::Telling);
    until(&orders, Stage::Shut).await;
    for task in accepting {
        // A listener that panicked has nothing left to drain.
        let _ = task.await;
    }
    tokio::select! {
        () = drain(&shared.drain, &orders) => {}
        () = until(&orders, Stage::Cut) => {}
    }
    shared.service.tick();
}

/// Waits until nobody is left, and sends those away who have nothing under way when it is time for that.
async fn drain(drain: &Drain, orders: &watch::Receiver<Order>) {
    drain.reach(Stage::Shut);
    tokio::select! {
        () = drain.done() => return,
        () = until(orders, Stage::Closing) => {}
    }
    drain.reach(Stage::Closing);
    drain.done().await;
}

/// Returns when they are to be at this stage, or nobody is left to say so.
async fn until(orders: &watch::Receiver<Order>, stage: Stage) {
    let _ = orders.clone().wait_for(|order| order.stage >= stage).await;
}

async fn tick<S: Service>(shared: Rc<Shared<S>>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        shared.date.update();
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
    let mut stop = std::pin::pin!(until(&orders, Stage::Shut));
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
    let queue = if orders.borrow().others_have_the_door { gate.leave() } else { gate.close() };
    if let Some(accepted) = waiting {
        // It was taken out of the queue, where nobody else finds it. There is room for it when another has gone.
        let counted = shared.drain.enter_task().await;
        let (shared, permits) = (Rc::clone(&shared), Arc::clone(&permits));
        spawn_local(async move {
            if let Ok(permit) = permits.acquire_owned().await {
                arrival::serve(accepted, shared, permit).await;
                drop(counted);
            }
        });
    }
    for accepted in queue {
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else { return };
        spawn(accepted, &shared, permit);
    }
}

fn spawn<S: Service>(accepted: Accepted, shared: &Rc<Shared<S>>, permit: OwnedSemaphorePermit) {
    spawn_local(arrival::serve(accepted, Rc::clone(shared), permit));
}

/// Out of file descriptors, most likely: trying again at once would only burn the processor.
async fn pause(error: &io::Error) {
    tracing::warn!(%error, "a connection could not be accepted");
    sleep(ACCEPT_PAUSE).await;
}

#[cfg(test)]
mod tests {
    use std::{
        future::ready,
        io::Write,
        net::TcpStream,
        sync::{Mutex, mpsc as channel},
    };

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;

    use super::*;
    use crate::{
        config::sections,
        server::Arrival,
        web::{Answer, Refusal, RequestBody, RequestTimer},
    };

    /// Holds its whole thread up as soon as it is asked for something, until there is nobody any more who could let it go.
    #[derive(Clone)]
    struct StandsStill {
        begun: channel::Sender<()>,
        go: Arc<Mutex<channel::Receiver<()>>>,
    }

    impl Service for StandsStill {
        type Conn = ();
        type Tunnel = ();
        type Body = Full<Bytes>;

        fn connected(&self, _: Arrival) {}

        fn call<'a>(
            &'a self,
            _: &mut Request<RequestBody>,
            _: &'a Rc<()>,
            _: RequestTimer,
        ) -> impl Future<Output = Answer<Full<Bytes>>> + use<'a> {
            self.begun.send(()).unwrap();
            let _ = self.go.lock().unwrap().recv();
            ready(Response::default().into())
        }

        fn refuse(&self, _: Refusal, (): &()) -> Response<Bytes> {
            Response::default()
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_ever_for_a_worker_that_stands_still() {
        let (begun, has_begun) = channel::channel();
        let (_let_go, go) = channel::channel();
        let service = StandsStill { begun, go: Arc::new(Mutex::new(go)) };
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap();
        let options = Options { workers: 1, ..Options::from_section(&sections::Server::default()) };
        let running = start(vec![listener], &options, move |_| service.clone()).unwrap();
        let mut client = TcpStream::connect(running.addrs()[0]).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n").unwrap();
        has_begun.recv().unwrap();
        running.cut();
        let error = running.join(Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(error.to_string(), "worker-0 stands still");
    }
}
