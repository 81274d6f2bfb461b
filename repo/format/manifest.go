package format

import (
	"encoding/binary"
	"errors"
	"slices"

	"vaultfs/chunk"
	"vaultfs/repo/seal"
)

// Manifests of version 4 are written, those of versions 1 to 3 read as well.
const (
	manifestMagic  = "vfsmani\x04"
	manifestMagic3 = "vfsmani\x03"
	manifestMagic2 = "vfsmani\x02"
	manifestMagic1 = "vfsmani\x01"
)

// manifestMagics are the versions that can be read, the newest first.
var manifestMagics = []string{manifestMagic, manifestMagic3, manifestMagic2, manifestMagic1}

// MaxManifestSize bounds a manifest object, in bytes.
const MaxManifestSize = 16 << 20

// A Manifest is a snapshot. It is stored in two parts:
//
//	magic 8 | salt 32 | length of the first part 4 | structure part | private part
//
// The structure part is sealed under the structure key: it is what the next
// backup of the source and a collector need. The private part is sealed under
// the session's secret. Both are padded; both have the magic, the snapshot's
// ID and the length of the first part as associated data.
type Manifest struct {
	Structure ManifestStructure
	Private   ManifestPrivate
}

// A ManifestStructure is the part of a manifest that is needed to find and
// keep what the snapshot names.
type ManifestStructure struct {
	Session      SnapshotID `cbor:"1,keyasint"`
	Source       string     `cbor:"2,keyasint"` // "vm/win11"
	Kind         string     `cbor:"3,keyasint"` // "vm"
	Seq          uint64     `cbor:"4,keyasint"` // of the source's snapshots, from 1
	Previous     SnapshotID `cbor:"5,keyasint"` // the source's snapshot before, or zero
	Time         int64      `cbor:"6,keyasint"` // Unix nanoseconds
	Items        []Item     `cbor:"7,keyasint"`
	Structured   []chunk.ID `cbor:"8,keyasint"`  // children, as of a structured chunk
	SealedSecret []byte     `cbor:"9,keyasint"`  // the session's, sealed to the repository's identity
	Machine      string     `cbor:"10,keyasint"` // what the source is: a domain's UUID
	// Tags are a person's words for the snapshot, by which a policy may keep it:
	// sorted, each once. Since version 4.
	Tags []string `cbor:"11,keyasint,omitempty"`
}

// An Item is a disk, a file or a tree of a snapshot.
type Item struct {
	Name string   `cbor:"1,keyasint"` // "vda", "domain.xml"
	Kind string   `cbor:"2,keyasint"` // ItemDisk, ItemFile or ItemTree
	Size int64    `cbor:"3,keyasint"` // bytes
	Root chunk.ID `cbor:"4,keyasint"` // a chunk of kind DiskRoot, Stream or Directory
	// Checkpoint names what the next backup of a disk can start from, such as a
	// dirty bitmap; "" if there is nothing.
	Checkpoint string `cbor:"5,keyasint"`
}

// The kinds of item.
const (
	ItemDisk = "disk"
	ItemFile = "file"
	ItemTree = "tree"
)

// A ManifestPrivate is what only someone who can read the data may know.
type ManifestPrivate struct {
	Host     string       `cbor:"1,keyasint"` // where the ingest ran
	Program  string       `cbor:"2,keyasint"` // and version that wrote the snapshot
	Mode     string       `cbor:"3,keyasint"` // how the source was read
	Quiesced string       `cbor:"4,keyasint"`
	Verified string       `cbor:"5,keyasint"`
	Notes    []string     `cbor:"6,keyasint"` // what was left out, and why
	Origins  []ItemOrigin `cbor:"7,keyasint"` // one for each item
	Summary  Summary      `cbor:"8,keyasint"`
	Method   string       `cbor:"9,keyasint,omitempty"` // "backup", "snapshot"; since version 2
}

// An ItemOrigin tells where an item came from.
type ItemOrigin struct {
	Path   string `cbor:"1,keyasint"`
	Format string `cbor:"2,keyasint"` // "qcow2"
	Note   string `cbor:"3,keyasint"`
	// Since version 2, of a disk. How: "incremental from 3f2a9c81", "full: …".
	How    string `cbor:"4,keyasint,omitempty"`
	Read   int64  `cbor:"5,keyasint,omitempty"` // bytes, from the source
	Dirty  int64  `cbor:"6,keyasint,omitempty"` // bytes that its dirty bitmap called changed
	New    int64  `cbor:"7,keyasint,omitempty"` // bytes in chunks that the repository did not hold
	Stored int64  `cbor:"8,keyasint,omitempty"` // bytes of those chunks as they are stored
}

// A Summary counts what an ingest did.
type Summary struct {
	BytesTotal   int64 `cbor:"1,keyasint"` // sizes of the items
	BytesRead    int64 `cbor:"2,keyasint"` // from the source
	BytesNew     int64 `cbor:"3,keyasint"` // in chunks that the repository did not hold
	BytesStored  int64 `cbor:"4,keyasint"` // added to the repository's packs
	ChunksTotal  int64 `cbor:"5,keyasint"`
	ChunksNew    int64 `cbor:"6,keyasint"`
	Milliseconds int64 `cbor:"7,keyasint"`
	BytesDirty   int64 `cbor:"8,keyasint,omitempty"` // that dirty bitmaps called changed; since version 2
	// Since version 3, of trees: the entries below their roots, by sort, and the
	// regular files among them by what became of them. An unread one could not be
	// read, and is not in the snapshot or not whole.
	Files          int64 `cbor:"9,keyasint,omitempty"`
	Dirs           int64 `cbor:"10,keyasint,omitempty"`
	Others         int64 `cbor:"11,keyasint,omitempty"`
	FilesNew       int64 `cbor:"12,keyasint,omitempty"`
	FilesChanged   int64 `cbor:"13,keyasint,omitempty"`
	FilesUnchanged int64 `cbor:"14,keyasint,omitempty"` // with the content of the snapshot before
	FilesUnread    int64 `cbor:"15,keyasint,omitempty"`
}

// Encode makes the manifest object. bodyKey belongs to the session's secret.
func (m *Manifest) Encode(salt Salt, key, bodyKey KeyFunc) []byte {
	structure, private := pad(marshal(&m.Structure)), pad(marshal(&m.Private))
	b := append([]byte(manifestMagic), salt[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(structure)+seal.Overhead))
	aad := manifestAAD(manifestMagic, b, m.Structure.Session)
	b = key(salt).Seal(b, 0, aad, structure)
	return bodyKey(salt).Seal(b, 1, aad, private)
}

func manifestAAD(magic string, head []byte, id SnapshotID) []byte {
	return append(append([]byte(magic), id[:]...), head[sealedHead:]...)
}

// DecodeManifest reads the manifest of a snapshot. bodyKey is asked for with
// the session's sealed secret; without it only the structure part is read.
func DecodeManifest(id SnapshotID, key KeyFunc, bodyKey func(sealedSecret []byte) (KeyFunc, error), b []byte) (*Manifest, error) {
	magic, newer, err := manifestVersion(b)
	if err != nil {
		return nil, err
	}
	salt, head, rest := Salt(b[magicSize:]), b[:sealedHead+4], b[sealedHead+4:]
	n := int64(binary.BigEndian.Uint32(head[sealedHead:]))
	if newer && n > int64(len(rest)) {
		return nil, ErrNewer // no layout that is known, so that it is no flipped bit
	}
	if n > int64(len(rest)) {
		return nil, damaged("first part of %d bytes in %d", n, len(b))
	}
	if newer {
		return nil, newerManifest(key(salt), head, rest[:n], id)
	}
	m, aad := new(Manifest), manifestAAD(magic, head, id)
	if err := openPart(key(salt), 0, aad, rest[:n], &m.Structure); err != nil {
		return nil, err
	}
	if err := m.Structure.validate(id); err != nil {
		return nil, err
	}
	if bodyKey == nil {
		return m, nil
	}
	if err := m.openPrivate(salt, aad, rest[n:], bodyKey); err != nil {
		return nil, err
	}
	if since := m.since(); magic < since {
		return nil, damaged("of version %d, with fields of version %d", magic[magicSize-1], since[magicSize-1])
	}
	return m, nil
}

// manifestVersion tells by which of the versions that are known to read a
// manifest, or that a newer program may have made it.
func manifestVersion(b []byte) (magic string, newer bool, err error) {
	if len(b) < sealedHead+4 {
		return "", false, damaged("%d bytes, too short", len(b))
	}
	for _, magic := range manifestMagics {
		_, err = header(magic, b)
		if err == nil || errors.Is(err, ErrNewer) && magic == manifestMagic {
			return magic, err != nil, nil
		}
	}
	return "", false, err
}

// newerManifest tells a manifest that says it is of a later version from one
// whose version byte was damaged: that opens by a version that is known.
func newerManifest(box *seal.Box, head, structure []byte, id SnapshotID) error {
	for _, magic := range manifestMagics {
		if _, err := box.Open(nil, 0, manifestAAD(magic, head, id), structure); err == nil {
			return damaged("its version is not the one that was sealed")
		}
	}
	return ErrNewer
}

// since is the magic of the first version that has all fields that are set.
func (m *Manifest) since() string {
	p, s := &m.Private, &m.Private.Summary
	switch {
	case len(m.Structure.Tags) > 0:
		return manifestMagic
	case s.Files|s.Dirs|s.Others|s.FilesNew|s.FilesChanged|s.FilesUnchanged|s.FilesUnread != 0:
		return manifestMagic3
	case p.Method != "" || s.BytesDirty != 0 || slices.ContainsFunc(p.Origins, func(o ItemOrigin) bool {
		return o != ItemOrigin{Path: o.Path, Format: o.Format, Note: o.Note}
	}):
		return manifestMagic2
	}
	return manifestMagic1
}

func (m *Manifest) openPrivate(salt Salt, aad, sealed []byte, bodyKey func([]byte) (KeyFunc, error)) error {
	private, err := bodyKey(m.Structure.SealedSecret)
	if err != nil {
		return err
	}
	if err := openPart(private(salt), 1, aad, sealed, &m.Private); err != nil {
		return err
	}
	if len(m.Private.Origins) != len(m.Structure.Items) {
		return damaged("%d origins of %d items", len(m.Private.Origins), len(m.Structure.Items))
	}
	return nil
}

func openPart(box *seal.Box, ordinal uint64, aad, sealed []byte, v any) error {
	b, err := box.Open(nil, ordinal, aad, sealed)
	if err != nil {
		return damaged("its seal does not fit")
	}
	if b, err = unpad(b); err != nil {
		return err
	}
	return unmarshal(b, v)
}

func (s *ManifestStructure) validate(id SnapshotID) error {
	if s.Session != id || s.Source == "" || s.Seq == 0 || len(s.SealedSecret) != seal.SealedSecretSize {
		return damaged("snapshot %d of %q in the place of %v", s.Seq, s.Source, id)
	}
	if err := CheckTags(s.Tags); err != nil {
		return damaged("%v", err)
	}
	names, roots := map[string]bool{}, map[chunk.ID]bool{}
	var want []chunk.ID
	for _, it := range s.Items {
		if it.Name == "" || names[it.Name] || it.Size < 0 || it.Root.IsZero() || it.Kind == "" {
			return damaged("item %q of kind %q", it.Name, it.Kind)
		}
		names[it.Name] = true
		if !roots[it.Root] {
			roots[it.Root], want = true, append(want, it.Root)
		}
	}
	if len(want) != len(s.Structured) {
		return damaged("%d children of %d items", len(s.Structured), len(s.Items))
	}
	for i := range want {
		if want[i] != s.Structured[i] {
			return damaged("child %d is not the root of an item", i)
		}
	}
	return nil
}

// SetItems sets the items and, from them, the children.
func (s *ManifestStructure) SetItems(items []Item) {
	var roots list
	for _, it := range items {
		roots.add(it.Root)
	}
	s.Items, s.Structured = items, roots.ids
}
