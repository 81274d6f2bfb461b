package seal

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

// golden reads a file of testdata; *.hex is hexadecimal. The files pin the
// format: they were made once, and repositories like them exist. If a test here
// fails, the format has changed and needs a new version.
func golden(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(name, ".hex") {
		return b
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(string(b), "\n", ""))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return raw
}

func TestGoldenEncodings(t *testing.T) {
	payload, err := encodePayload(fixedSecrets(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][]byte{
		"payload.hex":           payload,
		"slot-password.hex":     fixedSlot(t),
		"slot-plain.hex":        fixedPlainSlot(t),
		"recovery-password.txt": fixedRecovery(t, fixedSlot(t)),
		"recovery-plain.txt":    fixedRecovery(t, fixedPlainSlot(t)),
		"box.hex":               NewBox(testSalt).Seal(nil, 258, []byte("aad"), []byte("plain")),
		"keys.txt":              keyTable(fixedSecrets(t)),
	} {
		if !bytes.Equal(got, golden(t, name)) {
			t.Errorf("%s: the format has changed; now\n%s", name, dump(name, got))
		}
	}
}

// What an older binary wrote must open.
func TestGoldenOpens(t *testing.T) {
	s, err := parse(t, golden(t, "slot-password.hex")).Open([]byte(testPassword))
	if err != nil {
		t.Fatal(err)
	}
	secret, err := s.OpenSecret(testSession, golden(t, "session-secret.hex"))
	if err != nil || secret != Key(testSalt) {
		t.Fatalf("session secret: %v", err)
	}
	label, created, err := parse(t, golden(t, "slot-plain.hex")).Label(s)
	if err != nil || label != "root@host" || !created.Equal(testTime) {
		t.Fatalf("label %q at %v: %v", label, created, err)
	}
}

// keyTable is a line for each derived key, of fixed secrets: name, hex.
func keyTable(s *Secrets) []byte {
	var lines []string
	for name, k := range allKeys(s, Key(testSalt), testSession, testSalt) {
		lines = append(lines, name+": "+hex.EncodeToString(k[:])+"\n")
	}
	sort.Strings(lines)
	return []byte(strings.Join(lines, ""))
}

func dump(name string, b []byte) string {
	if !strings.HasSuffix(name, ".hex") {
		return string(b)
	}
	var out strings.Builder
	for text := hex.EncodeToString(b); len(text) > 0; {
		n := min(64, len(text))
		out.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	return out.String()
}
