package vm

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"vaultfs/repo"
	"vaultfs/restore"
)

// tpmLimit bounds the packed state of a TPM, in bytes. Real ones have about 10 KiB.
const tpmLimit = 64 << 20

// tpmUser is who swtpm runs as, if libvirt's qemu.conf does not say otherwise. Libvirt gives the state to the right one
// whenever it starts the guest.
const tpmUser = "tss"

// tpmState is the state of an emulated TPM, and the directory that it goes to.
type tpmState struct {
	item  repo.Item
	dir   string
	files []tpmFile // directories before what is in them
}

// tpmFile is a file or a directory of the state.
type tpmFile struct {
	name    string // "tpm2/tpm2-00.permall"
	mode    fs.FileMode
	content []byte
}

// planTPM reads the state of the TPM, which is small, and finds its place.
func (p *plan) planTPM(ctx context.Context) error {
	emulated := false
	for _, tpm := range devices(p.domain, "tpm") {
		backend := tpm.SelectElement("backend").NotNil()
		if backend.SelectAttrValue("type", "") != "emulator" {
			p.note("its TPM is not an emulated one: its state is not in the snapshot")
			continue
		}
		emulated = true
		if secret := attr(backend, "encryption", "secret"); secret != "" {
			p.checkSecret(secret)
		}
	}
	it := p.snap.Item(tpmItem)
	switch {
	case !emulated && it == nil:
		return nil
	case !emulated:
		p.warn("%s is in the snapshot, but the definition has no emulated TPM: if it is needed, restore it with --to DEST", tpmItem)
		return nil
	}
	dir := filepath.Join(p.places.tpm, p.uuid)
	if _, err := os.Lstat(dir); err == nil {
		return fmt.Errorf("%s, where its TPM's state belongs, exists and is not touched, though no VM has that UUID: move it away", dir)
	}
	if it == nil {
		p.warn("the snapshot holds no TPM state: the VM starts with a fresh TPM, and what it had sealed in the old one is lost to it")
		return nil
	}
	packed, err := readItem(ctx, p.repo, *it, tpmLimit)
	if err != nil {
		return err
	}
	files, err := unpackTPM(packed)
	if err != nil {
		return fmt.Errorf("%s of snapshot %s: %w", tpmItem, p.snap.Short(), err)
	}
	p.tpm = &tpmState{*it, dir, files}
	return nil
}

// checkSecret warns of an encrypted state whose secret libvirt does not have here.
func (p *plan) checkSecret(uuid string) {
	s, err := p.host.Conn.LookupSecretByUUIDString(uuid)
	if err != nil {
		p.warn("its TPM's state is encrypted with the secret %s, which this libvirt does not have: define it and set its value before the VM is started (virsh secret-define, secret-set-value)", uuid)
		return
	}
	s.Free()
}

// unpackTPM reads the archive that an ingest makes. A name that leads out of the directory is refused.
func unpackTPM(packed []byte) (files []tpmFile, err error) {
	const most = 100 // entries; real ones have four
	for r := tar.NewReader(bytes.NewReader(packed)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return files, nil
		}
		if err != nil {
			return nil, fmt.Errorf("not a tar: %w", err)
		}
		f := tpmFile{name: filepath.Clean(h.Name), mode: h.FileInfo().Mode().Perm()}
		switch {
		case len(files) == most:
			return nil, fmt.Errorf("it has more than %d entries", most)
		case !filepath.IsLocal(f.name):
			return nil, fmt.Errorf("the name %q leads out of it", h.Name)
		case h.Typeflag == tar.TypeDir:
			f.mode |= fs.ModeDir
		case h.Typeflag != tar.TypeReg:
			return nil, fmt.Errorf("%q is neither a file nor a directory", h.Name)
		default:
			if f.content, err = io.ReadAll(r); err != nil {
				return nil, fmt.Errorf("%q: %w", h.Name, err)
			}
		}
		files = append(files, f)
	}
}

// write makes the directory: under a temporary name beside it, then renamed.
func (s *tpmState) write() (w *restore.Written, err error) {
	temp, err := os.MkdirTemp(filepath.Dir(s.dir), ".vaultfs-restore-*")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(temp)
			err = fmt.Errorf("restoring the TPM's state to %s: %w", s.dir, err)
		}
	}()
	var size int64
	for _, f := range s.files {
		if err := f.write(temp); err != nil {
			return nil, err
		}
		size += int64(len(f.content))
	}
	if err := os.Chmod(temp, 0o711); err != nil { // swtpm passes it
		return nil, err
	}
	if err := unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, s.dir, unix.RENAME_NOREPLACE); err != nil {
		return nil, err
	}
	if err := restore.SyncDir(filepath.Dir(s.dir)); err != nil {
		os.RemoveAll(s.dir)
		return nil, err
	}
	return &restore.Written{Item: s.item.Name, Path: s.dir, Size: size, Data: size}, nil
}

func (f *tpmFile) write(root string) error {
	path := filepath.Join(root, f.name)
	if f.mode.IsDir() {
		if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	} else if err := writeSynced(path, f.content); err != nil {
		return err
	}
	if err := os.Chmod(path, f.mode.Perm()); err != nil {
		return err
	}
	return giveToTPM(path)
}

func writeSynced(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// giveToTPM gives a file to swtpm's user, if we may and there is one.
func giveToTPM(path string) error {
	u, err := user.Lookup(tpmUser)
	if err != nil || os.Geteuid() != 0 {
		return nil
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil
	}
	return os.Lchown(path, uid, gid)
}
