package data

import "context"

// Root makes the root file system of a Debian machine as a tree.
func (m Maker) Root(ctx context.Context) (Item, error) {
	path, err := m.make("root", func(temp string) error {
		return run(ctx, "mmdebstrap", "--mode=root", "--variant=standard", "--skip=check/empty", "--dpkgopt=force-unsafe-io",
			"--include=build-essential,python3,git,perl-doc,linux-image-cloud-amd64", "bookworm", temp)
	})
	if err != nil {
		return Item{}, err
	}
	return item("Debian root", path, "Debian 12 with the standard packages, a compiler and a kernel, as files")
}
