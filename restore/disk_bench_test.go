package restore_test

import (
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"vaultfs/ingest"
	"vaultfs/repo"
	"vaultfs/repo/store"
	"vaultfs/restore"
)

// guestLike is a disk of 256 MiB of which three quarters hold data, in runs as a
// guest's file system makes them, that compresses to less than half.
func guestLike() image {
	m := image{bytes: make([]byte, 256<<20)}
	rng := rand.New(rand.NewPCG(1, 2))
	words := make([]byte, 64<<10)
	rand.NewChaCha8([32]byte{9}).Read(words)
	for off := int64(0); off < m.Size(); {
		n := min(int64(1+rng.IntN(1024))*4096, m.Size()-off)
		m.runs = append(m.runs, ingest.Run{Off: off, Len: n})
		for at := off; at < off+n; at += 64 {
			from := rng.IntN(len(words) - 32)
			copy(m.bytes[at:at+32], words[from:from+32])
			m.bytes[at+32], m.bytes[at+33] = byte(at>>12), byte(rng.Uint32())
		}
		off += n + int64(rng.IntN(340))*4096
	}
	return m
}

// sealedDisk stores the disk in an encrypted repository on the local file system.
func sealedDisk(b *testing.B) (*repo.Repo, *repo.Snapshot) {
	b.Helper()
	st, err := store.Create(filepath.Join(b.TempDir(), "repo"))
	if err != nil {
		b.Fatal(err)
	}
	if err := repo.Init(b.Context(), st, repo.InitOptions{Password: []byte("x")}); err != nil {
		b.Fatal(err)
	}
	r, err := repo.Open(b.Context(), st, repo.OpenOptions{Password: []byte("x")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		r.Close()
		st.Close()
	})
	return r, commit(b, r, map[string]image{"vda": guestLike()})
}

// BenchmarkDisk restores a disk, packs in the page cache, to a file and to a
// stream. Bytes are those of its data.
func BenchmarkDisk(b *testing.B) {
	r, snap := sealedDisk(b)
	vda, path := *snap.Item("vda"), filepath.Join(b.TempDir(), "vda")
	run := func(name string, write func() (*restore.Written, error)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w, err := write()
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(w.Data)
			}
		})
	}
	for _, format := range []string{restore.Raw, restore.QCOW2} {
		run(format, func() (*restore.Written, error) {
			defer os.Remove(path)
			return restore.Item(b.Context(), r, snap, vda, path, restore.Options{Format: format})
		})
		run("stream-"+format, func() (*restore.Written, error) {
			return restore.StreamItem(b.Context(), r, snap, vda, io.Discard, restore.Options{Format: format})
		})
	}
}
