package qemunbd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Layer is one image of a chain.
type Layer struct {
	Path     string // of the image, as the operating system takes it: any bytes but NUL
	Format   string // QEMU's driver: raw, qcow2, vmdk, …; never guessed
	DataFile string // qcow2 with its guest data in a raw file of its own: that file's path; else ""
}

// Options says what to serve. Nothing besides what stands here is opened: a backing file or a data file that an image
// names is used only if it is listed. (A format whose image is spread over several files by itself, such as vmdk,
// opens those; the caller has looked at them.)
type Options struct {
	Chain       []Layer // the image, then its backing files, in order; without them clusters it lacks read as zeros
	Connections int     // clients that may be connected at the same time; 0 is 1
	Bitmap      string  // persistent bitmap to show as the context qemu:dirty-bitmap:NAME, "" for none
	Snapshot    string  // name of the internal snapshot to serve instead of the current state, "" for none
}

func (o *Options) validate() error {
	if len(o.Chain) == 0 {
		return errors.New("no image given")
	}
	if strings.ContainsRune(o.Bitmap+o.Snapshot, 0) {
		return errors.New("bitmap or snapshot name holds a NUL byte")
	}
	for _, l := range o.Chain {
		if err := l.validate(); err != nil {
			return fmt.Errorf("image %q: %w", l.Path, err)
		}
	}
	return nil
}

func (l *Layer) validate() error {
	if l.Path == "" || strings.ContainsRune(l.Path+l.DataFile, 0) {
		return errors.New("path is empty or holds a NUL byte")
	}
	if l.Format == "" || strings.Trim(l.Format, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		return fmt.Errorf("%q is no name of a format", l.Format)
	}
	for _, path := range []string{l.Path, l.DataFile} {
		if _, err := fileDriver(path); path != "" && err != nil {
			return err
		}
	}
	if l.Format == "qcow2" {
		return l.checkDataFile()
	}
	return nil
}

// arguments is the command line for an image served on a socket.
func (o *Options) arguments(socket string) ([]string, error) {
	image, err := imageOpts(o.Chain)
	if err != nil {
		return nil, err
	}
	args := []string{
		"--read-only", "--persistent", "--shared=" + strconv.Itoa(max(o.Connections, 1)), "--socket=" + socket,
	}
	if o.Bitmap != "" {
		args = append(args, "--bitmap="+o.Bitmap)
	}
	if o.Snapshot != "" {
		args = append(args, "--load-snapshot=snapshot.name="+escape(o.Snapshot))
	}
	return append(args, "--image-opts", image), nil
}

// imageOpts describes a chain to QEMU layer by layer. The last layer's backing file is none, whatever its header says.
func imageOpts(chain []Layer) (string, error) {
	var opts []string
	prefix := ""
	for _, l := range chain {
		file, err := fileOpts(prefix+"file.", l.Path)
		if err != nil {
			return "", err
		}
		opts = append(append(opts, prefix+"driver="+l.Format), file...)
		if l.DataFile != "" {
			data, err := fileOpts(prefix+"data-file.", l.DataFile)
			if err != nil {
				return "", err
			}
			opts = append(opts, data...)
		}
		prefix += "backing."
	}
	return strings.Join(opts, ",") + "," + strings.TrimSuffix(prefix, ".") + "=", nil
}

// fileOpts names one file, or block device, under a prefix.
func fileOpts(prefix, path string) ([]string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	driver, err := fileDriver(path)
	if err != nil {
		return nil, err
	}
	return []string{prefix + "driver=" + driver, prefix + "filename=" + escape(path)}, nil
}

// fileDriver picks QEMU's driver for the kind of file; each refuses the other's.
func fileDriver(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return "file", nil
	case mode&fs.ModeDevice != 0 && mode&fs.ModeCharDevice == 0:
		return "host_device", nil
	}
	return "", fmt.Errorf("%s: neither a file nor a block device", path)
}

// escape quotes a value for QEMU's option syntax, where only the comma has a meaning.
func escape(value string) string {
	return strings.ReplaceAll(value, ",", ",,")
}
