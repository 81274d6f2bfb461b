package ingest

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := dir + "/archive"
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for want, change := range map[string]func(){
		"removed":               func() { must(os.Remove(path)) },
		"replaced":              func() { must(os.WriteFile(dir+"/other", []byte("four"), 0o600)); must(os.Rename(dir+"/other", path)) },
		"went from 4 to 5 byte": func() { must(os.WriteFile(path, []byte("fives"), 0o600)) },
		"written to": func() {
			must(os.WriteFile(path, []byte("4444"), 0o600))
			must(os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)))
		},
	} {
		must(os.WriteFile(path, []byte("four"), 0o600))
		f, err := OpenFile(path)
		must(err)
		must(f.Unchanged())
		change()
		if err := f.Unchanged(); !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		f.Close()
	}
	must(unix.Mkfifo(dir+"/pipe", 0o600))
	for name, want := range map[string]string{"absent": "it does not exist", "pipe": "it is no regular file", "": "it is no regular file"} {
		if _, err := OpenFile(dir + "/" + name); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
