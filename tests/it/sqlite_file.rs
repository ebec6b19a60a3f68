//! The file that sessions rest in, as an operator meets it: whose it is, who may read it, and what is in it.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::Connection;
use tempfile::TempDir;
use wxgate::{
    model::{
        AppId, Identity, OpenId, SealKey, Secret, Session, SessionKey, SystemEntropy, Terms, Timestamp, TokenDigest,
        UnionId, UserKey, UserTag,
    },
    store::{Error, Notice, OpenError, Posting, ProfileRecord, Room, Sealer, Sqlite, Store},
};

const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);
const PAGE: usize = 4096;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn open(path: &Path) -> Result<Sqlite, OpenError> {
    let key = SealKey::generate(&SystemEntropy).expect("randomness");
    Sqlite::open(path, Arc::new(Sealer::new(&key, &[], Arc::new(SystemEntropy))))
}

/// What the operator reads when a file can't be opened, causes included.
fn refusal(path: &Path) -> String {
    let error = open(path).expect_err("it is refused");
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words.replace(&path.display().to_string(), "wxgate.db")
}

fn session(number: u32) -> Arc<Session> {
    let user = UserKey { app: AppId::parse("wx1").unwrap(), openid: OpenId::parse(&format!("o{number}")).unwrap() };
    let terms = Terms { idle: Duration::from_hours(1), lifetime: Duration::from_hours(9) };
    let mut digest = [0xd1; 32];
    digest[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b9).to_be_bytes());
    let digest = TokenDigest::new(digest);
    Arc::new(Session::begin(Identity { user, unionid: None }, digest, UserTag::new([7; 8]), terms, NOW))
}

async fn login(store: &Sqlite, number: u32, key: &str) -> Arc<Session> {
    let session = session(number);
    store.begin(&session, &SessionKey::new(key), 0, NOW).await.expect("a login");
    session
}

fn beside(path: &Path, what: &str) -> PathBuf {
    PathBuf::from(format!("{}-{what}", path.display()))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

// --- whose it is

#[test]
fn a_second_gateway_on_the_same_file_is_refused_until_the_first_has_gone() {
    let folder = folder();
    let path = folder.path().join("wxgate.db");
    let first = open(&path).unwrap();
    assert_eq!(
        refusal(&path),
        "wxgate.db is in use by another wxgate; give each a file of its own, or share sessions by [sessions.redis]"
    );
    drop(first);
    open(&path).unwrap();
}

/// A hard link stands for every other name that no path tells of, such as that of a file mounted alone into a container.
#[tokio::test]
async fn a_file_with_several_names_is_had_once() {
    let folder = folder();
    let path = folder.path().join("wxgate.db");
    let first = open(&path).unwrap();
    let [link, behind_a_link, other_name] =
        ["link.db", "folder/wxgate.db", "other.db"].map(|name| folder.path().join(name));
    symlink(&path, &link).unwrap();
    symlink(folder.path(), behind_a_link.parent().unwrap()).unwrap();
    fs::hard_link(&path, &other_name).unwrap();
    for name in [&link, &behind_a_link, &other_name] {
        let refused = open(name).expect_err("it is refused");
        assert!(matches!(refused, OpenError::Taken { path } if path == *name));
    }
    let session = login(&first, 1, "key").await;
    drop(first);
    for name in [link, behind_a_link, other_name] {
        let store = open(&name).unwrap();
        assert!(store.load(session.digest(), NOW).await.unwrap().is_some(), "{}", name.display());
    }
}

#[tokio::test]
async fn a_file_of_a_newer_wxgate_is_refused_and_stays_as_it_is_to_the_last_byte() {
    let folder = folder();
    let path = folder.path().join("wxgate.db");
    drop(open(&path).unwrap());
    // Left open, so that what it wrote is still in the log beside the file.
    let newer = Connection::open(&path).unwrap();
    newer.execute_batch("CREATE TABLE news (x); PRAGMA user_version = 99;").unwrap();
    let contents = || [fs::read(&path).unwrap(), fs::read(beside(&path, "wal")).unwrap()];
    let before = contents();
    assert!(!before[1].is_empty());
    assert_eq!(
        refusal(&path),
        "wxgate.db was written by a newer wxgate (version 99 of the file, this one knows up to 3); start that one, or \
         name another file"
    );
    assert!(contents() == before);
    drop(newer);
    let before = fs::read(&path).unwrap();
    refusal(&path);
    assert!(fs::read(&path).unwrap() == before, "the same without a log");
}

/// As the version before this one has left it, with what it had sealed.
#[tokio::test]
async fn a_file_of_an_older_wxgate_is_taken_over_with_all_that_is_in_it() {
    let folder = folder();
    let path = folder.path().join("wxgate.db");
    Connection::open(&path).unwrap().execute_batch(include_str!("stores/files/version_1.sql")).unwrap();
    let key = SealKey::parse(&Secret::new("07".repeat(32))).unwrap();
    let open = || Sqlite::open(&path, Arc::new(Sealer::new(&key, &[], Arc::new(SystemEntropy)))).unwrap();
    let user = |openid| UserKey { app: AppId::parse("wx1").unwrap(), openid: OpenId::parse(openid).unwrap() };
    let profile = ProfileRecord { version: 1, bytes: b"Anna".to_vec() };

    for restarted in [false, true] {
        let store = open();
        assert_eq!(store.count().await.unwrap(), 2);
        let bert = store.load(&TokenDigest::new([2; 32]), NOW).await.unwrap().expect("his session");
        assert_eq!(bert.identity().user, user("o-bert"));
        assert_eq!(bert.identity().unionid.as_ref().map(UnionId::as_str), Some("u-bert"));
        let key = store.session_key(&user("o-anna"), NOW).await.unwrap();
        assert_eq!(key.expect("a key").expose(), "tiihtNczf5v6AKRyjwEUhQ==");
        let before = store.profile(&user("o-anna")).await.unwrap();
        assert_eq!(before, restarted.then(|| profile.clone()));
        assert_eq!(store.put_profile(&user("o-anna"), None, &profile, None).await.unwrap().is_made(), !restarted);
    }
}

/// Profiles came with version 2 of the file, and what is to be told of them with version 3.
#[tokio::test]
async fn a_file_from_before_there_was_anything_to_be_told_keeps_its_profiles() {
    let folder = folder();
    let path = folder.path().join("wxgate.db");
    let key = SealKey::parse(&Secret::new("07".repeat(32))).unwrap();
    let open = || Sqlite::open(&path, Arc::new(Sealer::new(&key, &[], Arc::new(SystemEntropy)))).unwrap();
    let user = UserKey { app: AppId::parse("wx1").unwrap(), openid: OpenId::parse("o-anna").unwrap() };
    let profile = ProfileRecord { version: 1, bytes: b"Anna".to_vec() };
    let store = open();
    assert!(store.put_profile(&user, None, &profile, None).await.unwrap().is_made());
    drop(store);
    let before =
        "DROP TABLE notices; DROP TABLE waiting; ALTER TABLE counts DROP COLUMN notices; PRAGMA user_version = 2;";
    Connection::open(&path).unwrap().execute_batch(before).unwrap();
    let store = open();
    assert_eq!(store.profile(&user).await.unwrap(), Some(profile.clone()));
    let notice = Notice { id: [1; 16], made: NOW, bytes: b"told".to_vec() };
    let posting = Posting { notice, room: Room { per_user: 2, in_all: 10 }, supersedes: false };
    assert!(store.put_profile(&user, Some(1), &profile, Some(&posting)).await.unwrap().is_made());
    assert_eq!(store.waiting_notices().await.unwrap().notices, 1);
}

#[test]
fn the_file_of_another_application_is_refused_and_stays_as_it_is() {
    let folder = folder();
    let path = folder.path().join("wxgate.db");
    for sql in ["CREATE TABLE theirs (x)", "PRAGMA application_id = 7", "PRAGMA user_version = 1"] {
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let before = fs::read(&path).unwrap();
        assert_eq!(refusal(&path), "wxgate.db is a SQLite file of another application; name another file", "{sql}");
        assert!(fs::read(&path).unwrap() == before, "{sql}");
        fs::remove_file(&path).unwrap();
    }
}

// --- what is wrong with it

#[test]
fn what_is_no_sqlite_file_is_refused_and_stays_as_it_is() {
    let folder = folder();
    let path = folder.path().join("wxgate.db");
    let text = "these are my notes, and nobody else's\n".repeat(200);
    fs::write(&path, &text).unwrap();
    assert_eq!(
        refusal(&path),
        "wxgate.db is damaged, or no SQLite file; put a copy of it back, or move it away: everybody has to log in again \
         then: file is not a database: Error code 26: file is not a database"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn a_place_where_there_can_be_no_file_is_named_at_start() {
    let folder = folder();
    let words = "wxgate.db can't be opened for writing; is its folder there, writable, and not full?: ";
    let directory = folder.path().join("wxgate.db");
    fs::create_dir(&directory).unwrap();
    assert!(refusal(&directory).contains("can't be"), "{}", refusal(&directory));
    let file = folder.path().join("a-file");
    fs::write(&file, "").unwrap();
    let refused = refusal(&file.join("wxgate.db"));
    assert!(refused.starts_with(words), "{refused}");
    // A file system that nobody can write to, root included, which tests often are.
    let refused = refusal(Path::new("/proc/wxgate/wxgate.db"));
    assert!(refused.starts_with(words), "{refused}");
}

#[tokio::test]
async fn a_damaged_page_is_never_taken_for_a_missing_session() {
    let folder = folder();
    let path = folder.path().join("wxgate.db");
    let store = open(&path).unwrap();
    let mut sessions = Vec::new();
    for number in 0..600 {
        sessions.push(login(&store, number, "key").await);
    }
    drop(store);
    let whole = fs::read(&path).unwrap();
    let (mut unreadable, mut refused) = (0, 0);
    for (page, fill) in (0..whole.len() / PAGE).flat_map(|page| [(page, 0x00), (page, 0xa5)]) {
        let mut damaged = whole.clone();
        damaged[page * PAGE..][..PAGE].fill(fill);
        fs::write(&path, &damaged).unwrap();
        let store = match open(&path) {
            Ok(store) => store,
            Err(OpenError::Damaged { .. } | OpenError::Store { source: Error::Unreadable(_), .. }) => {
                refused += 1;
                continue;
            }
            Err(error) => panic!("page {page}: {error}"),
        };
        for session in &sessions {
            match store.load(session.digest(), NOW).await {
                Ok(found) => assert!(found.is_some(), "page {page}: a live session was not found"),
                Err(Error::Unreadable(_)) => unreadable += 1,
                Err(error) => panic!("page {page}: {error}"),
            }
        }
    }
    assert!(refused > 0 && unreadable > 0, "{refused} at start, {unreadable} later");
}

// --- who may read it

#[tokio::test]
async fn the_files_are_their_owners_alone() {
    let folder = folder();
    let path = folder.path().join("data/deep/wxgate.db");
    let store = open(&path).unwrap();
    login(&store, 1, "key").await;
    for file in [path.clone(), beside(&path, "wal"), beside(&path, "shm"), beside(&path, "lock")] {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    assert_eq!(mode(&folder.path().join("data")), 0o700);
    assert_eq!(mode(&folder.path().join("data/deep")), 0o700);
    drop(store);

    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let store = open(&path).unwrap();
    login(&store, 2, "key").await;
    assert_eq!([mode(&path), mode(&beside(&path, "wal"))], [0o600; 2], "one that was open to others is closed");
}

#[tokio::test]
async fn a_copy_of_the_files_gives_no_session_key() {
    let folder = folder();
    let path = folder.path().join("wxgate.db");
    let store = open(&path).unwrap();
    let key = "HyVFkGl5F5OQWJZZaNzBBg==";
    for number in 0..50 {
        login(&store, number, key).await;
    }
    let wal = fs::read(beside(&path, "wal")).unwrap();
    assert!(contains(&wal, b"o49"), "the log has the sessions in it");
    assert!(!contains(&wal, key.as_bytes()));
    drop(store);
    let file = fs::read(&path).unwrap();
    assert!(contains(&file, b"o49") && !contains(&file, key.as_bytes()));
}

// --- how large it gets

#[tokio::test]
async fn the_log_is_worked_into_the_file_again_and_again() {
    let folder = folder();
    let path = folder.path().join("wxgate.db");
    let store = open(&path).unwrap();
    let mut largest = 0;
    for number in 0..3000 {
        login(&store, number, "key").await;
        largest = largest.max(fs::metadata(beside(&path, "wal")).unwrap().len());
    }
    let file = fs::metadata(&path).unwrap().len();
    assert!(file > 400 * 1024, "3000 sessions in {file} bytes");
    assert!(largest < 24 << 20, "the log grew to {largest} bytes");
    drop(store);
    assert!(!beside(&path, "wal").exists(), "a store that was closed leaves one file");
}

/// Who reads for long keeps what it sees from being overwritten. It takes no more than that.
#[tokio::test]
async fn the_log_grows_behind_somebody_who_reads_for_long_and_no_longer_than_that() {
    let folder = folder();
    let path = folder.path().join("wxgate.db");
    let store = open(&path).unwrap();
    let length = || fs::metadata(beside(&path, "wal")).unwrap().len();
    login(&store, 0, "key").await;
    let operator = Connection::open(&path).unwrap();
    operator.execute_batch("BEGIN; SELECT count(*) FROM sessions").unwrap();
    for number in 1..3000 {
        login(&store, number, "key").await;
    }
    let behind = length();
    assert!(behind > 16 << 20, "the log has only {behind} bytes");
    operator.execute_batch("COMMIT").unwrap();
    for number in 3000..7000 {
        login(&store, number, "key").await;
    }
    assert!(length() < behind + (24 << 20), "{} bytes", length());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_stays_short_while_many_log_in_and_are_looked_up() {
    let folder = folder();
    let path = folder.path().join("wxgate.db");
    let store = Arc::new(open(&path).unwrap());
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..64 {
        let store = Arc::clone(&store);
        clients.spawn(async move {
            for number in 0..400 {
                let session = login(&store, client * 400 + number, "key").await;
                assert!(store.load(session.digest(), NOW).await.unwrap().is_some());
            }
        });
    }
    clients.join_all().await;
    // A log is as long as it ever was, until it is beyond that.
    let length = fs::metadata(beside(&path, "wal")).unwrap().len();
    assert!(length < 80 << 20, "the log grew to {length} bytes");
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    memchr::memmem::find(bytes, text).is_some()
}
