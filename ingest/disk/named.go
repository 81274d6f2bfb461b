package disk

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// protocols are QEMU's names of block drivers that may stand before a colon
// instead of a file's name. What is not among them is only looked for as a
// plain file, so that a new one that is missing here does no harm.
var protocols = []string{
	"blkdebug", "blkverify", "fat", "file", "ftp", "ftps", "gluster", "gluster+rdma", "gluster+tcp", "gluster+unix",
	"host_cdrom", "host_device", "http", "https", "iscsi", "iser", "json", "nbd", "nbd+tcp", "nbd+unix", "nfs", "null-aio",
	"null-co", "nvme", "pbs", "quorum", "rbd", "sheepdog", "sheepdog+tcp", "sheepdog+unix", "ssh", "throttle", "vxhs",
}

// isProtocol tells whether QEMU would take a name for something else than a
// file.
func isProtocol(name string) bool {
	before, _, ok := strings.Cut(name, ":")
	return ok && !strings.Contains(before, "/") && slices.Contains(protocols, strings.ToLower(before)) || strings.Contains(name, "://")
}

// openNamed opens a file that an image names. Unless anywhere is set it must be
// a regular file in the image's own directory, under its own name.
func openNamed(image *file, what, name string, anywhere bool) (*file, error) {
	if isProtocol(name) {
		return nil, fmt.Errorf("image %q: its %s is %q, and only plain files are read", image.path, what, shortened(name))
	}
	path := name
	switch dir := filepath.Dir(image.path); {
	case filepath.IsAbs(name) && anywhere:
	case anywhere:
		path = dir + "/" + name // as QEMU does it; the kernel, not the text, resolves ".."
	case name != filepath.Base(name) || name == "." || name == "..":
		return nil, fmt.Errorf("image %q %w: its %s is %q; give --allow-backing if you trust the image",
			image.path, ErrOutside, what, shortened(name))
	default:
		path = filepath.Join(dir, name)
	}
	f, err := openFile(path, anywhere)
	if err != nil {
		return nil, fmt.Errorf("image %q: its %s %q %w", image.path, what, path, err)
	}
	if f.before.device && !anywhere {
		f.Close()
		return nil, fmt.Errorf("image %q: its %s %q is not a regular file", image.path, what, path)
	}
	return f, nil
}

// backingFormat is the format of a backing file: as the image above it says,
// else as chooseFormat says.
func backingFormat(image *file, f *file, stated string) (string, error) {
	switch {
	case stated == "file" || stated == "host_device":
		return rawFormat, nil
	case known(stated):
		return stated, nil
	case stated != "":
		return "", fmt.Errorf("image %q: its backing file %q has the format %q, which is not read", image.path, f.path, shortened(stated))
	}
	c, err := chooseFormat(f)
	if errors.Is(err, ErrFormat) {
		return "", fmt.Errorf("image %q does not say the format of its backing file %q: %w; set it with qemu-img rebase -u -F", image.path, f.path, ErrFormat)
	}
	if err != nil {
		return "", fmt.Errorf("image %q: its backing file %q %w", image.path, f.path, err)
	}
	return c.format, nil
}
