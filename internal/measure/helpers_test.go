package measure

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"
	"vaultfs/chunk"
	"vaultfs/ingest"
	"vaultfs/repo"
)

func TestMain(m *testing.M) {
	stepTime = 5 * time.Millisecond
	goleak.VerifyTestMain(m)
}

// A memory image is a disk in memory whose runs of zeros are holes if they are
// whole clusters.
type memory struct {
	disk   []byte
	broken int64 // where reading fails; 0 for nowhere
}

const cluster = 64 << 10

func (m *memory) Size() int64 { return int64(len(m.disk)) }

func (m *memory) Data(_ context.Context, off, n int64) (runs []ingest.Run, err error) {
	for end := off + n; off < end; {
		to := min(end, off/cluster*cluster+cluster)
		if !allZero(m.disk[off:to]) {
			if k := len(runs); k > 0 && runs[k-1].Off+runs[k-1].Len == off {
				runs[k-1].Len += to - off
			} else {
				runs = append(runs, ingest.Run{Off: off, Len: to - off})
			}
		}
		off = to
	}
	return runs, nil
}

var errBroken = errors.New("a broken sector")

func (m *memory) ReadAt(ctx context.Context, p []byte, off int64) error {
	if m.broken > 0 && off <= m.broken && m.broken < off+int64(len(p)) {
		return errBroken
	}
	copy(p, m.disk[off:])
	return ctx.Err()
}

var nothing [4 << 20]byte

// allZero looks at no more than four megabytes.
func allZero(p []byte) bool { return bytes.Equal(p, nothing[:len(p)]) }

// guest is a disk as guests make them: data of both kinds, some of it twice, with
// zero grains amid and holes between, over more than one segment and with an odd
// end.
func guest(t testing.TB, seed uint64) []byte {
	t.Helper()
	disk := make([]byte, repo.SegmentSize+9<<20+512)
	fill := func(off, n int64, from uint64) {
		if err := NewGenerated(n, 0, 0.6, from).ReadAt(t.Context(), disk[off:off+n], 0); err != nil {
			t.Fatal(err)
		}
	}
	fill(0, 5<<20, seed)
	fill(7<<20+3*chunk.Grain, 3<<20, seed+1)
	fill(20<<20+chunk.Grain, 5<<20, seed)       // again, elsewhere
	fill(repo.SegmentSize-1<<20, 4<<20, seed+2) // over the border
	fill(repo.SegmentSize+9<<20, 512, seed+3)
	clear(disk[1<<20+5*chunk.Grain : 1<<20+9*chunk.Grain])
	return disk
}
