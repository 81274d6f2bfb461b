package seal

import "testing"

func TestPadmeKnownLengths(t *testing.T) {
	for n, want := range map[int]int{
		0: 0, 1: 1, 2: 2, 3: 3, 8: 8, 9: 10, 100: 104, 1000: 1024, 1025: 1088,
		4096: 4096, 4097: 4352, 1_000_000: 1_015_808, 1<<30 + 1: 1<<30 + 1<<25,
	} {
		if got := Padme(n); got != want {
			t.Errorf("Padme(%d) = %d, want %d", n, got, want)
		}
	}
}

func TestPadmeBounds(t *testing.T) {
	last, distinct := 0, 0
	for n := range 1 << 20 {
		p := Padme(n)
		if p < n || p < last || Padme(p) != p || float64(p) > 1.12*float64(n) {
			t.Fatalf("Padme(%d) = %d after %d", n, p, last)
		}
		if p != last {
			distinct++
		}
		last = p
	}
	if distinct > 400 {
		t.Fatalf("%d distinct lengths up to 1 MiB", distinct)
	}
}
