package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"vaultfs/bench/report"
)

// machine tells where it runs, and where dir is written to.
func machine(dir string) (m report.Machine, err error) {
	var u unix.Utsname
	var i unix.Sysinfo_t
	if err := unix.Uname(&u); err != nil {
		return m, err
	}
	if err := unix.Sysinfo(&i); err != nil {
		return m, err
	}
	m = report.Machine{Cores: runtime.NumCPU(), Memory: int64(i.Totalram) * int64(i.Unit), Kernel: unix.ByteSliceToString(u.Release[:])}
	cpu, _ := os.ReadFile("/proc/cpuinfo")
	m.CPU = field(cpu, "model name", ":")
	system, _ := os.ReadFile("/etc/os-release")
	m.System = strings.Trim(field(system, "PRETTY_NAME", "="), `"`)
	mounts, _ := os.ReadFile("/proc/self/mounts")
	m.Disk = fileSystem(mounts, dir)
	return m, nil
}

// field is what follows a word and a separator in a line.
func field(text []byte, word, separator string) string {
	for line := range bytes.Lines(text) {
		key, value, ok := strings.Cut(string(line), separator)
		if ok && strings.TrimSpace(key) == word {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// fileSystem is the type and the device of the deepest mount above a directory.
func fileSystem(mounts []byte, dir string) string {
	best, told := "", "unknown"
	for line := range bytes.Lines(mounts) {
		f := strings.Fields(string(line))
		if len(f) < 3 || len(f[1]) < len(best) {
			continue
		}
		if rel, err := filepath.Rel(f[1], dir); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
			best, told = f[1], fmt.Sprintf("%s on %s", f[2], f[0])
		}
	}
	return told
}

// warmAll reads all files of a tree.
func warmAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		return warm(path)
	})
}
