package store

import "golang.org/x/sys/unix"

const (
	warnFlock = ": a file lock may be local to each host, so that a session on another host can look dead and be broken while it runs, unless the store is used from one host at a time"
	warnNoRep = ": of two hosts that commit to one name at once both may succeed, and one replaces the other"
)

// networkFS names file systems on which flock(2) may not reach other hosts.
// The numbers are statfs(2)'s.
var networkFS = map[uint32]string{
	unix.NFS_SUPER_MAGIC:  "NFS",
	unix.SMB_SUPER_MAGIC:  "SMB",
	unix.SMB2_SUPER_MAGIC: "SMB",
	unix.CIFS_SUPER_MAGIC: "SMB",
	unix.AFS_SUPER_MAGIC:  "AFS",
	unix.V9FS_MAGIC:       "9p",
	unix.FUSE_SUPER_MAGIC: "a FUSE file system (such as sshfs)",
}

// warnings says, one sentence each, what is not safe on a file system.
func warnings(magic uint32) []string {
	switch magic {
	case unix.TMPFS_MAGIC, unix.RAMFS_MAGIC:
		return []string{"the store is in memory: it is gone after a reboot"}
	}
	if fs, ok := networkFS[magic]; ok {
		return []string{"the store is on " + fs + warnFlock, "the store is on " + fs + warnNoRep}
	}
	return nil
}
