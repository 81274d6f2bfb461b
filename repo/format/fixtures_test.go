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

func headKey(salt Salt) *seal.Box   { return seal.NewBox(testSecrets.HeadKey(salt)) }
func runKey(salt Salt) *seal.Box    { return seal.NewBox(testSecrets.RunKey(testSession, salt)) }
func leaseKey(salt Salt) *seal.Box  { return seal.NewBox(testSecrets.LeaseKey(testSession, salt)) }
func markKey(salt Salt) *seal.Box   { return seal.NewBox(testSecrets.MarkKey(salt)) }
func policyKey(salt Salt) *seal.Box { return seal.NewBox(testSecrets.PolicyKey(salt)) }
func ledgerKey(salt Salt) *seal.Box { return seal.NewBox(testSecrets.LedgerKey(salt)) }
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
	testHeadName   = "head/00000000000000000007"
	testRunName    = "runs/session/run"
	testLeaseName  = "sessions/lease"
	testMarkName   = "forgotten/08090a0b0c0d0e0f1011121314151617"
	testPolicyName = "policy/00000000000000000003"
	testLedgerName = "ledger/part"
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

var testMark = &Mark{Snapshot: SnapshotID(fixed(8, 16)), Source: "vm/win11", Time: 1_790_000_000, Host: "host", Reason: "policy"}

var testPolicy = &Policy{Seq: 3, Rules: []PolicyRule{
	{For: "", Last: 5, Hourly: 24, Daily: 7, Weekly: 4, Monthly: 12, Yearly: 2, MaxUnread: 45 * 86400},
	{For: "vm", Last: 5, Daily: 7, MaxAge: 36 * 3600},
	{For: "vm/win11", Within: 30 * 86400, Tags: []string{"before the update", "gold"}},
}}

var testLedger = &Ledger{
	Packs:     []LedgerPack{{PackHash(fixed(5, 32)), 1_790_000_000}, {PackHash(fixed(6, 32)), -1}},
	Snapshots: []LedgerSnapshot{{SnapshotID(fixed(8, 16)), 1_790_000_001}},
}

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

// testManifest is of version 4.
func testManifest() *Manifest {
	m := testManifest3()
	m.Structure.Tags = []string{"before the update", "gold"}
	return m
}

// testManifest3 has no fields beyond version 3.
func testManifest3() *Manifest {
	m := testManifest2()
	s := &m.Private.Summary
	s.Files, s.Dirs, s.Others = 9000, 800, 70
	s.FilesNew, s.FilesChanged, s.FilesUnchanged, s.FilesUnread = 1000, 200, 7797, 3
	items := append(m.Structure.Items, Item{".", ItemTree, 1 << 33, testID(8), ""})
	m.Structure.SetItems(items)
	m.Private.Origins = append(m.Private.Origins, ItemOrigin{Path: "/srv"})
	return m
}

// testManifest2 has no fields beyond version 2.
func testManifest2() *Manifest {
	m := testManifest1()
	m.Private.Method, m.Private.Summary.BytesDirty = "backup", 1<<21
	o := &m.Private.Origins[0]
	o.How, o.Read, o.Dirty, o.New, o.Stored = "incremental from 08090a0b", 1<<30, 1<<21, 1<<20, 1<<19
	return m
}

// testEntries are of every type, with every sort of content.
func testEntries() []TreeEntry {
	when := Timestamp{1_790_000_000, 123_456_789}
	return []TreeEntry{
		{Name: "block", Mode: TypeBlock | 0o660, GID: 6, Mtime: when, Ctime: when, Inode: 11, Links: 1, Rdev: 8<<32 | 1},
		{Name: "char", Mode: TypeChar | 0o666, Mtime: Timestamp{Sec: -1}, Ctime: when, Inode: 12, Links: 1, Rdev: 1<<32 | 3},
		{Name: "dir", Mode: TypeDirectory | 0o1777, Mtime: when, Ctime: when, Inode: 13, Device: 1, Links: 3, Blocks: 8,
			Content: Content{Kind: DirContent, ID: testID(9), Size: 4096}, Below: Totals{3, 1, 2, 1 << 40}},
		{Name: "dir-of-another", Mode: TypeDirectory | 0o755, Content: Content{Kind: DirContent, ID: testID(10)}},
		{Name: "empty", Mode: TypeRegular | 0o4755, UID: 1000, GID: 1000, Mtime: when, Ctime: when, Inode: 14, Links: 2,
			Xattrs: []Xattr{{Name: "security.capability", Value: fixed(1, 20), Size: 20}, {Name: "user.empty"}, {Name: "user.long", Chunk: testID(14), Size: 5000}}},
		{Name: "fifo", Mode: TypeFifo | 0o600},
		{Name: "hole", Mode: TypeRegular, Content: Content{Size: 1 << 40, Ranges: testID(12)}},
		{Name: "large", Mode: TypeRegular | 0o644, Mtime: when, Blocks: 1 << 20, Content: Content{Kind: StreamContent, ID: testID(7), Size: 512 << 20}},
		{Name: "link", Mode: TypeSymlink | 0o777, Mtime: when, Target: "../\xff target"},
		{Name: "same", Mode: TypeRegular | 0o644, Content: Content{Kind: ChunkContent, ID: testID(11), Size: 700}},
		{Name: "small", Mode: TypeRegular | 0o644, Content: Content{Kind: ChunkContent, ID: testID(11), Size: 700}},
		{Name: "socket", Mode: TypeSocket | 0o755},
		{Name: "sparse", Mode: TypeRegular | 0o600, Content: Content{Kind: ChunkContent, ID: testID(13), Size: 1 << 50, Ranges: testID(12)}},
		{Name: "\xff\n", Mode: TypeRegular},
	}
}

var testDirInner = &DirNode{Level: 1, Children: []DirChild{{"a", 300, testID(21)}, {"dir", 1, testID(22)}, {"\xfe", 90000, testID(23)}}}

var testTreeRoot = &TreeEntry{Mode: TypeDirectory | 0o755, UID: 1000, Mtime: Timestamp{1_790_000_000, 1}, Inode: 2, Links: 20,
	Content: Content{Kind: DirContent, ID: testID(24), Size: 4096}, Below: Totals{90301, 1, 2, 1 << 33}}

var testRanges = []Range{{0, 4096}, {1 << 20, 1}, {1<<20 + 8192, 1 << 40}}

// testManifest1 has no fields beyond version 1.
func testManifest1() *Manifest {
	m := &Manifest{
		Structure: ManifestStructure{Session: testSession, Source: "vm/win11", Kind: "vm", Seq: 2, Previous: SnapshotID(fixed(8, 16)),
			Time: 1_790_000_000_123_456_789, SealedSecret: testSealed, Machine: "4a9d…"},
		Private: ManifestPrivate{Host: "host", Program: "vaultfs 1", Mode: "live", Quiesced: "frozen", Verified: "read back",
			Notes: []string{"a note"}, Origins: []ItemOrigin{{Path: "/var/lib/vda.qcow2", Format: "qcow2"}, {Note: "from libvirt"}, {}},
			Summary: Summary{BytesTotal: 1 << 40, BytesRead: 1 << 30, BytesNew: 1 << 20, BytesStored: 1 << 19, ChunksTotal: 1000, ChunksNew: 10, Milliseconds: 12345}},
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
