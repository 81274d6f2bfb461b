package data

import (
	"context"
	"errors"
	"os"
)

// Root makes the root file system of a Debian machine as a tree. What the
// devices in it are programs need not restore; the tree has none.
func (m Maker) Root(ctx context.Context) (Item, error) {
	path, err := m.make("root", func(temp string) error {
		return errors.Join(run(ctx, "mmdebstrap", "--mode=root", "--variant=standard", "--skip=check/empty", "--dpkgopt=force-unsafe-io",
			"--include=build-essential,python3,git,perl-doc,linux-image-cloud-amd64", "bookworm", temp),
			os.RemoveAll(temp+"/dev"))
	})
	if err != nil {
		return Item{}, err
	}
	return item("Debian root", path, "Debian 12 with the standard packages, a compiler and a kernel, as files")
}
