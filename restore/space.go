package restore

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// A SpaceError says that a file system cannot hold what is to be restored.
type SpaceError struct {
	Dir        string
	Need, Free int64 // bytes
}

func (e *SpaceError) Error() string {
	return fmt.Sprintf("there is not enough space in %s: it takes %d bytes, %d are free", e.Dir, e.Need, e.Free)
}

// CheckSpace refuses, with a *SpaceError, to begin what the file system of dir
// cannot hold. One that does not say how large it is, as ramfs, may hold anything.
func CheckSpace(dir string, need int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return directoryError(dir, err)
	}
	if free := int64(st.Bavail) * st.Frsize; st.Blocks > 0 && free < need {
		return &SpaceError{dir, need, free}
	}
	return nil
}
