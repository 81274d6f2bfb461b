package fusefs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"vaultfs/ingest/vzdump"
	"vaultfs/internal/vma"
	"vaultfs/repo"
)

func (d *fakeDisk) Grains(segment int) uint32 {
	words, _ := d.GrainBitmap(segment)
	n := uint32(0)
	for _, w := range words {
		for ; w != 0; w &= w - 1 {
			n++
		}
	}
	return n
}

func (d *fakeDisk) GrainBitmap(segment int) ([]uint64, error) {
	words := make([]uint64, fakeSegment/blockSize/64)
	first := int64(segment) * (fakeSegment / blockSize)
	i, _ := slices.BinarySearch(d.blocks, first)
	for ; i < len(d.blocks) && d.blocks[i] < first+fakeSegment/blockSize; i++ {
		g := d.blocks[i] - first
		words[g/64] |= 1 << (g % 64)
	}
	return words, nil
}

// describedRepository holds descriptions of archives too.
type describedRepository struct {
	*fakeRepository
	files map[string][]byte // by the item's name
	fail  map[string]error
}

func (r *describedRepository) OpenFile(ctx context.Context, it repo.Item) (File, error) {
	r.mu.Lock()
	err := r.fail[it.Name]
	r.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if b, ok := r.files[it.Name]; ok {
		return bytes.NewReader(b), nil
	}
	return r.fakeRepository.OpenFile(ctx, it)
}

const described = "vzdump-qemu-101-2026_11_20-03_00_01.vma"

// describe adds a snapshot of an archive with a drive vda and the description,
// which is changed first.
func describe(t *testing.T, change func(*vma.Description)) *describedRepository {
	t.Helper()
	r := &describedRepository{newFakeRepository(), map[string][]byte{}, map[string]error{}}
	s := r.commit("vzdump/101", 1, noon, "vda")
	s.Kind = "vzdump"
	d := &vma.Description{
		Format: vma.FormatVMA, Name: described, VMID: "101",
		UUID: strings.Repeat("5a", 16), Created: noon.Unix(),
		Drives:  []vma.DescribedDrive{{ID: 1, Name: "drive-scsi0", Size: r.disks["vda"].size, Item: "vda"}},
		Configs: []vma.DescribedConfig{{Name: "qemu-server.conf", Item: "domain.xml"}},
	}
	b, err := d.Encode()
	if change != nil {
		change(d)
		b, err = json.Marshal(d)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.files[vma.DescriptionItem] = b
	s.Items = append(s.Items, repo.Item{Name: vma.DescriptionItem, Kind: repo.ItemFile, Size: int64(len(b))})
	return r
}

// extract takes an archive apart with a program that shares nothing with what
// made it.
func extract(t testing.TB, archive string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	run(t, "perl", "../internal/vma/testdata/view-extract.pl", archive, dir)
	return dir
}

func TestArchiveOfSnapshot(t *testing.T) {
	t.Parallel()
	r := describe(t, nil)
	mnt, reported := mount(t, r, Options{})
	in := filepath.Join(mnt, "vzdump/101/latest")
	names, err := os.ReadDir(in)
	if err != nil || !slices.ContainsFunc(names, func(e os.DirEntry) bool { return e.Name() == described }) {
		t.Errorf("%v, %v", names, err)
	}
	info, err := os.Stat(filepath.Join(in, described))
	if err != nil || info.Mode() != 0o400 || !info.ModTime().Equal(noon) {
		t.Errorf("%v, %v", info, err)
	}
	dir := extract(t, filepath.Join(in, described))
	got, err := os.ReadFile(filepath.Join(dir, "drive-scsi0"))
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "drive", got, r.disks["vda"].bytes(t))
	if got, err := os.ReadFile(filepath.Join(dir, "config-qemu-server.conf")); err != nil || string(got) != fileContent("domain.xml") {
		t.Errorf("%q, %v", got, err)
	}
	for _, sub := range []string{"disks", "tpm"} {
		if _, err := os.Stat(filepath.Join(in, sub, described)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", sub, err)
		}
	}
	if _, err := os.OpenFile(filepath.Join(in, described), os.O_RDWR, 0); !errors.Is(err, syscall.EROFS) {
		t.Errorf("opened for writing: %v", err)
	}
	if reported.String() != "" {
		t.Errorf("reported %s", reported)
	}
}

// A description that makes no sense hides the archive and nothing else.
func TestArchiveThatIsNotShown(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(d *vma.Description){
		`names the disk "vdz" of 41943552 bytes`:  func(d *vma.Description) { d.Drives[0].Item = "vdz" },
		`names the disk "vda" of 512 bytes`:       func(d *vma.Description) { d.Drives[0].Size = 512 },
		`names the disk "domain.xml"`:             func(d *vma.Description) { d.Drives[0].Item, d.Configs = "domain.xml", nil },
		`names the file "vda"`:                    func(d *vma.Description) { d.Configs[0].Item, d.Drives = "vda", nil },
		`names the file "passwd"`:                 func(d *vma.Description) { d.Configs[0].Item = "passwd" },
		`an item cannot be called "../../passwd"`: func(d *vma.Description) { d.Configs[0].Item = "../../passwd" },
		`holds a slash`:                           func(d *vma.Description) { d.Name = "../../x.vma" },
		`UUID "x"`:                                func(d *vma.Description) { d.UUID = "x" },
		`device 0`:                                func(d *vma.Description) { d.Drives[0].ID = 0 },
		`version 9`:                               func(d *vma.Description) { d.Version = 9 },
	} {
		r := describe(t, change)
		mustHideArchive(t, r, want)
	}
	r := describe(t, nil)
	r.files[vma.DescriptionItem] = []byte("{")
	r.snapshots[len(r.snapshots)-1].Items[3].Size = 1
	mustHideArchive(t, r, "archive.json: description of an archive: ")
	r.snapshots[len(r.snapshots)-1].Items[3].Size = 1 << 40
	mustHideArchive(t, r, "archive.json has 1099511627776 bytes, more than the 1048576")
	r = describe(t, nil)
	r.snapshots[len(r.snapshots)-1].Items[1].Size = 1 << 16
	mustHideArchive(t, r, "domain.xml has 65536 bytes, more than the 65535")
	r = describe(t, nil)
	r.fail[vma.DescriptionItem] = &repo.DamageError{Object: "pack 3f2a", Err: errors.New("chunk 1: wrong bytes")}
	mustHideArchive(t, r, "pack 3f2a: chunk 1: wrong bytes")
}

func mustHideArchive(t *testing.T, r *describedRepository, want string) {
	t.Helper()
	mnt, reported := mount(t, r, Options{})
	in := filepath.Join(mnt, "vzdump/101/latest")
	for range 2 {
		names, err := os.ReadDir(in)
		if got := fmt.Sprint(names); err != nil || got != "[- archive.json d disks/ - domain.xml d tpm/]" {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
		if _, err := os.Stat(filepath.Join(in, described)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%v; want %s", err, want)
		}
	}
	if b, err := os.ReadFile(filepath.Join(in, "tpm/state")); err != nil || string(b) != fileContent("tpm/state") {
		t.Errorf("%q, %v", b, err)
	}
	const begin = "the archive of vzdump/101/2026-11-21T12-00-00Z is not shown, all else is: "
	if got := reported.String(); !strings.HasPrefix(got, begin) || !strings.Contains(got, want) || strings.Contains(got, "\n") {
		t.Errorf("reported %q; want %s", got, want)
	}
}

// What fails for another reason than damage may work the next time.
func TestArchiveAfterTrouble(t *testing.T) {
	t.Parallel()
	r := describe(t, nil)
	r.fail[vma.DescriptionItem] = errors.New("the network is down")
	mnt, reported := mount(t, r, Options{})
	path := filepath.Join(mnt, "vzdump/101/latest", described)
	if _, err := os.Stat(path); !errors.Is(err, syscall.EIO) {
		t.Error(err)
	}
	if got := reported.String(); got != "reading what archive vzdump/101/2026-11-21T12-00-00Z was made of: the network is down" {
		t.Errorf("reported %s", got)
	}
	r.mu.Lock()
	delete(r.fail, vma.DescriptionItem)
	r.mu.Unlock()
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

// A block that is damaged is an error where it stands in the archive, and nothing
// else is.
func TestArchiveWithDamage(t *testing.T) {
	t.Parallel()
	r := describe(t, nil)
	disk := r.disks["vda"]
	disk.bad.Store(disk.blocks[len(disk.blocks)/2] * blockSize)
	mnt, reported := mount(t, r, Options{})
	f, err := os.Open(filepath.Join(mnt, "vzdump/101/latest", described))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	failed := 0
	for off := int64(0); ; off += 512 {
		_, err := f.ReadAt(make([]byte, 512), off)
		if err == io.EOF {
			break
		}
		if errors.Is(err, syscall.EIO) {
			failed++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if most := 2 * blockSize / 512; failed == 0 || failed > most {
		t.Errorf("%d reads failed", failed)
	}
	if !strings.Contains(reported.String(), "reading vzdump/101/2026-11-21T12-00-00Z/"+described+" at ") {
		t.Errorf("reported %s", reported)
	}
}

// Genuine archives go in, and come out of the mount with the same drives and
// configs, of the same length and in the form of the genuine ones.
func TestGenuineArchives(t *testing.T) {
	t.Parallel()
	const archives = "../internal/vma/testdata/archives"
	r, repoDir := newRealRepository(t)
	var paths []string
	for _, name := range []string{"101-2026_11_20-03_00_01.vma.zst", "103-2026_11_20-03_20_00.vma", "104-2026_11_20-03_30_00.vma.zst"} {
		paths = append(paths, filepath.Join(archives, "vzdump-qemu-"+name))
	}
	if _, err := vzdump.Ingest(t.Context(), r, paths, vzdump.Options{StateDir: t.TempDir(), Warn: func(s string) { t.Error(s) }}); err != nil {
		t.Fatal(err)
	}
	mnt, reported := mount(t, FromRepo(r), Options{Exclude: repoDir})
	for _, path := range paths {
		name, _, _ := strings.Cut(filepath.Base(path), ".vma")
		id := strings.Split(name, "-")[2]
		shown := filepath.Join(mnt, "vzdump", id, "latest", name+".vma")
		copied := filepath.Join(t.TempDir(), "copy.vma")
		run(t, "cp", shown, copied)
		checkManifest(t, filepath.Join(archives, name+".manifest.json"), copied)
	}
	if reported.String() != "" {
		t.Errorf("reported %s", reported)
	}
}

// checkManifest takes an archive apart and compares it with what "vma extract"
// made of the genuine one.
func checkManifest(t *testing.T, manifest, archive string) {
	t.Helper()
	var want struct {
		VMA             struct{ Size int64 }
		Configs, Drives []struct{ Name, SHA256 string }
	}
	b, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(archive); err != nil || want.VMA.Size > 0 && info.Size() != want.VMA.Size {
		t.Errorf("%v of %d bytes, %v", info, want.VMA.Size, err)
	}
	dir := extract(t, archive)
	files := 0
	hold := func(name, sum string) {
		files++
		b, err := os.ReadFile(filepath.Join(dir, name))
		got := sha256.Sum256(b)
		if err != nil || hex.EncodeToString(got[:]) != sum {
			t.Errorf("%s: %s holds something else (%v)", manifest, name, err)
		}
	}
	for _, c := range want.Configs {
		hold("config-"+c.Name, c.SHA256)
	}
	for _, d := range want.Drives {
		hold(d.Name, d.SHA256)
	}
	if got, err := os.ReadDir(dir); err != nil || len(got) != files || files == 0 {
		t.Errorf("%d files, want %d (%v)", len(got), files, err)
	}
}
