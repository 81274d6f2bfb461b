package tar

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"vaultfs/repo"
	totree "vaultfs/restore/tree"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run runs a command that must succeed.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// ingested backs up one archive.
func ingested(t testing.TB, r *repo.Repo, file string) (*repo.Tree, Made) {
	t.Helper()
	made, err := Ingest(t.Context(), r, []string{file}, Options{Verify: true})
	if err != nil {
		t.Fatal(err)
	}
	tree, err := r.OpenTree(t.Context(), *made[0].Snapshot.Item(repo.WholeTree))
	if err != nil {
		t.Fatal(err)
	}
	return tree, made[0]
}

// restored puts a tree back.
func restored(t testing.TB, tree *repo.Tree) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "restored")
	report, err := totree.Restore(t.Context(), tree, tree.Root(), dir, totree.Options{})
	if err != nil {
		t.Fatalf("%v: %+v", err, report)
	}
	return dir
}

// archiveFile keeps an archive as a file.
func archiveFile(t testing.TB, archive []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "archive.tar")
	if err := os.WriteFile(file, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// stored stores an archive and returns the tree and what was told of it.
func stored(t testing.TB, r *repo.Repo, archive []byte, o StoreOptions) (*repo.Tree, *Report, error) {
	t.Helper()
	session, err := r.NewSession(t.Context(), repo.SessionOptions{Source: "tar/test", Kind: Kind, Verify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Abort(t.Context())
	it, report, err := Store(t.Context(), session, bytes.NewReader(archive), repo.WholeTree, o)
	if err != nil {
		return nil, nil, err
	}
	if _, err := session.Commit(t.Context(), repo.Info{}); err != nil {
		t.Fatal(err)
	}
	tree, err := r.OpenTree(t.Context(), it)
	if err != nil {
		t.Fatal(err)
	}
	return tree, report, nil
}

// listing describes all that is in a tree, a line an entry.
func listing(t testing.TB, tree *repo.Tree) string {
	t.Helper()
	var b strings.Builder
	var list func(dir *repo.Entry, path string)
	list = func(dir *repo.Entry, path string) {
		for e, err := range tree.Entries(t.Context(), dir, "") {
			if err != nil {
				t.Fatal(err)
			}
			b.WriteString(path + e.Name)
			switch {
			case e.IsDir():
				b.WriteString("/\n")
				list(e, path+e.Name+"/")
				continue
			case e.IsSymlink():
				b.WriteString(" -> " + e.Target)
			case e.IsRegular():
				b.WriteString(" = " + read(t, tree, e))
			}
			if e.Links > 1 {
				b.WriteString(" x" + string('0'+rune(e.Links)))
			}
			b.WriteString("\n")
		}
	}
	list(tree.Root(), "")
	return b.String()
}

// read reads a file.
func read(t testing.TB, tree *repo.Tree, e *repo.Entry) string {
	t.Helper()
	f, err := tree.Open(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, f.Size())
	if n, err := f.ReadAt(b, 0); n < len(b) {
		t.Fatalf("%s: %d bytes, %v", e.Name, n, err)
	}
	return string(b)
}

// A test archive is put together from members, with headers as this writes them.
type made struct{ bytes.Buffer }

// add adds a member in the form of ustar.
func (m *made) add(kind byte, name, link, content string) *made {
	h := &block{}
	copy(h[0:], name)
	copy(h[100:], "0000640\x00")
	copy(h[108:], "0001750\x00")
	copy(h[116:], "0001751\x00")
	copy(h[124:], octal(int64(len(content)), 11))
	copy(h[136:], octal(1e9, 11))
	h[156] = kind
	copy(h[157:], link)
	copy(h[257:], "ustar\x0000")
	copy(h[329:], "0000007\x000000011\x00")
	return m.raw(h, content)
}

// raw adds a header, which gets its checksum, and content.
func (m *made) raw(h *block, content string) *made {
	copy(h.checksum(), "        ")
	var sum int64
	for _, c := range h {
		sum += int64(c)
	}
	copy(h.checksum(), octal(sum, 6)+"\x00 ")
	m.Write(h[:])
	m.WriteString(content)
	m.Write(make([]byte, (blockSize-len(content)%blockSize)%blockSize))
	return m
}

// end gives the archive, with an end mark.
func (m *made) end() []byte {
	m.Write(make([]byte, 2*blockSize))
	return m.Bytes()
}

func octal(n int64, digits int) string {
	b := make([]byte, digits)
	for i := range b {
		b[digits-1-i] = '0' + byte(n&7)
		n >>= 3
	}
	return string(b)
}

var aTime = time.Unix(1.2e9, 0)
