package disk

import (
	"errors"
	"testing"

	"vaultfs/ingest"
)

// An image that is only looked at is opened under the rules of a backup, and is
// compared at the end.
func TestOpen(t *testing.T) {
	chdir(t)
	disk := make([]byte, 1<<20)
	noise(1, disk)
	write(t, "a.raw", disk)
	img, err := Open(t.Context(), "a.raw", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	p := make([]byte, 4096)
	if err := img.ReadAt(t.Context(), p, 8192); err != nil || string(p) != string(disk[8192:12288]) {
		t.Error(err)
	}
	data, err := ingest.DataBytes(t.Context(), img)
	if err != nil || data != 1<<20 || img.Size() != 1<<20 || img.Format() != "raw" || len(img.Files()) != 1 || img.Files()[0] != img.Path() {
		t.Error(data, err, img.Size(), img.Format(), img.Files())
	}
	if err := img.Unchanged(); err != nil {
		t.Error(err)
	}
	if err := poke("a.raw", 5000); err != nil {
		t.Fatal(err)
	}
	if err := img.Unchanged(); !errors.Is(err, ErrChanged) {
		t.Error(err)
	}
	if _, err := Open(t.Context(), Stream, Options{}); !errors.Is(err, ErrUsage) {
		t.Error(err)
	}
	if _, err := Open(t.Context(), "a.raw", Options{Format: "tape"}); !errors.Is(err, ErrUsage) {
		t.Error(err)
	}
}
