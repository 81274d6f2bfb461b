package ingest

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"vaultfs/repo"
)

var errBroken = errors.New("the guest has been destroyed")

// An image that fails, at any read, ends the copy with its error; the base and
// the session are as good as before.
func TestImageFails(t *testing.T) {
	r, before := newRepo(t), threeAndABit()
	base := full(t, r, before)
	writes := append(scattered(rand.New(rand.NewPCG(5, 5)), before.size, 40), write{off: 0, n: 34 << 20})
	img, dirty := before.with(writes...)
	s := session(t, r, base)
	disk := openBase(t, s)
	for _, at := range []int64{1, 2, 3, 7, 20} {
		var reads atomic.Int64
		img.before = func(int64) error {
			if reads.Add(1) >= at {
				return errBroken
			}
			return nil
		}
		if _, err := CopyChanged(t.Context(), s, img, these(dirty), disk, new(Progress)); !errors.Is(err, errBroken) {
			t.Errorf("read %d fails: %v", at, err)
		}
		if _, err := Audit(t.Context(), r, img, these(nil), disk, AuditOptions{Share: 1}, new(Progress)); !errors.Is(err, errBroken) {
			t.Errorf("audit: %v", err)
		}
	}
	img.before = nil
	got, err := CopyChanged(t.Context(), s, img, these(dirty), disk, new(Progress))
	if err != nil {
		t.Fatal(err)
	}
	if want := mustCopy(t, s, img); got.Root != want {
		t.Errorf("root %v, CopyDisk makes %v", got.Root, want)
	}
}

// failingRuns is an image that does not know where its data is.
type failingRuns struct{ *guestDisk }

func (failingRuns) Data(context.Context, int64, int64) ([]Run, error) { return nil, errBroken }

func TestRunsFail(t *testing.T) {
	r, before := newRepo(t), threeAndABit()
	s := session(t, r, full(t, r, before))
	base, img := openBase(t, s), failingRuns{before}
	all := these([]Run{{0, before.size}})
	broken := func(context.Context, int64, int64) ([]Run, error) { return nil, errBroken }
	negative := func(context.Context, int64, int64) ([]Run, error) { return []Run{{-5, 10}}, nil }
	for name, f := range map[string]func() error{
		"data":           func() error { _, err := CopyChanged(t.Context(), s, img, all, base, new(Progress)); return err },
		"bitmap":         func() error { _, err := CopyChanged(t.Context(), s, before, broken, base, new(Progress)); return err },
		"count, data":    func() error { _, err := ChangedBytes(t.Context(), img, all); return err },
		"count, bitmap":  func() error { _, err := ChangedBytes(t.Context(), before, broken); return err },
		"audit, data":    func() error { return auditErr(t, r, img, all, base, AuditOptions{Share: 0.1}) },
		"audit, bitmap":  func() error { return auditErr(t, r, before, broken, base, AuditOptions{Share: 0.1}) },
		"budget, data":   func() error { return auditErr(t, r, img, all, base, AuditOptions{Budget: 1 << 20}) },
		"budget, bitmap": func() error { return auditErr(t, r, before, broken, base, AuditOptions{Budget: 1 << 20}) },
	} {
		if err := f(); !errors.Is(err, errBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := CopyChanged(t.Context(), s, before, negative, base, new(Progress)); err == nil || !strings.Contains(err.Error(), "10 bytes at -5") {
		t.Errorf("a bitmap of nonsense: %v", err)
	}
	if n, err := ChangedBytes(t.Context(), img, these(nil)); n != 0 || err != nil {
		t.Errorf("nothing is dirty, and yet the data is asked for: %v", err)
	}
}

func auditErr(t *testing.T, r *repo.Repo, img Image, dirty RunsFunc, base *repo.Disk, o AuditOptions) error {
	_, err := Audit(t.Context(), r, img, dirty, base, o, new(Progress))
	return err
}

func TestCopyChangedIsCancelled(t *testing.T) {
	r, before := newRepo(t), threeAndABit()
	s := session(t, r, full(t, r, before))
	img, dirty := before.with(write{off: 0, n: 20 << 20}, write{off: 130 << 20, n: 8 << 20})
	ctx, cancel := context.WithCancel(t.Context())
	var reads atomic.Int64
	img.before = func(int64) error {
		if reads.Add(1) == 4 {
			cancel()
		}
		return nil
	}
	if _, err := CopyChanged(ctx, s, img, these(dirty), openBase(t, s), new(Progress)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n := reads.Load(); n > 12 {
		t.Errorf("%d reads, and the 4th was the last that was wanted", n)
	}
	if _, err := Audit(ctx, r, img, these(dirty), openBase(t, s), AuditOptions{Share: 1}, new(Progress)); !errors.Is(err, context.Canceled) {
		t.Errorf("audit: %v", err)
	}
}

func TestOtherSize(t *testing.T) {
	r, before := newRepo(t), threeAndABit()
	s := session(t, r, full(t, r, before))
	for _, size := range []int64{0, before.size - 512, before.size + 512} {
		img := newDisk(size)
		for _, err := range []error{
			func() error {
				_, err := CopyChanged(t.Context(), s, img, these(nil), openBase(t, s), new(Progress))
				return err
			}(),
			auditErr(t, r, img, these(nil), openBase(t, s), AuditOptions{Share: 1}),
		} {
			if err == nil || !strings.Contains(err.Error(), "in the snapshot that it is compared with") {
				t.Errorf("%d bytes: %v", size, err)
			}
		}
	}
}

func TestEmptyDisk(t *testing.T) {
	r, img := newRepo(t), newDisk(0)
	s := session(t, r, full(t, r, img))
	got, err := CopyChanged(t.Context(), s, img, these(nil), openBase(t, s), new(Progress))
	if err != nil || got.Root != mustCopy(t, s, img) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, o := range []AuditOptions{{Share: 1}, {Budget: 1 << 20}} {
		if err := auditErr(t, r, img, these(nil), openBase(t, s), o); err != nil {
			t.Error(err)
		}
	}
}

// A bitmap in no order, with overlaps, and beyond what was asked for.
func TestUntidyBitmap(t *testing.T) {
	r, before := newRepo(t), threeAndABit()
	s := session(t, r, full(t, r, before))
	img, tidied := before.with(scattered(rand.New(rand.NewPCG(6, 6)), before.size, 50)...)
	rng := rand.New(rand.NewPCG(7, 7))
	untidy := func(_ context.Context, off, n int64) (runs []Run, err error) {
		for _, r := range tidied {
			runs = append(runs, r, Run{r.Off + r.Len/2, r.Len - r.Len/2}, Run{r.Off, 0})
		}
		runs = append(runs, Run{before.size, 1 << 40}, Run{before.size - 100, 5000})
		rng.Shuffle(len(runs), func(i, k int) { runs[i], runs[k] = runs[k], runs[i] })
		return runs, nil
	}
	got, err := CopyChanged(t.Context(), s, img, untidy, openBase(t, s), new(Progress))
	if err != nil {
		t.Fatal(err)
	}
	want, err := tidy(append(slices.Clone(tidied), Run{before.size - 100, 100}), 0, before.size)
	if err != nil || got.Dirty != length(want) {
		t.Errorf("%d bytes are dirty, want %d (%v)", got.Dirty, length(want), err)
	}
	if root := mustCopy(t, s, img); got.Root != root {
		t.Errorf("root %v, CopyDisk makes %v", got.Root, root)
	}
}
