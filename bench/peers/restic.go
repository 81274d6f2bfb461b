package peers

import (
	"context"
	"path/filepath"
	"slices"

	"vaultfs/bench"
)

// restic keeps each source under a tag.
type restic struct{ common }

// Restic is the program of restic.net, as it is when nothing is set.
func Restic(program string) Peer { return restic{common{name: "restic", program: program}} }

func (r restic) Version(ctx context.Context) (string, error) { return r.version(ctx, "version") }

func (r restic) At(dir string) Peer { return restic{r.at(dir)} }

func (r restic) command(args ...string) bench.Command {
	global := []string{"--repo", r.Repo(), "--cache-dir", r.cache(), "--quiet"}
	return bench.Command{Program: r.program, Args: slices.Concat(global, args), Env: []string{"RESTIC_PASSWORD=" + Password}}
}

func (r restic) Run(ctx context.Context, args ...string) (bench.Usage, error) {
	u, _, err := r.command(args...).Run(ctx)
	return u, err
}

func (r restic) Create(ctx context.Context) error {
	if err := r.makeDir(); err != nil {
		return err
	}
	_, err := r.Run(ctx, "init")
	return err
}

func (r restic) Backup(ctx context.Context, s Source) (bench.Usage, error) {
	return r.Run(ctx, "backup", "--tag", s.Label, s.Path)
}

func (r restic) Restore(ctx context.Context, s Source, to string) (bench.Usage, string, error) {
	u, err := r.Run(ctx, "restore", "latest", "--tag", s.Label, "--target", to)
	return u, filepath.Join(to, s.Path), err
}

func (r restic) Mount(s Source, at string) (bench.Command, string, error) {
	return r.command("mount", "--tag", s.Label, at), filepath.Join(at, "snapshots", "latest", s.Path), nil
}

func (r restic) Unlock(ctx context.Context) (bench.Usage, error) { return r.Run(ctx, "key", "list") }
