package repo

import (
	"testing"

	"vaultfs/repo/format"
)

// A pack that is full of tiny chunks would be rewritten by every collection, if
// it counted as small.
func TestPackOfManyChunksIsNotSmall(t *testing.T) {
	for _, c := range []struct {
		chunks uint32
		bytes  int64
		small  bool
	}{
		{10, 1 << 20, true},
		{10, int64(packTarget) / 4, false},
		{format.MaxPackEntries, 1 << 20, false},
		{format.MaxPackEntries / 4, 1 << 20, false},
		{format.MaxPackEntries/4 - 1, 1 << 20, true},
	} {
		if p := (plannedPack{chunks: c.chunks}); p.small(c.bytes) != c.small {
			t.Errorf("%d chunks in %d bytes: small is %v", c.chunks, c.bytes, !c.small)
		}
	}
}
