package format

import (
	"io/fs"
	"math"
	"time"

	"vaultfs/chunk"
)

// Bounds of what an entry holds, in bytes or pieces.
const (
	MaxNameLen    = 255      // of a name in a directory
	MaxTargetLen  = 4095     // of what a symbolic link points to
	MaxXattrName  = 255      // of the name of an extended attribute
	MaxXattrValue = 64 << 10 // of one value
	MaxXattrs     = 1024     // of one entry
	MaxRanges     = 1 << 18  // runs of data of a sparse file
)

// A TreeEntry is a name in a directory and what stands behind it: everything that
// lstat(2), readlink(2) and listxattr(2) tell of it but the time of the last
// access. The root of a tree is an entry without a name.
type TreeEntry struct {
	Name     string // any bytes but '/' and NUL, never "." or ".."
	Mode     uint32 // st_mode: type and permissions, as in inode(7)
	UID, GID uint32
	Mtime    Timestamp
	Ctime    Timestamp // zero where the source has none, such as a tar archive
	Inode    uint64    // in the source, 0 if unknown; with Device it tells hard links of one file
	Device   uint32    // which of the source's file systems, in the order of their discovery; the root's is 0
	Links    uint32    // st_nlink in the source, 0 if unknown
	Blocks   uint64    // st_blocks in the source: units of 512 bytes
	Rdev     uint64    // of a device: major in the high 32 bits, minor in the low
	Target   string    // of a symbolic link
	Xattrs   []Xattr   // sorted by name
	Content  Content   // of a regular file or a directory
	Below    Totals    // of a directory: all that is below it, itself not counted
}

// A Timestamp is a time of a file, Unix seconds and nanoseconds of the second,
// with the range of statx(2).
type Timestamp struct {
	Sec  int64
	Nsec uint32 // below 1e9
}

// Time converts.
func (t Timestamp) Time() time.Time { return time.Unix(t.Sec, int64(t.Nsec)) }

// TimestampOf converts.
func TimestampOf(t time.Time) Timestamp { return Timestamp{t.Unix(), uint32(t.Nanosecond())} }

// An Xattr is an extended attribute. A short value stands in the entry, a long
// one in a chunk of its own.
type Xattr struct {
	Name  string   // with its namespace: "user.comment", "system.posix_acl_access"
	Value []byte   // if Chunk is zero
	Chunk chunk.ID // of the value, or zero
	Size  uint32   // of the value, in bytes
}

// ContentKind says how the bytes of an entry are stored.
type ContentKind uint8

// The kinds of content.
const (
	NoContent     ContentKind = iota // an empty file, or an entry that has no bytes
	ChunkContent                     // ID is the one data chunk that holds all
	StreamContent                    // ID is the root of a stream
	DirContent                       // ID is the highest node of a directory
)

// A Content is the bytes of a file, or the entries of a directory.
type Content struct {
	Kind ContentKind
	ID   chunk.ID
	Size int64 // of a file, in bytes, holes included; st_size of a directory
	// Ranges is the data chunk that lists the runs of data of a sparse file,
	// or zero if the file has no holes. What is stored is these runs, one after
	// the other.
	Ranges chunk.ID
}

// A Range is a run of bytes of a file.
type Range struct{ Off, Len int64 }

// Totals counts what is below a directory. Of a file with several names each
// name counts.
type Totals struct {
	Files, Dirs, Others uint64 // regular files, directories, everything else
	Bytes               uint64 // sum of the sizes of the files, at most math.MaxInt64: more is not counted
}

// Add adds an entry with all that is below it.
func (t *Totals) Add(e *TreeEntry) {
	switch {
	case e.IsDir():
		t.Dirs++
		t.AddTotals(e.Below)
	case e.IsRegular():
		t.Files++
		t.addBytes(uint64(e.Content.Size))
	default:
		t.Others++
	}
}

// AddTotals adds what was counted elsewhere.
func (t *Totals) AddTotals(o Totals) {
	t.Files += o.Files
	t.Dirs += o.Dirs
	t.Others += o.Others
	t.addBytes(o.Bytes)
}

// addBytes adds up to math.MaxInt64: a few sparse files may have more bytes
// than there are numbers.
func (t *Totals) addBytes(n uint64) { t.Bytes += min(n, math.MaxInt64-t.Bytes) }

// The types of file in TreeEntry.Mode.
const (
	TypeMask      = 0o170000
	TypeSocket    = 0o140000
	TypeSymlink   = 0o120000
	TypeRegular   = 0o100000
	TypeBlock     = 0o060000
	TypeDirectory = 0o040000
	TypeChar      = 0o020000
	TypeFifo      = 0o010000
)

// Type is the type of the file: one of the constants.
func (e *TreeEntry) Type() uint32 { return e.Mode & TypeMask }

// IsDir tells a directory.
func (e *TreeEntry) IsDir() bool { return e.Type() == TypeDirectory }

// IsRegular tells a regular file.
func (e *TreeEntry) IsRegular() bool { return e.Type() == TypeRegular }

// IsSymlink tells a symbolic link.
func (e *TreeEntry) IsSymlink() bool { return e.Type() == TypeSymlink }

// Permissions are the permission bits, with set-user-ID, set-group-ID and the
// sticky bit, as chmod(2) takes them.
func (e *TreeEntry) Permissions() uint32 { return e.Mode & 0o7777 }

// FileMode is the mode in the words of io/fs.
func (e *TreeEntry) FileMode() fs.FileMode {
	m := fs.FileMode(e.Mode & 0o777)
	for bit, of := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if e.Mode&bit != 0 {
			m |= of
		}
	}
	return m | map[uint32]fs.FileMode{
		TypeSocket: fs.ModeSocket, TypeSymlink: fs.ModeSymlink, TypeBlock: fs.ModeDevice,
		TypeDirectory: fs.ModeDir, TypeChar: fs.ModeDevice | fs.ModeCharDevice, TypeFifo: fs.ModeNamedPipe,
	}[e.Type()]
}
