package vm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"vaultfs/repo"
	"vaultfs/restore"
)

// places are the directories that a libvirt daemon keeps its domains' files in. They are those of its qemu_conf.c.
type places struct {
	images, nvram, tpm string
	system             bool // QEMU runs as a user of its own
}

func placesOf(uri string) (places, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return places{}, fmt.Errorf("libvirt URI %q: not a URI", uri)
	}
	switch u.Path {
	case "/system":
		return places{"/var/lib/libvirt/images", "/var/lib/libvirt/qemu/nvram", "/var/lib/libvirt/swtpm", true}, nil
	case "/session":
		config, err := os.UserConfigDir()
		if err != nil {
			return places{}, err
		}
		data := os.Getenv("XDG_DATA_HOME")
		if data == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return places{}, err
			}
			data = filepath.Join(home, ".local/share")
		}
		config = filepath.Join(config, "libvirt/qemu")
		return places{filepath.Join(data, "libvirt/images"), filepath.Join(config, "nvram"), filepath.Join(config, "swtpm"), false}, nil
	}
	return places{}, fmt.Errorf("a VM cannot be defined on %s: use --connect qemu:///system or qemu:///session", uri)
}

// notFree says why no file can be made at a path that stands in a definition: something is there, a domain claims it,
// the plan has given it away, or its directory does not exist. It is "" if one can.
func (p *plan) notFree(path string) string {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path {
		return "that is not a full path"
	}
	if by := p.claimed(path); by != "" {
		return "that is in the definition of " + by
	}
	if _, err := os.Lstat(path); err == nil {
		return "that exists"
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err.Error()
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return "that directory does not exist"
	}
	return ""
}

// claimed says who has a path though nothing may be there; "" if nobody does.
func (p *plan) claimed(path string) string {
	if vm := p.taken.paths[path]; vm != "" {
		return fmt.Sprintf("VM %q", vm)
	}
	for _, f := range p.files {
		if f.path == path {
			return f.item.Name + " of this one"
		}
	}
	return ""
}

// add plans a file. Its path must be free; the directory may be missing.
func (p *plan) add(f planned) error {
	if by := p.claimed(f.path); by != "" {
		return fmt.Errorf("%s is in the definition of %s: choose another directory with --disk-dir, or another name with --name", f.path, by)
	}
	if _, err := os.Lstat(f.path); err == nil {
		return fmt.Errorf("%s exists, and is not touched: move it away, or choose another directory with --disk-dir or another name with --name", f.path)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking whether %s exists: %w", f.path, err)
	}
	p.files = append(p.files, f)
	return nil
}

// checkPlaces makes sure that everything that is to be written has a directory, or can get one.
func (p *plan) checkPlaces(context.Context) error {
	for _, dir := range p.needs() {
		if err := writable(dir); err != nil {
			return err
		}
	}
	return nil
}

// needs are the directories that are written to, sorted.
func (p *plan) needs() []string {
	var dirs []string
	for _, f := range p.files {
		dirs = append(dirs, filepath.Dir(f.path))
	}
	if p.tpm != nil {
		dirs = append(dirs, p.places.tpm)
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// writable fails unless the directory, or the nearest one above it that exists, can be written to.
func writable(dir string) error {
	above := existing(dir)
	info, err := os.Stat(above)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("the directory %s cannot be made, for %s is none: choose another one with --disk-dir", dir, above)
	case errors.Is(unix.Access(above, unix.W_OK|unix.X_OK), unix.EROFS):
		return fmt.Errorf("the directory %s is on a file system that is mounted read-only: choose another one with --disk-dir", above)
	case unix.Access(above, unix.W_OK|unix.X_OK) != nil:
		return fmt.Errorf("the directory %s may not be written to: run as root, or choose another one with --disk-dir", above)
	}
	return nil
}

// existing is the directory, or the nearest above it that is there.
func existing(dir string) string {
	for {
		if _, err := os.Lstat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// checkSpace refuses what the file systems cannot hold, all that goes to one of them taken together.
func (p *plan) checkSpace(ctx context.Context) error {
	need, where := map[uint64]int64{}, map[uint64]string{}
	for _, f := range p.files {
		takes, err := p.takes(ctx, f)
		if err != nil {
			return err
		}
		dir := existing(filepath.Dir(f.path))
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil {
			return fmt.Errorf("directory %s: %w", dir, err)
		}
		need[st.Dev] += takes
		where[st.Dev] = dir
	}
	for dev, dir := range where {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			return fmt.Errorf("directory %s: %w", dir, err)
		}
		if free := int64(st.Bavail) * st.Frsize; free < need[dev] {
			return &restore.SpaceError{Dir: dir, Need: need[dev], Free: free}
		}
	}
	return nil
}

// takes is about how many bytes a file will occupy. The tables of a qcow2 file take less than a byte in 4096.
func (p *plan) takes(ctx context.Context, f planned) (int64, error) {
	if f.item.Kind != repo.ItemDisk {
		return f.item.Size, nil
	}
	d, err := p.repo.OpenDisk(ctx, f.item)
	if err != nil {
		return 0, err
	}
	if err := d.Check(); err != nil {
		return 0, fmt.Errorf("disk %s: %w", f.item.Name, err)
	}
	n := d.Allocated()
	if f.format == restore.QCOW2 {
		n += d.Size()/4096 + 1<<20
	}
	return n, nil
}

// makeDirs makes a directory and those above it that are missing, and returns which were, outermost first. Others may
// pass them, whatever the umask: QEMU must.
func makeDirs(dir string) (made []string, err error) {
	if _, err := os.Stat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if made, err = makeDirs(filepath.Dir(dir)); err != nil {
		return made, err
	}
	if err := os.Mkdir(dir, 0o711); errors.Is(err, fs.ErrExist) {
		return made, nil
	} else if err != nil {
		return made, err
	}
	return append(made, dir), os.Chmod(dir, 0o711)
}
