package peers

import (
	"context"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"vaultfs/bench"
)

// vaultfs is the program of this project.
type vaultfs struct {
	common
	noVerify bool
}

// Vaultfs is this project's program, which reads back what it wrote.
func Vaultfs(program string) Peer { return vaultfs{common: common{name: "vaultfs", program: program}} }

// VaultfsNoVerify is this project's program as it is when it reads nothing back,
// as most others do not.
func VaultfsNoVerify(program string) Peer {
	return vaultfs{common: common{name: "vaultfs --no-verify", program: program}, noVerify: true}
}

// Version is what the build was told, the state of the sources mostly.
func (v vaultfs) Version(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, v.program, "version").Output()
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimPrefix(line, "vaultfs "), err
}

func (v vaultfs) At(dir string) Peer {
	v.common = v.at(dir)
	return v
}

func (v vaultfs) command(args ...string) bench.Command {
	global := []string{"--repo", v.Repo(), "--cache-dir", v.cache(), "--quiet"}
	return bench.Command{Program: v.program, Args: slices.Concat(global, args), Env: []string{"VAULTFS_PASSWORD=" + Password}}
}

func (v vaultfs) Run(ctx context.Context, args ...string) (bench.Usage, error) {
	u, _, err := v.command(args...).Run(ctx)
	return u, err
}

func (v vaultfs) Create(ctx context.Context) error {
	if err := v.makeDir(); err != nil {
		return err
	}
	_, err := v.Run(ctx, "init")
	return err
}

func (v vaultfs) Backup(ctx context.Context, s Source) (bench.Usage, error) {
	var args []string
	switch s.Kind {
	case Disk:
		args = []string{"ingest", "disk", "--format", format(s), "--name", s.Label, s.Path}
	case Tree:
		args = []string{"ingest", "tree", "--name", s.Label, s.Path}
	case Dump:
		args = []string{"ingest", "pg", "--name", s.Label, "--file", s.Path}
	}
	if v.noVerify {
		args = append(args, "--no-verify")
	}
	return v.Run(ctx, args...)
}

// format is a disk's, told by its name.
func format(s Source) string {
	if filepath.Ext(s.Path) == ".qcow2" {
		return "qcow2"
	}
	return "raw"
}

// item is what the disk of a source is called in its snapshot.
func item(s Source) string {
	return strings.TrimSuffix(filepath.Base(s.Path), filepath.Ext(s.Path))
}

// snapshot is the newest of a source.
func snapshot(s Source) string {
	return []string{Disk: "disk/", Tree: "tree/", Dump: "pg/"}[s.Kind] + s.Label
}

// Restore brings a disk back as raw, whatever it was.
func (v vaultfs) Restore(ctx context.Context, s Source, to string) (bench.Usage, string, error) {
	from, path := snapshot(s), filepath.Join(to, s.Label)
	switch s.Kind {
	case Disk:
		from, path = from+":disks/"+item(s)+".raw", path+".raw"
	case Dump:
		from, path = from+":"+s.Label+".dump", path+".dump"
	}
	u, err := v.Run(ctx, "restore", from, "--to", path)
	return u, path, err
}

func (v vaultfs) Mount(s Source, at string) (bench.Command, string, error) {
	if s.Kind != Disk {
		return bench.Command{}, "", ErrCannot
	}
	path := filepath.Join(at, snapshot(s), "latest", "disks", item(s)+"."+format(s))
	return v.command("mount", "--foreground", at), path, nil
}

func (v vaultfs) Unlock(ctx context.Context) (bench.Usage, error) { return v.Run(ctx, "key", "list") }
