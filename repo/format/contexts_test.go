package format

import (
	"bytes"
	"sync"
	"testing"
)

// More goroutines than there are contexts get along, and none is lost by a
// payload that does not decode.
func TestContextsAreShared(t *testing.T) {
	plain := bytes.Repeat([]byte("some words of a guest "), 5000)
	var wg sync.WaitGroup
	for range 4 * cap(contexts) {
		wg.Go(func() {
			for range 20 {
				payload := Payload(nil, plain)
				if got, err := OpenPayload(nil, payload, len(plain)); err != nil || !bytes.Equal(got, plain) {
					t.Errorf("%d bytes come back (%v)", len(got), err)
				}
				if _, err := OpenPayload(nil, payload[:len(payload)/2], len(plain)); err == nil {
					t.Error("half a payload decodes")
				}
			}
		})
	}
	wg.Wait()
	if len(contexts) != cap(contexts) {
		t.Errorf("%d of %d contexts are left", len(contexts), cap(contexts))
	}
}
