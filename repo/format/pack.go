package format

import (
	"encoding/binary"
	"fmt"
	"slices"

	"vaultfs/chunk"
	"vaultfs/repo/seal"
)

const (
	packMagic  = "vfspack\x01"
	packEnd    = "vfspend\x01"
	packHead   = magicSize + 1 + 7 + 16 + saltSize
	packTail   = 4 + magicSize
	footerSize = 1 + 32 + 4 + 4 // of an entry

	// footerOrdinal seals a pack's footer; chunks have the ordinals from 0.
	footerOrdinal = 1 << 63
)

// MaxPackSize bounds a pack, in bytes.
const MaxPackSize = 64 << 20

// MaxPackEntries bounds the chunks of a pack.
const MaxPackEntries = 1 << 15

// PackKind tells under which keys a pack is sealed.
type PackKind uint8

// The kinds of pack.
const (
	DataPack      PackKind = 1 // under the secret of its session
	StructurePack PackKind = 2 // under the structure key
)

// PackFor is the kind of pack that holds chunks of kind k.
func PackFor(k Kind) PackKind {
	if k == Data || k >= firstPrivate {
		return DataPack
	}
	return StructurePack
}

func (k PackKind) valid() bool { return k == DataPack || k == StructurePack }

// A PackHeader is what a pack starts with, in clear:
//
//	magic 8 | kind 1 | zeros 7 | session 16 | salt 32
type PackHeader struct {
	Kind    PackKind
	Session SnapshotID
	Salt    Salt
}

// Append encodes the header.
func (h PackHeader) Append(b []byte) []byte {
	b = append(append(b, packMagic...), byte(h.Kind), 0, 0, 0, 0, 0, 0, 0)
	return append(append(b, h.Session[:]...), h.Salt[:]...)
}

// DecodePackHeader reads the header at the start of a pack.
func DecodePackHeader(b []byte) (h PackHeader, err error) {
	if len(b) < packHead {
		return h, damaged("pack of %d bytes", len(b))
	}
	if err := checkMagic(packMagic, b); err != nil {
		return h, err
	}
	h.Kind = PackKind(b[magicSize])
	copy(h.Session[:], b[magicSize+8:])
	copy(h.Salt[:], b[magicSize+24:])
	if !h.Kind.valid() || string(b[:packHead]) != string(h.Append(nil)) {
		return h, damaged("its header is not one of a pack")
	}
	return h, nil
}

// A PackEntry is one chunk of a pack. Its ordinal is its place in the footer.
type PackEntry struct {
	Kind   Kind
	ID     chunk.ID
	Offset uint32 // of the sealed chunk in the pack, bytes
	Sealed uint32 // length as stored, bytes
	Plain  uint32 // length of the chunk, bytes
}

// A PackBuilder makes a pack. Chunks are sealed as they come, and what is done
// can be taken away piece by piece, so that a pack need not be in memory as a
// whole. It is not for concurrent use.
type PackBuilder struct {
	header  PackHeader
	box     *seal.Box
	taken   int    // bytes of the pack that were taken away
	buf     []byte // its bytes from there on
	entries []PackEntry
	aad     []byte // of one chunk
}

// NewPack starts a pack in the memory of buf.
func NewPack(h PackHeader, box *seal.Box, buf []byte) *PackBuilder {
	return &PackBuilder{header: h, box: box, buf: h.Append(buf[:0])}
}

// Add seals the payload of a chunk of plain bytes.
func (p *PackBuilder) Add(k Kind, id chunk.ID, plain int, payload []byte) {
	e := PackEntry{Kind: k, ID: id, Offset: uint32(p.Size()), Plain: uint32(plain), Sealed: uint32(len(payload) + seal.Overhead)}
	p.aad = appendAAD(p.aad[:0], k, id)
	p.buf = slices.Grow(p.buf, len(payload)+seal.Overhead) // Seal would make room for this chunk alone
	p.buf = p.box.Seal(p.buf, uint64(len(p.entries)), p.aad, payload)
	p.entries = append(p.entries, e)
}

// Absorb takes over all that another pack holds, of which nothing was taken away.
// The other is of no use after that.
func (p *PackBuilder) Absorb(o *PackBuilder) error {
	if o.taken > 0 {
		return fmt.Errorf("%d bytes of a pack that is to be absorbed were taken away", o.taken)
	}
	for i, e := range o.entries {
		payload, err := UnsealChunk(o.box, uint64(i), e, o.buf[e.Offset:e.Offset+e.Sealed])
		if err != nil {
			return err
		}
		p.Add(e.Kind, e.ID, int(e.Plain), payload)
	}
	return nil
}

// Pending are the bytes that were not taken away. They are valid until the next Add.
func (p *PackBuilder) Pending() []byte { return p.buf }

// Take takes away what is pending, which the caller has put where it belongs.
func (p *PackBuilder) Take() {
	p.taken += len(p.buf)
	p.buf = p.buf[:0]
}

// Size is the number of bytes so far.
func (p *PackBuilder) Size() int { return p.taken + len(p.buf) }

// Len is the number of chunks so far; MaxPackEntries is all that fit.
func (p *PackBuilder) Len() int { return len(p.entries) }

// Entries are the chunks so far.
func (p *PackBuilder) Entries() []PackEntry { return p.entries }

// Finish appends the footer and, for a data pack, the sealed secret of its session, and
// returns what is pending, now with the end of the pack. The footer has been decoded again before.
func (p *PackBuilder) Finish(sealedSecret []byte) ([]byte, error) {
	body := make([]byte, 0, footerSize*len(p.entries))
	for _, e := range p.entries {
		body = append(append(body, byte(e.Kind)), e.ID[:]...)
		body = binary.BigEndian.AppendUint32(body, e.Sealed)
		body = binary.BigEndian.AppendUint32(body, e.Plain)
	}
	start := len(p.buf)
	p.buf = p.box.Seal(p.buf, footerOrdinal, p.header.Append(nil), pad(body))
	length := len(p.buf) - start
	p.buf = append(p.buf, sealedSecret...)
	p.buf = binary.BigEndian.AppendUint32(p.buf, uint32(length))
	p.buf = append(p.buf, packEnd...)
	return p.buf, p.check(p.buf[start:])
}

// check reads the footer back, of which region is the footer region.
func (p *PackBuilder) check(region []byte) error {
	size := int64(p.Size())
	if n, err := PackRegion(p.header, size, region); err != nil || n != int64(len(region)) {
		return damaged("the end just made reads differently: %v", err)
	}
	got, err := DecodePackFooter(p.header, size, region, func(PackHeader, []byte) (*seal.Box, error) { return p.box, nil })
	if err != nil {
		return err
	}
	if got.Header != p.header || len(got.Entries) != len(p.entries) {
		return damaged("the footer just made reads differently")
	}
	for i, e := range got.Entries {
		if e != p.entries[i] {
			return damaged("entry %d of the footer just made reads differently", i)
		}
	}
	return nil
}

// A Pack is what a pack's header and footer say.
type Pack struct {
	Header       PackHeader
	Entries      []PackEntry
	SealedSecret []byte // of the session; data packs only
}

// PackTailSize is how many bytes at the end of a pack are enough to learn the
// length of the rest of its footer region.
const PackTailSize = packTail

// PackRegion returns how many bytes at the end of a pack of that size hold the
// footer, the sealed secret and the tail, of which tail are the last bytes.
func PackRegion(h PackHeader, size int64, tail []byte) (int64, error) {
	if len(tail) < packTail || string(tail[len(tail)-magicSize:]) != packEnd {
		return 0, damaged("its end is not one of a pack")
	}
	n := int64(binary.BigEndian.Uint32(tail[len(tail)-packTail:])) + packTail
	if h.Kind == DataPack {
		n += seal.SealedSecretSize
	}
	if size > MaxPackSize || n > size-packHead {
		return 0, damaged("footer of %d bytes in a pack of %d", n, size)
	}
	return n, nil
}

// PackHeaderSize is the length of a pack's header, in bytes.
const PackHeaderSize = packHead

// DecodePack reads header and footer of a whole pack. The key is asked for
// with the header and the sealed secret that stands in the pack.
func DecodePack(b []byte, key func(PackHeader, []byte) (*seal.Box, error)) (*Pack, error) {
	h, err := DecodePackHeader(b)
	if err != nil {
		return nil, err
	}
	n, err := PackRegion(h, int64(len(b)), b)
	if err != nil {
		return nil, err
	}
	return DecodePackFooter(h, int64(len(b)), b[int64(len(b))-n:], key)
}

// DecodePackFooter reads the footer region of a pack of that size.
func DecodePackFooter(h PackHeader, size int64, region []byte, key func(PackHeader, []byte) (*seal.Box, error)) (*Pack, error) {
	p := &Pack{Header: h}
	footer := region[:len(region)-packTail]
	if h.Kind == DataPack {
		if len(footer) < seal.SealedSecretSize {
			return nil, damaged("footer region of %d bytes", len(region))
		}
		cut := len(footer) - seal.SealedSecretSize
		footer, p.SealedSecret = footer[:cut], footer[cut:]
	}
	box, err := key(h, p.SealedSecret)
	if err != nil {
		return nil, err
	}
	body, err := box.Open(nil, footerOrdinal, h.Append(nil), footer)
	if err != nil {
		return nil, damaged("the seal of its footer does not fit")
	}
	if body, err = unpad(body); err != nil {
		return nil, err
	}
	p.Entries, err = decodeEntries(body, size-int64(len(region)))
	return p, err
}

// decodeEntries reads the entries of a pack whose chunks end at byte end.
func decodeEntries(b []byte, end int64) ([]PackEntry, error) {
	if len(b)%footerSize != 0 || len(b)/footerSize > MaxPackEntries {
		return nil, damaged("footer of %d bytes", len(b))
	}
	entries := make([]PackEntry, 0, len(b)/footerSize)
	offset := int64(packHead)
	for ; len(b) > 0; b = b[footerSize:] {
		e := PackEntry{Kind: Kind(b[0]), Offset: uint32(offset),
			Sealed: binary.BigEndian.Uint32(b[33:]), Plain: binary.BigEndian.Uint32(b[37:])}
		copy(e.ID[:], b[1:])
		if err := e.validate(); err != nil {
			return nil, err
		}
		offset += int64(e.Sealed)
		entries = append(entries, e)
	}
	if offset != end {
		return nil, damaged("chunks end at byte %d, the footer begins at %d", offset, end)
	}
	return entries, nil
}

func (e PackEntry) validate() error {
	if e.ID.IsZero() || e.Kind == 0 || e.Plain == 0 || e.Plain > chunk.MaxSize ||
		e.Sealed <= seal.Overhead || e.Sealed > MaxPayload || int64(e.Offset)+int64(e.Sealed) > MaxPackSize {
		return damaged("entry of a %v of %d bytes, stored in %d", e.Kind, e.Plain, e.Sealed)
	}
	return nil
}

// OpenChunk opens a sealed chunk that stands at an ordinal of its pack, and
// returns it decoded, in dst when that has the room. The caller compares the
// chunk's ID with its own.
func OpenChunk(dst []byte, box *seal.Box, ordinal uint64, e PackEntry, sealed []byte) ([]byte, error) {
	payload, err := UnsealChunk(box, ordinal, e, sealed)
	if err != nil {
		return nil, err
	}
	return OpenPayload(dst, payload, int(e.Plain))
}

// UnsealChunk opens a sealed chunk and returns its payload, which takes the place
// of the sealed bytes.
func UnsealChunk(box *seal.Box, ordinal uint64, e PackEntry, sealed []byte) ([]byte, error) {
	payload, err := box.Open(sealed[:0], ordinal, appendAAD(make([]byte, 0, 1+len(e.ID)), e.Kind, e.ID), sealed)
	if err != nil {
		return nil, damaged("its seal does not fit")
	}
	return payload, nil
}

// appendAAD appends what binds a sealed chunk to its kind and ID.
func appendAAD(b []byte, k Kind, id chunk.ID) []byte { return append(append(b, byte(k)), id[:]...) }
