package format

// Kind is what a chunk holds. It is sealed with the chunk.
type Kind uint8

// The kinds of chunk. Every kind but Data starts with a child list. Kinds below
// firstPrivate hold no content and lie in structure packs; those from it on
// lie in data packs.
const (
	Data     Kind = 1 // bytes of a guest disk, a file or a stream
	DiskMap  Kind = 2 // where the chunks of one segment of a disk lie
	DiskPage Kind = 3 // the maps of a row of segments
	DiskRoot Kind = 4 // the pages of a disk
	Stream   Kind = 5 // the chunks of a stream, in a tree of nodes

	Directory Kind = 128 // entries of a directory, in a tree of nodes
)

const firstPrivate Kind = 128

// Structured tells whether chunks of the kind name other chunks.
func (k Kind) Structured() bool { return k != Data }

// String is the word for the kind.
func (k Kind) String() string {
	switch k {
	case Data:
		return "data"
	case DiskMap:
		return "segment map"
	case DiskPage:
		return "disk page"
	case DiskRoot:
		return "disk root"
	case Stream:
		return "stream node"
	case Directory:
		return "directory node"
	}
	return "unknown kind"
}
