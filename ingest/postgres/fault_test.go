package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"vaultfs/internal/testpg"
	"vaultfs/internal/testrepo"
	"vaultfs/repo"
)

// when runs do once an ingest has read so many bytes.
func when(t testing.TB, o *Options, bytes int64, do func()) {
	go func() {
		for o.Progress.Read.Load() < bytes && t.Context().Err() == nil {
			time.Sleep(time.Millisecond)
		}
		do()
	}()
}

// left waits until nobody is connected to a cluster but who asks.
func left(t testing.TB, c *testpg.Cluster) {
	t.Helper()
	who := ""
	for range 100 {
		who = c.SQL("postgres", "SELECT application_name, query FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
		if who == "" {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("still connected: %s", who)
}

// TestDumpDies: whatever ends a dump in its middle, no snapshot comes of it.
func TestDumpDies(t *testing.T) {
	c := testpg.Start(t, "")
	c.Create("bench")
	c.Bench("bench", 15)
	const some = 5 << 20

	t.Run("interrupted", func(t *testing.T) {
		r, o := testrepo.New(t), on(c)
		ctx, cancel := context.WithCancel(t.Context())
		when(t, &o, some, cancel)
		made, err := Ingest(ctx, r, []string{"bench", "postgres"}, o)
		if !errors.Is(err, context.Canceled) || len(made) > 0 {
			t.Errorf("%d, %v", len(made), err)
		}
		nothing(t, r)
		if pids := append(children(t, "pg_dump"), children(t, "psql")...); len(pids) > 0 {
			t.Errorf("still running: %v", pids)
		}
		left(t, c)
	})
	t.Run("pg_dump killed", func(t *testing.T) {
		r, o := testrepo.New(t), on(c)
		when(t, &o, some, func() {
			for _, pid := range children(t, "pg_dump") {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		})
		fails(t, r, "bench", o, "pg_dump failed (signal: killed)")
		left(t, c)
	})
	t.Run("backend killed", func(t *testing.T) {
		r, o := testrepo.New(t), on(c)
		when(t, &o, some, func() {
			c.SQL("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pg_dump'")
		})
		fails(t, r, "bench", o, "pg_dump failed", "nothing was committed")
		left(t, c)
	})
	t.Run("disk full", func(t *testing.T) {
		dir := t.TempDir()
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=600k"); err != nil {
			t.Fatalf("a small file system cannot be mounted (the tests run as root): %v", err)
		}
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		r := testrepo.In(t, filepath.Join(dir, "repo"))
		if err := fails(t, r, "bench", on(c), `dumping the database "bench"`); !errors.Is(err, repo.ErrNoSpace) {
			t.Error(err)
		}
		left(t, c)
	})
	t.Run("server killed", func(t *testing.T) {
		r, o := testrepo.New(t), on(c)
		stopped := make(chan bool)
		when(t, &o, some, func() { c.Down(); close(stopped) })
		fails(t, r, "bench", o, `dumping the database "bench"`, "nothing was committed")
		<-stopped
		fails(t, r, "bench", o, "is the server running?")
		c.Up()
		one(t, r, "bench", o)
	})
}

// TestNoServer: nothing to connect to, or not what was asked for.
func TestNoServer(t *testing.T) {
	c := testpg.Shared(t)
	r := testrepo.New(t)
	fails(t, r, "nothing here", on(c), `database "nothing here" does not exist`, "psql -l")
	o := on(c)
	o.User = "nobody here"
	fails(t, r, "postgres", o, `role "nobody here" does not exist`, "--username")
	fails(t, r, "postgres", Options{Host: t.TempDir()}, "is the server running?")
	fails(t, r, "postgres", Options{Host: "127.0.0.1", Port: "1"}, "Connection refused", "--port")
	fails(t, r, "postgres", Options{Host: "nowhere.invalid"}, "could not translate host name", "--host")
	fails(t, r, "postgres", Options{Service: "nothing"}, `definition of service "nothing" not found`)
	o = on(c)
	o.All, o.Host = true, t.TempDir()
	made, err := Ingest(t.Context(), r, nil, o)
	expect(t, made, err, "listing the databases", "is the server running?")
}

// TestPrograms: programs that are missing, old, or lie.
func TestPrograms(t *testing.T) {
	c := testpg.Shared(t)
	c.Create("small")
	c.SQL("small", "CREATE TABLE t AS SELECT generate_series(1, 1000) AS x")
	r := testrepo.New(t)
	o := on(c)
	o.BinDir = t.TempDir()
	fails(t, r, "small", o, "psql was not found", "--pg-bindir")
	dir, real := programsIn(t)
	o.BinDir = dir
	version := fmt.Sprintf(`if [ "$1" = --version ]; then echo '%s'; exit; fi`, real.Printed)
	for _, c := range []struct {
		program, does string
		words         []string
	}{
		{"pg_dump", "exit 127", []string{"pg_dump was not found"}},
		{"pg_dump", "echo 'pg_dump (PostgreSQL) 9.6.24'", []string{"is of version 9.6.24 and cannot dump a server of version " + real.Version.String()[:3], "install postgresql-client-"}},
		{"pg_dump", version, []string{"the dump is empty"}},
		{"pg_dump", version + "; echo nonsense", []string{"no dump in pg_dump's custom format"}},
		{"pg_dump", version + `; "` + real.Path("pg_dump") + `" "$@" | head -c 3000`, []string{"the dump is cut off: it ends after 3000 bytes"}},
		{"pg_dump", version + `; "` + real.Path("pg_dump") + `" "$@" && echo 'pg_dump: error: something went wrong' >&2 && exit 1`, []string{"pg_dump failed (exit status 1): something went wrong"}},
		{"pg_dump", version + `; "` + real.Path("pg_dump") + `" "$@"; echo more`, []string{"the dump is damaged"}},
		{"pg_restore", "echo 'pg_restore: error: cannot' >&2; exit 1", []string{"pg_restore --list cannot read what was stored as small.dump", "cannot"}},
	} {
		replace(t, dir, c.program, c.does)
		fails(t, r, "small", o, c.words...)
		if err := os.Remove(filepath.Join(dir, c.program)); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(real.Path(c.program), filepath.Join(dir, c.program)); err != nil {
			t.Fatal(err)
		}
	}
	// A format that only pg_restore knows is read by it from beginning to end.
	newer := `; "` + real.Path("pg_dump") + `" "$@" | { head -c 6; printf '\021'; tail -c +2; }`
	replace(t, dir, "pg_dump", version+newer)
	fails(t, r, "small", o, "pg_restore --file=/dev/null cannot read")
	replace(t, dir, "pg_restore", `[ "$1" = --file=/dev/null ] && cat >"`+dir+`/seen"`)
	m := one(t, r, "small", o)
	seen, err := os.ReadFile(filepath.Join(dir, "seen"))
	if err != nil || string(seen) != string(content(t, r, m.Snapshot, "small.dump")) || seen[6] != 17 {
		t.Errorf("%d bytes, %v", len(seen), err)
	}
	// Without pg_dumpall there are no globals, and that is told.
	replace(t, dir, "pg_dumpall", "echo 'pg_dumpall: error: no luck' >&2; exit 1")
	m = one(t, r, "small", o)
	if len(m.Warnings) != 1 || !strings.Contains(m.Warnings[0], "there is no globals.sql: pg_dumpall failed (exit status 1): no luck") || m.Snapshot.Item("globals.sql") != nil {
		t.Errorf("%q", m.Warnings)
	}
}
