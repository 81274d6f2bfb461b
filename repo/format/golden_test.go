package format

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/zeebo/blake3"
)

// golden reads a file of testdata, hexadecimal in lines. The files pin version
// 1 of the format, and versions 2 to 4 of a manifest: they were made once, and
// repositories like them exist. If a test here fails, the format has changed and
// needs a new version.
func golden(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".hex"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.ReplaceAll(string(text), "\n", ""))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return b
}

// encoded is every structure as it is written now.
func encoded(t testing.TB) map[string][]byte {
	return map[string][]byte{
		"config":          testConfig.Encode(),
		"pack-data":       testPack(t, DataPack),
		"pack-structure":  testPack(t, StructurePack),
		"run":             testRun().Encode(testSalt, runKey, testRunName),
		"head":            testHead.Encode(testSalt, headKey, testHeadName),
		"lease":           testLease.Encode(testSalt, leaseKey, testLeaseName),
		"mark":            testMark.Encode(testSalt, markKey, testMarkName),
		"policy":          testPolicy.Encode(testSalt, policyKey, testPolicyName),
		"ledger":          testLedger.Encode(testSalt, ledgerKey, testLedgerName),
		"manifest-4":      testManifest().Encode(testSalt, manifestKey, bodyKey),
		"segment-map":     testMap.Encode(),
		"page":            testPage.EncodePage(),
		"root":            testDisk.Encode(),
		"node":            testNode.Encode(),
		"node-inner":      testInner.Encode(),
		"payload-raw":     Payload(nil, fixed(1, 100)),
		"directory":       mustEncode((&DirNode{Entries: testEntries()}).Encode()),
		"directory-inner": mustEncode(testDirInner.Encode()),
		"tree-root":       mustEncode(EncodeTreeRoot(testTreeRoot)),
		"ranges":          EncodeRanges(testRanges),
	}
}

// goldenSum is BLAKE3-256 of all golden files in the order of their names, each
// after its name: that somebody made the files anew does not go unnoticed.
const goldenSum = "43d8b48da1ef951cc5ea4d43d2b9da357992a7ea7d951e1eff2c0c66a52654db"

func TestGoldenEncodings(t *testing.T) {
	now := encoded(t)
	files, err := filepath.Glob("testdata/*.hex")
	if err != nil {
		t.Fatal(err)
	}
	sum := blake3.New()
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".hex")
		sum.WriteString(name)
		sum.Write(golden(t, name))
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != goldenSum {
		t.Errorf("the golden files were changed; they hash to %s", got)
	}
	for name, got := range now {
		if !bytes.Equal(got, golden(t, name)) {
			t.Errorf("%s: the format has changed; now\n%s", name, dump(got))
		}
	}
}

func mustEncode(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func dump(b []byte) string {
	var out strings.Builder
	for text := hex.EncodeToString(b); len(text) > 0; {
		n := min(64, len(text))
		out.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	return out.String()
}

// What an older binary wrote must open and mean the same.
func TestGoldenOpens(t *testing.T) {
	check := func(name string, got, want any, err error) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v (%v)", name, got, want, err)
		}
	}
	config, err := DecodeConfig(golden(t, "config"))
	check("config", config, testConfig, err)
	head, err := DecodeHead(headKey, testHeadName, golden(t, "head"))
	check("head", head, testHead, err)
	lease, err := DecodeLease(leaseKey, testLeaseName, golden(t, "lease"))
	check("lease", lease, testLease, err)
	run, err := DecodeRun(runKey, testRunName, golden(t, "run"))
	check("run", run, testRun(), err)
	manifest, err := DecodeManifest(testSession, manifestKey, askBodyKey, golden(t, "manifest"))
	check("manifest of version 1", manifest, testManifest1(), err)
	manifest, err = DecodeManifest(testSession, manifestKey, askBodyKey, golden(t, "manifest-2"))
	check("manifest of version 2", manifest, testManifest2(), err)
	manifest, err = DecodeManifest(testSession, manifestKey, askBodyKey, golden(t, "manifest-3"))
	check("manifest of version 3", manifest, testManifest3(), err)
	manifest, err = DecodeManifest(testSession, manifestKey, askBodyKey, golden(t, "manifest-4"))
	check("manifest", manifest, testManifest(), err)
	mark, err := DecodeMark(markKey, testMarkName, golden(t, "mark"))
	check("mark", mark, testMark, err)
	policy, err := DecodePolicy(policyKey, testPolicyName, golden(t, "policy"))
	check("policy", policy, testPolicy, err)
	ledger, err := DecodeLedger(ledgerKey, testLedgerName, golden(t, "ledger"))
	check("ledger", ledger, testLedger, err)
	m, err := DecodeSegmentMap(golden(t, "segment-map"), 64<<20)
	check("segment map", m, testMap, err)
	page, err := DecodePage(golden(t, "page"), 64<<20)
	check("page", page, testPage, err)
	disk, err := DecodeDisk(golden(t, "root"))
	check("root", disk, testDisk, err)
	node, err := DecodeStreamNode(golden(t, "node"))
	check("node", node, testNode, err)
	inner, err := DecodeStreamNode(golden(t, "node-inner"))
	check("inner node", inner, testInner, err)
	dir, err := DecodeDirNode(golden(t, "directory"))
	check("directory node", dir, &DirNode{Entries: testEntries()}, err)
	dir, err = DecodeDirNode(golden(t, "directory-inner"))
	check("inner directory node", dir, testDirInner, err)
	root, err := DecodeTreeRoot(golden(t, "tree-root"))
	check("root of a tree", root, testTreeRoot, err)
	ranges, stored, err := DecodeRanges(golden(t, "ranges"), 1<<50)
	check("runs of data", ranges, testRanges, err)
	check("bytes of data", stored, int64(4097+1<<40), nil)
	plain, err := OpenPayload(nil, golden(t, "payload-raw"), 100)
	check("raw payload", plain, fixed(1, 100), err)
	plain, err = OpenPayload(nil, golden(t, "payload-zstd"), 100_000)
	check("zstd payload", plain, bytes.Repeat([]byte("vaultfs "), 12_500), err)
	for _, kind := range []PackKind{DataPack, StructurePack} {
		b := golden(t, map[PackKind]string{DataPack: "pack-data", StructurePack: "pack-structure"}[kind])
		pack, err := DecodePack(b, packKey)
		if err != nil {
			t.Fatal(err)
		}
		box, _ := packKey(pack.Header, nil)
		for i, e := range pack.Entries {
			plain, err := OpenChunk(nil, box, uint64(i), e, bytes.Clone(b[e.Offset:e.Offset+e.Sealed]))
			check("chunk", plain, fixed(byte(i), 100*(i+1)), err)
		}
	}
}

func TestHeadHasRunsOf(t *testing.T) {
	for _, c := range []struct {
		session SnapshotID
		want    bool
	}{{testSession, true}, {SnapshotID{}, false}, {SnapshotID(fixed(0x3f, 16)), false}, {SnapshotID(fixed(0x41, 16)), false}} {
		if got := testHead.HasOf(c.session); got != c.want {
			t.Errorf("a run of session %v: %v", c.session, got)
		}
	}
}
