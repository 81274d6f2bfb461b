package disk

import "vaultfs/ingest"

// A rawLayer is a file or a block device whose bytes are the disk's. Like QEMU
// it rounds the size up to sectors, with zeros.
type rawLayer struct{ f *file }

func newRawLayer(f *file) rawLayer {
	f.sparse = true
	return rawLayer{f}
}

func (r rawLayer) size() int64 {
	return (r.f.before.size + ingest.Sector - 1) / ingest.Sector * ingest.Sector
}

func (r rawLayer) parts(off, n int64, visit func(part) error) error {
	inside := max(min(n, r.f.before.size-off), 0)
	if inside > 0 {
		if err := visit(part{off: off, n: inside, place: inFile, at: off, file: r.f}); err != nil {
			return err
		}
	}
	if inside == n {
		return nil
	}
	return visit(part{off: off + inside, n: n - inside, place: zeros})
}
