//! How many requests of a route one address may send, and how many one user; and how many tunnels one user may have open.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use http::Method;
use tokio::time::sleep;

use super::{
    budgets::Budgets,
    forward::Forward,
    network::{Network, Prefix},
    places::{Places, UserPlace},
};
use crate::{
    config::sections::{HostPattern, Limits, Route},
    model::{Clock, UserKey},
};

/// Addresses or users that one limit remembers at once: those whose budget is not whole. Some 10 MB for addresses and
/// 20 MB for users, where so many come.
const ROOM: usize = 200_000;

/// When to come back if too many tunnels are open. It can't be known when one will end; soon, where it was left.
const WHEN_FULL: Duration = Duration::from_secs(1);

/// Between two sweeps.
const SWEEP_REST: Duration = Duration::from_secs(5);

/// The request may not go on now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a limit of the route was reached: {whose}")]
pub struct RouteLimited {
    /// Which limit it was.
    pub whose: Whose,
    /// When the next one may. Exact for a budget; whoever sends whole seconds rounds up.
    pub retry_after: Duration,
}

/// By what a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// By the client's address.
    Address,
    /// By the user, which is the app and the openid.
    User,
    /// By the user's open tunnels.
    WebSockets,
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "limit_per_ip",
            Self::User => "limit_per_user",
            Self::WebSockets => "websocket_per_user",
        })
    }
}

/// The limits of all routes. One for the process.
#[derive(Debug)]
pub struct RouteLimits {
    /// By the route's place in the configuration. Most have none, and pay for a look at that.
    routes: Vec<Option<Box<Limiters>>>,
    /// What is still open of routes that are no more, or take no tunnels any more: they may be back tomorrow.
    gone: Vec<(Route, Arc<Places>)>,
    prefix: Prefix,
    clock: Forward,
}

/// The limits of one route.
#[derive(Debug)]
struct Limiters {
    of: Route,
    addresses: Option<Arc<Budgets<Network>>>,
    users: Option<Arc<Budgets<UserKey>>>,
    sockets: Arc<Places>,
}

impl RouteLimits {
    /// Whole budgets for everybody.
    pub fn new(routes: &[Route], section: &Limits, clock: Arc<dyn Clock>) -> Self {
        let clock = Forward::new(clock);
        let limiters = |route: &Route| is_counted(route).then(|| Box::new(Limiters::new(route, &clock)));
        let routes = routes.iter().map(limiters).collect();
        Self { routes, gone: Vec::new(), prefix: Prefix::of_bits(section.ipv6_prefix), clock }
    }

    /// The limits of another configuration. A budget goes on where it is of the same requests, and its rule is the same;
    /// what is open counts whatever the rule.
    #[must_use]
    pub fn changed_to(&self, routes: &[Route], section: &Limits) -> Self {
        let prefix = Prefix::of_bits(section.ipv6_prefix);
        let before: HashMap<_, _> =
            self.routes.iter().flatten().map(|limiters| (requests_of(&limiters.of), limiters)).collect();
        let counted = self.routes.iter().flatten().map(|limiters| (&limiters.of, &limiters.sockets));
        let counted = || counted.clone().chain(self.gone.iter().map(|(route, open)| (route, open)));
        let open: HashMap<_, _> = counted().map(|(route, open)| (requests_of(route), open)).collect();
        let limiters = |route: &Route| {
            let mut limiters = Limiters::new(route, &self.clock);
            if let Some(open) = open.get(&requests_of(route)) {
                limiters.sockets = Arc::clone(open);
            }
            if let Some(before) = before.get(&requests_of(route)) {
                if before.of.limit_per_ip == route.limit_per_ip && prefix == self.prefix {
                    limiters.addresses.clone_from(&before.addresses);
                }
                if before.of.limit_per_user == route.limit_per_user {
                    limiters.users.clone_from(&before.users);
                }
            }
            Box::new(limiters)
        };
        let stays: HashSet<_> = routes.iter().filter(|route| is_counted(route)).map(requests_of).collect();
        let gone = counted().filter(|(route, open)| !stays.contains(&requests_of(route)) && !open.is_empty());
        let gone = gone.map(|(route, open)| (route.clone(), Arc::clone(open))).collect();
        let routes = routes.iter().map(|route| is_counted(route).then(|| limiters(route))).collect();
        Self { routes, gone, prefix, clock: self.clock.clone() }
    }

    /// Lets one request of this route from `ip` through, or says when to come back. `ip` is the client's, as the trusted
    /// proxies tell it.
    pub fn enter_from(&self, route: usize, ip: IpAddr) -> Result<(), RouteLimited> {
        let Some(addresses) = self.of(route).and_then(|limiters| limiters.addresses.as_ref()) else { return Ok(()) };
        let taken = addresses.take(&Network::of(ip, self.prefix));
        taken.map_err(|retry_after| RouteLimited { whose: Whose::Address, retry_after })
    }

    /// Lets one request of this route by `user` through, or says when to come back.
    pub fn enter_as(&self, route: usize, user: &UserKey) -> Result<(), RouteLimited> {
        let Some(users) = self.of(route).and_then(|limiters| limiters.users.as_ref()) else { return Ok(()) };
        users.take(user).map_err(|retry_after| RouteLimited { whose: Whose::User, retry_after })
    }

    /// A place for one WebSocket of this route by `user`. It is counted also where the route does not say how many there may be:
    /// another configuration may.
    pub fn enter_websocket(&self, route: usize, user: &UserKey) -> Result<Option<UserPlace>, RouteLimited> {
        let Some(limiters) = self.of(route) else { return Ok(None) };
        let most = limiters.of.websocket_per_user.unwrap_or(usize::MAX);
        let place = limiters.sockets.take(user, most);
        place.map(Some).ok_or(RouteLimited { whose: Whose::WebSockets, retry_after: WHEN_FULL })
    }

    /// Forgets budgets that are whole again, for as long as it is polled. Never ends by itself.
    pub async fn keep_house(&self) {
        loop {
            sleep(SWEEP_REST).await;
            self.sweep();
        }
    }

    fn sweep(&self) {
        for limiters in self.routes.iter().flatten() {
            limiters.addresses.iter().for_each(|budgets| budgets.sweep());
            limiters.users.iter().for_each(|budgets| budgets.sweep());
        }
    }

    fn of(&self, route: usize) -> Option<&Limiters> {
        self.routes.get(route)?.as_deref()
    }
}

impl Limiters {
    fn new(route: &Route, clock: &Forward) -> Self {
        Self {
            of: route.clone(),
            addresses: route.limit_per_ip.map(|rate| Arc::new(Budgets::new(rate, clock.clone(), ROOM))),
            users: route.limit_per_user.map(|rate| Arc::new(Budgets::new(rate, clock.clone(), ROOM))),
            sockets: Arc::default(),
        }
    }
}

/// Whether anything is counted of a route. Tunnels always are.
fn is_counted(route: &Route) -> bool {
    route.limit_per_ip.is_some() || route.limit_per_user.is_some() || route.websocket
}

/// Which requests fall under a route; no two are alike in this.
fn requests_of(route: &Route) -> (Option<&HostPattern>, &str, Option<&[Method]>) {
    (route.host.as_ref(), &route.path, route.methods.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::sections::Rate,
        model::{AppId, ManualClock, OpenId, Timestamp},
    };

    const SECOND: Duration = Duration::from_secs(1);

    fn rate(count: u32) -> Rate {
        Rate { count: count.try_into().unwrap(), per: SECOND }
    }

    fn user(app: &str, openid: &str) -> UserKey {
        UserKey { app: AppId::parse(app).unwrap(), openid: OpenId::parse(openid).unwrap() }
    }

    /// Three per address on the first route, two per user on the second, nothing on the third.
    fn limits() -> (RouteLimits, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000)));
        let routes = [
            Route { limit_per_ip: Some(rate(3)), ..Route::new("/a", "app") },
            Route { limit_per_user: Some(rate(2)), ..Route::new("/b", "app") },
            Route::new("/c", "app"),
        ];
        (RouteLimits::new(&routes, &Limits::default(), clock.clone()), clock)
    }

    fn from(limits: &RouteLimits, route: usize, ip: &str) -> usize {
        (0..9).filter(|_| limits.enter_from(route, ip.parse().unwrap()).is_ok()).count()
    }

    fn by(limits: &RouteLimits, route: usize, user: &UserKey) -> usize {
        (0..9).filter(|_| limits.enter_as(route, user).is_ok()).count()
    }

    #[test]
    fn each_limit_holds_for_its_route_and_for_what_it_counts_by() {
        let (limits, _) = limits();
        let alice = user("wx1", "oAlice");
        assert_eq!([0, 1, 2, 7].map(|route| from(&limits, route, "192.0.2.1")), [3, 9, 9, 9]);
        assert_eq!([0, 1, 2, 7].map(|route| by(&limits, route, &alice)), [9, 2, 9, 9]);
        assert_eq!(from(&limits, 0, "192.0.2.2"), 3);
    }

    #[test]
    fn one_openid_in_two_apps_is_two_users() {
        let (limits, _) = limits();
        assert_eq!(by(&limits, 1, &user("wx1", "oAlice")), 2);
        assert_eq!(by(&limits, 1, &user("wx2", "oAlice")), 2);
        assert_eq!(by(&limits, 1, &user("wx", "1oAlice")), 2);
        assert_eq!(by(&limits, 1, &user("wx1", "oAlice")), 0);
    }

    #[test]
    fn who_is_refused_hears_which_limit_it_was_and_when_to_come_back() {
        let (limits, clock) = limits();
        from(&limits, 0, "192.0.2.1");
        by(&limits, 1, &user("wx1", "oAlice"));
        let refused = limits.enter_from(0, "192.0.2.1".parse().unwrap()).unwrap_err();
        assert_eq!((refused.whose, refused.retry_after.as_millis()), (Whose::Address, 333));
        let refused = limits.enter_as(1, &user("wx1", "oAlice")).unwrap_err();
        assert_eq!(refused, RouteLimited { whose: Whose::User, retry_after: Duration::from_millis(500) });
        clock.advance(Duration::from_millis(500));
        assert_eq!(by(&limits, 1, &user("wx1", "oAlice")), 1);
    }

    #[test]
    fn a_budget_goes_on_where_its_route_and_its_rule_stay_the_same() {
        let (limits, _) = limits();
        let alice = user("wx1", "oAlice");
        assert_eq!((from(&limits, 0, "192.0.2.1"), by(&limits, 1, &alice)), (3, 2));
        let routes = [
            Route::new("/new", "app"),
            Route { limit_per_ip: Some(rate(3)), ..Route::new("/a", "other") },
            Route { limit_per_user: Some(rate(4)), ..Route::new("/b", "app") },
        ];
        let changed = limits.changed_to(&routes, &Limits::default());
        assert_eq!((from(&changed, 1, "192.0.2.1"), by(&changed, 2, &alice)), (0, 4));
        let wider = changed.changed_to(&routes, &Limits { ipv6_prefix: 48, ..Limits::default() });
        assert_eq!((from(&wider, 1, "192.0.2.1"), by(&wider, 2, &alice)), (3, 0));
    }

    #[test]
    fn a_sweep_forgets_what_is_whole_again() {
        let (limits, clock) = limits();
        from(&limits, 0, "192.0.2.1");
        by(&limits, 1, &user("wx1", "oAlice"));
        let remembered = |limits: &RouteLimits| {
            let limiterss = limits.routes.iter().flatten();
            limiterss
                .map(|limiters| {
                    limiters.addresses.as_ref().map_or(0, |all| all.len())
                        + limiters.users.as_ref().map_or(0, |all| all.len())
                })
                .sum::<usize>()
        };
        limits.sweep();
        assert_eq!(remembered(&limits), 2);
        clock.advance(2 * SECOND);
        limits.sweep();
        assert_eq!(remembered(&limits), 0);
    }

    #[test]
    fn tunnels_count_whatever_configurations_come_between() {
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000)));
        let route = |websocket_per_user| Route { websocket: true, websocket_per_user, ..Route::new("/ws", "app") };
        let [limited, free] = [[route(Some(2))], [route(None)]];
        let without = [Route { websocket: false, ..route(None) }];
        let elsewhere = [Route::new("/other", "app"), route(None)];
        let alice = user("wx1", "oAlice");
        let all: [&[&[Route]]; 5] = [&[&[]], &[&without], &[&free], &[&[], &without, &[]], &[&elsewhere, &[]]];
        for between in all {
            let limits = RouteLimits::new(&limited, &Limits::default(), clock.clone());
            let open = [(); 2].map(|()| limits.enter_websocket(0, &alice).unwrap());
            let change = |limits: RouteLimits, routes: &&[Route]| limits.changed_to(routes, &Limits::default());
            let back = between.iter().fold(limits, change).changed_to(&limited, &Limits::default());
            assert_eq!(back.enter_websocket(0, &alice).unwrap_err().whose, Whose::WebSockets, "{between:?}");
            drop(open);
            assert!(back.enter_websocket(0, &alice).is_ok(), "{between:?}");
            assert_eq!(back.changed_to(&[], &Limits::default()).gone.len(), 0, "nothing is open");
        }
    }
}
