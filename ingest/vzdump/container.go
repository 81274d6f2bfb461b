package vzdump

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"time"

	"vaultfs/ingest/tar"
	"vaultfs/internal/vma"
)

// rootfsItem is the name of the item that is the tree of a container.
const rootfsItem = "rootfs"

// containerConfigs are the files in the tree of a container's archive that are
// its configuration, which vzdump has put there.
var containerConfigs = map[string]string{
	"etc/vzdump/pct.conf": "pct.conf",
	"etc/vzdump/pct.fw":   "pct.fw",
}

// storeContainer stores the archive of a container: its tree, and its
// configuration also as files.
func (g *ingestion) storeContainer(ctx context.Context, in io.Reader) error {
	if err := g.open(ctx, guestContainer, guestContainer, time.Time{}); err != nil {
		return err
	}
	g.items[rootfsItem] = true
	g.description.Format, g.description.Name = vma.FormatTar, plainName(g.path, ".tar")
	if g.path == Stream {
		g.description.Name = plainName(g.options.Name, ".tar")
	}
	configs := map[string][]byte{}
	o := tar.StoreOptions{Time: g.title.time, Look: map[string]func([]byte) error{}}
	for member, name := range containerConfigs {
		o.Look[member] = func(content []byte) error {
			configs[name] = bytes.Clone(content)
			return nil
		}
	}
	_, report, err := tar.Store(ctx, g.session, in, rootfsItem, o)
	if errors.Is(err, tar.ErrNotTar) || errors.Is(err, tar.ErrEmpty) {
		return broken(itError{err})
	}
	if err != nil {
		return broken(err)
	}
	for _, w := range report.Warnings {
		g.leaveOut("%s", w)
	}
	for _, n := range report.Notes {
		g.session.Note(n)
	}
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		if err := g.addFile(ctx, g.itemName(name), bytes.NewReader(configs[name]), g.origin("tar"), ""); err != nil {
			return err
		}
		g.description.Configs = append(g.description.Configs, vma.DescribedConfig{Name: name, Item: name})
	}
	return nil
}

// itError is an error that says what something is, of which "it" is the name.
type itError struct{ error }

func (e itError) Error() string { return "it " + e.error.Error() }
func (e itError) Unwrap() error { return e.error }
