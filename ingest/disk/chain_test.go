package disk

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"vaultfs/internal/nbd/qemunbd"
)

// mapped is an entry of `qemu-img map --output=json`.
type mapped struct {
	Start, Length int64
	Depth         int
	Zero, Data    bool
	Offset        *int64
}

func qemuMap(t testing.TB, format, path string) (all []mapped) {
	t.Helper()
	if err := json.Unmarshal([]byte(run(t, "qemu-img", "map", "--output=json", "-f", format, path)), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// sector is where 512 bytes of a disk are.
type sector struct {
	place  place
	depth  int
	offset int64
}

// ours is where c has each sector of its disk.
func ours(t testing.TB, c *Chain) []sector {
	t.Helper()
	depth := map[*file]int{}
	for i, l := range c.layers {
		switch l := l.(type) {
		case rawLayer:
			depth[l.f] = i
		case *qcow2Layer:
			depth[l.holder] = i
		}
	}
	var all []sector
	err := c.parts(0, 0, c.Size(), func(p part) error {
		if p.off != int64(len(all))*512 {
			t.Fatalf("part at %d follows on %d", p.off, len(all)*512)
		}
		for i := int64(0); i < (p.n+511)/512; i++ {
			all = append(all, sector{p.place, depth[p.file], p.at + i*512})
		}
		return nil
	})
	if err != nil || int64(len(all))*512 != c.Size() {
		t.Fatalf("%d sectors of %d bytes, %v", len(all), c.Size(), err)
	}
	return all
}

// sameMap compares where c finds each sector with where QEMU does.
func sameMap(t testing.TB, c *Chain, format, path string) {
	t.Helper()
	all := ours(t, c)
	seen := 0
	for _, m := range qemuMap(t, format, path) {
		for i := m.Start / 512; i < (m.Start+m.Length)/512; i++ {
			s, ok := all[i], false
			seen++
			switch s.place {
			case zeros: // those that have room in the file have an offset, too
				ok = m.Zero && !m.Data
			case inFile: // also where the file has a hole
				ok = m.Offset != nil && s == sector{inFile, m.Depth, *m.Offset + i*512 - m.Start}
			case packed:
				ok = m.Data && m.Offset == nil
			}
			if !ok {
				t.Fatalf("%s: sector %d is %+v, QEMU says %+v, offset %v", path, i, s, m, m.Offset)
			}
		}
	}
	if seen != len(all) {
		t.Errorf("%s: QEMU tells of %d sectors of %d", path, seen, len(all))
	}
}

// sameBytes reads a chain in windows of any size by several goroutines, and by
// its runs of data, and compares it with what qemu-img makes of it.
func sameBytes(t testing.TB, c *Chain, want []byte) {
	t.Helper()
	if c.Size() != int64(len(want)) {
		t.Fatalf("%d bytes, want %d", c.Size(), len(want))
	}
	var readers sync.WaitGroup
	for k := range 4 {
		readers.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(k)))
			for range 8 {
				off := rng.Int64N(c.Size() + 1)
				n := rng.Int64N(c.Size() - off + 1)
				if rng.IntN(2) == 0 {
					n = min(n, rng.Int64N(9000))
				}
				p := bytes.Repeat([]byte{0xee}, int(n))
				if err := c.ReadAt(t.Context(), p, off); err != nil || !bytes.Equal(p, want[off:off+n]) {
					t.Errorf("%d bytes at %d are not right, %v", n, off, err)
				}
			}
		})
	}
	readers.Wait()
	whole := make([]byte, c.Size())
	for off := int64(0); off < c.Size(); {
		n := min(1<<20+512, c.Size()-off)
		runs, err := c.Data(t.Context(), off, n)
		if err != nil {
			t.Fatal(err)
		}
		end := off
		for _, r := range runs {
			if r.Off < end || r.Len <= 0 || r.Off+r.Len > off+n {
				t.Fatalf("runs of [%d,%d): %v", off, off+n, runs)
			}
			end = r.Off + r.Len
			if err := c.ReadAt(t.Context(), whole[r.Off:end], r.Off); err != nil {
				t.Fatal(err)
			}
		}
		off += n
	}
	if !bytes.Equal(whole, want) {
		t.Error("what is read by the runs of data differs")
	}
}

func opened(t testing.TB, path string, o Options) *image {
	t.Helper()
	o.Warn = func(string) {}
	m, err := openImage(t.Context(), path, &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.close)
	return m
}

// scribbles are qemu-io commands that leave an image in pieces: data, zeros,
// discarded and compressed clusters of all sizes.
func scribbles(seed uint64, size int64, compress bool) (commands []string) {
	rng := rand.New(rand.NewPCG(seed, 7))
	if compress { // clusters that hold nothing yet
		for k := range 20 {
			if at := rng.Int64N(4) + int64(k)*4; at<<16+1<<16 <= size {
				commands = append(commands, fmt.Sprintf("write -c -P %d %d 64k", 100+k, at<<16))
			}
		}
	}
	for i := range 60 {
		off := rng.Int64N(size/512) * 512
		n := min(1<<rng.IntN(12), (size-off)/512) * 512
		what := fmt.Sprintf("write -P %d", 1+i)
		switch rng.IntN(5) {
		case 0:
			what = "write -z"
		case 1:
			what = "write -z -u"
		case 2:
			what = "discard"
		}
		commands = append(commands, fmt.Sprintf("%s %d %d", what, off, n))
	}
	return commands
}

// TestDirect: for every kind of image, QEMU's own map says that each sector is
// where it is read from, the bytes are qemu-img's, and qemu-nbd runs only for what
// is compressed.
func TestDirect(t *testing.T) {
	chdir(t)
	const size = 4<<20 + 3*512
	for i, c := range []struct {
		options  string
		compress bool
	}{
		{options: "compat=0.10"}, {options: "compat=0.10", compress: true}, {options: ""}, {compress: true},
		{options: "cluster_size=512"}, {options: "cluster_size=1k,compat=0.10"}, {options: "cluster_size=4k"},
		{options: "cluster_size=2M"}, {options: "cluster_size=1M"},
		{options: "extended_l2=on"}, {options: "extended_l2=on,cluster_size=16k"}, {options: "extended_l2=on,cluster_size=2M"},
		{options: "extended_l2=on", compress: true}, {options: "compression_type=zstd", compress: true},
		{options: "preallocation=metadata"}, {options: "preallocation=metadata,extended_l2=on"}, {options: "preallocation=falloc"},
		{options: "preallocation=full,cluster_size=4k"},
		{options: "data_file=%d.bin"}, {options: "data_file=%d.bin,data_file_raw=on"}, {options: "data_file=%d.bin,preallocation=metadata"},
		{options: "lazy_refcounts=on,refcount_bits=2"},
	} {
		if strings.Contains(c.options, "%d") {
			c.options = fmt.Sprintf(c.options, i)
		}
		t.Run(fmt.Sprintf("%s compress=%v", c.options, c.compress), func(t *testing.T) {
			path := fmt.Sprintf("d%d.qcow2", i)
			var options []string
			if c.options != "" {
				options = []string{"-o", c.options}
			}
			create(t, path, "qcow2", fmt.Sprint(size), options...)
			qemuIO(t, "qcow2", path, scribbles(uint64(i), size, c.compress)...)
			check := func() {
				m := opened(t, path, Options{})
				sameMap(t, m.content, "qcow2", path)
				sameBytes(t, m.content, converted(t, "qcow2", path))
				unpacks := slices.ContainsFunc(ours(t, m.content), func(s sector) bool { return s.place == packed })
				if got := m.content.served.server != nil; got != unpacks {
					t.Errorf("qemu-nbd started: %v, and there are compressed clusters: %v", got, unpacks)
				}
				m.close()
			}
			check()
			if !strings.Contains(c.options, "data_file") {
				run(t, "qemu-img", "snapshot", "-c", "s", path)
				qemuIO(t, "qcow2", path, scribbles(uint64(i)+100, size, false)...)
				check()
			}
		})
	}
}

// TestDirectChains: layers of other sizes and clusters above and below each
// other, of which some are compressed, have a data file, or are in other formats.
func TestDirectChains(t *testing.T) {
	chdir(t)
	const size = 3<<20 + 512
	rng := rand.New(rand.NewPCG(3, 3))
	kinds := []string{"cluster_size=512", "cluster_size=4k,compat=0.10", "", "cluster_size=2M", "extended_l2=on", "data_file=%s.bin", "cluster_size=1M"}
	for i := range 8 {
		base, format := fmt.Sprintf("base%d.raw", i), "raw"
		write(t, base, guest(byte(i), size-100*i)) // no whole sector
		if i%4 == 3 {
			run(t, "qemu-img", "convert", "-f", "raw", "-O", "vmdk", base, base[:5]+".vmdk")
			base, format = base[:5]+".vmdk", "vmdk"
		}
		for k := range 3 {
			path := fmt.Sprintf("l%d-%d.qcow2", i, k)
			n := []int64{size - 1<<20, size, size + 2<<20}[rng.IntN(3)]
			options := kinds[rng.IntN(len(kinds))]
			if strings.Contains(options, "%s") {
				options = fmt.Sprintf(options, path)
			}
			args := []string{"-b", base, "-F", format}
			if options != "" {
				args = append(args, "-o", options)
			}
			create(t, path, "qcow2", fmt.Sprint(n), args...)
			qemuIO(t, "qcow2", path, scribbles(uint64(10*i+k), n, options == "" && i%2 == 0)[:20]...)
			base, format = path, "qcow2"
		}
		m := opened(t, base, Options{})
		if i%4 != 3 {
			sameMap(t, m.content, "qcow2", base)
		}
		sameBytes(t, m.content, converted(t, "qcow2", base))
	}
}

// spoil puts odd values into a table of entries of eight bytes.
func spoil(rng *rand.Rand, table []byte, length int64) {
	for range 1 + rng.IntN(4) {
		entry := table[rng.IntN(len(table)/8)*8:][:8]
		e := binary.BigEndian.Uint64(entry)
		switch rng.IntN(8) {
		case 0:
			e ^= 1 << rng.IntN(64)
		case 1:
			e ^= qcow2Zero
		case 2:
			e ^= qcow2Copied
		case 3:
			e = uint64(rng.Int64N(length)) // most often not aligned
		case 4:
			e = uint64(rng.Int64N(length))&^0xffff | qcow2Copied
		case 5:
			e = uint64(length) &^ 0xffff
		case 6:
			e = rng.Uint64()
		case 7:
			e |= uint64(rng.IntN(1<<9)) | uint64(rng.IntN(64))<<56&^uint64(qcow2Compressed)
		}
		binary.BigEndian.PutUint64(entry, e)
	}
}

// TestDirectHostile: of an image whose tables somebody has spoiled, each cluster
// is read as QEMU reads it, or not at all where QEMU does not read it.
func TestDirectHostile(t *testing.T) {
	chdir(t)
	const size, cluster = 3 << 20, 64 << 10
	rng := rand.New(rand.NewPCG(5, 5))
	for i, options := range []string{"compat=0.10", "compat=1.1", "extended_l2=on", "data_file=d.bin"} {
		path := create(t, fmt.Sprintf("h%d.qcow2", i), "qcow2", fmt.Sprint(size), "-o", options)
		qemuIO(t, "qcow2", path, scribbles(uint64(i), size, i < 3)...)
		whole := read(t, path)
		l1 := binary.BigEndian.Uint64(whole[40:])
		l2 := binary.BigEndian.Uint64(whole[l1:]) & qcow2OffsetMask
		entries := size / cluster * 8
		if i == 2 {
			entries *= 2
		}
		failed := 0
		for round := range 6 {
			spoiled := bytes.Clone(whole)
			table := spoiled[l2:][:entries]
			if round == 0 {
				table = spoiled[l1:][:8]
			}
			spoil(rng, table, int64(len(whole)))
			write(t, path, spoiled)
			failed += sameAsServed(t, path, i == 3, cluster)
		}
		t.Logf("%s: %d clusters cannot be read", options, failed)
	}
}

// sameAsServed compares a chain with qemu-nbd's own reading, cluster by cluster,
// and returns how many cannot be read.
func sameAsServed(t *testing.T, path string, external bool, cluster int64) (failed int) {
	t.Helper()
	c := uncheckedChain(t, path, external)
	got, want := make([]byte, cluster), make([]byte, cluster)
	for off := int64(0); off < c.Size(); off += cluster {
		gotErr, wantErr := c.ReadAt(t.Context(), got, off), c.served.ReadAt(t.Context(), want, off)
		if (gotErr == nil) != (wantErr == nil) || gotErr == nil && !bytes.Equal(got, want) {
			t.Fatalf("%s, cluster at %d: %v, by QEMU %v", path, off, gotErr, wantErr)
		}
		if gotErr != nil {
			failed++
			c = uncheckedChain(t, path, external) // QEMU may hang up after an error
			continue
		}
		runs, err := c.Data(t.Context(), off, cluster)
		if err == nil && len(runs) == 0 && !bytes.Equal(got, make([]byte, cluster)) {
			t.Fatalf("%s, cluster at %d is said to be zeros", path, off)
		}
	}
	return failed
}

// uncheckedChain is one image, and its data file d.bin if it has one, of which
// nobody has looked at the tables.
func uncheckedChain(t *testing.T, path string, external bool) *Chain {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	l := qemunbd.Layer{Path: path, Format: "qcow2"}
	f, err := openStated(path)
	if err != nil {
		t.Fatal(err)
	}
	h, err := readQcow(f, qcow2Format)
	if err != nil || !h.usual {
		t.Fatal(h, err)
	}
	files, holder := []*file{f}, f
	if external {
		l.DataFile = filepath.Join(filepath.Dir(path), "d.bin")
		if holder, err = openStated(l.DataFile); err != nil {
			t.Fatal(err)
		}
		files = append(files, holder)
	}
	s := &served{ctx: t.Context(), options: qemunbd.Options{Chain: []qemunbd.Layer{l}, Connections: 2}}
	c, err := newChain([]layer{newQcow2Layer(f, h, holder)}, s)
	if err != nil {
		t.Fatal(err)
	}
	c.files = files
	t.Cleanup(func() { c.Close() })
	return c
}

// TestOddHeaders: QEMU judges what is odd in a header, and refuses it.
func TestOddHeaders(t *testing.T) {
	chdir(t)
	create(t, "a.qcow2", "qcow2", "1M")
	for i, p := range []struct {
		off   int
		bytes []byte
	}{
		{55, []byte{1}},       // refcounts that are not aligned
		{56, []byte{0xff}},    // too many refcounts
		{99, []byte{7}},       // too wide refcounts
		{45, []byte{2, 2, 0}}, // an L1 table that is not aligned
		{36, make([]byte, 4)}, // one that is too short
	} {
		_, err := openImage(t.Context(), patched(t, "a.qcow2", fmt.Sprintf("odd%d.qcow2", i), p.off, p.bytes), &Options{Warn: func(string) {}})
		if err == nil || !strings.Contains(err.Error(), "qemu-nbd") {
			t.Errorf("%d: %v", p.off, err)
		}
	}
}

// TestHeldFromGuests: while an image is read, QEMU does not open it for writing.
func TestHeldFromGuests(t *testing.T) {
	chdir(t)
	create(t, "base.qcow2", "qcow2", "1M")
	create(t, "over.qcow2", "qcow2", "1M", "-b", "base.qcow2", "-F", "qcow2")
	m := opened(t, "over.qcow2", Options{})
	for _, path := range []string{"over.qcow2", "base.qcow2"} {
		out, err := exec.Command("qemu-io", "-f", "qcow2", "-c", "write 0 512", path).CombinedOutput()
		if !bytes.Contains(out, []byte(`Failed to get "write" lock`)) {
			t.Errorf("%s was written to: %s %v", path, out, err)
		}
	}
	opened(t, "over.qcow2", Options{}) // two may read
	m.content.ReadAt(t.Context(), make([]byte, 512), 0)
	if m.content.served.server != nil {
		t.Error("qemu-nbd was started for nothing")
	}
}

// TestReadErrors: what fails is named, with the file and the place in it.
func TestReadErrors(t *testing.T) {
	dir := chdir(t)
	create(t, "a.qcow2", "qcow2", "1M")
	qemuIO(t, "qcow2", "a.qcow2", "write -P 1 0 1M")
	m := opened(t, "a.qcow2", Options{})
	if err := os.Truncate("a.qcow2", 700000); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 64<<10)
	err := m.content.ReadAt(t.Context(), p, 1<<20-64<<10)
	if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "a.qcow2")) || !strings.Contains(err.Error(), "ends at") {
		t.Error(err)
	}
	if err := m.explain(err); !errors.Is(err, ErrChanged) {
		t.Error(err)
	}
	write(t, "b.raw", make([]byte, 4096))
	b := opened(t, "b.raw", Options{})
	b.files[0].Close()
	if b.files[0].File, err = os.Open(dir); err != nil { // reading a directory fails with EISDIR
		t.Fatal(err)
	}
	err = b.content.ReadAt(t.Context(), p[:512], 512)
	if !errors.Is(err, syscall.EISDIR) || !strings.Contains(err.Error(), `b.raw" cannot be read at 512`) {
		t.Error(err)
	}
	for _, off := range []int64{-1, 4096, 4000} {
		if err := b.content.ReadAt(t.Context(), p[:512], off); err == nil {
			t.Errorf("read at %d", off)
		}
	}
}

// TestHolesInClusters: what the file of a preallocated image does not hold is not
// read.
func TestHolesInClusters(t *testing.T) {
	chdir(t)
	for _, options := range []string{"preallocation=metadata", "data_file=a.bin,data_file_raw=on,preallocation=metadata"} {
		create(t, "a.qcow2", "qcow2", "1G", "-o", options)
		qemuIO(t, "qcow2", "a.qcow2", "write -P 1 300M 1M", "write -P 2 900M 1M")
		m := opened(t, "a.qcow2", Options{})
		runs, err := m.content.Data(t.Context(), 0, m.content.Size())
		var n int64
		for _, r := range runs {
			n += r.Len
		}
		if err != nil || n < 2<<20 || n > 3<<20 {
			t.Errorf("%s: %d bytes of data in %v, %v", options, n, runs, err)
		}
		m.close()
		os.Remove("a.qcow2")
		os.Remove("a.bin")
	}
}
