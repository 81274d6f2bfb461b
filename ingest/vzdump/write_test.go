package vzdump

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"vaultfs/chunk"
	"vaultfs/internal/vma"
)

// A made is an archive that a test makes. It is written as FORMAT says, by
// nothing that the reader uses.
type made struct {
	configs []vma.Config
	drives  []madeDrive
	order   []place // of the clusters; nil for one drive after the other
	slots   int     // of an extent that are used, 58 if it is 0
	created int64
	zeros   bool // blocks of zeros are stored as well
}

type madeDrive struct {
	name string
	size int64
	// at gives a cluster, or what of it lies in the drive; nil for zeros.
	at func(cluster int64) []byte
}

func (d *madeDrive) clusters() int64 { return (d.size + vma.ClusterSize - 1) / vma.ClusterSize }

// A place is a cluster of an archive.
type place struct {
	drive   int
	cluster uint32
}

const madeUUID = "sixteen bytes id"

// places are all clusters, one drive after the other.
func (m *made) places() (list []place) {
	for i, d := range m.drives {
		for c := range d.clusters() {
			list = append(list, place{i, uint32(c)})
		}
	}
	return list
}

// shuffle puts the clusters of all drives into a random order.
func (m *made) shuffle(seed uint64) {
	m.order = m.places()
	r := rand.New(rand.NewPCG(seed, 1))
	r.Shuffle(len(m.order), func(i, j int) { m.order[i], m.order[j] = m.order[j], m.order[i] })
}

func (m *made) header() []byte {
	b, be := make([]byte, 12288), binary.BigEndian
	blobs := []byte{0}
	blob := func(p []byte) uint32 {
		at := len(blobs)
		blobs = append(binary.LittleEndian.AppendUint16(blobs, uint16(len(p))), p...)
		return uint32(at)
	}
	for i, c := range m.configs {
		be.PutUint32(b[2044+4*i:], blob([]byte(c.Name+"\x00")))
		be.PutUint32(b[3068+4*i:], blob(c.Data))
	}
	for i, d := range m.drives {
		be.PutUint32(b[4096+32*(i+1):], blob([]byte(d.name+"\x00")))
		be.PutUint64(b[4096+32*(i+1)+8:], uint64(d.size))
	}
	copy(b, "VMA\x00\x00\x00\x00\x01"+madeUUID)
	be.PutUint64(b[24:], uint64(m.created))
	be.PutUint32(b[48:], 12288)
	be.PutUint32(b[52:], uint32(len(blobs)))
	b = append(b, blobs...)
	b = append(b, make([]byte, 512-len(b)%512)...)
	be.PutUint32(b[56:], uint32(len(b)))
	sum := md5.Sum(b)
	copy(b[32:], sum[:])
	return b
}

// writeTo writes the archive.
func (m *made) writeTo(w io.Writer) error {
	if _, err := w.Write(m.header()); err != nil {
		return err
	}
	order, slots := m.order, m.slots
	if order == nil {
		order = m.places()
	}
	if slots == 0 {
		slots = 58
	}
	if len(order) == 0 {
		_, err := w.Write(extentOf(nil, nil))
		return err
	}
	for len(order) > 0 {
		n := min(slots, len(order))
		if _, err := w.Write(extentOf(m, order[:n])); err != nil {
			return err
		}
		order = order[n:]
	}
	return nil
}

// extentOf is an extent of some clusters.
func extentOf(m *made, clusters []place) []byte {
	h, be := make([]byte, 512), binary.BigEndian
	var data []byte
	for i, p := range clusters {
		mask := uint16(0)
		c := m.drives[p.drive].at(int64(p.cluster))
		for j := 0; j*chunk.Grain < len(c); j++ {
			var b [chunk.Grain]byte
			copy(b[:], c[j*chunk.Grain:])
			if b != [chunk.Grain]byte{} || m.zeros {
				mask |= 1 << j
				data = append(data, b[:]...)
			}
		}
		be.PutUint16(h[40+8*i:], mask)
		h[40+8*i+3] = byte(p.drive + 1)
		be.PutUint32(h[40+8*i+4:], p.cluster)
	}
	copy(h, "VMAE")
	be.PutUint16(h[6:], uint16(len(data)/chunk.Grain))
	copy(h[8:], madeUUID)
	sum := md5.Sum(h)
	copy(h[24:], sum[:])
	return append(h, data...)
}

func (m *made) bytes(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := m.writeTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// file writes the archive to a file of that name in a directory.
func (m *made) file(t testing.TB, dir, name string) string {
	t.Helper()
	return write(t, filepath.Join(dir, name), m.bytes(t))
}

func write(t testing.TB, path string, p []byte) string {
	t.Helper()
	if err := os.WriteFile(path, p, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// driveOf is a drive with some content.
func driveOf(name string, content []byte) madeDrive {
	return madeDrive{name, int64(len(content)), func(c int64) []byte {
		return content[c*vma.ClusterSize : min(int64(len(content)), (c+1)*vma.ClusterSize)]
	}}
}

// noise fills p with what no compressor shortens.
func noise(seed uint64, p []byte) []byte {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	_, _ = rand.NewChaCha8(key).Read(p)
	return p
}

// content is that of a disk: noise, zeros and single blocks here and there.
func content(seed uint64, size int) []byte {
	p := make([]byte, size)
	r := rand.New(rand.NewPCG(seed, 7))
	for off := 0; off < size; {
		n := (1 + r.IntN(40)) * chunk.Grain
		if r.IntN(2) == 0 {
			noise(r.Uint64(), p[off:min(size, off+n)])
		}
		off += n
	}
	return p
}

// guestConfig is a configuration as Proxmox VE writes it.
func guestConfig(uuid string) []vma.Config {
	return []vma.Config{{Name: "qemu-server.conf", Data: []byte("cores: 2\nsmbios1: uuid=" + uuid + "\nmemory: 512\n")}}
}
