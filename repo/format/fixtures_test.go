package format

import (
	"bytes"
	"testing"

	"vaultfs/chunk"
	"vaultfs/repo/seal"
)

// counting is a fixed "random" reader: 1, 2, …, 255, 0, …
type counting struct{ last byte }

func (c *counting) Read(p []byte) (int, error) {
	for i := range p {
		c.last++
		p[i] = c.last
	}
	return len(p), nil
}

// fixed fills an array-sized slice with seed, seed+1, ….
func fixed(seed byte, n int) []byte {
	b := make([]byte, n)
	c := counting{seed - 1}
	c.Read(b)
	return b
}

// The keys, IDs and salts of the fixtures. They are the same in every run.
var (
	testSecrets = func() *seal.Secrets {
		s, err := seal.NewSecrets(&counting{})
		if err != nil {
			panic(err)
		}
		return s
	}()
	testSession = SnapshotID(fixed(0x40, 16))
	testSalt    = Salt(fixed(0x60, 32))
	testSecret  = seal.Key(fixed(0x90, 32))
	testSealed  = fixed(0xb0, seal.SealedSecretSize) // stands for a sealed secret
)

func testID(seed byte) chunk.ID { return chunk.ID(fixed(seed, 32)) }

func headKey(salt Salt) *seal.Box  { return seal.NewBox(testSecrets.HeadKey(salt)) }
func runKey(salt Salt) *seal.Box   { return seal.NewBox(testSecrets.RunKey(testSession, salt)) }
func leaseKey(salt Salt) *seal.Box { return seal.NewBox(testSecrets.LeaseKey(testSession, salt)) }
func manifestKey(salt Salt) *seal.Box {
	return seal.NewBox(testSecrets.ManifestKey(testSession, salt))
}

func bodyKey(salt Salt) *seal.Box {
	return seal.NewBox(testSecrets.ManifestBodyKey(testSecret, testSession, salt))
}

func askBodyKey([]byte) (KeyFunc, error) { return bodyKey, nil }

func packKey(h PackHeader, _ []byte) (*seal.Box, error) {
	if h.Kind == DataPack {
		return seal.NewBox(testSecrets.DataPackKey(testSecret, h.Session, h.Salt)), nil
	}
	return seal.NewBox(testSecrets.StructurePackKey(h.Session, h.Salt)), nil
}

const (
	testHeadName  = "head/00000000000000000007"
	testRunName   = "runs/session/run"
	testLeaseName = "sessions/lease"
)

var testConfig = &Config{Repo: [32]byte(fixed(3, 32)), SegmentSize: 64 << 20, Encrypted: true}

var testHead = &Head{
	Seq: 7, Epoch: 300,
	Runs:      []RunName{{Session: testSession, Run: RunID(fixed(1, 16))}, {Session: testSession, Run: RunID(fixed(2, 16))}},
	Condemned: []CondemnedPack{{Pack: PackHash(fixed(5, 32)), Epoch: 299}},
	Removed:   []PackHash{PackHash(fixed(6, 32)), PackHash(fixed(7, 32))},
}

var testLease = &Lease{Kind: WriteLease, Epoch: 300, Snapshots: []SnapshotID{SnapshotID(fixed(9, 16))},
	Host: "host", PID: 4711, Since: 1_790_000_000, Purpose: "ingest vm/win11"}

var testMap = SegmentMap{
	{Off: 0, Len: 8 * chunk.Grain, ID: testID(1)},
	{Off: 8 * chunk.Grain, Len: 128 * chunk.Grain, ID: testID(2)},
	{Off: 400 * chunk.Grain, Len: 8 * chunk.Grain, ID: testID(1)},
	{Off: 16383 * chunk.Grain, Len: chunk.Grain, ID: testID(3)},
}

var testPage = DiskTable{{}, {testID(4), 1024, 16384}, {}, {testID(5), 1, 1}, {testID(4), 1024, 16384}}

var testDisk = &Disk{Size: 70<<30 + 512, SegmentSize: 64 << 20, Pages: DiskTable{{testID(6), 2049, 32769}, {}}}

var testNode = &StreamNode{Level: 0, Entries: []StreamEntry{{300_000, testID(1)}, {4 << 20, testID(2)}, {300_000, testID(1)}}}

var testInner = &StreamNode{Level: 1, Entries: []StreamEntry{{1 << 30, testID(3)}, {17, testID(4)}}}

// testManifest is of version 2.
func testManifest() *Manifest {
	m := testManifest1()
	m.Private.Method, m.Private.Summary.BytesDirty = "backup", 1<<21
	o := &m.Private.Origins[0]
	o.How, o.Read, o.Dirty, o.New, o.Stored = "incremental from 08090a0b", 1<<30, 1<<21, 1<<20, 1<<19
	return m
}

// testManifest1 has no fields beyond version 1.
func testManifest1() *Manifest {
	m := &Manifest{
		Structure: ManifestStructure{Session: testSession, Source: "vm/win11", Kind: "vm", Seq: 2, Previous: SnapshotID(fixed(8, 16)),
			Time: 1_790_000_000_123_456_789, SealedSecret: testSealed, Machine: "4a9d…"},
		Private: ManifestPrivate{Host: "host", Program: "vaultfs 1", Mode: "live", Quiesced: "frozen", Verified: "read back",
			Notes: []string{"a note"}, Origins: []ItemOrigin{{Path: "/var/lib/vda.qcow2", Format: "qcow2"}, {Note: "from libvirt"}, {}},
			Summary: Summary{1 << 40, 1 << 30, 1 << 20, 1 << 19, 1000, 10, 12345, 0}},
	}
	m.Structure.SetItems([]Item{{"vda", ItemDisk, 70 << 30, testID(6), "vaultfs-2"}, {"domain.xml", ItemFile, 5000, testID(7), ""}, {"copy.xml", ItemFile, 5000, testID(7), ""}})
	return m
}

// testPack is a pack of chunks that are stored as they are: what zstd makes of
// a chunk is not part of the format.
func testPack(t testing.TB, kind PackKind) []byte {
	t.Helper()
	h := PackHeader{Kind: kind, Session: testSession, Salt: testSalt}
	box, _ := packKey(h, nil)
	p := NewPack(h, box, nil)
	sealed, chunks := testSealed, []Kind{Data, Data}
	if kind == StructurePack {
		sealed, chunks = nil, []Kind{DiskMap, DiskPage, DiskRoot, Stream}
	}
	for i, k := range chunks {
		plain := fixed(byte(i), 100*(i+1))
		p.Add(k, testID(byte(i+1)), len(plain), append([]byte{payloadRaw}, plain...))
	}
	b, err := p.Finish(sealed)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(b)
}

func testRun() *Run {
	entry := func(id byte, k Kind, pack, ordinal, offset uint32) RunEntry {
		return RunEntry{PackEntry{k, testID(id), offset, 117, 100}, pack, ordinal}
	}
	return &Run{
		Sessions: []RunSession{{testSession, testSealed}, {ID: SnapshotID(fixed(0x41, 16))}},
		Packs: []RunPack{
			{PackHash(fixed(1, 32)), testSalt, 0, DataPack, 16 << 20},
			{PackHash(fixed(2, 32)), testSalt, 1, StructurePack, 5000},
		},
		Entries: []RunEntry{entry(1, Data, 0, 0, 64), entry(1, Data, 0, 3, 415), entry(2, DiskMap, 1, 0, 64), entry(3, Stream, 1, 1, 181)},
	}
}
