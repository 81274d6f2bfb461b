package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// A source is what is backed up, and changes between the backups.
type source interface {
	// change makes the next state.
	change() error
}

func (c *comparison) newSource(path string) (source, error) {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], c.seed)
	random := rand.NewChaCha8(seed)
	if c.kind == "image" {
		return newImage(path, int64(c.megabytes)<<20, c.change, random)
	}
	return newTree(path, c.files, c.change, random)
}

// fill writes content that compresses to about a half: each kilobyte is half
// noise, half one byte.
func fill(random *rand.ChaCha8, p []byte) {
	random.Read(p)
	for off := 512; off < len(p); off += 1024 {
		half := p[off:min(off+512, len(p))]
		for i := range half {
			half[i] = 'x'
		}
	}
}

func below(random *rand.ChaCha8, n int64) int64 { return int64(random.Uint64() % uint64(n)) }

// An image is a raw disk.
type image struct {
	path   string
	size   int64
	share  float64
	random *rand.ChaCha8
	block  []byte
}

func newImage(path string, size int64, share float64, random *rand.ChaCha8) (*image, error) {
	i := &image{path, size, share, random, make([]byte, 1<<20)}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for off := int64(0); off < size; off += int64(len(i.block)) {
		fill(random, i.block)
		if _, err := f.Write(i.block[:min(int64(len(i.block)), size-off)]); err != nil {
			return nil, err
		}
	}
	return i, f.Close()
}

// change writes runs of 4 KiB to 512 KiB at random places, as a guest does.
func (i *image) change() error {
	f, err := os.OpenFile(i.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for left := int64(float64(i.size) * i.share); left > 0; {
		n := (1 + below(i.random, 128)) * 4096
		off := below(i.random, max(1, (i.size-n)/4096)) * 4096
		fill(i.random, i.block[:n])
		if _, err := f.WriteAt(i.block[:n], off); err != nil {
			return err
		}
		left -= n
	}
	return f.Close()
}

// A tree is small files in directories of filesPerDir.
type tree struct {
	path   string
	files  int
	share  float64
	random *rand.ChaCha8
	block  []byte
}

const (
	filesPerDir = 500
	maxFile     = 1000 // bytes
)

func newTree(path string, files int, share float64, random *rand.ChaCha8) (*tree, error) {
	t := &tree{path, files, share, random, make([]byte, maxFile)}
	for i := range files {
		if i%filesPerDir == 0 {
			if err := os.MkdirAll(filepath.Dir(t.file(i)), 0o755); err != nil {
				return nil, err
			}
		}
		if err := t.write(i); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *tree) file(i int) string {
	return filepath.Join(t.path, fmt.Sprintf("%04d", i/filesPerDir), fmt.Sprintf("%03d", i%filesPerDir))
}

func (t *tree) write(i int) error {
	content := t.block[:16+below(t.random, maxFile-16)]
	fill(t.random, content)
	return os.WriteFile(t.file(i), content, 0o644)
}

// change writes files anew, scattered over all directories.
func (t *tree) change() error {
	for range int(float64(t.files) * t.share) {
		if err := t.write(int(below(t.random, int64(t.files)))); err != nil {
			return err
		}
	}
	return nil
}
