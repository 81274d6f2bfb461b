package vm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// maxLayers is libvirt's own bound on the length of a backing chain.
const maxLayers = 200

// chainOf is the chain of a disk's images, top first: as libvirt states it, else as the images themselves name their
// backing files. Only libvirt's own images are asked, one at a time, so that no name is opened before it was looked at.
func chainOf(ctx context.Context, d *disk) ([]layer, error) {
	chain := []layer{{d.path, d.format}}
	if d.hasBacking {
		return append(chain, d.backing...), nil
	}
	for {
		top := chain[len(chain)-1]
		next, err := backingLayer(ctx, top)
		if err != nil {
			return nil, fmt.Errorf("disk %s: %w", d.target, err)
		}
		if next == (layer{}) {
			return chain, nil
		}
		if len(chain) == maxLayers {
			return nil, fmt.Errorf("disk %s: its backing chain has more than %d images", d.target, maxLayers)
		}
		chain = append(chain, next)
	}
}

// imageInfo is the part of `qemu-img info --output=json` that names the backing file and the dirty bitmaps.
type imageInfo struct {
	Backing        string `json:"backing-filename"`
	Format         string `json:"backing-filename-format"`
	FormatSpecific struct {
		Data struct {
			Bitmaps []struct {
				Name  string
				Flags []string
			}
		}
	} `json:"format-specific"`
}

// protocolName is a name that QEMU takes for a protocol ("nbd://…", "json:…") instead of a file.
var protocolName = regexp.MustCompile(`^[A-Za-z0-9+.-]+:`)

// backingLayer is the image that l's header names as its backing file; none for formats without.
func backingLayer(ctx context.Context, l layer) (layer, error) {
	if l.format == "raw" {
		return layer{}, nil
	}
	info, err := imageInfoOf(ctx, l)
	if err != nil || info.Backing == "" {
		return layer{}, err
	}
	if protocolName.MatchString(info.Backing) {
		return layer{}, fmt.Errorf("image %q: backing file %q is no plain file name: start the VM and use --mode live", l.path, info.Backing)
	}
	if info.Format == "" {
		return layer{}, fmt.Errorf("image %q does not say the format of its backing file %q: set it with qemu-img rebase -u -F", l.path, info.Backing)
	}
	path := info.Backing
	if !filepath.IsAbs(path) {
		// Relative to the folder of the name, as QEMU does it, not to what a symbolic link points to.
		path = filepath.Join(filepath.Dir(l.path), path)
	}
	if _, err := os.Stat(path); err != nil {
		return layer{}, fmt.Errorf("image %q: its backing file is missing: %w", l.path, err)
	}
	return layer{path, info.Format}, nil
}

// imageInfoOf asks qemu-img, which opens neither backing nor data files for this.
func imageInfoOf(ctx context.Context, l layer) (*imageInfo, error) {
	if strings.ContainsAny(l.format, ",=") {
		return nil, fmt.Errorf("image %q: format %q", l.path, l.format)
	}
	opts := fmt.Sprintf("driver=%s,file.driver=%s,file.filename=%s", l.format, fileDriver(l.path), strings.ReplaceAll(l.path, ",", ",,"))
	cmd := exec.CommandContext(ctx, "qemu-img", "info", "--output=json", "--image-opts", opts)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, errors.New("qemu-img is missing: install qemu-utils")
	}
	if err != nil {
		why := strings.TrimSpace(stderr.String())
		return nil, fmt.Errorf("image %q: %s", l.path, strings.TrimPrefix(why, "qemu-img: "))
	}
	var info imageInfo
	if err := json.Unmarshal(out, &info); err != nil {
		return nil, fmt.Errorf("image %q: qemu-img info: %w", l.path, err)
	}
	return &info, nil
}

// fileDriver is QEMU's driver for a path; one that cannot be looked at is left to QEMU to complain about.
func fileDriver(path string) string {
	if st, err := os.Stat(path); err == nil && st.Mode()&os.ModeDevice != 0 {
		return "host_device"
	}
	return "file"
}
