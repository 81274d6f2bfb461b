package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"

	"vaultfs/fusefs"
	"vaultfs/repo"
)

// checkWithQEMU mounts the chosen snapshots, all if chosen is nil, where nobody
// else sees them, and has qemu-img check every disk.
func (a *app) checkWithQEMU(ctx context.Context, r *repo.Repo, chosen []*repo.Snapshot, p *proof) (err error) {
	if _, err := exec.LookPath("qemu-img"); err != nil {
		return errors.New("verify --qemu needs the program qemu-img: install qemu-utils")
	}
	dir, err := os.MkdirTemp("", "vaultfs-verify-*")
	if err != nil {
		return err
	}
	defer os.Remove(dir)
	server, err := fusefs.Mount(ctx, only{fusefs.FromRepo(r), chosen}, dir, fusefs.Options{Exclude: a.repoPath})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Unmount()) }()
	disks, err := mountedDisks(dir)
	if err != nil {
		return err
	}
	var at atomic.Int64
	stop := a.watch(func() state { return state{phase: fmt.Sprintf("qemu-img check: disk %d of %d", at.Load(), len(disks))} })
	defer stop()
	p.qemu = 0
	for i, disk := range disks {
		at.Store(int64(i + 1))
		if err := checkImage(ctx, filepath.Join(dir, disk)); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			p.images = append(p.images, repo.Finding{Object: disk, Err: err})
		}
		p.qemu++
	}
	return nil
}

// mountedDisks lists the qcow2 files of a mount, relative to it.
func mountedDisks(dir string) (disks []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(path, ".qcow2") && filepath.Base(filepath.Dir(path)) == "disks" {
			disks = append(disks, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	return disks, err
}

// checkImage returns what qemu-img has against a qcow2 file.
func checkImage(ctx context.Context, path string) error {
	cmd := exec.CommandContext(ctx, "qemu-img", "check", "-q", "-f", "qcow2", path)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	text := strings.Join(strings.Fields(string(bytes.ReplaceAll(out, []byte(path), nil))), " ")
	return fmt.Errorf("qemu-img check: %w: %s", err, text[:min(len(text), 500)])
}

// only shows some snapshots of a repository.
type only struct {
	fusefs.Repository
	snapshots []*repo.Snapshot // nil: all
}

func (o only) Snapshots(ctx context.Context) ([]*repo.Snapshot, error) {
	if o.snapshots == nil {
		return o.Repository.Snapshots(ctx)
	}
	return o.snapshots, nil
}
