package format

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"runtime/metrics"
	"slices"
	"testing"

	"github.com/zeebo/blake3"
	"vaultfs/chunk"
)

// decoding runs a decoder. Whatever it is given, it says damaged or newer, and
// takes no more memory than factor times the input and some more.
func decoding(t *testing.T, b []byte, factor uint64, decode func() error) (accepted bool) {
	t.Helper()
	before := allocated()
	err := decode()
	if got, most := allocated()-before, factor*uint64(len(b))+1<<20; got > most {
		t.Fatalf("decoding %d bytes took %d", len(b), got)
	}
	if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
		t.Fatalf("%v is neither ErrDamaged nor ErrNewer", err)
	}
	return err == nil
}

func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// same demands that what was accepted is written in the same bytes.
func same(t *testing.T, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Fatalf("accepted, but written differently:\n%x\n%x", got, want)
	}
}

// content is what a sealed object holds.
func content(t testing.TB, magic string, key KeyFunc, name string, b []byte) []byte {
	t.Helper()
	c, err := openObject(magic, key, name, b)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The config is tried as it is and with a checksum that fits.
func FuzzConfig(f *testing.F) {
	f.Add(golden(f, "config"))
	f.Add([]byte(configMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		sum := blake3.Sum256(b)
		for _, b := range [][]byte{b, append(b[:len(b):len(b)], sum[:]...)} {
			var c *Config
			if decoding(t, b, 64, func() (err error) { c, err = DecodeConfig(b); return err }) {
				same(t, c.Encode(), b)
			}
		}
	})
}

func FuzzPackHeader(f *testing.F) {
	f.Add(golden(f, "pack-data")[:packHead])
	f.Fuzz(func(t *testing.T, b []byte) {
		var h PackHeader
		if decoding(t, b, 1, func() (err error) { h, err = DecodePackHeader(b); return err }) {
			same(t, h.Append(nil), b[:packHead])
		}
	})
}

// A pack is tried as it is, and with a footer that opens.
func FuzzPack(f *testing.F) {
	for _, name := range []string{"pack-data", "pack-structure"} {
		b := golden(f, name)
		p, err := DecodePack(b, packKey)
		if err != nil {
			f.Fatal(err)
		}
		last := p.Entries[len(p.Entries)-1]
		f.Add(b, footer(p.Entries), byte(p.Header.Kind))
		f.Add(b[:last.Offset+last.Sealed], footer(p.Entries), byte(p.Header.Kind))
	}
	f.Fuzz(func(t *testing.T, b, entries []byte, kind byte) {
		decoding(t, b, 4, func() error { _, err := DecodePack(b, packKey); return err })
		h := PackHeader{Kind: PackKind(kind), Session: testSession, Salt: testSalt}
		if len(b) < packHead || !h.Kind.valid() {
			return
		}
		box, _ := packKey(h, nil)
		forged := append(h.Append(nil), b[packHead:]...)
		forged = box.Seal(forged, footerOrdinal, h.Append(nil), pad(entries))
		length := uint32(len(forged) - len(b))
		if h.Kind == DataPack {
			forged = append(forged, testSealed...)
		}
		forged = append(binary.BigEndian.AppendUint32(forged, length), packEnd...)
		var p *Pack
		if decoding(t, forged, 8, func() (err error) { p, err = DecodePack(forged, packKey); return err }) {
			same(t, footer(p.Entries), entries)
			for _, e := range p.Entries {
				_ = forged[e.Offset : e.Offset+e.Sealed]
			}
		}
	})
}

// footer is what the footer of a pack says, before it is padded and sealed.
func footer(entries []PackEntry) (b []byte) {
	for _, e := range entries {
		b = append(append(b, byte(e.Kind)), e.ID[:]...)
		b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, e.Sealed), e.Plain)
	}
	return b
}

// A sealed object is tried as it is; its content has tests of its own.
func FuzzSealedObject(f *testing.F) {
	f.Add(golden(f, "head"), testHeadName)
	f.Add(golden(f, "head"), "head/00000000000000000008")
	f.Add([]byte(headMagic), testHeadName)
	f.Fuzz(func(t *testing.T, b []byte, name string) {
		var c []byte
		if decoding(t, b, 4, func() (err error) { c, err = openObject(headMagic, headKey, name, b); return err }) {
			same(t, sealObject(headMagic, Salt(b[magicSize:]), headKey, name, c), b)
		}
		for _, decode := range []func() error{
			func() error { _, err := DecodeHead(headKey, name, b); return err },
			func() error { _, err := DecodeRun(runKey, name, b); return err },
			func() error { _, err := DecodeLease(leaseKey, name, b); return err },
			func() error { _, err := DecodeMark(markKey, name, b); return err },
			func() error { _, err := DecodePolicy(policyKey, name, b); return err },
			func() error { _, err := DecodeLedger(ledgerKey, name, b); return err },
		} {
			decoding(t, b, 64, decode)
		}
	})
}

func FuzzUnpad(f *testing.F) {
	f.Add(pad(nil))
	f.Add(pad(fixed(1, 1000)))
	f.Add([]byte{255, 255, 255, 255, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var c []byte
		if decoding(t, b, 1, func() (err error) { c, err = unpad(b); return err }) {
			same(t, pad(c), b)
		}
		if c, err := unpad(pad(b)); err != nil || !bytes.Equal(c, b) {
			t.Fatalf("%x is padded to what unpads to %x (%v)", b, c, err)
		}
	})
}

func FuzzRunBody(f *testing.F) {
	f.Add(content(f, runMagic, runKey, testRunName, golden(f, "run")))
	f.Add(make([]byte, 12))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r *Run
		if decoding(t, b, 8, func() (err error) { r, err = decodeRunBody(b); return err }) {
			same(t, content(t, runMagic, runKey, testRunName, r.Encode(testSalt, runKey, testRunName)), b)
		}
	})
}

func FuzzHeadBody(f *testing.F) {
	f.Add(content(f, headMagic, headKey, testHeadName, golden(f, "head")))
	f.Add(marshal(new(Head)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var h *Head
		if decoding(t, b, 256, func() (err error) { h, err = decodeHeadBody(b); return err }) {
			same(t, content(t, headMagic, headKey, testHeadName, h.Encode(testSalt, headKey, testHeadName)), b)
		}
	})
}

func FuzzLeaseBody(f *testing.F) {
	f.Add(content(f, leaseMagic, leaseKey, testLeaseName, golden(f, "lease")))
	f.Fuzz(func(t *testing.T, b []byte) {
		var l *Lease
		if decoding(t, b, 256, func() (err error) { l, err = decodeLeaseBody(b); return err }) {
			same(t, content(t, leaseMagic, leaseKey, testLeaseName, l.Encode(testSalt, leaseKey, testLeaseName)), b)
		}
	})
}

func FuzzMarkBody(f *testing.F) {
	f.Add(content(f, markMagic, markKey, testMarkName, golden(f, "mark")))
	f.Add(marshal(new(Mark)))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m *Mark
		if decoding(t, b, 256, func() (err error) { m, err = decodeMarkBody(b); return err }) {
			same(t, content(t, markMagic, markKey, testMarkName, m.Encode(testSalt, markKey, testMarkName)), b)
			if m.Snapshot.IsZero() || m.Source == "" {
				t.Fatalf("a mark of nothing: %+v", m)
			}
		}
	})
}

func FuzzPolicyBody(f *testing.F) {
	f.Add(content(f, policyMagic, policyKey, testPolicyName, golden(f, "policy")))
	f.Add(marshal(new(Policy)))
	f.Add(marshal(&Policy{Seq: 1, Rules: []PolicyRule{{For: "vm"}, {For: "vm"}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var p *Policy
		if decoding(t, b, 256, func() (err error) { p, err = decodePolicyBody(b); return err }) {
			same(t, content(t, policyMagic, policyKey, testPolicyName, p.Encode(testSalt, policyKey, testPolicyName)), b)
			for _, r := range p.Rules {
				if r.Within < 0 || r.MaxAge < 0 || r.MaxUnread < 0 || r.Last > MaxKept {
					t.Fatalf("accepted: %+v", r)
				}
			}
		}
	})
}

func FuzzLedgerBody(f *testing.F) {
	f.Add(content(f, ledgerMagic, ledgerKey, testLedgerName, golden(f, "ledger")))
	f.Add(make([]byte, 8))
	f.Add([]byte{255, 255, 255, 255, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var l *Ledger
		if decoding(t, b, 8, func() (err error) { l, err = decodeLedgerBody(b); return err }) {
			same(t, content(t, ledgerMagic, ledgerKey, testLedgerName, l.Encode(testSalt, ledgerKey, testLedgerName)), b)
		}
	})
}

// A manifest is tried as it is, and with two parts that open, of each version.
func FuzzManifest(f *testing.F) {
	for name, m := range map[string]*Manifest{"manifest": testManifest1(), "manifest-2": testManifest2(), "manifest-3": testManifest3(), "manifest-4": testManifest()} {
		f.Add(golden(f, name), marshal(&m.Structure), marshal(&m.Private))
	}
	f.Fuzz(func(t *testing.T, b, structure, private []byte) {
		decode := func(b []byte) (m *Manifest, ok bool) {
			ok = decoding(t, b, 256, func() (err error) {
				m, err = DecodeManifest(testSession, manifestKey, askBodyKey, b)
				return err
			})
			return m, ok
		}
		decode(b)
		if m, ok := decode(forgeManifest(manifestMagic, structure, private)); ok {
			same(t, m.Encode(testSalt, manifestKey, bodyKey), forgeManifest(manifestMagic, structure, private))
		}
		for _, magic := range []string{manifestMagic1, manifestMagic2, manifestMagic3} {
			if m, ok := decode(forgeManifest(magic, structure, private)); ok {
				same(t, forgeManifest(magic, marshal(&m.Structure), marshal(&m.Private)), forgeManifest(magic, structure, private))
				if since := m.since(); since > magic {
					t.Fatalf("fields of %q in %q: %+v", since, magic, m.Private)
				}
			}
		}
	})
}

// forgeManifest seals two parts as a manifest of a version.
func forgeManifest(magic string, structure, private []byte) []byte {
	padded := pad(structure)
	b := append([]byte(magic), testSalt[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(padded)+16))
	aad := manifestAAD(magic, b, testSession)
	b = manifestKey(testSalt).Seal(b, 0, aad, padded)
	return bodyKey(testSalt).Seal(b, 1, aad, pad(private))
}

// A manifest of version 1 holds nothing of version 2, and one of a later
// version is told from one whose version byte was damaged.
func TestManifestVersions(t *testing.T) {
	decode := func(b []byte) error {
		_, err := DecodeManifest(testSession, manifestKey, askBodyKey, b)
		return err
	}
	m, m2, m3 := testManifest(), testManifest2(), testManifest3()
	for _, c := range []struct {
		magic string
		m     *Manifest
	}{{manifestMagic1, m2}, {manifestMagic1, m3}, {manifestMagic1, m}, {manifestMagic2, m3}, {manifestMagic2, m}, {manifestMagic3, m}} {
		if err := decode(forgeManifest(c.magic, marshal(&c.m.Structure), marshal(&c.m.Private))); !errors.Is(err, ErrDamaged) {
			t.Errorf("%q with fields of a later version: %v", c.magic, err)
		}
	}
	if err := decode(forgeManifest("vfsmani\x05", marshal(&m.Structure), marshal(&m.Private))); !errors.Is(err, ErrNewer) {
		t.Errorf("version 5: %v", err)
	}
	other := bytes.Repeat([]byte{0xee}, 300) // where the length of the first part stands there is something else
	if err := decode(append([]byte("vfsmani\x05"), other...)); !errors.Is(err, ErrNewer) || errors.Is(err, ErrDamaged) {
		t.Errorf("version 5 of another layout: %v", err)
	}
	if err := decode(append([]byte(manifestMagic), other...)); !errors.Is(err, ErrDamaged) || errors.Is(err, ErrNewer) {
		t.Errorf("version 4 of another layout: %v", err)
	}
	for _, name := range []string{"manifest", "manifest-2", "manifest-3", "manifest-4"} {
		for version := range 256 {
			b := golden(t, name)
			if byte(version) == b[magicSize-1] {
				continue
			}
			b[magicSize-1] = byte(version)
			if err := decode(b); !errors.Is(err, ErrDamaged) || errors.Is(err, ErrNewer) {
				t.Errorf("%s with version %d: %v", name, version, err)
			}
		}
	}
}

func FuzzSegmentMap(f *testing.F) {
	f.Add(golden(f, "segment-map"), byte(6))
	f.Add(SegmentMap{}.Encode(), byte(0))
	twice := appendChildren(nil, DiskMap, Children{Data: []chunk.ID{testID(1), testID(1)}})
	f.Add(append(twice, 2, 0, 1, 0, 0, 1, 1), byte(0))
	f.Fuzz(func(t *testing.T, b []byte, size byte) {
		segment := int64(MinSegmentSize) << (size % 9)
		var m SegmentMap
		if !decoding(t, b, 64, func() (err error) { m, err = DecodeSegmentMap(b, segment); return err }) {
			return
		}
		same(t, m.Encode(), b)
		end := int64(0)
		for _, e := range m {
			if e.Off < end || e.Len <= 0 || e.Off%chunk.Grain != 0 || e.Len%chunk.Grain != 0 || e.Off+e.Len > segment {
				t.Fatalf("extent %+v after byte %d", e, end)
			}
			end = e.Off + e.Len
		}
		if clusters, grains := m.Counts(); int64(clusters) > segment/ClusterSize || int64(grains) > segment/chunk.Grain {
			t.Fatalf("%d clusters and %d grains in %d bytes", clusters, grains, segment)
		}
	})
}

func FuzzPage(f *testing.F) {
	f.Add(golden(f, "page"))
	f.Add(DiskTable{}.EncodePage())
	f.Fuzz(func(t *testing.T, b []byte) {
		var page DiskTable
		if decoding(t, b, 64, func() (err error) { page, err = DecodePage(b, 64<<20); return err }) {
			same(t, page.EncodePage(), b)
		}
	})
}

func FuzzDisk(f *testing.F) {
	f.Add(golden(f, "root"))
	f.Add((&Disk{SegmentSize: 1 << 20}).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		var d *Disk
		if decoding(t, b, 64, func() (err error) { d, err = DecodeDisk(b); return err }) {
			same(t, d.Encode(), b)
		}
	})
}

func FuzzStreamNode(f *testing.F) {
	f.Add(golden(f, "node"))
	f.Add(golden(f, "node-inner"))
	f.Add((&StreamNode{}).Encode())
	// A child that stands twice, by which one node would have two encodings.
	twice := appendChildren(nil, Stream, Children{Data: []chunk.ID{testID(1), testID(1)}})
	f.Add(append(twice, 0, 2, 10, 0, 10, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		var n *StreamNode
		if decoding(t, b, 64, func() (err error) { n, err = DecodeStreamNode(b); return err }) {
			same(t, n.Encode(), b)
			if n.Size() < 0 {
				t.Fatalf("%d bytes", n.Size())
			}
		}
	})
}

func FuzzDirectory(f *testing.F) {
	f.Add(golden(f, "directory"))
	f.Add(golden(f, "directory-inner"))
	f.Add(golden(f, "tree-root"))
	f.Add(mustEncode(new(DirNode).Encode()))
	// Many entries that are as short as can be.
	f.Add(append(appendChildren(nil, Directory, Children{}), append([]byte{0, 200, 1}, make([]byte, 200*minDirEntry)...)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		var n *DirNode
		if decoding(t, b, 64, func() (err error) { n, err = DecodeDirNode(b); return err }) {
			again, err := n.Encode()
			if err != nil {
				t.Fatalf("accepted, but cannot be written: %v", err)
			}
			same(t, again, b)
		}
		var root *TreeEntry
		if decoding(t, b, 64, func() (err error) { root, err = DecodeTreeRoot(b); return err }) {
			again, err := EncodeTreeRoot(root)
			if err != nil {
				t.Fatalf("accepted, but cannot be written: %v", err)
			}
			same(t, again, b)
			if n != nil {
				t.Fatal("a node is both the root of a tree and another")
			}
		}
	})
}

func FuzzRanges(f *testing.F) {
	f.Add(golden(f, "ranges"), int64(1)<<50)
	f.Add(EncodeRanges(nil), int64(1))
	f.Add(EncodeRanges([]Range{{0, math.MaxInt64}}), int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		size = max(0, size)
		var ranges []Range
		var stored int64
		if !decoding(t, b, 16, func() (err error) { ranges, stored, err = DecodeRanges(b, size); return err }) {
			return
		}
		same(t, EncodeRanges(ranges), b)
		joined, sum, err := JoinRanges(ranges, size)
		if err != nil || !slices.Equal(joined, ranges) || sum != stored || stored >= size {
			t.Fatalf("%v of %d bytes: joined %v, %d bytes (%v)", ranges, size, joined, sum, err)
		}
	})
}

// A child list of a kind that is not known is read too.
func FuzzChildren(f *testing.F) {
	for _, name := range []string{"segment-map", "page", "root", "node", "node-inner", "directory", "directory-inner", "tree-root"} {
		f.Add(golden(f, name))
	}
	f.Add([]byte{200, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{200, 255, 255, 255, 255, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		var k Kind
		var c Children
		var rest []byte
		if decoding(t, b, 128, func() (err error) { k, c, rest, err = DecodeChildren(b); return err }) {
			same(t, append(appendChildren(nil, k, c), rest...), b)
		}
	})
}

func FuzzPayload(f *testing.F) {
	f.Add(golden(f, "payload-raw"), 100)
	f.Add(golden(f, "payload-zstd"), 100_000)
	f.Add(golden(f, "payload-zstd"), 99_999)
	f.Add([]byte{payloadZstd, 0x28, 0xb5, 0x2f, 0xfd}, chunk.MaxSize)
	f.Add([]byte{2}, 0)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		size = max(0, size) % (chunk.MaxSize + 2)
		var plain []byte
		// A decoder takes its buffers once, up to a few times the largest chunk.
		if !decoding(t, make([]byte, 6*chunk.MaxSize), 4, func() (err error) { plain, err = OpenPayload(nil, b, size); return err }) {
			return
		}
		if len(plain) != size {
			t.Fatalf("%d bytes, want %d", len(plain), size)
		}
		if b[0] == payloadRaw {
			same(t, append([]byte{payloadRaw}, plain...), b)
		}
		again, err := OpenPayload(nil, Payload(nil, plain), size)
		if err != nil || !bytes.Equal(again, plain) {
			t.Fatalf("a chunk of %d bytes does not come back: %v", size, err)
		}
	})
}
