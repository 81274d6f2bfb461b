package seal

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func fixedRecovery(t testing.TB, slot []byte) []byte {
	t.Helper()
	b, err := EncodeRecovery(slot, testConfig)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRecoveryRoundTrip(t *testing.T) {
	for _, slot := range [][]byte{fixedSlot(t), fixedPlainSlot(t)} {
		for _, config := range [][]byte{nil, testConfig, make([]byte, MaxConfigSize)} {
			file, err := EncodeRecovery(slot, config)
			if err != nil {
				t.Fatal(err)
			}
			gotSlot, gotConfig, err := DecodeRecovery(file)
			if err != nil || !bytes.Equal(gotSlot, slot) || !bytes.Equal(gotConfig, config) {
				t.Fatalf("config of %d bytes does not survive a round trip: %v", len(config), err)
			}
			if len(file) > MaxRecoverySize {
				t.Fatalf("file of %d bytes", len(file))
			}
		}
	}
}

func TestRecoveryTellsWhatItIs(t *testing.T) {
	locked, plain := string(fixedRecovery(t, fixedSlot(t))), string(fixedRecovery(t, fixedPlainSlot(t)))
	id := parse(t, fixedSlot(t)).ID()
	for _, want := range []string{"vaultfs recovery file", "vaultfs key import FILE", "Key " + id} {
		if !strings.Contains(locked, want) || !strings.Contains(plain, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if strings.Contains(locked, "WARNING") || !strings.Contains(plain, "WARNING") {
		t.Error("only a plain key carries a warning")
	}
	for _, line := range strings.Split(locked+plain, "\n") {
		if len(line) > 80 {
			t.Errorf("line of %d columns: %s", len(line), line)
		}
	}
}

func TestRecoveryTolerates(t *testing.T) {
	file := string(fixedRecovery(t, fixedSlot(t)))
	for name, text := range map[string]string{
		"CRLF":                       strings.ReplaceAll(file, "\n", "\r\n"),
		"blank lines":                file + "\n\n\n",
		"blank lines with CRLF":      strings.ReplaceAll(file, "\n", "\r\n") + "\r\n\r\n",
		"no newline at the end":      strings.TrimSuffix(file, "\n"),
		"other words, same checksum": recheck(strings.Replace(file, "# vaultfs", "# a vaultfs", 1)),
	} {
		slot, config, err := DecodeRecovery([]byte(text))
		if err != nil || !bytes.Equal(slot, fixedSlot(t)) || !bytes.Equal(config, testConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// recheck gives a text that was altered the checksum of what it now is.
func recheck(text string) string {
	covered := text[:strings.Index(text, recoverySum)]
	return covered + recoveryChecksum(covered)
}

func TestRecoveryRefuses(t *testing.T) {
	file := string(fixedRecovery(t, fixedSlot(t)))
	raw := packRecovery(fixedSlot(t), testConfig)
	block := func(edit func([]byte) []byte) string {
		return recheck(armour(edit(bytes.Clone(raw))) + recoverySum)
	}
	put := func(at int, v ...byte) func([]byte) []byte {
		return func(b []byte) []byte { copy(b[at:], v); return b }
	}
	for name, tc := range map[string]struct {
		text string
		want error
	}{
		"empty":              {"", ErrDamaged},
		"newlines":           {"\n\n", ErrDamaged},
		"blank line first":   {"\n" + file, ErrDamaged},
		"no checksum":        {file[:strings.Index(file, recoverySum)], ErrDamaged},
		"upper-case sum":     {file[:len(file)-65] + strings.ToUpper(file[len(file)-65:]), ErrDamaged},
		"trailing space":     {file[:len(file)-1] + " \n", ErrDamaged},
		"joined lines":       {recheck(strings.Replace(file, recoveryBegin, "", 1)), ErrDamaged},
		"blank line inside":  {recheck(strings.Replace(file, recoveryEnd, "\n"+recoveryEnd, 1)), ErrDamaged},
		"too large":          {strings.Repeat("#\n", MaxRecoverySize), ErrDamaged},
		"no block":           {recheck("# only words\n" + recoverySum), ErrDamaged},
		"empty block":        {block(func([]byte) []byte { return nil }), ErrDamaged},
		"magic":              {block(put(0, 'x')), ErrDamaged},
		"version 0":          {block(put(7, 0)), ErrDamaged},
		"version 2":          {block(put(7, 2)), ErrNewerFormat},
		"config length":      {block(put(8, 0xff, 0xff, 0xff, 0xff)), ErrDamaged},
		"slot length":        {block(put(12, 0xff, 0xff, 0xff, 0xff)), ErrDamaged},
		"config too large":   {recheck(armour(packRecovery(fixedSlot(t), make([]byte, MaxConfigSize+1))) + recoverySum), ErrDamaged},
		"slot cut":           {block(func(b []byte) []byte { return b[:len(b)-1] }), ErrDamaged},
		"slot byte flipped":  {block(func(b []byte) []byte { b[len(b)-40] ^= 1; return b }), ErrDamaged},
		"config takes slot":  {block(put(8, 0, 0, 0, byte(len(testConfig)+1))), ErrDamaged},
		"two blocks":         {recheck(file[:strings.Index(file, recoverySum)] + armour(raw) + recoverySum), ErrDamaged},
		"comment in block":   {recheck(strings.Replace(file, recoveryEnd, "# x\n"+recoveryEnd, 1)), ErrDamaged},
		"lone CR in comment": {strings.Replace(file, "# vaultfs", "#\rvaultfs", 1), ErrDamaged},
	} {
		if _, _, err := DecodeRecovery([]byte(tc.text)); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	if _, err := EncodeRecovery([]byte("no slot"), testConfig); !errors.Is(err, ErrDamaged) {
		t.Errorf("no slot: %v", err)
	}
	if _, err := EncodeRecovery(fixedSlot(t), make([]byte, MaxConfigSize+1)); err == nil {
		t.Error("a config that is too large was accepted")
	}
}

func TestRecoveryByteFlips(t *testing.T) {
	for _, slot := range [][]byte{fixedSlot(t), fixedPlainSlot(t)} {
		file := fixedRecovery(t, slot)
		for i := range file {
			flipped := bytes.Clone(file)
			flipped[i] ^= 1 << (i % 8)
			if _, _, err := DecodeRecovery(flipped); !errors.Is(err, ErrDamaged) {
				t.Fatalf("byte %d flipped: %v, want ErrDamaged", i, err)
			}
		}
	}
}
