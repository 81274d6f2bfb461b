package vzdump

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
	"vaultfs/chunk"
)

// A spool is a file for the blocks of segments that are not complete and do not
// fit into memory. It has no name, so that nothing is left behind whatever
// happens. What it holds is a guest's data, which the repository encrypts:
// it is sealed with AES-256-GCM under a key that exists in memory alone, and so
// also proved to come back as it was.
//
// Blocks of one segment that are put aside together are a record, which names
// the one before it of the same segment. So the memory that a segment needs does
// not depend on how often it was put aside. A record begins on a page border,
// and its place is given back to the file system when it has been read.
type spool struct {
	dir  string
	file *os.File // made for the first record
	aead cipher.AEAD
	end  int64
	out  []byte // the record being made
	in   []byte // the record being read
}

// A record is a place in the spool; the zero record is none.
type record struct {
	off int64
	n   uint32 // bytes, sealed
}

// Shape of a record in clear: the record before (offset 8, length 4), the number
// of blocks 4, their grains 4 each, their bytes. The offset of the record is its
// nonce: no place is used twice.
const (
	recordHead   = 16
	recordBlocks = 256 // at most
	recordSize   = recordHead + recordBlocks*(4+chunk.Grain)
	sealOverhead = 16
)

// newSpool returns a spool that makes its file in a directory below the state
// directory, which it makes too, when it is first needed.
func newSpool(stateDir string) *spool {
	return &spool{dir: filepath.Join(stateDir, "spool"), out: make([]byte, 0, recordSize+sealOverhead), in: make([]byte, recordSize+sealOverhead)}
}

func (s *spool) open() error {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	c, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	if s.aead, err = cipher.NewGCM(c); err != nil {
		return err
	}
	// Others must be able to pass the state directory: QEMU does.
	if err := os.MkdirAll(filepath.Dir(s.dir), 0o711); err != nil {
		return err
	}
	if err := os.Mkdir(s.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	fd, err := unix.Open(s.dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		s.file, err = removedFile(s.dir)
		return err
	}
	s.file = os.NewFile(uintptr(fd), filepath.Join(s.dir, "spool"))
	return nil
}

// removedFile makes a file without a name on file systems that have no O_TMPFILE:
// it has one for a moment.
func removedFile(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "spool-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// explain says what to do when the spool fails.
func (s *spool) explain(err error) error {
	why := err
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		why = p.Err
	}
	advice := ""
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		advice = ": make room there, or name a directory with more in VAULTFS_STATE_DIR"
	}
	return fmt.Errorf("the archive's clusters come in an order that needs a temporary file, and that in %s failed after %d MiB (%w)%s", s.dir, s.end>>20, why, advice)
}

// put seals blocks as a record that follows another, and returns its place.
func (s *spool) put(before record, blocks []block, p *pages) (record, error) {
	if s.file == nil {
		if err := s.open(); err != nil {
			return record{}, s.explain(err)
		}
	}
	for len(blocks) > 0 {
		n := min(len(blocks), recordBlocks)
		r, err := s.write(before, blocks[:n], p)
		if err != nil {
			return record{}, s.explain(err)
		}
		before, blocks = r, blocks[n:]
	}
	return before, nil
}

func (s *spool) write(before record, blocks []block, p *pages) (record, error) {
	be := binary.BigEndian
	b := be.AppendUint64(s.out[:0], uint64(before.off))
	b = be.AppendUint32(b, before.n)
	b = be.AppendUint32(b, uint32(len(blocks)))
	for _, o := range blocks {
		b = be.AppendUint32(b, o.grain)
	}
	for _, o := range blocks {
		b = append(b, p.at(o.page)...)
	}
	b = s.aead.Seal(b[:0], nonce(s.end), b, nil)
	if _, err := s.file.WriteAt(b, s.end); err != nil {
		return record{}, err
	}
	r := record{s.end, uint32(len(b))}
	s.end += (int64(len(b)) + chunk.Grain - 1) / chunk.Grain * chunk.Grain
	return r, nil
}

func nonce(off int64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 4), uint64(off)) }

// get reads a record, gives its blocks, and frees its place. Meanwhile others may
// be put. An error of give is returned as it is.
func (s *spool) get(r record, give func(grain uint32, data []byte) error) (before record, err error) {
	b := s.in[:r.n]
	if _, err := s.file.ReadAt(b, r.off); err != nil {
		return record{}, s.explain(err)
	}
	if b, err = s.aead.Open(b[:0], nonce(r.off), b, nil); err != nil {
		return record{}, s.explain(errors.New("what was written there does not come back: the disk or the memory of this machine is failing"))
	}
	be := binary.BigEndian
	before = record{int64(be.Uint64(b)), be.Uint32(b[8:])}
	n := int(be.Uint32(b[12:]))
	grains, data := b[recordHead:recordHead+4*n], b[recordHead+4*n:]
	for i := range n {
		if err := give(be.Uint32(grains[4*i:]), data[i*chunk.Grain:][:chunk.Grain]); err != nil {
			return record{}, err
		}
	}
	// Where this does not work the file is larger for a while, no more.
	_ = unix.Fallocate(int(s.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, r.off,
		(int64(r.n)+chunk.Grain-1)/chunk.Grain*chunk.Grain)
	return before, nil
}

func (s *spool) close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
