package fusefs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"vaultfs/repo"
)

// fakeRepository holds made-up snapshots in memory.
type fakeRepository struct {
	mu        sync.Mutex
	snapshots []*repo.Snapshot
	disks     map[string]*fakeDisk // by item name
	trees     map[string]*fakeTree // by the item's root
	unlisted  error                // beside the snapshots

	lists, opens atomic.Int64
	gate         chan struct{} // if not nil, OpenDisk waits for it
	pin          *fakePin      // that was made last
}

type fakePin struct {
	mu       sync.Mutex
	pinned   []string // IDs
	gone     map[string]bool
	released bool
	broken   bool
}

func (r *fakeRepository) Snapshots(context.Context) ([]*repo.Snapshot, error) {
	r.lists.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.snapshots), r.unlisted
}

func (r *fakeRepository) OpenDisk(ctx context.Context, it repo.Item) (Disk, error) {
	r.opens.Add(1)
	if r.gate != nil {
		select {
		case <-r.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	r.mu.Lock()
	d := r.disks[it.Name]
	r.mu.Unlock()
	if d == nil {
		return nil, &repo.DamageError{Object: "pack 3f2a", Err: errors.New("no root")}
	}
	return d, nil
}

func (r *fakeRepository) OpenFile(_ context.Context, it repo.Item) (File, error) {
	return strings.NewReader(fileContent(it.Name)), nil
}

func (r *fakeRepository) OpenTree(_ context.Context, it repo.Item) (Tree, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.trees[it.Root.String()]; t != nil {
		return t, nil
	}
	return nil, errFakeDamage
}

// fileContent is what every file item of a name holds.
func fileContent(name string) string { return "content of " + name + "\n" }

func (r *fakeRepository) Pin(context.Context, string) (Pin, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &fakePin{}
	if r.pin != nil {
		p.gone = r.pin.gone
	}
	r.pin = p
	return p, nil
}

// current is the pin that was made last.
func (r *fakeRepository) current() *fakePin {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pin
}

func (p *fakePin) Add(_ context.Context, snapshots ...*repo.Snapshot) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range snapshots {
		if p.gone[s.ID] {
			return repo.ErrNotFound
		}
		p.pinned = append(p.pinned, s.ID)
	}
	return nil
}

func (p *fakePin) Remove(_ context.Context, snapshots ...*repo.Snapshot) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range snapshots {
		p.pinned = slices.DeleteFunc(p.pinned, func(id string) bool { return id == s.ID })
	}
	return nil
}

func (p *fakePin) Held(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken {
		return repo.ErrLeaseBroken
	}
	return nil
}

// state tells what is pinned, and whether it was given back.
func (p *fakePin) state() (ids []string, released bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.pinned), p.released
}

func (p *fakePin) Release(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.released = true
	return nil
}

// commit adds a snapshot with the disks of the names and a few files.
func (r *fakeRepository) commit(source string, seq uint64, t time.Time, disks ...string) *repo.Snapshot {
	s := &repo.Snapshot{ID: hexID(source, seq), Source: source, Kind: "vm", Seq: seq, Time: t}
	for _, name := range disks {
		it := repo.Item{Name: name, Kind: repo.ItemDisk, Size: r.disks[name].size}
		it.Root[0], it.Root[1] = byte(len(name)), name[len(name)-1]
		s.Items = append(s.Items, it)
	}
	for _, name := range []string{"domain.xml", "tpm/state"} {
		it := repo.Item{Name: name, Kind: repo.ItemFile, Size: int64(len(fileContent(name)))}
		it.Root[2] = name[0]
		s.Items = append(s.Items, it)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.snapshots = append(r.snapshots, s)
	return s
}

// hexID is the ID of a made-up snapshot.
func hexID(source string, seq uint64) string {
	return fmt.Sprintf("%016x%016x", identity(0, source).Ino, seq)
}

// fakeDisk has random content in some of its 4 KiB blocks, computed when it is
// read.
type fakeDisk struct {
	size   int64
	blocks []int64 // allocated, sorted

	bad        atomic.Int64 // offset of a block that is damaged, 0 for none
	mu         sync.Mutex
	prefetched [][2]int64
	record     bool
}

const (
	fakeSegment = 64 << 20
	fakeCluster = 64 << 10
)

// newFakeDisk allocates runs of blocks at random.
func newFakeDisk(size int64, runs, blocksPerRun int) *fakeDisk {
	rnd := rand.New(rand.NewPCG(1, uint64(size)))
	d := &fakeDisk{size: size}
	for range runs {
		first := rnd.Int64N(max(size/blockSize, 1))
		for i := range int64(blocksPerRun) {
			if (first+i)*blockSize < size {
				d.blocks = append(d.blocks, first+i)
			}
		}
	}
	slices.Sort(d.blocks)
	d.blocks = slices.Compact(d.blocks)
	return d
}

func (d *fakeDisk) Size() int64        { return d.size }
func (d *fakeDisk) SegmentSize() int64 { return fakeSegment }
func (d *fakeDisk) Allocated() int64   { return int64(len(d.blocks)) * blockSize }

func (d *fakeDisk) Clusters(segment int) uint32 {
	words, _ := d.Bitmap(segment)
	n := uint32(0)
	for _, w := range words {
		for ; w != 0; w &= w - 1 {
			n++
		}
	}
	return n
}

func (d *fakeDisk) Bitmap(segment int) ([]uint64, error) {
	words := make([]uint64, fakeSegment/fakeCluster/64)
	first := int64(segment) * (fakeSegment / blockSize)
	i, _ := slices.BinarySearch(d.blocks, first)
	for ; i < len(d.blocks) && d.blocks[i] < first+fakeSegment/blockSize; i++ {
		c := (d.blocks[i] - first) / (fakeCluster / blockSize)
		words[c/64] |= 1 << (c % 64)
	}
	return words, nil
}

func (d *fakeDisk) ReadAt(p []byte, off int64) (int, error) {
	n := int(min(int64(len(p)), max(d.size-off, 0)))
	for done := 0; done < n; {
		at := off + int64(done)
		m := min(n-done, int(blockSize-at%blockSize))
		if bad := d.bad.Load(); bad > 0 && at/blockSize == bad/blockSize {
			return done, &repo.DamageError{Object: "pack 3f2a", Err: errors.New("chunk 1: wrong bytes")}
		}
		d.fill(p[done:done+m], at)
		done += m
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// fill computes bytes of one block.
func (d *fakeDisk) fill(p []byte, off int64) {
	block := off / blockSize
	if _, ok := slices.BinarySearch(d.blocks, block); !ok {
		clear(p)
		return
	}
	var content [blockSize]byte
	x := uint64(block)*0x9e3779b97f4a7c15 + uint64(d.size) + 1
	for i := 0; i < blockSize; i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(content[i:], x)
	}
	copy(p, content[off%blockSize:])
}

func (d *fakeDisk) NextData(off int64) (int64, error) {
	i, found := slices.BinarySearch(d.blocks, off/blockSize)
	switch {
	case found:
		return off, nil
	case i == len(d.blocks):
		return 0, io.EOF
	}
	return d.blocks[i] * blockSize, nil
}

func (d *fakeDisk) NextHole(off int64) (int64, error) {
	block := off / blockSize
	i, found := slices.BinarySearch(d.blocks, block)
	if !found {
		return off, nil
	}
	for ; i < len(d.blocks) && d.blocks[i] == block; i++ {
		block++
	}
	return min(block*blockSize, d.size), nil
}

func (d *fakeDisk) Prefetch(off, n int64) {
	if d.record {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.prefetched = append(d.prefetched, [2]int64{off, n})
	}
}

// bytes is the whole disk.
func (d *fakeDisk) bytes(t testing.TB) []byte {
	p := make([]byte, d.size)
	if n, err := d.ReadAt(p, 0); n != len(p) {
		t.Fatal(err)
	}
	return p
}
