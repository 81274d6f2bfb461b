// Package peers runs backup programs, vaultfs among them, each with a repository
// of its own: the same few things in the words of each program.
package peers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"vaultfs/bench"
)

// Kind says what a source is.
type Kind int

const (
	Disk Kind = iota // an image file
	Tree             // a directory
	Dump             // of PostgreSQL
)

// A Source is a file or directory that is backed up.
type Source struct {
	Kind  Kind
	Path  string // absolute
	Label string // of all states of the source
}

// ErrCannot is of what a program has no command for.
var ErrCannot = errors.New("it cannot do that")

// A Peer is a program and its repository.
type Peer interface {
	// Name is what the program and the way it is used are called.
	Name() string
	// Version is what the program says of itself.
	Version(ctx context.Context) (string, error)
	// At is the same program with the repository and all else it keeps below dir.
	At(dir string) Peer
	// Repo is where the repository is.
	Repo() string
	// Create makes dir and the repository.
	Create(ctx context.Context) error
	// Backup makes a snapshot of a source.
	Backup(ctx context.Context, s Source) (bench.Usage, error)
	// Restore brings the newest snapshot of a source back, below the empty
	// directory to, and returns its path there.
	Restore(ctx context.Context, s Source, to string) (bench.Usage, string, error)
	// Mount shows the newest snapshot of a source below the empty directory at. The
	// command goes on until that is unmounted; path is that of the source. The error
	// may be ErrCannot.
	Mount(s Source, at string) (c bench.Command, path string, err error)
	// Unlock is a command that does little but open the repository.
	Unlock(ctx context.Context) (bench.Usage, error)
	// Run runs any command of the program on the repository.
	Run(ctx context.Context, args ...string) (bench.Usage, error)
}

// Password opens all repositories.
const Password = "bench"

// Forget takes what a user has set for a program out of the environment of this
// process, so that each runs as it is by itself.
func Forget() {
	for _, setting := range os.Environ() {
		name, _, _ := strings.Cut(setting, "=")
		for _, program := range []string{"VAULTFS_", "RESTIC_", "BORG_", "KOPIA_"} {
			if strings.HasPrefix(name, program) {
				os.Unsetenv(name)
			}
		}
	}
}

// common is what all peers are made of.
type common struct {
	name, program string
	dir           string // of the repository and of all that the program keeps
}

func (c common) Name() string  { return c.name }
func (c common) Repo() string  { return filepath.Join(c.dir, "repo") }
func (c common) cache() string { return filepath.Join(c.dir, "cache") }

func (c common) at(dir string) common {
	c.dir = dir
	return c
}

func (c common) makeDir() error { return os.MkdirAll(c.cache(), 0o700) }

var number = regexp.MustCompile(`[0-9]+\.[0-9][0-9A-Za-z.~+-]*`)

// version is the first version in what the program prints.
func (c common) version(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, c.program, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("the version of %s: %w: %s", c.program, err, out)
	}
	if v := number.Find(out); v != nil {
		return string(v), nil
	}
	return "", fmt.Errorf("the version of %s: it said %q", c.program, out)
}
