package peers

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"vaultfs/bench"
)

// kopia names snapshots by itself.
type kopia struct {
	common
	snapshots map[string]string // the newest, by label
}

// Kopia is the program of kopia.io. It compresses nothing by itself: it is told
// to with zstd-fastest.
func Kopia(program string) Peer { return kopia{common: common{name: "kopia", program: program}} }

func (k kopia) Version(ctx context.Context) (string, error) { return k.version(ctx, "--version") }

func (k kopia) At(dir string) Peer { return kopia{k.at(dir), map[string]string{}} }

func (k kopia) command(args ...string) bench.Command {
	return bench.Command{Program: k.program, Args: args, Env: []string{
		"KOPIA_PASSWORD=" + Password, "KOPIA_CONFIG_PATH=" + filepath.Join(k.dir, "config"),
		"KOPIA_CACHE_DIRECTORY=" + k.cache(), "KOPIA_LOG_DIR=" + filepath.Join(k.dir, "log"), "KOPIA_CHECK_FOR_UPDATES=false",
	}}
}

func (k kopia) Run(ctx context.Context, args ...string) (bench.Usage, error) {
	u, _, err := k.command(args...).Run(ctx)
	return u, err
}

func (k kopia) Create(ctx context.Context) error {
	if err := k.makeDir(); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"repository", "create", "filesystem", "--path", k.Repo()},
		{"policy", "set", "--global", "--compression", "zstd-fastest"},
	} {
		if _, err := k.Run(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

func (k kopia) Backup(ctx context.Context, s Source) (bench.Usage, error) {
	u, out, err := k.command("snapshot", "create", "--json", s.Path).Run(ctx)
	if err != nil {
		return u, err
	}
	k.snapshots[s.Label], err = snapshotID(out)
	return u, err
}

// snapshotID finds the ID in what kopia tells of a snapshot.
func snapshotID(out []byte) (string, error) {
	var made struct{ ID string }
	if err := json.Unmarshal(out, &made); err != nil || made.ID == "" {
		return "", fmt.Errorf("kopia tells no ID of its snapshot: %q", out)
	}
	return made.ID, nil
}

func (k kopia) Restore(ctx context.Context, s Source, to string) (bench.Usage, string, error) {
	path := filepath.Join(to, filepath.Base(s.Path))
	u, err := k.Run(ctx, "snapshot", "restore", k.snapshots[s.Label], path)
	return u, path, err
}

// Mount is not there: kopia mounts directories, and a disk's snapshot is that of
// a file.
func (k kopia) Mount(Source, string) (bench.Command, string, error) {
	return bench.Command{}, "", ErrCannot
}

func (k kopia) Unlock(ctx context.Context) (bench.Usage, error) {
	return k.Run(ctx, "repository", "status")
}
