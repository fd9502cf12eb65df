-- The tables of the session store. The store runs this by itself where its role may CREATE in the schema. Where it may not,
-- run it as the owner of the schema (put your own names in place of "public" and "sessions"), and then:
--   GRANT SELECT, INSERT, UPDATE, DELETE ON "public"."sessions" TO the_role_of_the_application;
--   GRANT SELECT, UPDATE ON "public"."sessions_locks" TO the_role_of_the_application;

CREATE TABLE "public"."sessions" (
    -- No secret: it opens nothing. Compared by its bytes, whatever the language of the database is.
    id text COLLATE "C" NOT NULL PRIMARY KEY,
    -- One more with each change.
    version bigint NOT NULL,
    -- 0 unconfirmed, 1 live, 2 ended.
    kind smallint NOT NULL,
    -- Times are UTC ticks of 100 ns since the year 1: a timestamp keeps only microseconds.
    last_seen bigint NOT NULL,
    due_at bigint NOT NULL,
    -- When a sweep comes across it: never later than due_at. A write that moves due_at further away leaves this as it is, and
    -- so changes no index: the row is updated in place (HOT).
    look_at bigint NOT NULL,
    -- In UTF-8: text cannot hold U+0000.
    subject bytea,
    -- Random, another one for each write.
    operation bigint NOT NULL,
    body bytea NOT NULL
) WITH (fillfactor = 80);

CREATE INDEX "sessions_look" ON "public"."sessions" (look_at, kind);

CREATE INDEX "sessions_subject" ON "public"."sessions" (subject, id) WHERE subject IS NOT NULL;

-- A sign-in and a transaction that ends all sessions of the same subject wait here for each other. Always 1,024 rows; row -1
-- has a random number that tells this place from others.
CREATE TABLE "public"."sessions_locks" (
    stripe integer NOT NULL PRIMARY KEY,
    mark bigint NOT NULL
);

INSERT INTO "public"."sessions_locks" SELECT stripe, 0 FROM generate_series(0, 1023) AS stripe;

INSERT INTO "public"."sessions_locks" SELECT -1, (random() * 9007199254740991)::bigint;

COMMENT ON TABLE "public"."sessions" IS 'Session.Stores.Postgres 1';
