package index

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fxamacker/cbor/v2"
	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"
	"vaultfs/repo/format"
)

const catalogName = "catalog"

// maxCatalog bounds the catalog file, in bytes.
const maxCatalog = 64 << 20

// A catalogEntry says which runs a table file of the cache covers. The trailer
// shows whether it is that file.
type catalogEntry struct {
	_       struct{} `cbor:",toarray"`
	File    string
	Runs    []format.RunName
	Trailer []byte
}

// readCatalog opens the tables of a cache, and says which runs were covered by
// those that cannot be opened. Whatever is wrong with the cache only means that
// less of it is used.
func readCatalog(dir string) (tables []*table, lost map[format.RunName]bool) {
	lost = map[format.RunName]bool{}
	for _, e := range catalogEntries(dir) {
		t, err := openEntry(dir, e)
		if err != nil {
			for _, n := range e.Runs {
				lost[n] = true
			}
			continue
		}
		tables = append(tables, t)
	}
	return tables, lost
}

// catalogEntries is what the catalog says, or nothing if it is damaged.
func catalogEntries(dir string) (entries []catalogEntry) {
	st, err := os.Stat(filepath.Join(dir, catalogName))
	if err != nil || st.Size() < 32 || st.Size() > maxCatalog {
		return nil
	}
	b, err := os.ReadFile(filepath.Join(dir, catalogName))
	if err != nil || len(b) < 32 {
		return nil
	}
	body, sum := b[:len(b)-32], b[len(b)-32:]
	if got := blake3.Sum256(body); string(got[:]) != string(sum) {
		return nil
	}
	if cbor.Unmarshal(body, &entries) != nil {
		return nil
	}
	return entries
}

func openEntry(dir string, e catalogEntry) (*table, error) {
	f, err := os.Open(filepath.Join(dir, filepath.Base(e.File)))
	if err != nil {
		return nil, err
	}
	t, err := openTable(f, e.Runs)
	if err == nil && !bytes.Equal(t.trailer, e.Trailer) {
		err = ErrTable
	}
	if err != nil {
		f.Close()
	}
	return t, err
}

// writeCatalog makes the tables those of the cache, and removes other ones. A
// process that still reads a removed table has it open.
func writeCatalog(dir string, tables []*table) error {
	unlock, err := lockCache(dir)
	if err != nil {
		return err
	}
	defer unlock()
	entries := make([]catalogEntry, len(tables))
	for i, t := range tables {
		entries[i] = catalogEntry{File: filepath.Base(t.file.Name()), Runs: t.runs, Trailer: t.trailer}
	}
	b, err := cbor.Marshal(entries)
	if err != nil {
		return err
	}
	sum := blake3.Sum256(b)
	tmp := filepath.Join(dir, catalogName+".new")
	if err := os.WriteFile(tmp, append(b, sum[:]...), 0o600); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(dir, catalogName)); err != nil {
		return err
	}
	return removeOthers(dir, entries)
}

// removeOthers deletes the tables that the catalog does not name. One that
// another process is about to name is fetched again by whoever misses it.
func removeOthers(dir string, keep []catalogEntry) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		named := slices.ContainsFunc(keep, func(e catalogEntry) bool { return e.File == f.Name() })
		if named || !strings.HasSuffix(f.Name(), ".idx") {
			continue
		}
		if err := os.Remove(filepath.Join(dir, f.Name())); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

// lockCache waits for the cache directory.
func lockCache(dir string) (func(), error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	return func() { f.Close() }, nil
}
