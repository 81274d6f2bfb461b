package repo_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	"vaultfs/chunk"
	"vaultfs/ingest"
	"vaultfs/repo"
	"vaultfs/repo/store"
)

// A scattered image is a large disk with little data. Data that is longer than
// the disk is cut off.
type scattered struct {
	size int64
	data map[int64][]byte // by offset
}

func (s scattered) Size() int64 { return s.size }

func (s scattered) Data(_ context.Context, off, n int64) (runs []ingest.Run, err error) {
	for _, at := range slices.Sorted(maps.Keys(s.data)) {
		begin, end := max(at, off), min(at+int64(len(s.data[at])), off+n)
		if begin < end {
			runs = append(runs, ingest.Run{Off: begin, Len: end - begin})
		}
	}
	return runs, nil
}

func (s scattered) ReadAt(_ context.Context, p []byte, off int64) error {
	clear(p)
	for at, b := range s.data {
		begin, end := max(at, off), min(at+int64(len(b)), off+int64(len(p)))
		if begin < end {
			copy(p[begin-off:end-off], b[begin-at:])
		}
	}
	return nil
}

// store does what ingest.CopyDisk does, with less memory: under the race
// detector that makes the difference. The segments are stored at once.
func (s scattered) store(ctx context.Context, to *repo.Session) (root chunk.ID, err error) {
	return s.storeFrom(ctx, to, nil, scattered{})
}

// storeFrom takes the segments over from base, which holds old, that are the
// same in both, and stores the others.
func (s scattered) storeFrom(ctx context.Context, to *repo.Session, base *repo.Disk, old scattered) (root chunk.ID, err error) {
	w, cutter := to.NewDisk(), to.Repo().DiskCutter()
	var group errgroup.Group
	for i := int64(0); i*segment < s.size; i++ {
		lane := to.Lane()
		group.Go(func() error {
			if base != nil && s.sameSegment(old, i) {
				return w.Inherit(base, i)
			}
			var m repo.SegmentMap
			runs, _ := s.Data(ctx, i*segment, segment)
			for _, r := range runs {
				at := (r.Off - i*segment) / chunk.Grain * chunk.Grain
				p := make([]byte, (r.Off-i*segment-at+r.Len+chunk.Grain-1)/chunk.Grain*chunk.Grain)
				s.ReadAt(ctx, p, i*segment+at)
				for len(p) > 0 {
					zeros, n := cutter.Next(p, true)
					if at, p = at+int64(zeros), p[zeros:]; n == 0 {
						break
					}
					id, err := lane.Put(ctx, p[:n])
					if err != nil {
						return err
					}
					m = append(m, repo.Extent{Off: at, Len: int64(n), ID: id})
					at, p = at+int64(n), p[n:]
				}
			}
			return w.SetSegment(ctx, lane, i, m)
		})
	}
	if err := group.Wait(); err != nil {
		return root, err
	}
	return w.Finish(ctx, to.Lane(), s.size)
}

// sameSegment tells whether a segment can be taken over from an older state.
func (s scattered) sameSegment(old scattered, i int64) bool {
	begin := i * segment
	end := begin + segment
	if begin >= old.size || s.size < min(end, old.size) {
		return false
	}
	ctx := context.Background()
	runs, _ := s.Data(ctx, begin, segment)
	before, _ := old.Data(ctx, begin, segment)
	if !slices.Equal(runs, before) {
		return false
	}
	for _, r := range runs {
		a, b := make([]byte, r.Len), make([]byte, r.Len)
		s.ReadAt(ctx, a, r.Off)
		old.ReadAt(ctx, b, r.Off)
		if !bytes.Equal(a, b) {
			return false
		}
	}
	return true
}

// same compares a stored disk with the image: the data, a little around it,
// and that there is nothing else.
func (s scattered) same(d *repo.Disk) error {
	if d.Size() != s.size {
		return fmt.Errorf("%d bytes, want %d", d.Size(), s.size)
	}
	for at, b := range s.data {
		begin, end := max(0, at-5000), min(s.size, at+int64(len(b))+5000)
		got, want := make([]byte, end-begin), make([]byte, end-begin)
		if _, err := d.ReadAt(got, begin); err != nil {
			return err
		}
		if s.ReadAt(context.Background(), want, begin); !bytes.Equal(got, want) {
			return fmt.Errorf("other bytes from %d to %d", begin, end)
		}
	}
	for off := int64(0); ; {
		begin, err := d.NextData(off)
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if off, err = d.NextHole(begin); err != nil {
			return err
		}
		runs, _ := s.Data(context.Background(), begin, off-begin)
		if len(runs) == 0 {
			return fmt.Errorf("data from %d to %d, where there are none", begin, off)
		}
	}
}

// A backup is what one snapshot is made of: a disk of three segments, a stream,
// a small file and a tree.
type backup struct {
	source string
	disk   scattered
	stream []byte
	nvram  []byte
	tree   *node
}

const segment = repo.SegmentSize

// newBackup draws a backup; two of one seed are equal.
func newBackup(source string, seed uint64) backup {
	return backup{source, scattered{2*segment + 1<<20 + 1536, map[int64][]byte{
		1 << 20:           random(seed, 90<<10),
		segment + 12345:   random(seed+1, 60<<10),
		2*segment + 1<<20: random(seed+2, 1536),
	}}, random(seed+3, 60<<10), random(seed+4, 700), newTree(seed + 5)}
}

// random is n bytes of noise without zero grains.
func random(seed uint64, n int) []byte { return noise(seed, n+1<<17)[1<<17:][:n] }

// changed is the backup a little later.
func (b backup) changed(seed uint64) backup {
	data := maps.Clone(b.disk.data)
	data[30<<20] = random(seed, 40<<10)
	data[segment+40<<20] = random(seed+1, 110<<10)
	b.disk.data = data
	b.tree = dirOf(maps.Clone(b.tree.below))
	b.tree.below["new"] = fileOf(random(seed+2, 3000))
	return b
}

// with is the backup with more data on its disk.
func (b backup) with(off int64, data []byte) backup {
	b.disk.data = maps.Clone(b.disk.data)
	b.disk.data[off] = data
	return b
}

// ingest commits the backup as a snapshot.
func (b backup) ingest(ctx context.Context, r *repo.Repo) (*repo.Snapshot, error) {
	snap, _, err := b.increment(ctx, r, nil, backup{})
	return snap, err
}

// increment commits the backup with what is the same as in the backup old taken
// over from its snapshot. It says why that could not be done.
func (b backup) increment(ctx context.Context, r *repo.Repo, from *repo.Snapshot, old backup) (snap *repo.Snapshot, full, err error) {
	s, err := r.NewSession(ctx, repo.SessionOptions{Source: b.source, Kind: "vm", Machine: "m-" + b.source, Verify: true, Base: from})
	if err != nil {
		return nil, nil, err
	}
	defer s.Abort(ctx)
	base, full := s.OpenBase(ctx, "vda")
	root, err := b.disk.storeFrom(ctx, s, base, old.disk)
	if err == nil {
		snap, err = b.commit(ctx, s, root)
	}
	return snap, full, err
}

// commit commits a session with the disk of that root.
func (b backup) commit(ctx context.Context, s *repo.Session, disk chunk.ID) (*repo.Snapshot, error) {
	err := s.AddItem(repo.Item{Name: "vda", Kind: repo.ItemDisk, Size: b.disk.size, Root: disk, Checkpoint: "c-1",
		Origin: repo.Origin{Path: "/p", Format: "raw", How: "full", Read: 8, Dirty: 7, New: 6, Stored: 5}})
	if err != nil {
		return nil, err
	}
	for name, content := range map[string][]byte{"stream": b.stream, "nvram.fd": b.nvram} {
		if _, err := s.AddFile(ctx, name, bytes.NewReader(content)); err != nil {
			return nil, err
		}
	}
	root, err := b.tree.store(ctx, s, s.NewFileWriter(), "")
	if err != nil {
		return nil, err
	}
	if _, err := s.AddTree(ctx, "rootfs", root); err != nil {
		return nil, err
	}
	return s.Commit(ctx, repo.Info{Program: "test", Method: "backup", Summary: repo.Summary{BytesDirty: 7}})
}

// items reads every item of a snapshot and says which came back, wrong bytes
// being fatal: an item is read rightly or gives an error.
func (b backup) items(t testing.TB, r *repo.Repo, s *repo.Snapshot) map[string]error {
	t.Helper()
	got := map[string]error{}
	for _, it := range s.Items {
		if it.Kind == repo.ItemDisk {
			d, err := r.OpenDisk(t.Context(), it)
			if err == nil {
				err = b.disk.same(d)
			}
			got[it.Name] = err
			continue
		}
		if it.Kind == repo.ItemTree {
			tree, err := r.OpenTree(t.Context(), it)
			if err == nil {
				err = b.tree.same(t.Context(), tree, tree.Root())
			}
			got[it.Name] = err
			continue
		}
		f, err := r.OpenFile(t.Context(), it)
		if err == nil {
			var content []byte
			if content, err = io.ReadAll(io.NewSectionReader(f, 0, f.Size())); err == nil && !bytes.Equal(content, map[string][]byte{"stream": b.stream, "nvram.fd": b.nvram}[it.Name]) {
				t.Fatalf("%s comes back different", it.Name)
			}
		}
		got[it.Name] = err
	}
	for name, err := range got {
		if err != nil && (strings.Contains(err.Error(), "other bytes") || strings.Contains(err.Error(), "where there are none")) {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return got
}

// mustRead demands that all of a snapshot comes back.
func (b backup) mustRead(t testing.TB, r *repo.Repo, s *repo.Snapshot) {
	t.Helper()
	for name, err := range b.items(t, r, s) {
		if err != nil {
			t.Errorf("%s of %s: %v", name, s.Source, err)
		}
	}
}

func mustIngest(t testing.TB, r *repo.Repo, b backup) *repo.Snapshot {
	t.Helper()
	s, err := b.ingest(t.Context(), r)
	if err != nil {
		t.Fatalf("ingest of %s: %v", b.source, err)
	}
	return s
}

// reopen opens a repository in a store without the check after the test.
func reopen(t testing.TB, st *store.Dir) *repo.Repo {
	t.Helper()
	r, err := tryOpen(st, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func tryOpen(st *store.Dir, warn func(string)) (*repo.Repo, error) {
	return repo.Open(context.Background(), st, repo.OpenOptions{Password: []byte("secret"), Warn: warn})
}

func initRepo(t testing.TB, st *store.Dir) {
	t.Helper()
	if err := repo.Init(t.Context(), st, repo.InitOptions{Password: []byte("secret"), Label: "test", Cost: cheap}); err != nil {
		t.Fatal(err)
	}
}

func memStore(t testing.TB, m *store.Mem) *store.Dir {
	t.Helper()
	st, err := m.Store()
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func mustSnapshots(t testing.TB, r *repo.Repo) []*repo.Snapshot {
	t.Helper()
	all, err := r.Snapshots(t.Context())
	if err != nil {
		t.Fatalf("snapshots: %v", err)
	}
	return all
}

// objects lists the names in a store.
func objects(t testing.TB, st *store.Dir) (names []string) {
	t.Helper()
	if err := st.List(t.Context(), "", func(i store.Info) error { names = append(names, i.Name); return nil }); err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

var objectNames = regexp.MustCompile(`^(config|keys/[0-9a-f]{16}|head/[0-9]{20}|snapshots/[0-9a-f]{32}|runs/[0-9a-f]{32}/[0-9a-f]{32}|packs/[0-9a-f]{32}/[0-9a-f]{64}|(forgotten|ledger)/[0-9a-f]{32}|policy/[0-9]+|quarantine/.+)$`)

// checkExplained demands that every object has a name that says what it is, and
// that no lease is left.
func checkExplained(t testing.TB, st *store.Dir) {
	t.Helper()
	for _, name := range objects(t, st) {
		if !objectNames.MatchString(name) {
			t.Errorf("there is an object %s", name)
		}
	}
	leases, err := st.Leases(t.Context())
	if err != nil || len(leases) > 0 {
		t.Errorf("%d leases are left (%v)", len(leases), err)
	}
}
