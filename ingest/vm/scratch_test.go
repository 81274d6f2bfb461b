package vm

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"vaultfs/internal/testguest"
)

// The command line runs under umask 077, and QEMU is another user.
func TestScratchIsPassableWhateverTheUmask(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	top := filepath.Join(t.TempDir(), "lib")
	if err := makePassable(filepath.Join(top, "scratch")); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{top, filepath.Join(top, "scratch")} {
		st, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != 0o711 {
			t.Errorf("%s has mode %v", filepath.Base(dir), st.Mode())
		}
	}
}

// qemuUser is a user that QEMU may run as, and stranger is none of those whose directory is taken.
const (
	qemuUser = 64055
	stranger = 65534
)

// directories are the ways to take a directory that QEMU writes to, and what they name it.
var directories = map[string]func(parent string, l label) (*scratch, error){
	"": func(parent string, l label) (*scratch, error) { return makeScratch(parent, "u", l) },
	overlaysSuffix: func(parent string, l label) (*scratch, error) {
		o, err := makeOverlayDir(parent, "u", l)
		if err != nil {
			return nil, err
		}
		return o.scratch, nil
	},
}

// A directory that was there before is shut to everybody but QEMU.
func TestDirectoryMadeBeforehand(t *testing.T) {
	l := label{owner: fmt.Sprintf("+%d:+%d", qemuUser, qemuUser)}
	for suffix, take := range directories {
		for _, owner := range []int{0, qemuUser} {
			dir := filepath.Join(testguest.Dir(t), dirPrefix+"u"+suffix)
			madeBeforehand(t, dir, owner)
			s, err := take(filepath.Dir(dir), l)
			if err != nil {
				t.Fatal(err)
			}
			st, err := os.Stat(dir)
			if err != nil {
				t.Fatal(err)
			}
			if sys := st.Sys().(*syscall.Stat_t); sys.Uid != qemuUser || sys.Gid != qemuUser || st.Mode().Perm() != 0o700 {
				t.Errorf("%s of user %d: user %d, group %d, mode %v", dir, owner, sys.Uid, sys.Gid, st.Mode())
			}
			if err := s.remove(); err != nil {
				t.Error(err)
			}
		}
	}
}

// A stranger's directory is refused, and left as it is.
func TestDirectoryOfAStranger(t *testing.T) {
	for suffix, take := range directories {
		for _, l := range []label{{}, {owner: fmt.Sprintf("+%d:+%d", qemuUser, qemuUser)}} {
			dir := filepath.Join(testguest.Dir(t), dirPrefix+"u"+suffix)
			madeBeforehand(t, dir, stranger)
			_, err := take(filepath.Dir(dir), l)
			wantError(t, err, dir, "made by somebody else (user 65534)", "--scratch-dir")
			if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o777 || st.Sys().(*syscall.Stat_t).Uid != stranger {
				t.Errorf("%s was touched: %v, %v", dir, st, err)
			}
		}
	}
}

func madeBeforehand(t *testing.T, dir string, owner int) {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, owner, owner); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
}

func TestOverlaysWhereEverybodyMayReplaceThem(t *testing.T) {
	parent := testguest.Dir(t)
	if err := os.Chmod(parent, 0o777); err != nil {
		t.Fatal(err)
	}
	_, err := makeOverlayDir(parent, "u", label{})
	wantError(t, err, parent, "everybody replace", "--scratch-dir")
	wantEmpty(t, parent)
	if err := os.Chmod(parent, 0o777|fs.ModeSticky); err != nil {
		t.Fatal(err)
	}
	o, err := makeOverlayDir(parent, "u", label{})
	if err != nil {
		t.Fatal(err)
	}
	o.giveUp()
	wantEmpty(t, parent)
}

func TestKeepFree(t *testing.T) {
	for size, want := range map[int64]int64{
		4 << 20: leastFree, 10 << 30: leastFree, 50 << 30: 1 << 30, 1 << 40: mostFree,
	} {
		if got := keepFree(size); got != want {
			t.Errorf("of %d bytes %d are kept free, want %d", size, got, want)
		}
	}
}
