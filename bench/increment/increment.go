// Package increment measures what a backup costs when QEMU's dirty bitmap tells
// what has changed.
package increment

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"vaultfs/bench"
	"vaultfs/ingest"
	"vaultfs/internal/nbd"
	"vaultfs/internal/nbd/qemunbd"
	"vaultfs/repo"
)

const (
	bitmap      = "changed"
	writeSize   = 64 << 10 // bytes that a guest writes at one place
	connections = 4
)

// A Disk is a raw disk that has been backed up, and goes on being written to in
// an overlay.
type Disk struct {
	Repo   *repo.Repo
	Source string // whose newest snapshot holds the state of the disk
	Raw    string // the disk's file
	Work   string // an empty directory

	item   string
	random *rand.ChaCha8
}

// A Cost is what two backups of the same state took, unlocking apart.
type Cost struct {
	Dirty      int64 // bytes that the bitmap marks
	Increment  time.Duration
	Full       time.Duration // all is read, and nothing is new
	FullLooked int64         // bytes that were read for it
}

func (d *Disk) overlay() string { return filepath.Join(d.Work, "overlay.qcow2") }

// Start makes the overlay.
func (d *Disk) Start(ctx context.Context) error {
	base, err := d.Repo.Resolve(ctx, d.Source)
	if err != nil {
		return err
	}
	if len(base.Items) != 1 {
		return fmt.Errorf("%s has %d items, and is to be one disk", d.Source, len(base.Items))
	}
	d.item = base.Items[0].Name
	d.random = rand.NewChaCha8([32]byte{1})
	_, err = bench.Run(ctx, nil, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", d.Raw, d.overlay())
	return err
}

// Measure begins a bitmap, writes the share of the disk, backs up what the
// bitmap marks, and then, where full is set, the same state as a whole.
func (d *Disk) Measure(ctx context.Context, share float64, full bool) (c Cost, err error) {
	if err := d.write(ctx, share); err != nil {
		return c, err
	}
	bench.Settle()
	if c.Dirty, c.Increment, err = d.backUp(ctx, true); err != nil || !full {
		return c, err
	}
	bench.Settle()
	c.FullLooked, c.Full, err = d.backUp(ctx, false)
	return c, err
}

// write has QEMU write noise at random places, with a bitmap that marks nothing
// else.
func (d *Disk) write(ctx context.Context, share float64) error {
	if err := exec.CommandContext(ctx, "qemu-img", "bitmap", "--remove", d.overlay(), bitmap).Run(); err != nil && ctx.Err() != nil {
		return ctx.Err() // there is none the first time
	}
	if _, err := bench.Run(ctx, nil, "qemu-img", "bitmap", "--add", d.overlay(), bitmap); err != nil {
		return err
	}
	st, err := os.Stat(d.Raw)
	if err != nil {
		return err
	}
	commands, err := d.writes(st.Size(), share)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "qemu-io", "-f", "qcow2", d.overlay())
	cmd.Stdin = strings.NewReader(commands)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("writing with qemu-io: %w: %s", err, out)
	}
	return nil
}

// writes are the commands for qemu-io. What is written are the pieces of files of
// noise.
func (d *Disk) writes(size int64, share float64) (string, error) {
	places := rand.New(d.random)
	var commands strings.Builder
	noise := make([]byte, writeSize)
	for i := range max(1, int(float64(size)*share/writeSize)) {
		d.random.Read(noise)
		name := filepath.Join(d.Work, "noise-"+strconv.Itoa(i))
		if err := os.WriteFile(name, noise, 0o600); err != nil {
			return "", err
		}
		fmt.Fprintf(&commands, "write -q -s %s %d %d\n", name, places.Int64N(size/writeSize)*writeSize, writeSize)
	}
	return commands.String(), nil
}

// backUp makes a snapshot of the disk as it is now, with what the bitmap marks,
// or of all of it, and returns how many bytes were marked, or read.
func (d *Disk) backUp(ctx context.Context, marked bool) (n int64, took time.Duration, err error) {
	server, err := qemunbd.Start(ctx, qemunbd.Options{
		Chain:       []qemunbd.Layer{{Path: d.overlay(), Format: "qcow2"}, {Path: d.Raw, Format: "raw"}},
		Connections: connections, Bitmap: bitmap,
	})
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	client, err := server.Dial(ctx, nbd.Options{Contexts: []string{nbd.ContextAllocation, nbd.ContextDirtyBitmap + bitmap}, Connections: connections})
	if err != nil {
		return 0, 0, err
	}
	defer client.Close()
	begin := time.Now()
	n, err = d.store(ctx, ingest.Exported{Client: client}, marked)
	return n, time.Since(begin), err
}

func (d *Disk) store(ctx context.Context, img ingest.Exported, marked bool) (n int64, err error) {
	base, err := d.Repo.Resolve(ctx, d.Source)
	if err != nil {
		return 0, err
	}
	session, err := d.Repo.NewSession(ctx, repo.SessionOptions{Source: d.Source, Kind: "disk", Base: base})
	if err != nil {
		return 0, err
	}
	defer session.Abort(ctx)
	it := repo.Item{Name: d.item, Kind: repo.ItemDisk, Size: img.Size()}
	p := new(ingest.Progress)
	if marked {
		disk, err := session.OpenBase(ctx, d.item)
		if err != nil {
			return 0, err
		}
		dirty := func(ctx context.Context, off, n int64) ([]ingest.Run, error) {
			return img.Dirty(ctx, nbd.ContextDirtyBitmap+bitmap, off, n)
		}
		changes, err := ingest.CopyChanged(ctx, session, img, dirty, disk, p)
		if err != nil {
			return 0, err
		}
		if changes.Lie != nil || changes.Loss != nil {
			return 0, fmt.Errorf("the bitmap or the base is of no use: %v, %v", changes.Lie, changes.Loss)
		}
		n, it.Root = changes.Dirty, changes.Root
	} else {
		if it.Root, err = ingest.CopyDisk(ctx, session, img, p); err != nil {
			return 0, err
		}
		n = p.Read.Load()
	}
	if err := session.AddItem(it); err != nil {
		return 0, err
	}
	_, err = session.Commit(ctx, repo.Info{Program: "bench", Mode: "file"})
	return n, err
}
