package qemunbd

import (
	"fmt"
	"os"
	"path/filepath"
)

const socketName = "nbd.sock"

// maxSocketPath is what fits into sockaddr_un with its final NUL (unix(7)).
const maxSocketPath = 107

// socketDir makes a directory that only we can enter, in the system's place for temporary files, or in /tmp where
// that one's path is too long for a socket.
func socketDir() (string, error) {
	for _, parent := range []string{os.TempDir(), "/tmp"} {
		dir, err := os.MkdirTemp(parent, "vaultfs-nbd-")
		if err != nil {
			return "", err
		}
		if len(filepath.Join(dir, socketName)) <= maxSocketPath && filepath.IsAbs(dir) {
			return dir, nil
		}
		os.Remove(dir)
	}
	return "", fmt.Errorf("no directory for temporary files has a short enough path")
}
