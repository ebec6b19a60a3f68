//! Which of an app's two secrets is sent. While one is changed there are two, and only the platform knows which of them
//! counts: what the one is refused for is tried once with the other, and the one that worked last goes first from then on.

use std::{
    fmt,
    future::Future,
    sync::atomic::{AtomicU8, Ordering},
};

use super::{Error, Refusal};
use crate::{
    config::sections,
    model::{AppId, AppSecret},
};

/// What an operator is told when neither works.
const MEND_BOTH: &str =
    "check this app's `secret` and `other_secret` in [[apps]]: neither is taken, each is frozen or not this AppID's";

/// The secrets of one app.
pub(crate) struct Secrets {
    app: AppId,
    secret: AppSecret,
    other: Option<AppSecret>,
    /// The numbers by which the platform says that a secret is wrong, or not to be used any more.
    wrong: &'static [i64],
    /// The key of the one that worked last; see [`Key::coded`].
    worked: AtomicU8,
}

/// Under which key of `[[apps]]` a secret stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Secret,
    OtherSecret,
}

impl Secrets {
    /// The secrets of `app`, where the platform calls one wrong with any of these numbers.
    pub(crate) fn of(app: &sections::App, wrong: &'static [i64]) -> Self {
        let (secret, other) = (app.secret.clone(), app.other_secret.clone());
        Self { app: app.app_id.clone(), secret, other, wrong, worked: AtomicU8::new(0) }
    }

    /// Begins with what was known of the same app's secrets before: one that worked goes first under whatever key it
    /// stands now.
    pub(crate) fn recall(&self, before: &Self) {
        let Some(worked) = before.worked().and_then(|key| before.get(key)) else { return };
        let key = [Key::Secret, Key::OtherSecret].into_iter().find(|key| self.get(*key) == Some(worked));
        self.worked.store(key.map_or(0, Key::coded), Ordering::Relaxed);
    }

    /// Asks with the secret that worked last and, where the platform calls that one wrong, once more with the other. A
    /// code that the first of the two has burnt is no fault of the client: it gets the answer that makes it bring a new one.
    pub(crate) async fn send<'s, T, F>(&'s self, ask: impl Fn(&'s AppSecret) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let first = self.worked().unwrap_or(Key::Secret);
        let answer = ask(self.get(first).unwrap_or(&self.secret)).await;
        let second = first.opposite();
        match (&answer, self.get(second)) {
            (Err(error), Some(secret)) if self.is_wrong(error).is_some() => self.settle(second, ask(secret).await),
            (Ok(_), Some(_)) => {
                self.note(first);
                answer
            }
            _ => answer,
        }
    }

    /// What a second secret came to. That the platform has looked at the code shows that it took the secret.
    fn settle<T>(&self, key: Key, answer: Result<T, Error>) -> Result<T, Error> {
        if matches!(answer, Ok(_) | Err(Error::CodeInvalid(_) | Error::CodeUsed(_) | Error::UserBlocked(_))) {
            self.note(key);
        }
        match answer {
            Err(Error::CodeUsed(refusal)) => Err(Error::CodeInvalid(refusal)),
            Err(error) => match self.is_wrong(&error) {
                Some(refusal) => Err(Error::Misconfigured { refusal: refusal.clone(), mend: MEND_BOTH }),
                None => Err(error),
            },
            answer => answer,
        }
    }

    /// Notes which one works, and says so when it is another than before: an operator waits for that line.
    fn note(&self, key: Key) {
        if self.worked.swap(key.coded(), Ordering::Relaxed) != key.coded() {
            tracing::info!(app = %self.app, key = key.name(), "the AppSecret of this key is the one that works");
        }
    }

    fn is_wrong<'e>(&self, error: &'e Error) -> Option<&'e Refusal> {
        error.refusal().filter(|refusal| self.wrong.contains(&refusal.errcode))
    }

    fn worked(&self) -> Option<Key> {
        match self.worked.load(Ordering::Relaxed) {
            1 => Some(Key::Secret),
            2 => Some(Key::OtherSecret),
            _ => None,
        }
    }

    fn get(&self, key: Key) -> Option<&AppSecret> {
        match key {
            Key::Secret => Some(&self.secret),
            Key::OtherSecret => self.other.as_ref(),
        }
    }
}

impl Key {
    /// As [`Secrets::worked`] holds it; 0 is that nobody knows yet.
    fn coded(self) -> u8 {
        match self {
            Self::Secret => 1,
            Self::OtherSecret => 2,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::OtherSecret => "other_secret",
        }
    }

    fn opposite(self) -> Self {
        match self {
            Self::Secret => Self::OtherSecret,
            Self::OtherSecret => Self::Secret,
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("app", &self.app).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Mutex};

    use super::*;

    const WRONG: i64 = 40125;

    type Answered = Result<&'static str, Error>;

    fn secrets(other: Option<&str>) -> Secrets {
        let app_id = AppId::parse("wx1").unwrap();
        let mut app = sections::App::new(app_id, AppSecret::new("a"), "https://wechat.test".parse().unwrap());
        app.other_secret = other.map(AppSecret::new);
        Secrets::of(&app, &[WRONG])
    }

    fn no(errcode: i64) -> Refusal {
        Refusal { errcode, rid: None }
    }

    fn wrong() -> Answered {
        Err(Error::Misconfigured { refusal: no(WRONG), mend: "one" })
    }

    /// Sends, where `a` and `b` are answered so. What came of it, and which were asked in what order.
    async fn send(secrets: &Secrets, a: Answered, b: Answered) -> (Answered, String) {
        let asked = Mutex::new(String::new());
        let answer = secrets.send(|secret| {
            asked.lock().unwrap().push_str(secret.expose());
            std::future::ready(if secret.expose() == "a" { a.clone() } else { b.clone() })
        });
        let answer = answer.await;
        (answer, asked.into_inner().unwrap())
    }

    #[tokio::test]
    async fn one_that_is_refused_is_followed_by_the_other_which_goes_first_from_then_on() {
        let secrets = secrets(Some("b"));
        assert_eq!(send(&secrets, Ok("in"), wrong()).await, (Ok("in"), "a".into()));
        assert_eq!(send(&secrets, wrong(), Ok("in")).await, (Ok("in"), "ab".into()));
        assert_eq!(send(&secrets, wrong(), Ok("in")).await, (Ok("in"), "b".into()));
        assert_eq!(send(&secrets, Ok("in"), wrong()).await, (Ok("in"), "ba".into()));
    }

    #[tokio::test]
    async fn a_second_one_that_comes_to_look_at_the_code_was_taken_and_a_burnt_code_is_our_doing() {
        for (b, told) in [
            (Error::CodeUsed(no(40163)), Error::CodeInvalid(no(40163))),
            (Error::CodeInvalid(no(40029)), Error::CodeInvalid(no(40029))),
            (Error::UserBlocked(no(40226)), Error::UserBlocked(no(40226))),
        ] {
            let secrets = secrets(Some("b"));
            assert_eq!(send(&secrets, wrong(), Err(b)).await, (Err(told), "ab".into()));
            assert_eq!(send(&secrets, wrong(), Ok("in")).await.1, "b");
        }
        for b in [Error::Timeout, Error::Busy(no(-1)), Error::RateLimited(no(45011))] {
            let secrets = secrets(Some("b"));
            assert_eq!(send(&secrets, wrong(), Err(b.clone())).await, (Err(b), "ab".into()));
            assert_eq!(send(&secrets, Ok("in"), wrong()).await.1, "a", "nothing was learnt");
        }
    }

    #[tokio::test]
    async fn garbage_from_clients_does_not_change_which_one_goes_first() {
        let secrets = secrets(Some("b"));
        send(&secrets, wrong(), Ok("in")).await.0.unwrap();
        for code in [40029, 40163] {
            assert_eq!(send(&secrets, wrong(), Err(Error::CodeInvalid(no(code)))).await.1, "b");
        }
        assert_eq!(send(&secrets, wrong(), Ok("in")).await.1, "b");
    }

    #[tokio::test]
    async fn two_wrong_ones_name_both_keys_and_one_alone_is_not_sent_twice() {
        let (answer, asked) = send(&secrets(Some("b")), wrong(), wrong()).await;
        assert_eq!((answer, asked.as_str()), (Err(Error::Misconfigured { refusal: no(WRONG), mend: MEND_BOTH }), "ab"));
        assert_eq!(send(&secrets(None), wrong(), Ok("in")).await, (wrong(), "a".into()));
    }

    #[tokio::test]
    async fn what_worked_is_recalled_under_whatever_key_it_stands() {
        let before = secrets(Some("b"));
        send(&before, wrong(), Ok("in")).await.0.unwrap();
        let app = |secret: &str, other: &str| {
            let app_id = AppId::parse("wx1").unwrap();
            let mut app = sections::App::new(app_id, AppSecret::new(secret), "https://wechat.test".parse().unwrap());
            app.other_secret = Some(AppSecret::new(other));
            app
        };
        for (secret, other, first) in [("a", "b", "b"), ("b", "a", "b"), ("c", "a", "c"), ("a", "c", "a")] {
            let now = Secrets::of(&app(secret, other), &[WRONG]);
            now.recall(&before);
            assert_eq!(send(&now, Ok("in"), Ok("in")).await.1, first, "{secret} {other}");
        }
    }

    #[tokio::test]
    async fn which_one_works_is_told_by_its_key_once_per_change_and_not_where_there_is_one() {
        let (reader, writer) = io::pipe().unwrap();
        let subscriber = tracing_subscriber::fmt().with_writer(Mutex::new(writer));
        let guard = tracing::subscriber::set_default(subscriber.finish());
        let two = secrets(Some("b"));
        for (a, b) in [(Ok(""), wrong()), (Ok(""), wrong()), (wrong(), Ok("")), (wrong(), Ok("")), (Ok(""), wrong())] {
            send(&two, a, b).await.0.unwrap();
        }
        send(&secrets(None), Ok(""), wrong()).await.0.unwrap();
        drop(guard);
        let said = io::read_to_string(reader).unwrap();
        let plain =
            |line: &str| line.contains("the AppSecret of this key is the one that works") && line.contains("wx1");
        let keys: Vec<bool> =
            said.lines().filter(|line| plain(line)).map(|line| line.contains("other_secret")).collect();
        assert_eq!(keys, [false, true, false], "{said}");
    }

    #[test]
    fn no_secret_is_printed() {
        assert_eq!(format!("{:?}", secrets(Some("hunter2"))), "Secrets { app: AppId(wx1), .. }");
    }
}
