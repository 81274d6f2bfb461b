package seal

import (
	"bytes"
	"errors"
	"testing"
)

// What ParseSlot accepts is what it would write. The input is tried as it is
// and with a valid checksum, which a fuzzer cannot find.
func FuzzParseSlot(f *testing.F) {
	f.Add(golden(f, "slot-password.hex"))
	f.Add(golden(f, "slot-plain.hex"))
	f.Add([]byte(slotMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		checkSlot(t, b)
		if len(b) >= slotSum {
			checkSlot(t, resum(b))
		}
	})
}

func checkSlot(t *testing.T, b []byte) {
	sl, err := ParseSlot(b)
	if err != nil {
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewerFormat) {
			t.Fatalf("%v is neither ErrDamaged nor ErrNewerFormat", err)
		}
		return
	}
	if !bytes.Equal(sl.body.encode(), b) {
		t.Fatal("accepted, but written differently")
	}
	if sl.Kind() != KindPlain {
		return // trying a password may cost seconds
	}
	if _, err := sl.Open(nil); err != nil && !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
}

func FuzzDecodePayload(f *testing.F) {
	f.Add(golden(f, "payload.hex"))
	f.Add([]byte{0xa0})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodePayload(b)
		if err != nil {
			return
		}
		again, err := encodePayload(s)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("accepted, but written differently: %v", err)
		}
	})
}

// What DecodeRecovery accepts encodes to a file of the same meaning and block;
// the words around it may differ. The input is tried with a valid checksum too.
func FuzzDecodeRecovery(f *testing.F) {
	f.Add(golden(f, "recovery-password.txt"))
	f.Add(golden(f, "recovery-plain.txt"))
	f.Add([]byte(recoveryBegin + recoveryEnd + recoverySum))
	f.Fuzz(func(t *testing.T, b []byte) {
		checkRecovery(t, b)
		covered, _, _ := bytes.Cut(b, []byte(recoverySum))
		checkRecovery(t, append(bytes.Clone(covered), recoveryChecksum(string(covered))...))
	})
}

func checkRecovery(t *testing.T, b []byte) {
	slot, config, err := DecodeRecovery(b)
	if err != nil {
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewerFormat) {
			t.Fatalf("%v is neither ErrDamaged nor ErrNewerFormat", err)
		}
		return
	}
	file, err := EncodeRecovery(slot, config)
	if err != nil {
		t.Fatal(err)
	}
	block := armour(packRecovery(slot, config))
	if !bytes.Contains(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), []byte(block)) || !bytes.Contains(file, []byte(block)) {
		t.Fatal("accepted, but written differently")
	}
}
