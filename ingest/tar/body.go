package tar

import (
	"encoding/binary"

	"vaultfs/repo"
)

// idSize is the length of a chunk's ID in bytes.
const idSize = len(repo.Content{}.ID)

// A body is an entry as a catalog keeps it: all but its name. At its beginning
// stands, in places of fixed size, what is known only later: how many paths lead
// to it, the number that tells hard links, and what its content became.
const (
	bodyLinks   = 0 // 4 bytes
	bodyInode   = 4 // 4 bytes
	bodyKind    = 8 // 1 byte
	bodyContent = 9
	bodyRest    = bodyContent + idSize
)

// appendBody encodes.
func appendBody(b []byte, e *repo.Entry) []byte {
	b = append(b, make([]byte, bodyRest)...)
	setContent(b[len(b)-bodyRest:], &e.Content)
	for _, n := range []uint64{uint64(e.Mode), uint64(e.UID), uint64(e.GID), zigzag(e.Mtime.Sec), uint64(e.Mtime.Nsec), uint64(e.Content.Size), e.Blocks, e.Rdev} {
		b = binary.AppendUvarint(b, n)
	}
	b = appendText(b, e.Target)
	b = append(b, flag(!e.Content.Ranges.IsZero()))
	if !e.Content.Ranges.IsZero() {
		b = append(b, e.Content.Ranges[:]...)
	}
	b = binary.AppendUvarint(b, uint64(len(e.Xattrs)))
	for i := range e.Xattrs {
		x := &e.Xattrs[i]
		b = binary.AppendUvarint(appendText(b, x.Name), uint64(x.Size))
		b = append(b, flag(!x.Chunk.IsZero()))
		if !x.Chunk.IsZero() {
			b = append(b, x.Chunk[:]...)
			continue
		}
		b = appendText(b, string(x.Value))
	}
	return b
}

// setContent fills in what a file's content became.
func setContent(body []byte, c *repo.Content) {
	body[bodyKind] = byte(c.Kind)
	copy(body[bodyContent:bodyRest], c.ID[:])
}

// decodeBody decodes; links counts the paths, and inode is 0 if no hard link was
// ever made.
func decodeBody(b []byte) (e *repo.Entry) {
	d := decoder{b[bodyRest:]}
	e = &repo.Entry{Links: binary.LittleEndian.Uint32(b[bodyLinks:]), Inode: uint64(binary.LittleEndian.Uint32(b[bodyInode:]))}
	setKind(&e.Content.Kind, b[bodyKind])
	copy(e.Content.ID[:], b[bodyContent:bodyRest])
	e.Mode, e.UID, e.GID = uint32(d.number()), uint32(d.number()), uint32(d.number())
	e.Mtime.Sec = unzigzag(d.number())
	e.Mtime.Nsec = uint32(d.number())
	e.Content.Size = int64(d.number())
	e.Blocks, e.Rdev = d.number(), d.number()
	e.Target = string(d.text())
	if d.flag() {
		copy(e.Content.Ranges[:], d.take(uint64(idSize)))
	}
	for n := d.number(); n > 0; n-- {
		x := repo.Xattr{Name: string(d.text()), Size: uint32(d.number())}
		if d.flag() {
			copy(x.Chunk[:], d.take(uint64(idSize)))
		} else {
			x.Value = append([]byte{}, d.text()...)
		}
		e.Xattrs = append(e.Xattrs, x)
	}
	return e
}

// A decoder takes bytes from the front of what appendBody made.
type decoder struct{ b []byte }

func (d *decoder) number() uint64 {
	n, k := binary.Uvarint(d.b)
	d.b = d.b[k:]
	return n
}

func (d *decoder) take(n uint64) []byte {
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) text() []byte { return d.take(d.number()) }
func (d *decoder) flag() bool   { return d.take(1)[0] != 0 }
func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// setKind sets a kind of content, whose type belongs to the repository.
func setKind[K ~uint8](kind *K, b byte) { *kind = K(b) }

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
}

// zigzag makes a number of small magnitude a small one without a sign.
func zigzag(n int64) uint64   { return uint64(n<<1) ^ uint64(n>>63) }
func unzigzag(n uint64) int64 { return int64(n>>1) ^ -int64(n&1) }
