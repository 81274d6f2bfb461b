package format

import (
	"encoding/binary"
	"testing"

	"vaultfs/chunk"
	"vaultfs/repo/seal"
)

// A pack grows by more than the chunk that is added: else each of many small
// chunks would have all before it copied.
func TestPackGrowsAhead(t *testing.T) {
	payload := make([]byte, 100)
	allocs := testing.AllocsPerRun(1, func() {
		p := NewPack(PackHeader{Kind: DataPack}, seal.NewBox(seal.NewSessionSecret()), nil)
		for i := range 10_000 {
			var id chunk.ID
			binary.BigEndian.PutUint64(id[:], uint64(i))
			p.Add(Data, id, len(payload), payload)
		}
	})
	if allocs > 5000 { // the race detector has pools forget one in four nonces; a copy for each chunk takes 10,000
		t.Errorf("10,000 small chunks take %.0f allocations", allocs)
	}
}
