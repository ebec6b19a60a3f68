-- A file of sessions as it was before there were profiles in it, as `sqlite3 .dump` has it. Sealed with 07 32 times.
BEGIN TRANSACTION;
CREATE TABLE apps (
        id INTEGER PRIMARY KEY,
        app_id TEXT NOT NULL UNIQUE
    ) STRICT;
INSERT INTO "apps" VALUES(1,'wx1');
CREATE TABLE counts (
        sessions INTEGER NOT NULL,       -- rows of sessions: counting them would read them all
        checks INTEGER NOT NULL          -- how often it was asked whether the file can be written
    ) STRICT;
INSERT INTO "counts" VALUES(2,0);
CREATE TABLE sessions (
        id INTEGER PRIMARY KEY,
        head INTEGER NOT NULL,           -- of the digest: its first 8 bytes
        tail BLOB NOT NULL,              -- and the other 24
        user INTEGER NOT NULL,
        tag INTEGER NOT NULL,            -- what stands for the user in the log
        created INTEGER NOT NULL,        -- milliseconds since 1970
        seen INTEGER NOT NULL,           -- seconds after created
        idle INTEGER NOT NULL,           -- seconds
        lifetime INTEGER NOT NULL,       -- seconds
        expires INTEGER NOT NULL,        -- milliseconds since 1970
        unionid TEXT
    ) STRICT;
INSERT INTO "sessions" VALUES(1,72340172838076673,X'010101010101010101010101010101010101010101010101',1,72340172838076673,1790000000000,0,86400,604800,1790090780000,NULL);
INSERT INTO "sessions" VALUES(2,144680345676153346,X'020202020202020202020202020202020202020202020202',2,144680345676153346,1790000000000,0,86400,604800,1790090780000,'u-bert');
CREATE TABLE users (
        id INTEGER PRIMARY KEY,
        app INTEGER NOT NULL REFERENCES apps (id),
        openid TEXT NOT NULL,
        session_key BLOB NOT NULL,       -- of the newest login, sealed
        UNIQUE (app, openid)
    ) STRICT;
INSERT INTO "users" VALUES(1,1,'o-anna',X'01486DD0219A96462D4127D132289252A7F657DE8205DEF1AA3DD19E2F022B3BEC45C39EE607E9D87F6D3ED79C8A7CBD3D4AE29D990E7D8D131E6BEBB4F53BD9F80F75CCB9');
INSERT INTO "users" VALUES(2,1,'o-bert',X'01486DD0212DAB0A280AC0932CC4127198ECC43C8B9AC6FF4D11E91BFBF143448BF66032C494ECBB45486506076A9F7BBFE556E22F936D4462A98D46140B55EF4D7681AA40');
CREATE INDEX sessions_by_digest ON sessions (head);
CREATE INDEX sessions_by_user ON sessions (user);
CREATE INDEX sessions_by_end ON sessions (expires);
PRAGMA application_id = 2004379508;
PRAGMA user_version = 1;
COMMIT;
