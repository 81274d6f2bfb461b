package vm

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"libvirt.org/go/libvirtxml"
)

// systemTPMDir is where the system's libvirt keeps the state of emulated TPMs, a directory for each domain's UUID.
const systemTPMDir = "/var/lib/libvirt/swtpm"

// addTPM keeps the state of an emulated TPM: without it a guest cannot unseal what it sealed, such as the key of its
// disk's encryption.
func (m *machine) addTPM(x *libvirtxml.Domain, uri string, runs bool) {
	if x.Devices == nil {
		return
	}
	for _, t := range x.Devices.TPMs {
		switch {
		case t.Backend == nil:
		case t.Backend.Emulator != nil:
			m.addEmulatedTPM(x, t.Backend.Emulator, uri, runs)
		case t.Backend.Passthrough != nil:
			m.note("the state of its TPM is in a device of the host, and not in the backup")
		case t.Backend.External != nil:
			m.warn(x.Name, "its TPM is run by another program, whose state is not in the backup: keep it as that program's documentation says")
		}
	}
}

func (m *machine) addEmulatedTPM(x *libvirtxml.Domain, e *libvirtxml.DomainTPMBackendEmulator, uri string, runs bool) {
	if e.Source != nil {
		m.warn(x.Name, "its TPM keeps its state at a place of its own, which is not read: it is not in the backup, keep a copy of what <tpm> names as source")
		return
	}
	parent, err := stateDir(uri, systemTPMDir, "swtpm")
	if err != nil {
		m.warn(x.Name, "its TPM's state is not in the backup: %v", err)
		return
	}
	dir := filepath.Join(parent, x.UUID)
	state, steady, err := readTPM(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !runs:
		m.note("no TPM state is kept: %s does not exist, libvirt makes it when the VM is first started", dir)
		return
	case errors.Is(err, fs.ErrPermission):
		m.warn(x.Name, "its TPM's state is not in the backup: reading %s is not allowed, run as root", dir)
		return
	case err != nil:
		m.warn(x.Name, "its TPM's state is not in the backup: %v", err)
		return
	}
	m.add(tpmItem, state)
	if !steady {
		m.warn(x.Name, "its TPM wrote to %s all the while it was read: the state in the backup may be of no one moment, back it up again", dir)
	}
	if e.Encryption != nil {
		m.note("the TPM's state is encrypted with libvirt's secret %s, which is not in the backup: keep it elsewhere (virsh secret-get-value)", e.Encryption.Secret)
	}
}

// readTPM packs the state below dir into a tar: names are relative to dir ("tpm2/tpm2-00.permall"), owners and modes as
// they are.
func readTPM(dir string) (packed []byte, steady bool, err error) {
	steady, err = steadily(
		func() (stamp, error) { return tpmStamp(dir) },
		func() (err error) {
			packed, err = packTPM(dir)
			return err
		})
	return packed, steady, err
}

func tpmStamp(dir string) (all stamp, err error) {
	err = eachTPMFile(dir, func(path, _ string, _ fs.FileInfo) error {
		s, err := fileStamp(path)
		all.state += path + "\x00" + s.state + "\x00"
		if s.changed.After(all.changed) {
			all.changed = s.changed
		}
		return err
	})
	return all, err
}

func packTPM(dir string) ([]byte, error) {
	var packed bytes.Buffer
	files := 0
	w := tar.NewWriter(&packed)
	err := eachTPMFile(dir, func(path, name string, info fs.FileInfo) error {
		h, err := tar.FileInfoHeader(info, "")
		if err != nil {
			return err
		}
		if h.Name = name; info.IsDir() {
			h.Name += "/"
			return w.WriteHeader(h)
		}
		content, err := readLimited(path)
		if err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
		if packed.Len()+len(content) > machineFileLimit {
			return fmt.Errorf("%s holds more than %d MiB, which none does", dir, machineFileLimit>>20)
		}
		files++
		h.Size = int64(len(content))
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	})
	if err == nil && files == 0 {
		err = fmt.Errorf("%s: no state in it: %w", dir, fs.ErrNotExist)
	}
	if err == nil {
		err = w.Close()
	}
	return packed.Bytes(), err
}

// eachTPMFile calls f with all that is state below dir, in the order of the names. Locks, sockets and what swtpm has not
// finished writing are none.
func eachTPMFile(dir string, f func(path, name string, info fs.FileInfo) error) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		if !e.IsDir() && !isTPMState(e) {
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		return f(path, name, info)
	})
}

// isTPMState knows swtpm's files: it writes TMP…, then renames it.
func isTPMState(e fs.DirEntry) bool {
	name := e.Name()
	return e.Type().IsRegular() && !strings.HasPrefix(name, ".") && !strings.HasPrefix(name, "TMP") && !strings.HasSuffix(name, ".pid")
}
