package ingest

import (
	"fmt"
	"os"
	"path/filepath"
)

// StateDir is where ingests keep what lasts from one run to the next, such as
// journals and mirrors, and, on the host's disk and not in /run, their scratch
// files: these may become as large as what is backed up.
func StateDir() (string, error) {
	if dir := os.Getenv("VAULTFS_STATE_DIR"); dir != "" {
		return filepath.Abs(dir)
	}
	if os.Geteuid() == 0 {
		return "/var/lib/vaultfs", nil
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "vaultfs"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no place for state and scratch files: %w; name one with VAULTFS_STATE_DIR", err)
	}
	return filepath.Join(home, ".local", "state", "vaultfs"), nil
}
