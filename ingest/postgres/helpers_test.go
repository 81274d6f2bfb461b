package postgres

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vaultfs/ingest"
	"vaultfs/internal/pg"
	"vaultfs/internal/pgarchive"
	"vaultfs/internal/testpg"
	"vaultfs/repo"
)

func TestMain(m *testing.M) { testpg.Main(m) }

// on says how to reach a cluster.
func on(c *testpg.Cluster) Options {
	return Options{Host: c.Dir, Port: c.Port, User: "postgres", Verify: true, Progress: new(ingest.Progress)}
}

// one backs up one database.
func one(t testing.TB, r *repo.Repo, database string, o Options) Made {
	t.Helper()
	made, err := Ingest(t.Context(), r, []string{database}, o)
	if err != nil || len(made) != 1 {
		t.Fatalf("%s: %v, %d snapshots", database, err, len(made))
	}
	return made[0]
}

// file backs up one file.
func file(t testing.TB, r *repo.Repo, path string, o Options) Made {
	t.Helper()
	made, err := IngestFiles(t.Context(), r, []string{path}, o)
	if err != nil || len(made) != 1 {
		t.Fatalf("%s: %v, %d snapshots", path, err, len(made))
	}
	return made[0]
}

// content is an item of a snapshot.
func content(t testing.TB, r *repo.Repo, s *repo.Snapshot, name string) []byte {
	t.Helper()
	it := s.Item(name)
	if it == nil {
		t.Fatalf("%s has no %s: %+v", s.Source, name, s.Items)
	}
	f, err := r.OpenFile(t.Context(), *it)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// report is what a snapshot tells, after a look at its dump.
func report(t testing.TB, r *repo.Repo, s *repo.Snapshot) (rep pg.Report) {
	t.Helper()
	if err := json.Unmarshal(content(t, r, s, pg.ReportName), &rep); err != nil {
		t.Fatal(err)
	}
	dump := content(t, r, s, rep.Dump.Item)
	if int64(len(dump)) != rep.Dump.Size {
		t.Errorf("%s has %d bytes, the report says %d", rep.Dump.Item, len(dump), rep.Dump.Size)
	}
	if rep.Dump.Form == pg.Custom {
		if _, err := pgarchive.Check(bytes.NewReader(dump)); err != nil {
			t.Error(err)
		}
	}
	if text := string(content(t, r, s, pg.ReportText)); !strings.HasPrefix(text, "# Database ") {
		t.Error(text)
	}
	return rep
}

// nothing asserts that no snapshot is there and nobody at work.
func nothing(t testing.TB, r *repo.Repo) {
	t.Helper()
	all, err := r.Snapshots(t.Context())
	if err != nil || len(all) > 0 {
		t.Errorf("%d snapshots, %v", len(all), err)
	}
	if open, err := r.Sessions(t.Context()); err != nil || len(open) > 0 {
		t.Errorf("sessions left open: %+v, %v", open, err)
	}
}

// fails backs up what must fail, with words in the error.
func fails(t testing.TB, r *repo.Repo, database string, o Options, words ...string) error {
	t.Helper()
	made, err := Ingest(t.Context(), r, []string{database}, o)
	expect(t, made, err, words...)
	nothing(t, r)
	return err
}

func expect(t testing.TB, made []Made, err error, words ...string) {
	t.Helper()
	if err == nil || len(made) > 0 {
		t.Errorf("%d snapshots, no failure with %q", len(made), words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%v: does not say %q", err, w)
		}
	}
}

// children are the processes of a name that this one has started.
func children(t testing.TB, name string) (pids []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		var pid, parent int
		var state string
		open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
		if string(b[open+1:end]) != name {
			continue
		}
		scan(t, string(b[:open]), &pid)
		scan(t, string(b[end+2:]), &state, &parent)
		if parent == os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// script writes a shell script into a directory of programs.
func script(t testing.TB, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

// programsIn is a directory with links to PostgreSQL's programs, for single ones
// to be replaced.
func programsIn(t testing.TB) (dir string, real *pg.Programs) {
	t.Helper()
	real, err := pg.Newest(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	for _, name := range []string{"psql", "pg_dump", "pg_dumpall", "pg_restore"} {
		if err := os.Symlink(real.Path(name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir, real
}

func replace(t testing.TB, dir, name, text string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	script(t, dir, name, text)
}

func scan(t testing.TB, s string, into ...any) {
	t.Helper()
	if _, err := fmt.Sscan(s, into...); err != nil {
		t.Fatal(err)
	}
}
