package fusefs

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

const (
	// blockSize is told to be the best size of a read, in bytes, and holes of a
	// disk are multiples of it.
	blockSize = 4096
	sector    = 512 // unit of st_blocks, in bytes

	fileMode = syscall.S_IFREG | 0o444
	// privateMode is of what else makes a machine: definitions hold passwords,
	// a TPM's state its keys. With allow_other QEMU has no need of them.
	privateMode = syscall.S_IFREG | 0o400
	dirMode     = syscall.S_IFDIR | 0o555
	linkMode    = syscall.S_IFLNK | 0o777

	// forever is how long the kernel may keep what cannot change.
	forever = 24 * time.Hour
)

// owner is who the tree belongs to: the user that mounts it.
type owner struct{ uid, gid uint32 }

// attr makes the attributes of something of a length and an allocation in bytes.
func (o owner) attr(a *fuse.Attr, mode uint32, size, allocated int64, t time.Time) {
	a.Mode = mode
	a.Nlink = 1 // of a directory too: the number of its subdirectories is not known
	a.Size = uint64(size)
	a.Blksize = blockSize
	a.Blocks = uint64((allocated + sector - 1) / sector)
	a.Uid, a.Gid = o.uid, o.gid
	if !t.IsZero() {
		a.SetTimes(&t, &t, &t)
	}
}

// identity is the inode number of what the words name, the same in every mount.
// The generation is a hash as well: only if both were equal would two files be
// taken for one.
func identity(mode uint32, words ...string) fs.StableAttr {
	sum := sha256.Sum256([]byte(strings.Join(words, "\x00")))
	ino := binary.BigEndian.Uint64(sum[:8])
	const root, reserved = fuse.FUSE_ROOT_ID, ^uint64(0)
	if ino <= root || ino == reserved {
		ino = root + 1
	}
	return fs.StableAttr{
		Mode: mode & syscall.S_IFMT,
		Ino:  ino,
		Gen:  binary.BigEndian.Uint64(sum[8:16]),
	}
}
