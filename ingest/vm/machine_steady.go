package vm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

const (
	// steadyTries is how often something that changes under the hands is read before it is taken as it is.
	steadyTries = 20
	// steadyPause is between two tries. It is also how long ago the last change must be before a reading begins: the
	// kernel's file times go in steps of a few ms, so two changes within one step look like one.
	steadyPause = 50 * time.Millisecond
	// machineFileLimit bounds a file of firmware variables or TPM state, in bytes. Real ones are of 4 MiB at most.
	machineFileLimit = 64 << 20
)

// stamp is what differs when something was written to or replaced, and when it last was.
type stamp struct {
	state   string
	changed time.Time
}

// steadily calls read until the stamp of what is read is the same before and after. When that never happens the last
// reading is taken, and steady is false.
func steadily(look func() (stamp, error), read func() error) (steady bool, err error) {
	for range steadyTries {
		before, err := look()
		if err != nil {
			return false, err
		}
		if age := time.Since(before.changed); age < 0 || age >= steadyPause {
			if err := read(); err != nil {
				return false, err
			}
			after, err := look()
			if err != nil {
				return false, err
			}
			if before.state == after.state {
				return true, nil
			}
		}
		time.Sleep(steadyPause)
	}
	return false, read()
}

// fileStamp is the stamp of one file.
func fileStamp(path string) (stamp, error) {
	s, err := stateOf(path)
	return stamp{fmt.Sprint(s.dev, s.ino, s.size, s.mtime.UnixNano(), s.ctime.UnixNano()), s.ctime}, err
}

// readLimited reads a whole regular file of at most machineFileLimit bytes.
func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	b, err := io.ReadAll(io.LimitReader(f, machineFileLimit+1))
	if err == nil && len(b) > machineFileLimit {
		err = fmt.Errorf("it is larger than %d MiB, which none is", machineFileLimit>>20)
	}
	return b, err
}
