package vma

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const archives = "testdata/archives"

// plain reads an archive, decompressed.
func plain(t testing.TB, name string) []byte {
	t.Helper()
	name = filepath.Join(archives, name)
	if filepath.Ext(name) == ".vma" {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b, err := exec.Command("zstd", "-dcq", name).Output()
	if err != nil {
		t.Fatalf("zstd -dc %s: %v", name, err)
	}
	return b
}

// contents reads a whole archive and returns its drives.
func contents(r io.Reader) (*Header, [][]byte, error) {
	v, err := NewReader(r)
	if err != nil {
		return nil, nil, err
	}
	var drives [][]byte
	for _, d := range v.Header().Drives {
		if d.Size > 1<<30 {
			return v.Header(), nil, errors.New("too large for a test")
		}
		drives = append(drives, make([]byte, d.Size))
	}
	for {
		c, err := v.Next()
		if err == io.EOF {
			return v.Header(), drives, nil
		}
		if err != nil {
			return v.Header(), nil, err
		}
		for j, data := 0, c.Data; j < blocksPerCluster; j++ {
			if c.Mask>>j&1 == 1 {
				copy(drives[c.Drive][c.Number*clusterSize+int64(j)*blockSize:], data[:blockSize])
				data = data[blockSize:]
			}
		}
	}
}

func hexSum(p []byte) string {
	sum := sha256.Sum256(p)
	return hex.EncodeToString(sum[:])
}

// TestGenuine compares what genuine archives hold with what "vma extract" made
// of them.
func TestGenuine(t *testing.T) {
	for name, manifest := range map[string]string{
		"vzdump-qemu-101-2026_11_20-03_00_01.vma.zst": "vzdump-qemu-101-2026_11_20-03_00_01",
		"vzdump-qemu-103-2026_11_20-03_20_00.vma":     "vzdump-qemu-103-2026_11_20-03_20_00",
		"vzdump-qemu-104-2026_11_20-03_30_00.vma.zst": "vzdump-qemu-104-2026_11_20-03_30_00",
		"odd/full-59-entries.vma":                     "vzdump-qemu-103-2026_11_20-03_20_00",
		"odd/last-cluster-ffff.vma":                   "vzdump-qemu-103-2026_11_20-03_20_00",
	} {
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(archives, manifest+".manifest.json"))
			if err != nil {
				t.Fatal(err)
			}
			var want struct {
				UUID       string
				Ctime      int64
				HeaderSize int64 `json:"header_size"`
				Configs    []struct{ Name, SHA256 string }
				Drives     []struct {
					DevID        uint8 `json:"dev_id"`
					Name, SHA256 string
					Size         int64
				}
			}
			if err := json.Unmarshal(b, &want); err != nil {
				t.Fatal(err)
			}
			archive := plain(t, name)
			h, drives, err := contents(bytes.NewReader(archive))
			if err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(h.UUID[:]); got != want.UUID || h.Created != want.Ctime {
				t.Errorf("UUID %s, made at %d; want %s, %d", got, h.Created, want.UUID, want.Ctime)
			}
			if len(h.Configs) != len(want.Configs) || len(h.Drives) != len(want.Drives) {
				t.Fatalf("%d configs and %d drives, want %d and %d", len(h.Configs), len(h.Drives), len(want.Configs), len(want.Drives))
			}
			for i, c := range want.Configs {
				if got := h.Configs[i]; got.Name != c.Name || hexSum(got.Data) != c.SHA256 {
					t.Errorf("config %q of %x, want %q of %s", got.Name, hexSum(got.Data), c.Name, c.SHA256)
				}
			}
			for i, d := range want.Drives {
				if got := h.Drives[i]; got != (Drive{d.DevID, d.Name, d.Size}) || hexSum(drives[i]) != d.SHA256 {
					t.Errorf("%+v of %s, want %+v", got, hexSum(drives[i]), d)
				}
			}
			again, err := h.encode()
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again, archive[:want.HeaderSize]) {
				t.Error("the header is not encoded as it was")
			}
		})
	}
}

// rejected says of each archive that must be refused what the error tells: what
// is wrong, and where.
var rejected = map[string]string{
	"hdr-magic":                   "it begins with the bytes 56 4d 42 00 where a VMA has 56 4d 41 00: it is none, or its beginning is damaged",
	"hdr-version2":                "its header says version 2 at byte 4: only version 1 is known",
	"hdr-md5":                     "its header (bytes 0 to 12799) is damaged: its MD5 is ",
	"hdr-empty":                   "it is empty",
	"hdr-trunc-fixed":             "it is cut off: it ends after 5000 bytes, inside of the header, whose first part alone has 12288",
	"hdr-size-huge":               "its header says at byte 56 that it has 4294967280 bytes: it can have 12289 to 524288",
	"hdr-size-12288":              "its header says at byte 56 that it has 12288 bytes: it can have 12289 to 524288",
	"hdr-blob-offset-low":         "its header: bytes 48 to 55 say that the names and configuration files lie at byte 100, with 341 bytes: they must lie from byte 12288 to 12799",
	"cfg-ptr-past-blob":           "its header: configuration file 0 (pointers at bytes 2044 and 3068): pointer 2147483632 is not to the beginning of a name or configuration file",
	"cfg-name-not-nul":            "its header: configuration file 0 (pointers at bytes 2044 and 3068): the name \"qemu-server.confx\" does not end in a zero byte",
	"cfg-name-traversal":          `its header: the name "../../../tmp/pwn" of configuration file 0 holds a slash: it is no plain file name`,
	"dev-name-duplicate":          `its header: devices 1 and 2 are both called "drive-scsi0"`,
	"dev-size-huge":               `its header: drive "drive-scsi0" (device 1, at byte 4128) has a size of 1152921504606846976 bytes: an archive lists at most 281474976710656 of one drive, so clusters must be missing`,
	"ext-magic":                   "extent 2 at byte 115712: it begins with the bytes 56 4d 41 58 where an extent has 56 4d 41 45",
	"ext-md5":                     "extent 2 at byte 115712: its header is damaged: its MD5 is ",
	"ext-reserved":                "extent 2 at byte 115712: bytes 4 and 5 of it are 0x0100 where they must be 0",
	"ext-dup-cluster":             "extent 2 at byte 115712: slot 0 is cluster 1 of drive drive-tpmstate0-backup (device 2), which came before: no cluster may come twice",
	"ext-data-cluster-beyond-end": "extent 2 at byte 115712: slot 18 is cluster 5000 of drive drive-scsi0 (device 1), which has only 71: it lies beyond the drive's end",
	"ext-count-low":               "extent 2 at byte 115712: it says that it has 3 blocks, its masks say 4",
	"ext-count-max":               "extent 2 at byte 115712: it says that it has 65535 blocks: an extent has at most 944",
	"trunc-ext-data":              "extent 2 at byte 115712: it is cut off: it ends at byte 121320, after 5096 of the 8192 bytes of cluster 37 of drive drive-scsi0 (device 1)",
	"trunc-ext-boundary":          "it is cut off: it ends at byte 132608 after 2 extents, and clusters are missing: 13 of the 71 of drive drive-scsi0 (device 1), the first is cluster 58; 6 of the 64 of drive drive-tpmstate0-backup (device 2), the first is cluster 58",
	"trail-garbage":               "extent 4 at byte 157696: all drives are complete, and 100 bytes follow that are no extent",
}

// TestRejected reads every archive that must be refused and lies there plain.
func TestRejected(t *testing.T) {
	all, err := filepath.Glob(archives + "/corrupt/*.vma")
	if err != nil || len(all) != len(rejected)+1 {
		t.Fatalf("%d archives, %d sentences (%v)", len(all), len(rejected), err)
	}
	for _, name := range all {
		base := strings.TrimSuffix(filepath.Base(name), ".vma")
		if base == "data-bitflip" { // nothing in the format covers it
			continue
		}
		t.Run(base, func(t *testing.T) {
			_, _, err := contents(bytes.NewReader(plain(t, "corrupt/"+base+".vma")))
			if err == nil || !strings.HasPrefix(err.Error(), rejected[base]) || rejected[base] == "" {
				t.Errorf("got  %v\nwant %s", err, rejected[base])
			}
		})
	}
}
