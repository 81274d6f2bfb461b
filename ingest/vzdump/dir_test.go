package vzdump

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vaultfs/internal/vma"
	"vaultfs/repo"
)

// The UUIDs of two guests.
const (
	firstGuest  = "f3b1a1b4-66a1-4d2f-8f8a-0f1e2d3c4b5a"
	secondGuest = "0a2b4c6d-66a1-4d2f-8f8a-aaaaaaaaaaaa"
)

// small is an archive of a small guest.
func small(seed uint64, uuid string) *made {
	return &made{configs: guestConfig(uuid), created: 1795289809, drives: []madeDrive{driveOf("drive-scsi0", content(seed, 1<<20))}}
}

// TestDirectory takes in what is new in a directory, oldest first.
func TestDirectory(t *testing.T) {
	dir, r := t.TempDir(), newRepo(t)
	var skipped []string
	o := options(t)
	o.Skipped = func(path string, s *repo.Snapshot) {
		skipped = append(skipped, filepath.Base(path)+" "+s.Source)
	}
	ingestDir := func(want ...string) error {
		t.Helper()
		skipped = nil
		list, err := Ingest(t.Context(), r, []string{dir}, o)
		var got []string
		for _, m := range list {
			got = append(got, fmt.Sprint(m.Snapshot.Source, " ", m.Snapshot.Time.In(time.Local).Format("01-02")))
		}
		if strings.Join(got, ", ") != strings.Join(want, ", ") {
			t.Errorf("made %q, want %q (%v)", got, want, err)
		}
		return err
	}
	wants(t, ingestDir(), "holds no archive of vzdump")

	for i, name := range []string{"vzdump-qemu-101-2026_03_01-00_00_00.vma", "vzdump-qemu-100-2026_02_01-00_00_00.vma", "vzdump-qemu-101-2026_01_01-00_00_00.vma"} {
		small(uint64(i), firstGuest).file(t, dir, name)
	}
	for _, other := range []string{"vzdump-qemu-101-2026_03_01-00_00_00.vma.dat", "vzdump-qemu-101-2026_03_02-00_00_00.vma.zst.tmp", "vzdump-qemu-9-2026_99_01-00_00_00.vma", "notes.txt", "README.vma"} {
		write(t, filepath.Join(dir, other), []byte("not an archive"))
	}
	for _, other := range []string{"vzdump-qemu-101-2026_03_03-00_00_00.tmp", "vzdump-qemu-107-2026_03_03-00_00_00.vma"} {
		if err := os.Mkdir(filepath.Join(dir, other), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := ingestDir("vzdump/101 01-01", "vzdump/100 02-01", "vzdump/101 03-01"); err != nil {
		t.Error(err)
	}
	if err := ingestDir(); err != nil || len(skipped) != 3 {
		t.Errorf("skipped %q, %v", skipped, err)
	}

	// One that fails does not stop those after it.
	small(7, firstGuest).file(t, dir, "vzdump-qemu-101-2026_05_01-00_00_00.vma")
	write(t, filepath.Join(dir, "vzdump-qemu-101-2026_04_01-00_00_00.vma"), small(7, firstGuest).bytes(t)[:100000])
	err := ingestDir("vzdump/101 05-01")
	if err == nil || len(skipped) != 3 {
		t.Fatalf("skipped %q, %v", skipped, err)
	}
	wants(t, err, "vzdump-qemu-101-2026_04_01-00_00_00.vma\": ", "it is cut off")

	// One that was replaced is new, and one that was only touched too.
	small(8, firstGuest).file(t, dir, "vzdump-qemu-101-2026_04_01-00_00_00.vma")
	if err := ingestDir("vzdump/101 04-01"); err != nil {
		t.Error(err)
	}
	s, err := r.Resolve(t.Context(), "vzdump/101")
	if err != nil || len(s.Info.Notes) == 0 || !strings.Contains(strings.Join(s.Info.Notes, "\n"), "it is older than snapshot") {
		t.Errorf("that an older one came after a newer one is not noted: %+v, %v", s, err)
	}
	// One that was forgotten does not come back, collected or not.
	if err := r.Forget(t.Context(), repo.ForgotByName, s); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		var forgotten []string
		o.Forgotten = func(path string, f repo.ForgottenArchive) {
			forgotten = append(forgotten, filepath.Base(path)+" "+f.Snapshot)
		}
		if err := ingestDir(); err != nil || len(skipped) != 4 || strings.Join(forgotten, ", ") != "vzdump-qemu-101-2026_04_01-00_00_00.vma "+s.ID {
			t.Errorf("skipped %q, forgotten %q, %v", skipped, forgotten, err)
		}
		if _, err := r.GC(t.Context(), repo.GCOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	// By its own name it does.
	file := filepath.Join(dir, "vzdump-qemu-101-2026_04_01-00_00_00.vma")
	if list, err := Ingest(t.Context(), r, []string{file}, o); err != nil || len(list) != 1 {
		t.Errorf("a forgotten archive that is named makes %d snapshots, %v", len(list), err)
	}
	if err := ingestDir(); err != nil || len(skipped) != 5 {
		t.Errorf("skipped %q, %v", skipped, err)
	}
	o.Name = "web"
	wants(t, ingestDir(), "of different guests", "--name web")
}

// TestDumpBelow tells someone who names the storage instead of its dump directory.
func TestDumpBelow(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "dump"), 0o700); err != nil {
		t.Fatal(err)
	}
	wants(t, mustFail(t, newRepo(t), dir, options(t)), "holds no archive", "did you mean "+filepath.Join(dir, "dump"))
}

// TestBeside keeps the notes and the log that lie beside an archive.
func TestBeside(t *testing.T) {
	dir, r := t.TempDir(), newRepo(t)
	path := small(1, firstGuest).file(t, dir, "vzdump-qemu-101-2026_03_01-00_00_00.vma")
	write(t, path+".notes", []byte("before the upgrade\n"))
	write(t, filepath.Join(dir, "vzdump-qemu-101-2026_03_01-00_00_00.log"), []byte("INFO: Finished\n"))
	s := ingestOne(t, r, path, options(t))
	if got := string(stored(t, r, item(t, s, "notes"))); got != "before the upgrade\n" {
		t.Errorf("notes: %q", got)
	}
	if got := string(stored(t, r, item(t, s, "vzdump.log"))); got != "INFO: Finished\n" {
		t.Errorf("log: %q", got)
	}

	// A link is not followed: the snapshot is made, and what is left out told.
	if err := os.Remove(path + ".notes"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/shadow", path+".notes"); err != nil {
		t.Fatal(err)
	}
	list, err := Ingest(t.Context(), r, []string{path}, options(t))
	if err != nil || len(list) != 1 || len(list[0].Warnings) != 1 || !strings.Contains(list[0].Warnings[0], ".notes is left out") {
		t.Errorf("%+v, %v", list, err)
	}
	for _, it := range list[0].Snapshot.Items {
		if it.Name == "notes" {
			t.Error("the notes are a link to a file that is no part of the backup, and were kept")
		}
	}
}

// TestGuests tells guests apart that have the same number one after the other.
func TestGuests(t *testing.T) {
	dir, r := t.TempDir(), newRepo(t)
	first := small(1, firstGuest).file(t, dir, "vzdump-qemu-101-2026_03_01-00_00_00.vma")
	second := small(2, strings.ToUpper(secondGuest)).file(t, dir, "vzdump-qemu-101-2026_03_02-00_00_00.vma")
	if s := ingestOne(t, r, first, options(t)); s.Info.Machine != firstGuest {
		t.Errorf("machine %q", s.Info.Machine)
	}
	if err := mustFail(t, r, second, options(t)); !errors.Is(err, repo.ErrSourceTaken) {
		t.Errorf("%v", err)
	}
	container := write(t, filepath.Join(dir, "vzdump-lxc-101-2026_03_03-00_00_00.tar.zst"), read(t, filepath.Join(archives, "vzdump-lxc-105-2026_11_20-03_00_00.tar.zst")))
	err := mustFail(t, r, container, options(t))
	if !errors.Is(err, repo.ErrSourceTaken) {
		t.Errorf("%v", err)
	}
	wants(t, err, "--adopt", "--name")
	o := options(t)
	o.Adopt = true
	if s := ingestOne(t, r, second, o); s.Info.Machine != secondGuest || s.Source != "vzdump/101" {
		t.Errorf("%+v", s)
	}
	o = options(t)
	o.Name = "another"
	if s := ingestOne(t, r, first, o); s.Source != "vzdump/another" {
		t.Errorf("%+v", s)
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestMachine finds the guest's UUID in its configuration.
func TestMachine(t *testing.T) {
	for text, want := range map[string]string{
		"smbios1: uuid=" + firstGuest + "\n":                                  firstGuest,
		"cores: 1\nsmbios1: base64=1,uuid=" + firstGuest + ",serial=eA==\r\n": firstGuest,
		"smbios1: manufacturer=x, uuid=" + firstGuest:                         firstGuest,
		"smbios1: serial=uuid\n":                                              guestVM,
		"smbios1: uuid=0\n":                                                   guestVM,
		"#smbios1: uuid=" + firstGuest + "\n":                                 guestVM,
		"cores: 1\n[before]\nsmbios1: uuid=" + firstGuest + "\n":              guestVM,
		"": guestVM,
	} {
		h := &vma.Header{Configs: []vma.Config{{Name: "qemu-server.fw", Data: []byte("smbios1: uuid=" + secondGuest)}, {Name: "qemu-server.conf", Data: []byte(text)}}}
		if got := machineOf(h); got != want {
			t.Errorf("%q gives %q, want %q", text, got, want)
		}
	}
}

// TestArchiveName gives computed archives a name that every file system takes.
func TestArchiveName(t *testing.T) {
	for path, want := range map[string]string{
		"/dump/vzdump-qemu-101-2026_11_20-03_00_01.vma.zst": "vzdump-qemu-101-2026_11_20-03_00_01.vma",
		"backup.vma": "backup.vma", "backup.gz": "backup.vma", "backup": "backup.vma", "a\n\xff": "a%0A%FF.vma",
		strings.Repeat("\x01", 250): strings.Repeat("%01", 84)[:251] + ".vma",
	} {
		got := plainName(path, ".vma")
		if got != want {
			t.Errorf("%q gives %q, want %q", path, got, want)
		}
		d := vma.Description{Format: vma.FormatVMA, Name: got, UUID: "513a70db62c24321be918adffa3e98cd"}
		if _, err := d.Encode(); err != nil {
			t.Error(err)
		}
	}
}

// TestStream takes an archive from standard input, compressed or not.
func TestStream(t *testing.T) {
	r := newRepo(t)
	m := small(1, firstGuest)
	packed := filepath.Join(t.TempDir(), "x")
	write(t, packed, m.bytes(t))
	for name, archive := range map[string][]byte{"zst": run(t, "zstd", "-cq", packed), "gz": run(t, "gzip", "-c", packed), "lzo": run(t, "lzop", "-c", packed), "": m.bytes(t)} {
		o := options(t)
		o.Name, o.Stdin = "101", bytes.NewReader(archive)
		s := ingestOne(t, r, Stream, o)
		same(t, r, s, m)
		if s.Source != "vzdump/101" || s.Time.Unix() != m.created || s.Info.Mode != "stream" || s.Info.Summary.BytesRead != int64(len(archive)) {
			t.Errorf("%q: %+v", name, s)
		}
		want := "vzdump-qemu-101-" + time.Unix(m.created, 0).Format("2006_01_02-15_04_05") + ".vma"
		if d := describes(t, r, s); d.Name != want {
			t.Errorf("%q: the archive is called %q, want %q", name, d.Name, want)
		}
	}
	o := options(t)
	o.Name, o.Stdin = "101", strings.NewReader("")
	wants(t, mustFail(t, r, Stream, o), "standard input: it is empty")
}

// TestWrongUsage refuses options that make no sense.
func TestWrongUsage(t *testing.T) {
	r := newRepo(t)
	odd := small(1, firstGuest).file(t, t.TempDir(), "backup.vma")
	for want, try := range map[string]func(*Options) []string{
		"no archive given":          func(*Options) []string { return nil },
		"name \"a@b\" holds an @":   func(o *Options) []string { o.Name = "a@b"; return []string{odd} },
		"does not tell which guest": func(*Options) []string { return []string{odd} },
		"given twice":               func(o *Options) []string { o.Name = "x"; return []string{"-", "-"} },
		"needs a name: give --name": func(*Options) []string { return []string{"-"} },
	} {
		o := options(t)
		o.Stdin = strings.NewReader("")
		_, err := Ingest(t.Context(), r, try(&o), o)
		if !errors.Is(err, ErrUsage) {
			t.Errorf("%v is not wrong usage", err)
			continue
		}
		wants(t, err, want)
	}
}

// TestWrongType gives what is no archive of the kind that its name says.
func TestWrongType(t *testing.T) {
	dir, r := t.TempDir(), newRepo(t)
	for name, try := range map[string]struct {
		content []byte
		want    string
	}{
		"vzdump-qemu-101-2026_03_01-00_00_00.vma":     {[]byte(strings.Repeat("no archive ", 2000)), "it begins with the bytes 6e 6f 20 61 where a VMA has 56 4d 41 00"},
		"vzdump-qemu-101-2026_03_02-00_00_00.vma.zst": {[]byte("PK\x03\x04 and so on"), "it begins with the bytes 50 4b 03 04"},
		"vzdump-lxc-101-2026_03_03-00_00_00.tar":      {small(1, firstGuest).bytes(t), "its name says that it is of a container, what it holds is of a virtual machine"},
		"vzdump-qemu-101-2026_03_04-00_00_00.vma.gz":  {read(t, filepath.Join(archives, "vzdump-lxc-105-2026_11_20-03_00_00.tar.zst")), "its name says that it is of a virtual machine, what it holds is of a container"},
		"vzdump-lxc-101-2026_03_05-00_00_00.tar.zst":  {[]byte(strings.Repeat("no archive ", 2000)), "it is not a tar archive"},
		"vzdump-lxc-101-2026_03_06-00_00_00.tar":      {nil, "it is empty"},
	} {
		err := mustFail(t, r, write(t, filepath.Join(dir, name), try.content), options(t))
		wants(t, err, name, try.want)
	}
	wants(t, mustFail(t, r, filepath.Join(dir, "vzdump-qemu-1-2026_03_01-00_00_00.vma"), options(t)), "it does not exist")
	wants(t, mustFail(t, r, "/dev/null", Options{Name: "x"}), "no regular file")
}

// TestChanged writes to, cuts off, replaces and removes an archive while it is
// read: when its reader warns that it is older than what is there.
func TestChanged(t *testing.T) {
	r := newRepo(t)
	m := &made{configs: guestConfig(firstGuest), drives: []madeDrive{driveOf("drive-scsi0", noise(1, make([]byte, 24<<20)))}}
	newer := small(1, firstGuest).file(t, t.TempDir(), "vzdump-qemu-101-2026_04_01-00_00_00.vma")
	ingestOne(t, r, newer, options(t))
	for want, change := range map[string]func(path string) error{
		"bytes while it was being read": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteString("more")
			return err
		},
		"to 20000 bytes while it was being read": func(path string) error { return os.Truncate(path, 20000) },
		"it was written to while":                func(path string) error { return os.Chtimes(path, time.Now(), time.Now()) },
		"it was removed while":                   os.Remove,
		"it was replaced while": func(path string) error {
			return errors.Join(os.Rename(path, path+".was"), os.WriteFile(path, nil, 0o600))
		},
	} {
		path := m.file(t, t.TempDir(), "vzdump-qemu-101-2026_03_01-00_00_00.vma")
		o, changed := options(t), 0
		o.Warn = func(string) {
			changed++
			if err := change(path); err != nil {
				t.Error(err)
			}
		}
		err := mustFail(t, r, path, o)
		if !errors.Is(err, ErrChanged) || changed != 1 {
			t.Errorf("%d changes, %v", changed, err)
		}
		wants(t, err, want)
	}
}
