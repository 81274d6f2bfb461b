package vm

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vaultfs/internal/testguest"
	"vaultfs/internal/virt"
)

// machineOf reads what makes a guest besides its disks, as an ingest of its state does.
func machineOf(t *testing.T, g *testguest.Guest) *machine {
	t.Helper()
	h, d := domainOf(t, g)
	text, err := d.GetXMLDesc(0)
	if err != nil {
		t.Fatal(err)
	}
	m, err := machineFiles(h.URI, d, text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *machine) names() (all []string) {
	for _, f := range m.files {
		all = append(all, f.name)
	}
	return all
}

func (m *machine) text(t *testing.T, name string) string {
	t.Helper()
	for _, f := range m.files {
		if f.name == name {
			return f.text
		}
	}
	t.Fatalf("there is no %s, only %q", name, m.names())
	return ""
}

// TestFirmwareAndTPM goes through the life of a guest with both.
func TestFirmwareAndTPM(t *testing.T) {
	t.Parallel()
	g := testguest.Define(t, testguest.Spec{UEFI: true, TPM: true, NoAgent: true, Disks: []testguest.Disk{{Format: "qcow2", Bus: "virtio", Size: "8M"}}})
	m := machineOf(t, g)
	if len(m.files) > 0 || len(m.warnings) > 0 || len(m.notes) != 2 || !strings.Contains(strings.Join(m.notes, ""), "first started") {
		t.Errorf("before it ever ran: %+v", m)
	}

	g.Start()
	nvram := "/var/lib/libvirt/qemu/nvram/" + g.Name + "_VARS.fd"
	state := waitForTPM(t, g)
	m = machineOf(t, g)
	if got := m.names(); !slices.Equal(got, []string{nvramItem, tpmItem}) || len(m.notes)+len(m.warnings) > 0 {
		t.Errorf("%q, notes %q, warnings %q", got, m.notes, m.warnings)
	}
	if n := len(m.text(t, nvramItem)); n != 540672 {
		t.Errorf("NVRAM of %d bytes", n)
	}
	wantTPMArchive(t, m.text(t, tpmItem), state)

	// What a guest needs and cannot be read is a warning.
	for _, path := range []string{nvram, filepath.Dir(filepath.Dir(state))} {
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
	}
	m = machineOf(t, g)
	for _, path := range []string{nvram, filepath.Dir(filepath.Dir(state))} {
		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
	}
	if len(m.files) > 0 || len(m.notes) > 0 || len(m.warnings) != 2 || !strings.Contains(m.warnings[0], nvram) || !strings.Contains(m.warnings[1], "TPM") {
		t.Errorf("with its files away: %+v", m)
	}

	g.Destroy()
	if before, now := m, machineOf(t, g); len(now.files) != 2 || len(now.warnings) > 0 {
		t.Errorf("shut off: %+v, was %+v", now, before)
	}
}

// waitForTPM waits until the TPM has stored something, and returns the file.
func waitForTPM(t *testing.T, g *testguest.Guest) string {
	t.Helper()
	path := filepath.Join(systemTPMDir, testguest.Virsh(t, "domuuid", g.Name), "tpm2/tpm2-00.permall")
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if info, err := os.Stat(path); err == nil && info.Size() > 0 {
			return path
		}
		if time.Now().After(end) {
			t.Fatalf("there is no %s", path)
		}
	}
}

// wantTPMArchive fails unless the archive holds the state, its owner and its mode, and no lock.
func wantTPMArchive(t *testing.T, packed, state string) {
	t.Helper()
	r := tar.NewReader(strings.NewReader(packed))
	var names []string
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		if h.Name != "tpm2/tpm2-00.permall" {
			continue
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(state)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(content, want) || h.Uname != "tss" || h.FileInfo().Mode() != 0o600 {
			t.Errorf("%d bytes of %s, mode %v; the file has %d bytes", len(content), h.Uname, h.FileInfo().Mode(), len(want))
		}
	}
	if !slices.Equal(names, []string{"tpm2/", "tpm2/tpm2-00.permall"}) {
		t.Errorf("the archive holds %q", names)
	}
}

func TestSnapshotsAreKept(t *testing.T) {
	t.Parallel()
	g := testguest.Define(t, testguest.Spec{NoAgent: true, Disks: []testguest.Disk{{Format: "qcow2", Bus: "virtio", Size: "8M"}}})
	if m := machineOf(t, g); len(m.files) > 0 {
		t.Errorf("without any there are %q", m.names())
	}
	testguest.Virsh(t, "snapshot-create-as", g.Name, "before <&> \"after\"")
	testguest.Virsh(t, "snapshot-create-as", g.Name, "second")
	testguest.Virsh(t, "snapshot-current", g.Name, "before <&> \"after\"")
	text := machineOf(t, g).text(t, snapshotsItem)
	if !strings.HasPrefix(text, `<snapshots current="before &lt;&amp;&gt; &#34;after&#34;">`) || strings.Count(text, "<domainsnapshot>") != 2 ||
		!strings.Contains(text, "<name>second</name>") || !strings.HasSuffix(text, "</snapshots>\n") {
		t.Errorf("%s is %s", snapshotsItem, text)
	}
}

// TestOtherTPMs holds those whose state is not ours to read.
func TestOtherTPMs(t *testing.T) {
	h, err := virt.Connect("test:///default")
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	d, err := h.Lookup("test")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Free()
	for backend, want := range map[string]struct{ note, warning string }{
		`<backend type='passthrough'><device path='/dev/tpm0'/></backend>`:                  {"in a device of the host", ""},
		`<backend type='external'><source type='unix' mode='connect' path='/x'/></backend>`: {"", "run by another program"},
		`<backend type='emulator' version='2.0'><source type='dir' path='/x'/></backend>`:   {"", "at a place of its own"},
		`<backend type='emulator' version='2.0'/>`:                                          {"", "is not known"},
	} {
		m, err := machineFiles(h.URI, d, "<domain type='test'><name>v</name><uuid>4082c95f-784b-4e9b-9763-65720efc0f5f</uuid><devices><tpm model='tpm-crb'>"+backend+"</tpm></devices></domain>")
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(m.notes, "; "); !strings.Contains(got, want.note) || (got == "") != (want.note == "") {
			t.Errorf("%s: notes %q", backend, got)
		}
		if got := strings.Join(m.warnings, "; "); !strings.Contains(got, want.warning) || (got == "") != (want.warning == "") {
			t.Errorf("%s: warnings %q", backend, got)
		}
	}
}

// TestSteadily reads something that changes a few times, and something that never stops.
func TestSteadily(t *testing.T) {
	for changes, want := range map[int]bool{0: true, 3: true, 1000: false} {
		version, reads := 0, 0
		look := func() (stamp, error) { return stamp{string(rune(version)), time.Time{}}, nil }
		read := func() error {
			if reads++; version < changes {
				version++
			}
			return nil
		}
		steady, err := steadily(look, read)
		if err != nil || steady != want || (want && reads != changes+1) {
			t.Errorf("%d changes: steady %v after %d readings, %v", changes, steady, reads, err)
		}
	}
	gone := func() (stamp, error) { return stamp{}, fs.ErrNotExist }
	if _, err := steadily(gone, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestMachineFilesAreBounded(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, machineFileLimit+1); err != nil {
		t.Fatal(err)
	}
	if _, err := readLimited(large); err == nil {
		t.Error("a file that is too large was read")
	}
	if _, err := readLimited(dir); err == nil {
		t.Error("a directory was read")
	}
	if _, _, err := readTPM(dir); err == nil {
		t.Error("too large a state was read")
	}
}
