package postgres

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"vaultfs/internal/pg"
	"vaultfs/internal/testpg"
	"vaultfs/internal/testrepo"
	"vaultfs/repo"
)

// TestBench: a dump of the next day shares its chunks with the first. Where rows
// changed chunks are stored again as a whole, hence the size of the database.
func TestBench(t *testing.T) {
	c := testpg.Start(t, "")
	c.Create("bench")
	c.Bench("bench", 20)
	r := testrepo.New(t)
	first := one(t, r, "bench", on(c)).Snapshot
	rep := report(t, r, first)
	host, _ := os.Hostname()
	if first.Source != "pg/"+host+":"+c.Port+"/bench" || first.Kind != "pg" || !strings.HasPrefix(first.Info.Machine, "PostgreSQL cluster ") {
		t.Errorf("%+v", first)
	}
	if rep.Dump.Size < 150<<20 || rep.Dump.Compression != "none" || rep.Encoding != "UTF8" || rep.Collate != "C.UTF-8" || rep.Server.Number < 100000 {
		t.Errorf("%+v", rep)
	}
	if got := fmt.Sprint(rep.Tables); got != "[public.pgbench_accounts public.pgbench_branches public.pgbench_history public.pgbench_tellers]" || rep.Tables[0].Rows != 2_000_000 || rep.Tables[0].Estimate {
		t.Errorf("%s, %+v", got, rep.Tables)
	}
	c.SQL("bench", "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid BETWEEN 500001 AND 520000")
	second := one(t, r, "bench", on(c)).Snapshot
	share := 100 * float64(second.Info.Summary.BytesStored) / float64(first.Info.Summary.BytesStored)
	t.Logf("first %d bytes stored, second %d: %.1f %%", first.Info.Summary.BytesStored, second.Info.Summary.BytesStored, share)
	if share >= 5 {
		t.Errorf("1 %% changed, and %.1f %% were stored again", share)
	}
}

// odd are names of databases that mean something to somebody on the way.
var odd = []string{"plain", "with space", "-d", "it's", `quo"te`, `back\slash`, "host=evil.example", "postgresql://evil.example/x", "a/b", "..", "x@2026-11-21",
	"%41", "ünïcode ☃", "$(touch pwned)", "a;b", ":HOST", "new\nline", "dbname='x'"}

// TestAll: every database, whatever it is called, and the same globals with each.
func TestAll(t *testing.T) {
	c := testpg.Start(t, "")
	for _, name := range odd {
		c.Create(name)
		c.SQL(name, `CREATE TABLE "a""b;c" (x int); INSERT INTO "a""b;c" SELECT generate_series(1, 7)`)
	}
	c.SQL("postgres", "CREATE ROLE anna PASSWORD 'x'")
	c.SQL("postgres", "CREATE DATABASE closed ALLOW_CONNECTIONS false")
	r := testrepo.New(t)
	o := on(c)
	o.All, o.Name = true, "cluster"
	made, err := Ingest(t.Context(), r, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range made {
		rep := report(t, r, m.Snapshot)
		names = append(names, rep.Database)
		if m.Snapshot.Source != "pg/cluster/"+component(rep.Database) || strings.Count(m.Snapshot.Source, "/") != 2 || len(m.Warnings) > 0 {
			t.Errorf("%q: %s, %q", rep.Database, m.Snapshot.Source, m.Warnings)
		}
		if rep.Database != "postgres" && (len(rep.Tables) != 1 || rep.Tables[0].Name != `a"b;c` || rep.Tables[0].Rows != 7 || rep.Tables[0].Estimate) {
			t.Errorf("%q: %+v", rep.Database, rep.Tables)
		}
		if globals := content(t, r, m.Snapshot, "globals.sql"); !bytes.Contains(globals, []byte("CREATE ROLE anna;")) || !bytes.Contains(globals, []byte("SCRAM")) {
			t.Errorf("%s", globals)
		}
		if found, err := r.Resolve(t.Context(), m.Snapshot.Source); err != nil || found.ID != m.Snapshot.ID {
			t.Errorf("%s: %v", m.Snapshot.Source, err)
		}
	}
	want := append([]string{"postgres"}, odd...)
	slices.Sort(want)
	slices.Sort(names)
	if !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
	// By name, one at a time. What libpq takes for more than a name is quoted.
	for _, name := range odd {
		given := name
		if strings.Contains(name, "=") || strings.Contains(name, "://") {
			given = pg.Named(name).String()
		}
		if rep := report(t, r, one(t, r, given, on(c)).Snapshot); rep.Database != name {
			t.Errorf("%q: %q", name, rep.Database)
		}
	}
	if _, err := os.Stat("pwned"); err == nil {
		t.Error("a name was run by a shell")
	}
}

// TestHostileFunctions: who may make functions and operators in a database does not
// have them run with the rights of who backs it up.
func TestHostileFunctions(t *testing.T) {
	c := testpg.Shared(t)
	c.Create("shop")
	c.SQL("shop", `CREATE TABLE loot (who text); CREATE TABLE t (x int);
		CREATE FUNCTION public.row_to_json(pg_catalog.pg_database) RETURNS json LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.loot VALUES (current_user); RETURN pg_catalog.row_to_json($1); END $$;
		CREATE FUNCTION public.steal(name, text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.loot VALUES (current_user); RETURN true; END $$;
		CREATE OPERATOR public.<> (LEFTARG = name, RIGHTARG = text, FUNCTION = public.steal);
		ALTER DATABASE shop SET search_path = public, pg_catalog`)
	r := testrepo.New(t)
	if rep := report(t, r, one(t, r, "shop", on(c)).Snapshot); len(rep.Tables) != 2 || rep.Tables[0].Estimate {
		t.Errorf("%+v", rep.Tables)
	}
	if got := c.SQL("shop", "SELECT who FROM public.loot"); got != "" {
		t.Errorf("functions of the database were run by %s", got)
	}
}

// TestConnections: URIs, keywords, services and the environment.
func TestConnections(t *testing.T) {
	c := testpg.Start(t, "top-secret")
	c.Create("orders")
	r := testrepo.New(t)
	service := t.TempDir() + "/service.conf"
	pass := t.TempDir() + "/pgpass"
	if err := errors.Join(os.WriteFile(service, []byte(fmt.Sprintf("[shop]\nhost=127.0.0.1\nport=%s\nuser=postgres\ndbname=orders\n", c.Port)), 0o600),
		os.WriteFile(pass, []byte("*:*:*:postgres:top-secret\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	host, _ := os.Hostname()
	want := "pg/" + host + ":" + c.Port + "/orders"
	is := func(m Made) {
		t.Helper()
		if m.Snapshot.Source != want {
			t.Errorf("%s, want %s", m.Snapshot.Source, want)
		}
		for _, it := range m.Snapshot.Items {
			if bytes.Contains(content(t, r, m.Snapshot, it.Name), []byte("top-secret")) {
				t.Errorf("%s holds the password", it.Name)
			}
		}
	}
	uri := fmt.Sprintf("postgresql://postgres:top-secret@localhost:%s/orders", c.Port)
	is(one(t, r, uri, Options{}))
	is(one(t, r, fmt.Sprintf("postgresql://postgres:top-secret@127.0.0.1:1,127.0.0.1:%s/orders?connect_timeout=5", c.Port), Options{}))
	is(one(t, r, fmt.Sprintf("host=%s port=%s user=postgres password=top-secret dbname=orders", c.Dir, c.Port), Options{Host: "nowhere.example"}))
	t.Setenv("PGPASSFILE", pass)
	is(one(t, r, "orders", Options{Host: "::1,127.0.0.1", Port: c.Port, User: "postgres"}))
	t.Setenv("PGSERVICEFILE", service)
	made, err := Ingest(t.Context(), r, nil, Options{Service: "shop"})
	if err != nil || len(made) != 1 {
		t.Fatal(err)
	}
	is(made[0])
	t.Setenv("PGHOST", c.Dir)
	t.Setenv("PGPORT", c.Port)
	t.Setenv("PGUSER", "postgres")
	is(one(t, r, "orders", Options{}))
	made, err = Ingest(t.Context(), r, nil, Options{All: true})
	if err != nil || len(made) != 2 {
		t.Errorf("%d, %v", len(made), err)
	}
	t.Setenv("PGDATABASE", "orders")
	if made, err = Ingest(t.Context(), r, nil, Options{}); err != nil {
		t.Fatal(err)
	}
	is(made[0])

	// Nobody is asked for a password, and none is told.
	empty := testrepo.New(t)
	t.Setenv("PGPASSFILE", "/nonexistent")
	fails(t, empty, "orders", Options{}, `dumping the database "orders"`, "no password supplied", ".pgpass")
	wrong := strings.Replace(uri, "top-secret", "wr0ng", 1)
	if err := fails(t, empty, wrong, Options{}, "password authentication failed", ".pgpass"); strings.Contains(err.Error(), "wr0ng") {
		t.Error(err)
	}
}

// TestAdopt: another cluster behind the same name is refused.
func TestAdopt(t *testing.T) {
	a, b := testpg.Shared(t), testpg.Start(t, "")
	r := testrepo.New(t)
	o := on(a)
	o.Name = "tunnel/postgres"
	one(t, r, "postgres", o)
	o = on(b)
	o.Name = "tunnel/postgres"
	made, err := Ingest(t.Context(), r, []string{"postgres"}, o)
	if expect(t, made, err, "PostgreSQL cluster", "--adopt"); !errors.Is(err, repo.ErrSourceTaken) {
		t.Error(err)
	}
	o.Adopt = true
	one(t, r, "postgres", o)
}

// TestRights: what a role may not read.
func TestRights(t *testing.T) {
	c := testpg.Start(t, "")
	c.Create("shop")
	c.SQL("shop", "CREATE ROLE reader LOGIN; CREATE TABLE open (x int); INSERT INTO open VALUES (1); GRANT SELECT ON open TO reader; CREATE TABLE secret (x int)")
	r := testrepo.New(t)
	o := on(c)
	o.User = "reader"
	fails(t, r, "shop", o, `dumping the database "shop"`, "permission denied for table secret", "pg_read_all_data")
	c.SQL("shop", "DROP TABLE secret")
	m := one(t, r, "shop", o)
	if len(m.Warnings) != 1 || !strings.Contains(m.Warnings[0], "passwords of roles are not in globals.sql") {
		t.Errorf("%q", m.Warnings)
	}
	if g := content(t, r, m.Snapshot, "globals.sql"); !bytes.Contains(g, []byte("CREATE ROLE reader;")) {
		t.Errorf("%s", g)
	}
	if rep := report(t, r, m.Snapshot); rep.Globals == pg.GlobalsComplete || len(rep.Tables) != 1 || rep.Tables[0].Rows != 1 {
		t.Errorf("%+v", rep)
	}
	o.NoGlobals, o.NoCounts = true, true
	m = one(t, r, "shop", o)
	if rep := report(t, r, m.Snapshot); len(m.Warnings) > 0 || m.Snapshot.Item("globals.sql") != nil || rep.Tables != nil {
		t.Errorf("%q, %+v", m.Warnings, rep)
	}
	// One that fails does not stop the others.
	c.Create("broken")
	c.SQL("broken", "CREATE TABLE secret (x int)")
	o.All = true
	made, err := Ingest(t.Context(), r, nil, o)
	if len(made) != 2 || err == nil || !strings.Contains(err.Error(), `"broken"`) {
		t.Errorf("%d, %v", len(made), err)
	}
}

// TestStandby: what a standby does not have is told.
func TestStandby(t *testing.T) {
	c := testpg.Start(t, "")
	c.Create("shop")
	c.SQL("shop", "CREATE TABLE t AS SELECT generate_series(1, 7) AS x; CREATE UNLOGGED TABLE cache AS SELECT 1 AS x")
	r := testrepo.New(t)
	m := one(t, r, "shop", on(c.Standby()))
	if len(m.Warnings) != 1 || !strings.Contains(m.Warnings[0], "is a standby") || !strings.Contains(m.Warnings[0], "public.cache") {
		t.Errorf("%q", m.Warnings)
	}
	if rep := report(t, r, m.Snapshot); len(rep.Tables) != 2 || !rep.Tables[0].Estimate || rep.Tables[1].Rows != 7 {
		t.Errorf("%+v", rep.Tables)
	}
	if m := one(t, r, "shop", on(c)); len(m.Warnings) > 0 {
		t.Errorf("%q", m.Warnings)
	}
}

// TestLocked: a table that somebody keeps locked ends the dump after a time.
func TestLocked(t *testing.T) {
	c := testpg.Shared(t)
	c.Create("shop")
	c.SQL("shop", "CREATE TABLE t (x int)")
	release := c.Hold("shop", "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
	r := testrepo.New(t)
	o := on(c)
	o.LockWait = 200 * time.Millisecond
	fails(t, r, "shop", o, `dumping the database "shop"`, "statement timeout", "LOCK TABLE public.t", "pg_stat_activity", "--lock-wait")
	release()
	one(t, r, "shop", o)
}

// TestCountTime: what cannot be counted in time is estimated, and said to be.
func TestCountTime(t *testing.T) {
	c := testpg.Shared(t)
	c.Create("big")
	c.SQL("big", "CREATE TABLE numbers AS SELECT generate_series(1, 300000) AS x; ANALYZE numbers; CREATE TABLE never (x int)")
	r := testrepo.New(t)
	o := on(c)
	o.CountTime = time.Nanosecond
	rep := report(t, r, one(t, r, "big", o).Snapshot)
	if len(rep.Tables) != 2 || !rep.Tables[1].Estimate || rep.Tables[1].Rows < 250_000 || rep.Tables[0].Rows != -1 || rep.Tables[0].Why == "" {
		t.Errorf("%+v", rep.Tables)
	}
}

func TestUsage(t *testing.T) {
	r := testrepo.New(t)
	for _, c := range []struct {
		databases []string
		o         Options
	}{
		{nil, Options{}}, {[]string{"a", "b"}, Options{All: true}}, {[]string{"a"}, Options{Port: "x"}}, {[]string{"a"}, Options{Name: "a@b"}},
		{[]string{"a"}, Options{Name: "a//b"}}, {[]string{"=secret"}, Options{}}, {[]string{"a"}, Options{Name: "../x"}}, {[]string{"a"}, Options{LockWait: -1}},
	} {
		made, err := Ingest(t.Context(), r, c.databases, c.o)
		if !errors.Is(err, ErrUsage) || len(made) > 0 || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v", c, err)
		}
	}
	nothing(t, r)
}
