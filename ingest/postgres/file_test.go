package postgres

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vaultfs/internal/pg"
	"vaultfs/internal/pgarchive"
	"vaultfs/internal/testpg"
	"vaultfs/internal/testrepo"
)

func write(t testing.TB, path string, b []byte) string {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// compressed is what a program makes of b.
func compressed(t testing.TB, b []byte, program string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Stdin = bytes.NewReader(b)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	return out
}

// refused backs up a file that must be refused.
func refused(t *testing.T, path string, o Options, words ...string) {
	t.Helper()
	r := testrepo.New(t)
	made, err := IngestFiles(t.Context(), r, []string{path}, o)
	expect(t, made, err, words...)
	nothing(t, r)
}

// TestFiles: dumps that pg_dump and pg_dumpall have written before.
func TestFiles(t *testing.T) {
	c := testpg.Shared(t)
	c.Create("shop")
	c.SQL("shop", "CREATE TABLE a AS SELECT i, md5(i::text) FROM generate_series(1, 3000) i; CREATE TABLE b (x int); CREATE TABLE z AS SELECT * FROM a; SELECT lo_from_bytea(0, 'large')")
	custom, packed, plain := c.Dump("shop", "-Fc", "-Z0"), c.Dump("shop", "-Fc"), c.Dump("shop")
	dir := t.TempDir()
	at := func(name string, b []byte) string { return write(t, filepath.Join(dir, name), b) }

	t.Run("forms", func(t *testing.T) {
		r := testrepo.New(t)
		when := time.Date(2026, 11, 21, 18, 0, 0, 0, time.Local)
		for name, c := range map[string]struct{ file, want []byte }{
			"dump": {custom, custom}, "custom.gz": {compressed(t, custom, "gzip", "-c"), custom}, "backup": {packed, packed}, "sql": {plain, plain},
			"sql.gz": {compressed(t, plain, "gzip", "-c"), plain}, "sql.zst": {compressed(t, plain, "zstd", "-c"), plain}, "sql.lzo": {compressed(t, plain, "lzop", "-c"), plain},
		} {
			m := file(t, r, at("pg-my-shop-2026-11-21_180000."+name, c.file), Options{})
			rep := report(t, r, m.Snapshot)
			if m.Snapshot.Source != "pg/my-shop" || !m.Snapshot.Time.Equal(when) || rep.Dump.Item != "my-shop."+map[bool]string{true: "sql", false: "dump"}[strings.HasPrefix(name, "sql")] {
				t.Errorf("%s: %s %s %s", name, m.Snapshot.Source, m.Snapshot.Time, rep.Dump.Item)
			}
			if !bytes.Equal(content(t, r, m.Snapshot, rep.Dump.Item), c.want) {
				t.Errorf("%s: something else was stored", name)
			}
			if rep.Server.Version == "" || !strings.HasPrefix(rep.Dump.Program, "pg_dump 1") {
				t.Errorf("%s: %+v", name, rep)
			}
			if said := strings.Join(m.Snapshot.Info.Notes, " "); strings.Contains(said, "shares little") != (name == "backup") || strings.Contains(said, "without its compression") != strings.Contains(name, ".") {
				t.Errorf("%s: %s", name, said)
			}
		}
		file(t, r, at("whatever", custom), Options{Name: "db1/orders"})
		if m := file(t, r, at("pg-a-2026-11-21_180000.sql", plain), Options{Host: "db1", Port: "5433"}); m.Snapshot.Source != "pg/db1:5433/a" {
			t.Error(m.Snapshot.Source)
		}
		globals := at("all.sql", []byte(c.Dumpall()))
		if m := file(t, r, globals, Options{Name: "all"}); report(t, r, m.Snapshot).Dump.Form != pg.Script {
			t.Error(m.Snapshot)
		}
	})
	t.Run("cut off", func(t *testing.T) {
		for _, n := range []int{5, 11, 100, len(custom) / 2, len(custom) - 1} {
			refused(t, at("cut.dump", custom[:n]), Options{Name: "x"}, "cut off")
		}
		for n := 0; n < len(custom); n += 1 + 211*min(1, (len(custom)-n)/300) { // and at each of the last bytes, where blocks end
			if _, err := pgarchive.Check(bytes.NewReader(custom[:n])); err == nil {
				t.Fatalf("%d of %d bytes are taken for a whole archive", n, len(custom))
			}
		}
		packedSQL := compressed(t, plain, "gzip", "-c")
		for _, n := range []int{100, len(packedSQL) / 2, len(packedSQL) - 1} {
			refused(t, at("cut.sql.gz", packedSQL[:n]), Options{Name: "x"}, "gzip data is cut off")
		}
		end := bytes.Index(plain, []byte("-- PostgreSQL database dump complete"))
		for _, n := range []int{100, len(plain) / 2, end - 3, end, end + 20} {
			refused(t, at("cut.sql", plain[:n]), Options{Name: "x"}, "cut off", `"-- PostgreSQL database dump complete"`)
		}
		refused(t, at("more.sql", append(bytes.Clone(plain), "SELECT 1;\n"...)), Options{Name: "x"}, "cut off")
	})
	t.Run("none", func(t *testing.T) {
		refused(t, at("empty.dump", nil), Options{Name: "x"}, "is empty")
		refused(t, at("empty.sql.gz", compressed(t, nil, "gzip", "-c")), Options{Name: "x"}, "is empty")
		refused(t, at("text.sql", []byte("SELECT 1;\n")), Options{Name: "x"}, "no dump of PostgreSQL")
		refused(t, at("t.tar", c.Dump("shop", "-Ft")), Options{Name: "x"}, "tar archive", "--format=custom")
		refused(t, dir, Options{Name: "x"}, "this is a directory")
		refused(t, "/dev/zero", Options{Name: "x"}, "no regular file")
		refused(t, filepath.Join(dir, "nothing"), Options{Name: "x"}, "no such file")
		refused(t, at("unnamed.dump", custom), Options{}, "give --name", "wrong usage")
		refused(t, at("pg-x-2026-99-99_180000.dump", custom), Options{}, "give --name")
		old := bytes.Clone(custom)
		old[6] = 11
		refused(t, at("old.dump", old), Options{Name: "x"}, "older than PostgreSQL 9.0")
	})
	t.Run("changes", func(t *testing.T) {
		path := at("changes.sql", plain)
		f, before, err := openFile(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := unchanged(f, path, before); err != nil {
			t.Error(err)
		}
		at("changes.sql", append(plain, '\n'))
		if err := unchanged(f, path, before); err == nil || !strings.Contains(err.Error(), "changed while it was being read") {
			t.Error(err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := unchanged(f, path, before); err == nil || !strings.Contains(err.Error(), "removed") {
			t.Error(err)
		}
	})
}

func FuzzScript(f *testing.F) {
	f.Add([]byte("--\n-- PostgreSQL database dump\n--\n\n\\restrict x\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict x\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var whole, bytewise scriptCheck
		_, _ = whole.Write(b)
		for i := range b {
			_, _ = bytewise.Write(b[i : i+1])
		}
		a, err := whole.end()
		if c, err2 := bytewise.end(); a != c || (err == nil) != (err2 == nil) {
			t.Fatalf("%q %v, %q %v", a, err, c, err2)
		}
	})
}
