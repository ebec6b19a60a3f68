//! The same bytes through one gateway to two real servers: what one of them takes for a request, the other does too, and
//! what wxgate refuses neither of them hears.
//!
//! The bytes are made from a seed, which is printed. `TWO_SERVERS_SEED=… cargo test --test it two_servers` tells that
//! story again.

mod cases;
mod servers;

use std::io;

use rand::{SeedableRng, rngs::SmallRng};
use wxgate::{
    config::{
        Config,
        sections::{AuthRule, HostPattern, Route, Upstream},
    },
    model::{Entropy, SystemEntropy},
};

use crate::support::{APP, Reply, TestGateway, until};
use cases::{Case, SMUGGLED};
use servers::{Backend, Heard};

const CASES: usize = 400;
const FORWARDED: &str = "an answer from behind, 200";

/// What became of a case at one of the servers.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    answers: Vec<String>,
    heard: Vec<Heard>,
}

struct Scene {
    gw: TestGateway,
    token: String,
    /// Each with the letter that its name begins with.
    backends: [(char, Backend); 2],
}

impl Scene {
    fn start() -> Self {
        let backends = [('a', Backend::nginx()), ('b', Backend::node())];
        let gw = TestGateway::with(|config| {
            config.routes.clear();
            for (letter, backend) in &backends {
                lead_to(config, *letter, backend);
            }
            // One worker, so that an honest request takes the connection on which something else may have been left.
            config.server.workers = 1;
            let soon = std::time::Duration::from_secs(2);
            (config.server.header_timeout, config.server.body_timeout) = (soon, soon);
        });
        let code = gw.code("oAlice");
        let login = gw.client().post("/v1/verify", &format!(r#"{{"jsCode":"{code}","appId":"{APP}"}}"#));
        let token = login.json()["token"].as_str().unwrap().to_owned();
        Self { gw, token, backends }
    }

    /// Sends a case to one server, and an honest request behind it, which tells when all of it must have come.
    fn play(&self, case: &Case, (letter, backend): &(char, Backend)) -> Outcome {
        let before = backend.heard().len();
        let answers = self.answers(&case.to(*letter, &self.token));
        let honest = format!("/public/honest-{before}");
        let mut client = self.gw.client().calling(&format!("{letter}.example.com"));
        assert_eq!(client.get(&honest).status, 200, "an honest request after {case}");
        let mut heard = until("the honest request", || {
            let heard = backend.heard().split_off(before);
            heard.iter().any(|heard| heard.target == honest).then_some(heard)
        });
        heard.retain(|heard| heard.target != honest);
        for heard in &mut heard {
            heard.body = heard.body.replace(&format!("{letter}.example"), "x.example");
        }
        Outcome { answers, heard }
    }

    /// Every answer on a connection of its own, up to its end.
    fn answers(&self, bytes: &str) -> Vec<String> {
        let mut client = self.gw.client();
        client.send(bytes);
        let mut answers = Vec::new();
        loop {
            match client.try_reply("POST") {
                Ok(reply) => answers.push(what(&reply)),
                Err(end) if end.kind() == io::ErrorKind::UnexpectedEof => return answers,
                Err(error) => panic!("{error} instead of an end after {answers:?}: {}", bytes.escape_debug()),
            }
        }
    }
}

/// Everything under the name with this letter goes to this server.
fn lead_to(config: &mut Config, letter: char, backend: &Backend) {
    let (name, host) = (letter.to_string(), HostPattern::Exact(format!("{letter}.example.com")));
    config.upstreams.push(Upstream::new(&name, vec![backend.address()]));
    for (path, auth) in
        [("/orders/", AuthRule::Required), ("/maybe/", AuthRule::Optional), ("/public/", AuthRule::None)]
    {
        config.routes.push(Route { auth, host: Some(host.clone()), ..Route::new(path, &name) });
    }
}

fn what(reply: &Reply) -> String {
    let is_forwarded = reply.headers.iter().any(|(name, _)| name == "via");
    if is_forwarded { format!("an answer from behind, {}", reply.status) } else { reply.verdict() }
}

/// Each request that was heard has its answer, every other answer is a refusal of ours, and nobody was taken in.
fn is_sound(case: &Case, Outcome { answers, heard }: &Outcome) {
    let (passed, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| *answer == FORWARDED);
    assert_eq!(passed.len(), heard.len(), "{answers:?} for {heard:#?} of {case}");
    assert!(refused.iter().all(|answer| answer.starts_with('4')), "{answers:?} to {case}");
    let alice = [&format!("x-wx-appid: {APP}"), "x-wx-openid: oAlice", "x-wx-source: wx_client"];
    for heard in heard {
        let identity = heard.identity();
        let (may_be_known, may_be_nobody) =
            (!heard.place.starts_with("/public/"), !heard.place.starts_with("/orders/"));
        let is_right = (may_be_known && identity == alice) || (may_be_nobody && identity.is_empty());
        assert!(is_right && ["", SMUGGLED].contains(&heard.body.as_str()), "{heard:#?} of {case}");
        let path = heard.target.split('?').next().unwrap_or_default();
        let text = format!("{path} {:?}", heard.headers);
        assert!(["smuggled", "evil", "wxg_"].iter().all(|word| !text.contains(word)), "{heard:#?} of {case}");
    }
}

#[test]
fn two_servers_take_the_same_bytes_for_the_same_requests() {
    let seed = option_env!("TWO_SERVERS_SEED").map_or_else(any_seed, |text| text.parse().unwrap());
    println!("TWO_SERVERS_SEED={seed}");
    let scene = Scene::start();
    let mut rng = SmallRng::seed_from_u64(seed);
    let (mut forwarded, mut refused) = (0, 0);
    for number in 0..CASES {
        let case = Case::new(number, &mut rng);
        let [one, other] = scene.backends.each_ref().map(|backend| scene.play(&case, backend));
        assert_eq!(one, other, "what came of case {number} of seed {seed} at nginx and at Node: {case}");
        is_sound(&case, &one);
        forwarded += one.heard.len();
        refused += one.answers.len() - one.heard.len();
    }
    assert!(forwarded > CASES / 2 && refused > CASES / 4, "{forwarded} were forwarded and {refused} refused");
}

fn any_seed() -> u64 {
    let mut bytes = [0; 8];
    SystemEntropy.fill(&mut bytes).unwrap();
    u64::from_ne_bytes(bytes)
}
