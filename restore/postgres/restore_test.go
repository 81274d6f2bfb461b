package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	ingest "vaultfs/ingest/postgres"
	"vaultfs/internal/testpg"
	"vaultfs/repo"
	"vaultfs/repo/store"
	"vaultfs/restore"
)

func TestMain(m *testing.M) { testpg.Main(m) }

func newRepo(t testing.TB) *repo.Repo {
	t.Helper()
	st, err := store.Create(filepath.Join(t.TempDir(), "repo"))
	if err == nil {
		err = repo.Init(t.Context(), st, repo.InitOptions{NoEncryption: true})
	}
	var r *repo.Repo
	if err == nil {
		r, err = repo.Open(t.Context(), st, repo.OpenOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); st.Close() })
	return r
}

func backup(t testing.TB, r *repo.Repo, c *testpg.Cluster, database string) *repo.Snapshot {
	t.Helper()
	made, err := ingest.Ingest(t.Context(), r, []string{database}, ingest.Options{Host: c.Dir, Port: c.Port, User: "postgres"})
	if err != nil {
		t.Fatal(err)
	}
	return made[0].Snapshot
}

func on(c *testpg.Cluster, database string) Options {
	return Options{Database: database, Host: c.Dir, Port: c.Port, User: "postgres", Progress: new(restore.Progress)}
}

// gone asserts that a database is not there.
func gone(t testing.TB, c *testpg.Cluster, database string) {
	t.Helper()
	if c.SQL("postgres", "SELECT count(*) FROM pg_database WHERE datname = '"+strings.ReplaceAll(database, "'", "''")+"'") != "0" {
		t.Errorf("the database %q was left behind", database)
	}
}

// shop is a database with something of everything.
const shop = `
CREATE SCHEMA stock;
CREATE EXTENSION pg_trgm;
CREATE TABLE customer (id serial PRIMARY KEY, name text NOT NULL, photo bytea);
CREATE TABLE stock."odd ""name" (id int REFERENCES customer, at timestamptz DEFAULT now());
CREATE TABLE part (day date, n int) PARTITION BY RANGE (day);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM ('2026-07-01') TO ('2027-01-01');
INSERT INTO customer (name, photo) SELECT 'customer ' || i, decode(md5(i::text), 'hex') FROM generate_series(1, 20000) i;
INSERT INTO stock."odd ""name" SELECT i FROM generate_series(1, 500) i;
INSERT INTO part SELECT date '2026-01-01' + i % 365, i FROM generate_series(1, 3000) i;
CREATE INDEX ON customer USING gin (name gin_trgm_ops);
CREATE MATERIALIZED VIEW names AS SELECT name FROM customer;
CREATE VIEW few AS SELECT * FROM customer LIMIT 3;
SELECT lo_from_bytea(0, 'a large object');
CREATE ROLE anna LOGIN PASSWORD 'x' VALID UNTIL '2030-01-01'; CREATE ROLE "odd role"; GRANT "odd role" TO anna;
ALTER TABLE stock."odd ""name" OWNER TO anna;
GRANT SELECT ON customer TO "odd role"`

func TestRestore(t *testing.T) {
	from, to := testpg.Start(t, ""), testpg.Start(t, "")
	from.SQL("postgres", "CREATE DATABASE shop TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'")
	from.SQL("shop", shop+"; COMMENT ON DATABASE shop IS 'mine'; ALTER DATABASE shop SET work_mem = '5MB'; GRANT CREATE ON DATABASE shop TO anna")
	r := newRepo(t)
	snap := backup(t, r, from, "shop")
	want := from.Tables("shop")
	same := func(c *testpg.Cluster, database string, result *Result, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if !result.Done || result.Same != 4 || result.Rows != 23500 || len(result.Differences)+len(result.Unknown) > 0 {
			t.Errorf("%+v", result)
		}
		if got := c.Tables(database); !slices.Equal(got, want) {
			t.Errorf("%q\nwant %q", got, want)
		}
		if got := c.SQL(database, "SELECT convert_from(lo_get(oid), 'UTF8') FROM pg_largeobject_metadata"); got != "a large object" {
			t.Error(got)
		}
		if got := c.SQL(database, "SELECT datcollate, datctype, pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()"); got != "C|C.UTF-8|UTF8" {
			t.Error(got)
		}
	}
	// The same server, and a name that is one thing only if it is quoted.
	name := `host=x it's "b"`
	result, err := Restore(t.Context(), r, snap, on(from, name))
	same(from, name, result, err)
	if said := fmt.Sprint(result.Notes); !strings.Contains(said, "(comment, privileges, settings)") && !strings.Contains(said, "(settings, privileges, comment)") && !strings.Contains(said, "(comment, settings, privileges)") {
		t.Error(said)
	}
	if _, err = Restore(t.Context(), r, snap, on(from, name)); !errors.Is(err, ErrExists) {
		t.Error(err)
	}
	if got := from.SQL("postgres", "SELECT count(*) FROM pg_shdescription WHERE description ~ 'vaultfs'"); got != "0" {
		t.Errorf("%s databases are marked as not complete", got)
	}
	// One whose restore was killed.
	from.Create("half")
	from.SQL("postgres", "COMMENT ON DATABASE half IS '"+unfinished+"'")
	if _, err = Restore(t.Context(), r, snap, on(from, "half")); !errors.Is(err, ErrExists) || !strings.Contains(err.Error(), "was killed") {
		t.Error(err)
	}
	// Another server, which has no such roles.
	_, err = Restore(t.Context(), r, snap, on(to, "new"))
	if err == nil || !strings.Contains(err.Error(), "not on the server: anna;") || !strings.Contains(err.Error(), "--create-roles") {
		t.Error(err)
	}
	gone(t, to, "new")
	o := on(to, "new")
	o.NoOwner = true
	result, err = Restore(t.Context(), r, snap, o)
	same(to, "new", result, err)
	o = on(to, "with roles")
	o.CreateRoles = true
	result, err = Restore(t.Context(), r, snap, o)
	same(to, "with roles", result, err)
	if fmt.Sprint(result.Roles) != "[anna odd role]" {
		t.Errorf("%q", result.Roles)
	}
	q := "SELECT rolcanlogin, rolvaliduntil, substr(rolpassword, 1, 5), (SELECT string_agg(roleid::regrole::text, ' ') FROM pg_auth_members WHERE member = a.oid) FROM pg_authid a WHERE rolname = 'anna'"
	if a, b := from.SQL("postgres", q), to.SQL("postgres", q); a != b || !strings.Contains(a, "SCRAM") {
		t.Errorf("%s, %s", a, b)
	}
	// Several jobs read the dump where they want.
	file := filepath.Join(t.TempDir(), "shop.dump")
	o = on(to, "jobs")
	o.Jobs = 3
	released := false
	o.File = func(ctx context.Context, snap *repo.Snapshot, it repo.Item) (string, func() error, error) {
		_, err := restore.Item(ctx, r, snap, it, file, restore.Options{})
		return file, func() error { released = true; return nil }, err
	}
	result, err = Restore(t.Context(), r, snap, o)
	same(to, "jobs", result, err)
	if !released {
		t.Error("the file was not released")
	}
}

// TestRestoreLive: rows that come while the dump is made are neither in it nor
// counted.
func TestRestoreLive(t *testing.T) {
	c := testpg.Shared(t)
	c.Create("live")
	c.SQL("live", "CREATE TABLE filler AS SELECT i, repeat('x', 500) FROM generate_series(1, 30000) i; CREATE TABLE late (i int)")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan bool)
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			c.SQL("live", "INSERT INTO late SELECT generate_series(1, 100)")
		}
	}()
	r := newRepo(t)
	snap := backup(t, r, c, "live")
	cancel()
	<-done
	result, err := Restore(t.Context(), r, snap, on(c, "again"))
	if err != nil || !result.Done || result.Same != 2 || len(result.Differences) > 0 {
		t.Errorf("%+v, %v", result, err)
	}
}

// TestRestoreFails: nothing stays of a database that could not be restored.
func TestRestoreFails(t *testing.T) {
	c, other := testpg.Start(t, ""), testpg.Start(t, "")
	c.Create("shop")
	c.SQL("shop", "CREATE TABLE t AS SELECT i, repeat('x', 500) AS filler FROM generate_series(1, 100000) i; CREATE ROLE anna; CREATE ROLE bert; ALTER TABLE t OWNER TO anna; GRANT SELECT ON t TO bert")
	r := newRepo(t)
	snap := backup(t, r, c, "shop")
	// A privilege for a role that is not there: half of it was restored by then.
	other.SQL("postgres", "CREATE ROLE anna")
	_, err := Restore(t.Context(), r, snap, on(other, "half"))
	if err == nil || !strings.Contains(err.Error(), `role "bert" does not exist`) || !strings.Contains(err.Error(), "--create-roles") {
		t.Error(err)
	}
	gone(t, other, "half")
	// Interrupted; the roles that were made go as well.
	o := on(other, "interrupted")
	o.CreateRoles = true
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for o.Progress.Done.Load() < 4<<20 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	if _, err = Restore(ctx, r, snap, o); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	gone(t, other, "interrupted")
	if got := other.SQL("postgres", "SELECT count(*) FROM pg_roles WHERE rolname = 'bert'"); got != "0" {
		t.Error("the role was left behind")
	}
	// No rights, no server.
	c.SQL("postgres", "CREATE ROLE weak LOGIN")
	o = on(c, "weak")
	o.User = "weak"
	if _, err = Restore(t.Context(), r, snap, o); err == nil || !strings.Contains(err.Error(), "permission denied to create database") || !strings.Contains(err.Error(), "CREATEDB") {
		t.Error(err)
	}
	o.Host = t.TempDir()
	if _, err = Restore(t.Context(), r, snap, o); err == nil || !strings.Contains(err.Error(), "is the server running?") {
		t.Error(err)
	}
	if open, err := r.Sessions(t.Context()); err != nil || len(open) > 0 {
		t.Errorf("%+v, %v", open, err)
	}
}

// TestRestoreInterruptedEarly: a database that is being made when somebody
// interrupts goes away too.
func TestRestoreInterruptedEarly(t *testing.T) {
	c := testpg.Shared(t)
	c.Create("shop")
	c.SQL("shop", "CREATE TABLE t AS SELECT generate_series(1, 10) i")
	r := newRepo(t)
	snap := backup(t, r, c, "shop")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watched := make(chan bool)
	go func() {
		defer close(watched)
		c.SQL("postgres", "DO $$ BEGIN WHILE clock_timestamp() < now() + interval '1 minute' AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query ~ '^CREATE DATABASE') LOOP PERFORM pg_sleep(0.001), pg_stat_clear_snapshot(); END LOOP; END $$")
		cancel()
	}()
	if _, err := Restore(ctx, r, snap, on(c, "early")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	<-watched
	gone(t, c, "early")
}

// TestRestoreNotCompared: a database whose rows cannot be compared was restored all
// the same, and stays.
func TestRestoreNotCompared(t *testing.T) {
	c := testpg.Shared(t)
	c.SQL("postgres", "CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
	c.SQL("ascii", "SET client_encoding = 'SQL_ASCII'; CREATE TABLE \"t\xe9\" AS SELECT 1 AS x; CREATE TABLE u AS SELECT 2 AS x")
	r := newRepo(t)
	result, err := Restore(t.Context(), r, backup(t, r, c, "ascii"), on(c, "again"))
	if err != nil || result.Done || result.Failed == nil || !strings.Contains(result.Failed.Error(), "could not be compared") {
		t.Errorf("%+v, %v", result, err)
	}
	if got := c.SQL("again", "SELECT x FROM u"); got != "2" {
		t.Error(got)
	}
}

// TestRestoreFiles: dumps that were read from files.
func TestRestoreFiles(t *testing.T) {
	c := testpg.Shared(t)
	c.Create("shop")
	c.SQL("shop", "CREATE TABLE t AS SELECT generate_series(1, 1000) AS i; CREATE TABLE u (x text); INSERT INTO u VALUES (E'a\\tb\\\\'), ('-- PostgreSQL database dump complete')")
	r := newRepo(t)
	for i, args := range [][]string{{"-Fp"}, {"-Fp", "--inserts"}, {"-Fc"}} {
		file := filepath.Join(t.TempDir(), "pg-shop-2026-11-21_180000.any")
		dump := c.Dump("shop", args...)
		if err := os.WriteFile(file, dump, 0o600); err != nil {
			t.Fatal(err)
		}
		made, err := ingest.IngestFiles(t.Context(), r, []string{file}, ingest.Options{})
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprint("again", i)
		result, err := Restore(t.Context(), r, made[0].Snapshot, on(c, name))
		if err != nil || result.Done {
			t.Fatalf("%q: %+v, %v", args, result, err)
		}
		if got, want := c.Tables(name), c.Tables("shop"); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", args, got, want)
		}
	}
	// Statements of which one fails leave nothing.
	file := filepath.Join(t.TempDir(), "bad.sql")
	bad := bytes.Replace(c.Dump("shop", "-Fp"), []byte("COPY public.u"), []byte("COPY public.v"), 1)
	if err := os.WriteFile(file, bad, 0o600); err != nil {
		t.Fatal(err)
	}
	made, err := ingest.IngestFiles(t.Context(), r, []string{file}, ingest.Options{Name: "bad"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = Restore(t.Context(), r, made[0].Snapshot, on(c, "bad")); err == nil || !strings.Contains(err.Error(), `relation "public.v" does not exist`) {
		t.Error(err)
	}
	gone(t, c, "bad")
}

func TestRolesOf(t *testing.T) {
	script := `CREATE ROLE anna;
ALTER ROLE anna WITH NOSUPERUSER INHERIT LOGIN CONNECTION LIMIT 5 PASSWORD 'SCRAM-SHA-256$4096:abc==' VALID UNTIL '2030-01-01 00:00:00+00';
CREATE ROLE "od""d";
ALTER ROLE "od""d" WITH NOLOGIN PASSWORD 'x'; DROP DATABASE a; --';
CREATE ROLE there;
GRANT there TO anna WITH ADMIN OPTION GRANTED BY postgres;
GRANT there TO evil\! GRANTED BY x;
`
	got := fmt.Sprintf("%q", rolesOf(script, func(n string) bool { return n != "there" }))
	want := `[{"anna" " NOSUPERUSER INHERIT LOGIN CONNECTION LIMIT 5 PASSWORD 'SCRAM-SHA-256$4096:abc==' VALID UNTIL '2030-01-01 00:00:00+00'" ["there"]} {"od\"d" "" []}]`
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
