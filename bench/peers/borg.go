package peers

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"vaultfs/bench"
)

// borg keeps each state of a source as an archive of its own.
type borg struct {
	common
	options  []string // of create
	archives map[string]int
}

// Borg is the program of borgbackup.org, with the encryption that its
// documentation recommends, and as it is else.
func Borg(program string) Peer { return borg{common: common{name: "borg", program: program}} }

// BorgZstd is borg with zstd, which is slower than its lz4 and stores less.
func BorgZstd(program string) Peer {
	return borg{common: common{name: "borg, zstd", program: program}, options: []string{"--compression", "zstd"}}
}

// BorgFixed is borg with pieces of 4 MiB each, which its documentation recommends
// for disks: faster than cutting by content.
func BorgFixed(program string) Peer {
	return borg{common: common{name: "borg, fixed 4 MiB", program: program}, options: []string{"--chunker-params", "fixed,4194304"}}
}

func (b borg) Version(ctx context.Context) (string, error) { return b.version(ctx, "--version") }

func (b borg) At(dir string) Peer {
	b.common, b.archives = b.at(dir), map[string]int{}
	return b
}

func (b borg) command(dir string, args ...string) bench.Command {
	return bench.Command{Program: b.program, Args: args, Dir: dir, Env: []string{
		"BORG_REPO=" + b.Repo(), "BORG_PASSPHRASE=" + Password, "BORG_BASE_DIR=" + b.cache(),
		"BORG_EXIT_CODES=legacy", "BORG_RELOCATED_REPO_ACCESS_IS_OK=yes",
	}}
}

func (b borg) Run(ctx context.Context, args ...string) (bench.Usage, error) {
	u, _, err := b.command("", args...).Run(ctx)
	return u, err
}

func (b borg) Create(ctx context.Context) error {
	if err := b.makeDir(); err != nil {
		return err
	}
	_, err := b.Run(ctx, "init", "--encryption", "repokey-blake2")
	return err
}

// newest names the newest archive of a source.
func (b borg) newest(s Source) string { return fmt.Sprintf("::%s-%d", s.Label, b.archives[s.Label]) }

func (b borg) Backup(ctx context.Context, s Source) (bench.Usage, error) {
	b.archives[s.Label]++
	return b.Run(ctx, slices.Concat([]string{"create"}, b.options, []string{b.newest(s), s.Path})...)
}

func (b borg) Restore(ctx context.Context, s Source, to string) (bench.Usage, string, error) {
	u, _, err := b.command(to, "extract", b.newest(s)).Run(ctx)
	return u, filepath.Join(to, s.Path), err
}

func (b borg) Mount(s Source, at string) (bench.Command, string, error) {
	return b.command("", "mount", "--foreground", b.newest(s), at), filepath.Join(at, strings.TrimPrefix(s.Path, "/")), nil
}

func (b borg) Unlock(ctx context.Context) (bench.Usage, error) { return b.Run(ctx, "list", "--short") }
