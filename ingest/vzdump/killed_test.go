package vzdump

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"vaultfs/repo"
)

// TestKilled kills an ingest in the middle of an archive. Nothing is committed or
// left behind, and the next attempt finds what had been stored.
func TestKilled(t *testing.T) {
	dir := makeRepo(t)
	m := &made{configs: guestConfig(firstGuest), drives: []madeDrive{sparse("drive-scsi0", 80<<20, 2), sparse("drive-scsi1", 4<<20, 1)}}
	archive := m.bytes(t)
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), childRepo+"="+dir)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	// The pipe takes this when the child has read nearly all of it, and so the
	// whole first segment, which it then stores.
	if _, err := in.Write(archive[:len(archive)-1<<20]); err != nil {
		t.Fatal(err)
	}
	packs := func() int {
		found, err := filepath.Glob(dir + "/packs/*/*")
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	for deadline := time.Now().Add(time.Minute); packs() == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing is stored")
		}
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	r := openRepo(t, dir)
	if all, err := r.Snapshots(t.Context()); err != nil || len(all) > 0 {
		t.Fatalf("%d snapshots, %v", len(all), err)
	}
	o := options(t)
	o.Name = "child"
	s := ingestOne(t, r, write(t, filepath.Join(t.TempDir(), "x.vma"), archive), o)
	same(t, r, s, m)
	result, err := r.Verify(t.Context(), repo.VerifyOptions{ReadData: true})
	if err != nil || len(result.Findings) > 0 {
		t.Errorf("%+v, %v", result, err)
	}
}
