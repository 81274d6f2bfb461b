package ingest

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
	"vaultfs/chunk"
)

// drawRuns draws runs in [-2, 40), in no order.
func drawRuns(t *rapid.T, label string) (runs []Run) {
	for _, x := range rapid.SliceOfN(rapid.IntRange(0, 30*10), 0, 12).Draw(t, label) {
		runs = append(runs, Run{int64(x / 10), int64(x % 10)})
	}
	return runs
}

// members are the numbers below 50 that lie in runs.
func members(runs []Run) (in [50]bool) {
	for _, r := range runs {
		for i := r.Off; i < r.Off+r.Len; i++ {
			in[i] = true
		}
	}
	return in
}

// mustBeTidy demands sorted runs without overlap, of at least a byte each.
func mustBeTidy(t *rapid.T, runs []Run) {
	t.Helper()
	for i, r := range runs {
		if r.Len <= 0 || i > 0 && r.Off < runs[i-1].Off+runs[i-1].Len {
			t.Fatalf("not tidy: %v", runs)
		}
	}
}

// TestRuns: the sets are those that one gets by looking at each byte.
func TestRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rawA, off, n := drawRuns(t, "a"), int64(rapid.IntRange(0, 20).Draw(t, "off")), int64(rapid.IntRange(0, 29).Draw(t, "n"))
		a, err := tidy(slices.Clone(rawA), 0, 50)
		if err != nil {
			t.Fatal(err)
		}
		b, err := tidy(drawRuns(t, "b"), 0, 50)
		if err != nil {
			t.Fatal(err)
		}
		clipped, err := tidy(rawA, off, n)
		if err != nil {
			t.Fatal(err)
		}
		part, common, rest, left := within(a, off, n), both(a, b), without(a, b), drop(a, off)
		if !slices.Equal(part, clipped) {
			t.Errorf("within: %v, tidy: %v", part, clipped)
		}
		inA, inB, inPart, inBoth, inRest := members(a), members(b), members(part), members(common), members(rest)
		for _, runs := range [][]Run{a, part, common, rest} {
			mustBeTidy(t, runs)
		}
		count := int64(0)
		for i := range inA {
			inside := int64(i) >= off && int64(i) < off+n
			if inPart[i] != (inA[i] && inside) || inBoth[i] != (inA[i] && inB[i]) || inRest[i] != (inA[i] && !inB[i]) {
				t.Fatalf("a %v, b %v: within [%d, +%d) %v, both %v, without %v", a, b, off, n, part, common, rest)
			}
			if inA[i] {
				count++
			}
		}
		if length(a) != count {
			t.Errorf("%v has %d bytes", a, length(a))
		}
		if len(left) > 0 && left[0].Off+left[0].Len <= off || len(left) < len(a) && a[len(a)-len(left)-1].Off+a[len(a)-len(left)-1].Len > off {
			t.Errorf("drop(%v, %d) is %v", a, off, left)
		}
	})
}

func TestTidyOfNonsense(t *testing.T) {
	for _, r := range []Run{{-1, 10}, {10, -1}, {math.MaxInt64, 1}, {1, math.MaxInt64}, {math.MinInt64, math.MinInt64}} {
		if got, err := tidy([]Run{{0, 1}, r}, 0, 100); err == nil {
			t.Errorf("%v is taken for a run: %v", r, got)
		}
	}
	got, err := tidy([]Run{{90, 1000}, {0, 5}, {3, 4}, {7, 1}, {50, 0}, {200, 5}, {math.MaxInt64, 0}}, 2, 98)
	if want := []Run{{2, 6}, {90, 10}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestWholeGrains(t *testing.T) {
	const g, start = chunk.Grain, 100 * chunk.Grain
	for _, c := range []struct{ runs, want []Run }{
		{[]Run{{start, 1}}, []Run{{0, g}}},
		{[]Run{{start + g - 1, 2}}, []Run{{0, 2 * g}}},
		{[]Run{{start + 10, 10}, {start + 30, 10}, {start + g, 1}, {start + 3*g + 5, g}}, []Run{{0, 2 * g}, {3 * g, 2 * g}}},
		{[]Run{{start + 9*g + 5, 95}}, []Run{{9 * g, g}}},
		{nil, nil},
	} {
		if got := wholeGrains(c.runs, start, 9*g+100); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", c.runs, got, c.want)
		}
	}
}
