package vzdump

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vaultfs/internal/vma"
	"vaultfs/repo"
)

// A manifest says what the genuine "vma extract" made of an archive.
type manifest struct {
	Archives []struct{ File, SHA256 string }
	UUID     string
	Ctime    int64
	Configs  []struct{ Name, SHA256 string }
	Drives   []struct {
		Name, SHA256 string
		Size         int64
	}
}

func readManifest(t testing.TB, name string) (m manifest) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(archives, name+".manifest.json"))
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// compare compares a snapshot with a manifest. The contents of drives that are
// damaged are not compared.
func (m *manifest) compare(t testing.TB, r *repo.Repo, s *repo.Snapshot, damaged ...string) {
	t.Helper()
	for _, c := range m.Configs {
		if got := hexSum(stored(t, r, item(t, s, c.Name))); got != c.SHA256 {
			t.Errorf("%s has the checksum %s, want %s", c.Name, got, c.SHA256)
		}
	}
	for _, d := range m.Drives {
		it := item(t, s, d.Name)
		if it.Size != d.Size || it.Kind != repo.ItemDisk {
			t.Errorf("%s is a %s of %d bytes, want %d", d.Name, it.Kind, it.Size, d.Size)
		}
		if got := hexSum(stored(t, r, it)); (got != d.SHA256) != slices.Contains(damaged, d.Name) {
			t.Errorf("%s has the checksum %s, want %s", d.Name, got, d.SHA256)
		}
	}
	if want := len(m.Configs) + len(m.Drives) + 1; len(s.Items) != want {
		t.Errorf("%d items, want %d: %+v", len(s.Items), want, s.Items)
	}
}

// TestGenuine takes the genuine archives in, in each compression, and compares
// what is stored with what "vma extract" made of them.
func TestGenuine(t *testing.T) {
	r := newRepo(t)
	for _, name := range []string{"vzdump-qemu-101-2026_11_20-03_00_01", "vzdump-qemu-103-2026_11_20-03_20_00", "vzdump-qemu-104-2026_11_20-03_30_00"} {
		m := readManifest(t, name)
		files, err := filepath.Glob(filepath.Join(archives, name+".vma*"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no archives (%v)", name, err)
		}
		plain := filepath.Join(t.TempDir(), name+".vma")
		if compressed := filepath.Join(archives, name+".vma.zst"); slices.Contains(files, compressed) {
			files = append(files, write(t, plain, run(t, "zstd", "-dcq", compressed)))
		}
		vmid, when := strings.Split(name, "-")[2], titleOf(name+".vma").time
		for i, f := range files {
			s := ingestOne(t, r, f, options(t))
			m.compare(t, r, s)
			if s.Source != "vzdump/"+vmid || s.Kind != Kind || !s.Time.Equal(when) {
				t.Errorf("%s became a snapshot of %s of %v", f, s.Source, s.Time)
			}
			if i > 0 && s.Info.Summary.BytesNew > 0 {
				t.Errorf("%s added %d bytes", f, s.Info.Summary.BytesNew)
			}
			d := describes(t, r, s)
			if d.Format != vma.FormatVMA || d.Name != name+".vma" || d.VMID != vmid || d.UUID != m.UUID || d.Created != m.Ctime || len(d.Drives) != len(m.Drives) {
				t.Errorf("%s is described as %+v", f, d)
			}
		}
	}
	if want := time.Date(2026, 11, 20, 3, 0, 1, 0, time.Local); !titleOf("vzdump-qemu-101-2026_11_20-03_00_01.vma").time.Equal(want) {
		t.Errorf("the time of a name is %v", want)
	}
}

// sentences says of each archive that is refused what the error tells: what is
// wrong, and where.
var sentences = map[string]string{
	"hdr-magic.vma":                   "it begins with the bytes 56 4d 42 00 where a VMA has 56 4d 41 00: it is none, or its beginning is damaged",
	"hdr-version2.vma":                "its header says version 2 at byte 4: only version 1 is known",
	"hdr-md5.vma":                     "its header (bytes 0 to 12799) is damaged: its MD5 is 3472eaf56205fd34540ce30732b73579, at byte 32 of it stands",
	"hdr-empty.vma":                   "it is empty",
	"hdr-trunc-fixed.vma":             "it is cut off: it ends after 5000 bytes, inside of the header",
	"hdr-size-huge.vma":               "its header says at byte 56 that it has 4294967280 bytes: it can have 12289 to 524288",
	"hdr-size-12288.vma":              "its header says at byte 56 that it has 12288 bytes",
	"hdr-blob-offset-low.vma":         "its header: bytes 48 to 55 say that the names and configuration files lie at byte 100",
	"cfg-ptr-past-blob.vma":           "configuration file 0 (pointers at bytes 2044 and 3068): pointer 2147483632 is not to the beginning",
	"cfg-name-not-nul.vma":            `configuration file 0 (pointers at bytes 2044 and 3068): the name "qemu-server.confx" does not end in a zero byte`,
	"cfg-name-traversal.vma":          `the name "../../../tmp/pwn" of configuration file 0 holds a slash`,
	"dev-name-duplicate.vma":          `devices 1 and 2 are both called "drive-scsi0"`,
	"dev-size-huge.vma":               `drive "drive-scsi0" (device 1, at byte 4128) has a size of 1152921504606846976 bytes: an archive lists at most 281474976710656 of one drive, so clusters must be missing`,
	"ext-magic.vma":                   "extent 2 at byte 115712: it begins with the bytes 56 4d 41 58 where an extent has 56 4d 41 45",
	"ext-md5.vma":                     "extent 2 at byte 115712: its header is damaged: its MD5 is",
	"ext-reserved.vma":                "extent 2 at byte 115712: bytes 4 and 5 of it are 0x0100 where they must be 0",
	"ext-dup-cluster.vma":             "extent 2 at byte 115712: slot 0 is cluster 1 of drive drive-tpmstate0-backup (device 2), which came before",
	"ext-data-cluster-beyond-end.vma": "extent 2 at byte 115712: slot 18 is cluster 5000 of drive drive-scsi0 (device 1), which has only 71",
	"ext-count-low.vma":               "extent 2 at byte 115712: it says that it has 3 blocks, its masks say 4",
	"ext-count-max.vma":               "extent 2 at byte 115712: it says that it has 65535 blocks: an extent has at most 944",
	"trunc-ext-data.vma":              "extent 2 at byte 115712: it is cut off: it ends at byte 121320, after 5096 of the 8192 bytes of cluster 37 of drive drive-scsi0 (device 1)",
	"trunc-ext-boundary.vma":          "it is cut off: it ends at byte 132608 after 2 extents, and clusters are missing: 13 of the 71 of drive drive-scsi0 (device 1), the first is cluster 58; 6 of",
	"trail-garbage.vma":               "extent 4 at byte 157696: all drives are complete, and 100 bytes follow that are no extent",
	"zst-truncated.vma.zst":           "the zstd data is cut off after 91138 bytes",
	"gz-bitflip.vma.gz":               "the gzip data cannot be decompressed, at byte 137127",
}

// TestExpected holds every archive of EXPECT.json against its verdict, through a
// whole ingest into a repository.
func TestExpected(t *testing.T) {
	var list []struct{ File, SHA256, Want string }
	b, err := os.ReadFile(filepath.Join(archives, "EXPECT.json"))
	if err == nil {
		err = json.Unmarshal(b, &list)
	}
	if err != nil || len(list) != len(sentences)+3 {
		t.Fatalf("%d verdicts for %d sentences: %v", len(list), len(sentences), err)
	}
	m := readManifest(t, "vzdump-qemu-103-2026_11_20-03_20_00")
	r := newRepo(t)
	for _, e := range list {
		t.Run(e.File, func(t *testing.T) {
			path := filepath.Join(archives, e.File)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != e.SHA256 {
				t.Fatalf("the archive is not the one that the verdict is of")
			}
			o, base := options(t), filepath.Base(e.File)
			o.Name = "103"
			switch {
			case strings.HasPrefix(e.Want, "accept"):
				m.compare(t, r, ingestOne(t, r, path, o))
			case strings.HasPrefix(e.Want, "cannot be detected"):
				m.compare(t, r, ingestOne(t, r, path, o), "drive-scsi0")
			case strings.Contains(e.Want, "reject"):
				err := mustFail(t, r, path, o)
				if sentences[base] == "" {
					t.Errorf("no sentence for %v", err)
				}
				wants(t, err, "archive \"", base+"\": ", sentences[base])
			default:
				t.Fatalf("the verdict %q is not known", e.Want)
			}
			if left, err := os.ReadDir(o.StateDir); err != nil || len(left) > 0 {
				t.Errorf("%v is left in the state directory (%v)", left, err)
			}
		})
	}
}
