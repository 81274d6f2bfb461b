package seal

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestLabel(t *testing.T) {
	s := fixedSecrets(t)
	for _, label := range []string{"", "root@host", "Büro", strings.Repeat("x", MaxLabel)} {
		for _, at := range []time.Time{testTime, time.Unix(0, 0).UTC(), time.Unix(-1, 0).UTC()} {
			b, _, err := NewPlainSlot(s, label, at)
			if err != nil {
				t.Fatal(err)
			}
			sl := parse(t, b)
			got, created, err := sl.Label(s)
			if err != nil || got != label || !created.Equal(at) {
				t.Errorf("label %q at %v: got %q at %v, %v", label, at, got, created, err)
			}
			if len(sl.body.Label) != sealedLabel {
				t.Errorf("label of %d bytes is sealed in %d", len(label), len(sl.body.Label))
			}
		}
	}
}

func TestLabelNeedsTheRepositorysSecrets(t *testing.T) {
	sl := parse(t, fixedSlot(t))
	other := fixedSecrets(t)
	other.StructureKey[0] ^= 1
	if _, _, err := sl.Label(other); !errors.Is(err, ErrAuth) {
		t.Fatalf("%v, want ErrAuth", err)
	}
	moved := *sl
	moved.body.ID[0] ^= 1
	if _, _, err := moved.Label(fixedSecrets(t)); !errors.Is(err, ErrAuth) {
		t.Fatalf("label of another slot: %v, want ErrAuth", err)
	}
	salted := *sl
	salted.body.Salt[0] ^= 1
	if _, _, err := salted.Label(fixedSecrets(t)); !errors.Is(err, ErrAuth) {
		t.Fatalf("label under another salt: %v, want ErrAuth", err)
	}
}

func TestMalformedLabels(t *testing.T) {
	s := fixedSecrets(t)
	sl := parse(t, fixedPlainSlot(t))
	for name, edit := range map[string]func([]byte){
		"length past the end": func(p []byte) { p[8], p[9] = 1, 1 },
		"padding is not zero": func(p []byte) { p[labelSize-1] = 1 },
		"not UTF-8":           func(p []byte) { p[9], p[labelHeader] = 1, 0xff },
	} {
		plain := make([]byte, labelSize)
		edit(plain)
		sl.body.Label = s.labelBox(&sl.body).Seal(nil, 0, nil, plain)
		if _, _, err := sl.Label(s); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", name, err)
		}
	}
}
