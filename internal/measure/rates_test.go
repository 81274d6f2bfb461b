package measure

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"vaultfs/ingest"
)

func TestMeasureAllSteps(t *testing.T) {
	place, err := Look(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	img := t.TempDir() + "/image"
	if err := os.WriteFile(img, guest(t, 1)[:16<<20], 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Measure(t.Context(), &memory{disk: guest(t, 1)}, []string{img}, place)
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	for _, s := range r.Steps {
		steps = append(steps, s.Step)
		if s.One <= 0 || s.All <= 0 {
			t.Errorf("%+v", s)
		}
	}
	if want := []string{Read, Cut, Hash, Compress, Seal, Write, All, Decode}; !slices.Equal(steps, want) {
		t.Errorf("%v, want %v", steps, want)
	}
	if r.Sample < 8<<20 || r.Cached < 0 || r.Cached > 1 || r.Of(r.Limit) == nil {
		t.Errorf("%+v", r)
	}
	if left, err := os.ReadDir(place.Dir); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
}

func TestMeasureOfLittle(t *testing.T) {
	for _, c := range []struct {
		disk  []byte
		steps int
	}{{make([]byte, 1<<20), 0}, {append(make([]byte, 4096), 1), 7}} {
		r, err := Measure(t.Context(), &memory{disk: c.disk}, nil, nil)
		if err != nil || len(r.Steps) != c.steps || r.Of(Write) != nil {
			t.Errorf("%+v, %v", r, err)
		}
	}
	// What is called data, and is zeros alone.
	if r, err := Measure(t.Context(), &zeros{1 << 20}, nil, nil); err != nil || r.Of(Cut) == nil || r.Of(Hash) != nil {
		t.Errorf("%+v, %v", r, err)
	}
}

// zeros is a disk of so many bytes that says nothing of holes.
type zeros struct{ size int64 }

func (z *zeros) Size() int64 { return z.size }
func (z *zeros) Data(_ context.Context, off, n int64) ([]ingest.Run, error) {
	return []ingest.Run{{Off: off, Len: n}}, nil
}
func (z *zeros) ReadAt(_ context.Context, p []byte, _ int64) error {
	clear(p)
	return nil
}

func TestLimit(t *testing.T) {
	for want, steps := range map[string][]Rate{
		Compress: {{Read, 0, 500}, {Cut, 0, 5000}, {Hash, 0, 2000}, {Compress, 0, 600}, {Seal, 0, 9000}, {Write, 0, 900}},
		Read:     {{Read, 0, 100}, {Compress, 0, 600}, {Write, 0, 900}},
		Write:    {{Read, 0, 100}, {Compress, 0, 600}, {Write, 0, 90}},
	} {
		if got := (&Rates{Steps: steps}).limit(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// The pieces lie in the data, do not overlap, and come from all parts of it.
func TestSpread(t *testing.T) {
	img := NewGenerated(3<<30, 0, 0, 1)
	list, err := spread(t.Context(), img, img.Size())
	if err != nil || len(list) != pieces {
		t.Fatal(len(list), err)
	}
	end := int64(0)
	for i, p := range list {
		if p.bytes() != pieceSize || p[0].Off < end || p[0].Off > int64(i+1)*img.Size()/pieces {
			t.Errorf("piece %d: %+v", i, p)
		}
		end = p[len(p)-1].Off + p[len(p)-1].Len
	}
	disk := &memory{disk: guest(t, 1)}
	data, _ := ingest.DataBytes(t.Context(), disk)
	if list, err = spread(t.Context(), disk, data); err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for _, p := range list {
		total += p.bytes()
	}
	if total > data || total < data*9/10 {
		t.Errorf("%d of %d bytes", total, data)
	}
}

// A line cuts what it is given as a survey does, with and without reading ahead,
// and finds what comes again.
func TestLineCountsAsPlainCutting(t *testing.T) {
	disk, k := guest(t, 1)[:30<<20], newKeys()
	img := &memory{disk: disk}
	runs, _ := img.Data(t.Context(), 0, img.Size())
	var first *line
	for _, ahead := range []bool{false, true} {
		l := newLine(k, newTable(10000), nil)
		done := int64(0)
		if err := l.through(t.Context(), img, runs, ahead, func(n int64) { done += n }); err != nil {
			t.Fatal(err)
		}
		chunks := plainly(Own, l.cutter, disk)
		kept := distinct(chunks)
		if l.chunks != int64(len(chunks)) || l.bytes != sumOf(chunks) || l.newChunks != int64(len(kept)) || l.newBytes != sumOf(kept) {
			t.Errorf("ahead %v: %d chunks, %d new; want %d, %d", ahead, l.chunks, l.newChunks, len(chunks), len(kept))
		}
		if first != nil && first.stored != l.stored {
			t.Errorf("%d bytes stored, and %d", first.stored, l.stored)
		}
		first = l
		img.broken = 20 << 20
		if err := l.through(t.Context(), img, runs, ahead, func(int64) {}); err != errBroken {
			t.Errorf("ahead %v: %v", ahead, err)
		}
		img.broken = 0
	}
}

func TestEndurance(t *testing.T) {
	place, err := Look(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var moments []Moment
	e := &Endurance{Every: 20 * time.Millisecond, Place: place, Moment: func(m Moment) { moments = append(moments, m) }}
	img := NewGenerated(160<<20, 0.5, 0.5, 2)
	r, err := e.Run(t.Context(), img)
	if err != nil || !r.Complete || r.Done != img.Size() || r.Forgets {
		t.Fatalf("%+v, %v", r, err)
	}
	once := int64(0) // bytes of extents that repeat none
	for i := range uint64(img.Size() / extent) {
		if img.first(i) == i {
			once += extent
		}
	}
	if once == img.Size() || r.Bytes < once || r.Bytes > once+(img.Size()-once)/4 {
		t.Errorf("%d bytes of %d are new, want %d and the ends of the others", r.Bytes, r.Done, once)
	}
	if share := float64(r.Stored) / float64(r.Bytes); share < 0.55 || share > 0.8 {
		t.Errorf("stored as %.2f", share)
	}
	if len(moments) == 0 || len(moments) != len(r.Moments) || r.Most == 0 {
		t.Errorf("%d moments, %d bytes", len(moments), r.Most)
	}
	if left, err := os.ReadDir(place.Dir); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
	short := &Endurance{Every: time.Hour, For: 50 * time.Millisecond, Moment: func(Moment) {}}
	if r, err := short.Run(t.Context(), NewGenerated(1<<40, 0, 0, 1)); err != nil || r.Complete || r.Done == 0 {
		t.Errorf("%+v, %v", r, err)
	}
	broken := &Endurance{Every: time.Hour, Moment: func(Moment) {}}
	if _, err := broken.Run(t.Context(), &memory{disk: guest(t, 1), broken: 3 << 20}); err != errBroken {
		t.Error(err)
	}
}

func TestLookRefusesWhatCannotBeWrittenTo(t *testing.T) {
	if _, err := Look("/nowhere/at/all"); err == nil {
		t.Error("no error")
	}
	if now, most := Resident(); now <= 0 || most < now {
		t.Error(now, most)
	}
}
