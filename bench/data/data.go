// Package data makes what is backed up in the benchmark, from Debian's packages
// and by PostgreSQL, once for a directory: guests and their next generations, a
// large disk, a root file system and dumps of a database.
package data

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"vaultfs/bench"
)

// An Item is something that is backed up.
type Item struct {
	Name  string // "guest, next generation"
	Path  string // absolute
	Bytes int64  // on the disk
	About string // where it comes from
}

// A Maker makes data in a directory, or finds there what it made earlier.
type Maker struct {
	Dir  string
	Tell func(string) // is told what is made
}

// make returns the path of an item that is made by fn under a temporary name, if
// it is not there yet.
func (m Maker) make(name string, fn func(temp string) error) (string, error) {
	path := filepath.Join(m.Dir, name)
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return path, err
	}
	m.Tell("making " + name)
	ext := filepath.Ext(path)
	temp := strings.TrimSuffix(path, ext) + ".unfinished" + ext
	if err := os.RemoveAll(temp); err != nil {
		return "", err
	}
	if err := fn(temp); err != nil {
		os.RemoveAll(temp)
		return "", fmt.Errorf("making %s: %w", name, err)
	}
	return path, os.Rename(temp, path)
}

func item(name, path, about string) (Item, error) {
	n, err := bench.DiskUsage(path)
	return Item{Name: name, Path: path, Bytes: n, About: about}, err
}

// run runs a program that helps to make something.
func run(ctx context.Context, program string, args ...string) error {
	_, err := bench.Run(ctx, nil, program, args...)
	return err
}
