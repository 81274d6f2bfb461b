package report

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   spread
	}{
		{nil, spread{}},
		{[]float64{3}, spread{1, 3, 3, 3}},
		{[]float64{3, 1}, spread{2, 2, 1, 3}},
		{[]float64{5, 1, 2}, spread{3, 2, 1, 5}},
		{[]float64{4, 1, 3, 2}, spread{4, 2.5, 1, 4}},
	} {
		if got := spreadOf(slices.Clone(c.values)); got != c.want {
			t.Errorf("%v: %v, want %v", c.values, got, c.want)
		}
	}
}

func TestCells(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{secondsCell(spread{1, 0.0312, 0.0312, 0.0312}), "0.031 s"},
		{secondsCell(spread{3, 4.04, 3.96, 12.3}), "4.0 s (4.0–12.3)"},
		{secondsCell(spread{1, 123.4, 123.4, 123.4}), "123 s"},
		{megaCell(spread{1, 1.25e6, 1.25e6, 1.25e6}), "1.2"},
		{megaCell(spread{1, -3e6, -3e6, -3e6}), "-3.0"},
		{rateCell(spread{2, 1234e6, 999e6, 1469e6}), "1,234 MB/s (999–1,469)"},
		{count(1234567), "1,234,567"},
		{count(-123456), "-123,456"},
		{count(999), "999"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

// example has every row twice, with figures that tell them apart, and one
// program without some of them.
func example() *Results {
	r := &Results{
		Began: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Took: 900, Rounds: 2, Slow: 2,
		Machine: Machine{CPU: "Example CPU", Cores: 2, Memory: 16e9, Kernel: "6.1", System: "Debian", Disk: "ext4 on /dev/vda"},
		Tools:   []Tool{{OwnNoVerify, "1"}, {Own, "1"}, {Restic, "0.14.0"}},
		Data:    []Item{{"guest", "given: a.qcow2", 2_500_000_000}},
		Checks:  []string{"the guest's disk, restored by restic (cmp)"},
		Remarks: []string{"kopia is not installed, and was not measured"},
	}
	for round := 1; round <= 2; round++ {
		more := float64(round - 1)
		r.Add(Sample{Row: First, Tool: OwnNoVerify, Round: round, Wall: 4 + more, CPU: 7, Peak: 180e6, Bytes: 2.5e9, Stored: 800e6, Grown: 800e6})
		r.Add(Sample{Row: First, Tool: Own, Round: round, Wall: 6 + more, CPU: 8, Peak: 190e6, Bytes: 2.5e9, Stored: 800e6, Grown: 800e6})
		r.Add(Sample{Row: First, Tool: Restic, Round: round, Wall: 20 + more, CPU: 30, Peak: 100e6, Bytes: 2.5e9, Stored: 900e6, Grown: 900e6})
		r.Add(Sample{Row: Other, Tool: OwnNoVerify, Round: round, Wall: 1, Bytes: 1e9, Stored: 900e6, Grown: 100e6})
		r.Add(Sample{Row: Other, Tool: Restic, Round: round, Wall: 3, Bytes: 1e9, Stored: 1000e6, Grown: 100e6})
		r.Add(Sample{Row: Sequential, Tool: Own, Round: round, Wall: 1, Peak: 90e6, Bytes: 650e6})
		r.Add(Sample{Row: Sequential, Tool: Restic, Round: round, Wall: 5, Peak: 120e6, Bytes: 650e6})
		r.Add(Sample{Row: RandomReads, Tool: Own, Round: round, Wall: 2, Count: 12000})
		r.Add(Sample{Row: RandomReads, Tool: Restic, Round: round, Wall: 4, Count: 1000})
		r.Add(Sample{Row: Boot, Tool: Local, Round: round, Wall: 20})
		r.Add(Sample{Row: Boot, Tool: Own, Round: round, Wall: 22})
		r.Add(Sample{Row: Bitmap, Tool: Dirty1, Round: round, Wall: 0.1, Bytes: 1e8})
		r.Add(Sample{Row: Bitmap, Tool: FullRead, Round: round, Wall: 1.9, Bytes: 1e10})
	}
	return r
}

func TestMarkdown(t *testing.T) {
	var page bytes.Buffer
	if err := example().Markdown(&page); err != nil {
		t.Fatal(err)
	}
	golden(t, "example.md", page.Bytes())
}

func TestCharts(t *testing.T) {
	charts := example().Charts()
	for _, name := range Plots {
		if _, ok := charts[name]; !ok {
			t.Errorf("no chart %s", name)
		}
	}
	if len(charts) != len(Plots) {
		t.Errorf("%d charts, %d are shown", len(charts), len(Plots))
	}
	golden(t, "read.svg", charts["read.svg"].SVG())
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; it is now\n%s", path, got)
	}
}

func TestGoals(t *testing.T) {
	r := example()
	for _, c := range []struct {
		row, than  string
		ratio, met string
	}{
		{First, Restic, "4.56", "yes"},        // medians 4.5 and 20.5
		{Other, Restic, "0.90", "yes"},        // of the bytes
		{Sequential, Restic, "5.00", "yes"},   // rates
		{Sequential, "", "", "**no**"},        // below 700 MB/s
		{RandomReads, Restic, "24.00", "yes"}, // 6000 and 250
		{Boot, Local, "1.10", "yes"},          // from above
		{Bitmap, FullRead, "19.00", "**no**"}, // 20 are wanted
		{First, Kopia, "", "not measured"},    // nothing beside it
		{Restore, Restic, "", "not measured"}, // nothing at all
		{LargeFirst, Own, "", "not measured"}, // another row beside it
	} {
		found := false
		for _, g := range goals {
			if g.row == c.row && g.than == c.than {
				found = true
				if got := r.reach(g); got.ratio != c.ratio || got.met != c.met {
					t.Errorf("%s beside %q: %+v, want %s, %s", c.row, c.than, got, c.ratio, c.met)
				}
				break
			}
		}
		if !found {
			t.Errorf("no goal for %s beside %q", c.row, c.than)
		}
	}
}

func TestEveryRowHasATitleAndATable(t *testing.T) {
	rows := []string{First, Next, Third, Other, Again, LargeFirst, LargeAgain, Bitmap, Sequential, SecondRead, RandomReads,
		Boot, Restore, TreeFirst, TreeAgain, DumpFirst, DumpNext, Unlock}
	for _, row := range rows {
		if titles[row] == "" {
			t.Errorf("row %s has no title", row)
		}
		if !slices.ContainsFunc(sections, func(s section) bool { return slices.Contains(s.rows, row) }) {
			t.Errorf("row %s is in no table", row)
		}
	}
	for _, g := range goals {
		if !slices.Contains(rows, g.row) {
			t.Errorf("a goal is for row %s, which is none", g.row)
		}
	}
}

func TestSaveAndLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.json")
	var before, after bytes.Buffer
	r := example()
	if err := r.Save(path); err != nil {
		t.Fatal(err)
	}
	loaded, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	r.Markdown(&before)
	loaded.Markdown(&after)
	if before.String() != after.String() {
		t.Errorf("loaded results are told as\n%s", after.String())
	}
	if err := os.WriteFile(path, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a broken file: %v", err)
	}
}
