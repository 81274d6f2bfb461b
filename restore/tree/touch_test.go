package tree

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"vaultfs/repo"
)

// Some file systems in user space set a time of modification only together with
// one of access.
func TestTouchSetsBothTimes(t *testing.T) {
	name := t.TempDir() + "/file"
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	long := time.Unix(1, 0)
	if err := os.Chtimes(name, long, long); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := (node{fd, true}).touch(repo.Timestamp{Sec: -5, Nsec: 7}); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		t.Fatal(err)
	}
	if st.Mtim.Sec != -5 || st.Mtim.Nsec != 7 || st.Atim.Sec <= long.Unix() {
		t.Errorf("modified %v, read %v", st.Mtim, st.Atim)
	}
}
