package postgres

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	ingest "vaultfs/ingest/postgres"
	"vaultfs/internal/testpg"
)

// TestHostileScripts: what a script tells psql beside SQL is not done, neither by
// those of older versions of pg_dump, nor by those that begin as newer ones do and
// know the way out.
func TestHostileScripts(t *testing.T) {
	c := testpg.Shared(t)
	c.Create("shop")
	c.SQL("shop", "CREATE TABLE t AS SELECT 1 AS i")
	r := newRepo(t)
	pwned := filepath.Join(t.TempDir(), "pwned")
	dump := string(c.Dump("shop"))
	_, rest, ok := strings.Cut(dump, "SET statement_timeout")
	if !ok {
		t.Fatal(dump)
	}
	const old = "--\n-- PostgreSQL database dump\n--\n\n"
	for name, script := range map[string]string{
		"old":       old + `\! touch ` + pwned + "\n",
		"pipe":      old + `SELECT 1 \g |touch ` + pwned + "\n",
		"restrict":  old + "\\restrict abc\n\\unrestrict abc\n\\! touch " + pwned + "\n",
		"elsewhere": old + "\\connect postgres\n",
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "evil.sql")
			if err := os.WriteFile(file, []byte(script+"SET statement_timeout"+rest), 0o600); err != nil {
				t.Fatal(err)
			}
			made, err := ingest.IngestFiles(t.Context(), r, []string{file}, ingest.Options{Name: name})
			if err != nil {
				t.Fatal(err)
			}
			_, err = Restore(t.Context(), r, made[0].Snapshot, on(c, name))
			if err == nil || !strings.Contains(err.Error(), "could run a shell") {
				t.Error(err)
			}
			gone(t, c, name)
			if _, err := os.Stat(pwned); err == nil {
				t.Fatal("the dump ran a program")
			}
		})
	}
	// A dump of a cluster would change other databases.
	file := filepath.Join(t.TempDir(), "all.sql")
	if err := os.WriteFile(file, []byte(c.Dumpall()), 0o600); err != nil {
		t.Fatal(err)
	}
	made, err := ingest.IngestFiles(t.Context(), r, []string{file}, ingest.Options{Name: "all"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = Restore(t.Context(), r, made[0].Snapshot, on(c, "all")); err == nil || !strings.Contains(err.Error(), "whole cluster") {
		t.Error(err)
	}
	gone(t, c, "all")
}

// TestScriptEdges: the lines of pg_dump's own restriction are found where it
// writes them, and nowhere else.
func TestScriptEdges(t *testing.T) {
	for head, want := range map[string][2]int{
		"--\n-- x\n\n\\restrict k\nSELECT 1;\n": {21, 4}, "-- x\nSELECT 1;\n\\restrict k\n": {0, 0}, "\\restrict cut": {0, 0}, "": {0, 0},
	} {
		if at, n := restrictEnd([]byte(head)); at != int64(want[0]) || n != want[1] {
			t.Errorf("%q: %d %d", head, at, n)
		}
	}
	for tail, want := range map[string]int{
		"-- x\n\n\\unrestrict k\n\n": 6, "\\unrestrict k\nSELECT 1;\n": 24, "x\n\\unrestrict k\n--\n": 19, "": 0,
	} {
		if at := unrestrictBegin([]byte(tail)); at != want {
			t.Errorf("%q: %d", tail, at)
		}
	}
}
