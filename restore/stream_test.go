package restore_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vaultfs/repo"
	"vaultfs/restore"
)

func TestStreamIsTheWholeItem(t *testing.T) {
	dir := t.TempDir()
	r := newRepo(t, filepath.Join(dir, "repo"))
	snap := commit(t, r, map[string]image{"vda": disk})
	vda := *snap.Item("vda")
	var p restore.Progress
	var b bytes.Buffer
	w, err := restore.StreamItem(t.Context(), r, snap, vda, &b, restore.Options{Progress: &p})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), disk.bytes) {
		t.Errorf("%d bytes are others than the disk's %d", b.Len(), len(disk.bytes))
	}
	if w.Format != restore.Raw || w.Size != disk.Size() || p.Done.Load() <= p.Total.Load()-4096 || p.Total.Load() != w.Data {
		t.Errorf("%+v, progress %d of %d", w, p.Done.Load(), p.Total.Load())
	}
	b.Reset()
	if _, err := restore.StreamItem(t.Context(), r, snap, vda, &b, restore.Options{Format: restore.QCOW2}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "vda.qcow2")
	if _, err := restore.Item(t.Context(), r, snap, vda, file, restore.Options{}); err != nil {
		t.Fatal(err)
	}
	if want, err := os.ReadFile(file); err != nil || !bytes.Equal(b.Bytes(), want) {
		t.Errorf("the stream of a qcow2 is another than the file (%v)", err)
	}
	b.Reset()
	if _, err := restore.StreamItem(t.Context(), r, snap, *snap.Item("domain.xml"), &b, restore.Options{}); err != nil || b.String() != "<domain/>" {
		t.Errorf("%q, %v", b.String(), err)
	}
}

// full is a writer that takes so many bytes.
type full struct{ left int }

var errFull = errors.New("broken pipe")

func (f *full) Write(p []byte) (int, error) {
	n := min(len(p), f.left)
	f.left -= n
	if n < len(p) {
		return n, errFull
	}
	return n, nil
}

func TestStreamSaysWhatWasWritten(t *testing.T) {
	r := newRepo(t, filepath.Join(t.TempDir(), "repo"))
	snap := commit(t, r, map[string]image{"vda": disk})
	_, err := restore.StreamItem(t.Context(), r, snap, *snap.Item("vda"), &full{5 << 20}, restore.Options{})
	const want = "writing vda: broken pipe; what was written is incomplete: 5242880 of 104858112 bytes of vda"
	if !errors.Is(err, errFull) || err.Error() != want {
		t.Errorf("%v; want %s", err, want)
	}
}

// stopping ends the context after so many bytes.
type stopping struct {
	full
	stop context.CancelFunc
}

func (s *stopping) Write(p []byte) (int, error) {
	n, err := s.full.Write(p)
	if err != nil {
		s.stop()
		return len(p), nil
	}
	return n, err
}

func TestStreamEndsWithItsContext(t *testing.T) {
	r := newRepo(t, filepath.Join(t.TempDir(), "repo"))
	snap := commit(t, r, map[string]image{"vda": disk})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	if _, err := restore.StreamItem(ctx, r, snap, *snap.Item("vda"), &stopping{full{10 << 20}, stop}, restore.Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Damage is told of only after all that is before it has been written.
func TestStreamOfDamagedDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "repo")
	r := newRepo(t, dir)
	snap := commit(t, r, map[string]image{"vda": disk})
	damageData(t, dir)
	var b bytes.Buffer
	_, err := restore.StreamItem(t.Context(), r, snap, *snap.Item("vda"), &b, restore.Options{})
	if !errors.Is(err, repo.ErrDamaged) || !strings.Contains(err.Error(), "reading vda at ") {
		t.Errorf("%v", err)
	}
	if !bytes.HasPrefix(disk.bytes, b.Bytes()) {
		t.Error("other bytes were written than the disk's")
	}
}

// damageData flips a bit in the middle of each large pack of a repository.
func damageData(t *testing.T, dir string) {
	t.Helper()
	packs, err := filepath.Glob(dir + "/packs/*/*")
	if err != nil || len(packs) == 0 {
		t.Fatal(packs, err)
	}
	for _, p := range packs {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 1<<20 { // the data, not the maps
			b[len(b)/2] ^= 1
		}
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
