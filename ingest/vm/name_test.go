package vm

import (
	"errors"
	"testing"

	"vaultfs/internal/testguest"
)

func TestSourceName(t *testing.T) {
	for _, c := range []struct {
		asked, vm string
		want      string // the name, or
		refusal   string // words of the error
	}{
		{"", "web", "web", ""},
		{"web 2 (ä)", "web", "web 2 (ä)", ""},
		{"web", "web@home", "web", ""},
		{"", "web@home", "", "give another with --name"},
		{"", "tab\there", "", "give another with --name"},
		{"a@b", "web", "", "holds an @"},
		{"a\nb", "web", "", "cannot be printed"},
		{"a\x1b[2J", "web", "", "cannot be printed"},
		{"a\xff", "web", "", "cannot be printed"},
		{" ", "web", "", "is empty"},
	} {
		o := Options{Name: c.asked}
		got, err := o.sourceName(c.vm)
		if got != c.want || (err == nil) != (c.refusal == "") {
			t.Errorf("--name %q of %q: %q, %v", c.asked, c.vm, got, err)
		}
		if err != nil {
			wantError(t, err, c.refusal)
			if !errors.Is(err, ErrUsage) {
				t.Errorf("%v is no wrong usage", err)
			}
		}
	}
}

func TestBadNameIsRefusedBeforeAnythingIsDone(t *testing.T) {
	t.Parallel()
	g := testguest.Define(t, testguest.Spec{NoAgent: true, Disks: []testguest.Disk{{Format: "raw", Bus: "virtio", Size: "1M"}}})
	r := newRepo(t)
	_, err := Ingest(t.Context(), r, g.Name, Options{Connect: uri, Name: "a@latest"})
	wantError(t, err, "a@latest", "holds an @")
	wantNoSnapshots(t, r)
}
