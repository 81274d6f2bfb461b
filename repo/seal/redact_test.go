package seal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// forms in which 0xa7, of which every test key is made, could show.
var leaks = []string{"a7a7", "A7A7", "167 167", "167, 167", "167,167", "0xa7", "\xa7", "p6en", "pqen", "10100111", "4011686"}

func redactedValues(t *testing.T) map[string]any {
	var key Key
	copy(key[:], bytes.Repeat([]byte{0xa7}, KeySize))
	id := Identity{Private: key, Public: bytes.Repeat([]byte{0xa7}, 40)}
	s := Secrets{Identities: []Identity{id}, IDKey: key, Polynomial: 0xa7a7a7a7, GrainKey: key, StructureKey: key, WriteKey: key}
	slot := &Slot{body: slotBody{Payload: key[:]}}
	return map[string]any{
		"key": key, "*key": &key, "identity": id, "*identity": &id, "secrets": s, "*secrets": &s,
		"slot": slot, "box": NewBox(key),
		"nested": struct {
			K Key
			L []Key
			M map[string]Key
			S *Secrets
			T Secrets
		}{key, []Key{key}, map[string]Key{"k": key}, &s, s},
	}
}

func TestFormattingShowsNoSecret(t *testing.T) {
	for name, v := range redactedValues(t) {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%o", "%b", "%c", "%U"} {
			noLeak(t, name+" "+verb, fmt.Sprintf(verb, v))
		}
		noLeak(t, name+" print", fmt.Sprint(v))
		b, err := json.Marshal(v)
		if err != nil {
			t.Errorf("%s: json: %v", name, err)
		}
		noLeak(t, name+" json", string(b))
		var text, object bytes.Buffer
		slog.New(slog.NewTextHandler(&text, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&object, nil)).Info("x", "v", v)
		noLeak(t, name+" slog", text.String()+object.String())
	}
}

func TestErrorsShowNoSecret(t *testing.T) {
	s := fixedSecrets(t)
	password := "tr0ub4dor"
	_, err1 := parse(t, fixedSlot(t)).Open([]byte(password))
	_, err2 := parse(t, fixedPlainSlot(t)).Open([]byte(password))
	s.Identities[0].Private[0] ^= 1
	_, _, err3 := NewSlot(s, []byte(password), "label-of-host", testTime, cheap)
	s.Polynomial = 0
	_, _, err4 := NewSlot(s, []byte(password), strings.Repeat("label-of-host", 100), testTime, cheap)
	for i, err := range []error{err1, err2, err3, err4} {
		if err == nil {
			t.Fatalf("case %d: no error", i+1)
		}
		for _, secret := range []string{password, "label-of-host", fmt.Sprintf("%x", s.WriteKey[:4])} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("case %d: error shows a secret: %v", i+1, err)
			}
		}
	}
}

func noLeak(t *testing.T, what, out string) {
	t.Helper()
	for _, l := range leaks {
		if strings.Contains(out, l) {
			t.Errorf("%s shows %q: %.200q", what, l, out)
		}
	}
}
