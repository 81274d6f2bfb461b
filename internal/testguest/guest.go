package testguest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// bootTime is how long a guest may take from its start to its agent's answer, on a busy machine without KVM.
const bootTime = 10 * time.Minute

// Disk is one disk of a guest.
type Disk struct {
	Base   bool   // bootable: an overlay over Image as qcow2, a copy of it as raw; else empty
	Format string // qcow2 or raw
	Bus    string // virtio, scsi
	Size   string // as qemu-img takes it, for an empty one
}

// Spec is a guest to define. Its disks are vda, vdb, … on virtio and sda, … on scsi, in order.
type Spec struct {
	Disks   []Disk // none: one bootable qcow2 on virtio
	NoAgent bool   // without the channel of the guest agent
	UEFI    bool   // with OVMF and an NVRAM file of its own, on q35; the kernel is handed over by QEMU
	TPM     bool   // with an emulated TPM 2.0
	Extra   string // more XML for <devices>
}

// Guest is a domain that a test owns. It is destroyed and undefined, and its folder removed, when the test ends.
type Guest struct {
	Name  string
	Dir   string   // of its images; QEMU can read it
	Paths []string // of the disks, in order
	t     testing.TB
}

// Dir is a folder for a test that QEMU's user can pass, which t.TempDir is not.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "vaultfs-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Define makes the disks and defines the domain; it does not start it.
func Define(t testing.TB, spec Spec) *Guest {
	t.Helper()
	Daemon(t)
	dir := Dir(t)
	g := &Guest{Name: filepath.Base(dir), Dir: dir, t: t}
	if spec.Disks == nil {
		spec.Disks = []Disk{{Base: true, Format: "qcow2", Bus: "virtio"}}
	}
	var disks strings.Builder
	count := map[string]int{}
	for _, d := range spec.Disks {
		prefix := map[string]string{"virtio": "vd", "scsi": "sd"}[d.Bus]
		target := prefix + string(rune('a'+count[prefix]))
		count[prefix]++
		path := g.makeDisk(target, d)
		g.Paths = append(g.Paths, path)
		fmt.Fprintf(&disks, diskXML, d.Format, path, target, d.Bus)
	}
	channel := `<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>`
	if spec.NoAgent {
		channel = ""
	}
	g.define(fmt.Sprintf(domainXML, g.Name, firmwareXML(t, spec), disks.String(), filepath.Join(dir, "console.log"), channel, tpmXML(spec), spec.Extra))
	return g
}

const diskXML = `<disk type='file' device='disk'><driver name='qemu' type='%s' discard='unmap'/><source file='%s'/>
  <target dev='%s' bus='%s'/></disk>
`

const domainXML = `<domain type='qemu'><name>%s</name><memory unit='MiB'>256</memory><vcpu>1</vcpu>
<os>%s</os><features><acpi/></features>
<devices>%s<controller type='scsi' model='virtio-scsi'/>
<serial type='file'><source path='%s'/></serial>%s%s
%s</devices></domain>
`

const uefiXML = `<type arch='x86_64' machine='q35'>hvm</type>
<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>
<nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'/>
<kernel>%s</kernel><initrd>%s</initrd><cmdline>root=LABEL=root rw console=ttyS0,115200 quiet</cmdline>`

// firmwareXML is what <os> holds.
func firmwareXML(t testing.TB, spec Spec) string {
	t.Helper()
	if !spec.UEFI {
		return `<type arch='x86_64' machine='pc'>hvm</type>`
	}
	vmlinuz, initrd := kernel(t)
	return fmt.Sprintf(uefiXML, vmlinuz, initrd)
}

func tpmXML(spec Spec) string {
	if !spec.TPM {
		return ""
	}
	return `<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>`
}

func (g *Guest) makeDisk(target string, d Disk) string {
	g.t.Helper()
	path := filepath.Join(g.Dir, target+"."+d.Format)
	switch {
	case d.Base && d.Format == "qcow2":
		run(g.t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", Image(g.t), "-F", "qcow2", path)
	case d.Base:
		run(g.t, "qemu-img", "convert", "-O", d.Format, Image(g.t), path)
	default:
		run(g.t, "qemu-img", "create", "-q", "-f", d.Format, path, d.Size)
	}
	return path
}

func (g *Guest) define(xml string) {
	g.t.Helper()
	file := filepath.Join(g.Dir, "domain.xml")
	if err := os.WriteFile(file, []byte(xml), 0o600); err != nil {
		g.t.Fatal(err)
	}
	Virsh(g.t, "define", file)
	g.removeAtEnd()
}

// Adopt takes over a domain that the code under test has defined, or is about to. Its images are not removed with it,
// its NVRAM and TPM state are.
func Adopt(t testing.TB, name string) *Guest {
	t.Helper()
	g := &Guest{Name: name, t: t}
	g.removeAtEnd()
	return g
}

func (g *Guest) removeAtEnd() {
	g.t.Cleanup(func() {
		exec.Command("virsh", "-c", URI, "destroy", g.Name).Run()
		exec.Command("virsh", "-c", URI, "undefine", g.Name, "--managed-save", "--snapshots-metadata", "--checkpoints-metadata", "--nvram", "--tpm").Run()
	})
}

// Start starts the guest; WaitAgent waits until it has booted.
func (g *Guest) Start() { g.t.Helper(); Virsh(g.t, "start", g.Name) }

// Destroy pulls its plug.
func (g *Guest) Destroy() { g.t.Helper(); Virsh(g.t, "destroy", g.Name) }

// State is virsh's word for it: "running", "paused", "shut off".
func (g *Guest) State() string { g.t.Helper(); return Virsh(g.t, "domstate", g.Name) }

// WaitAgent waits until the guest agent answers.
func (g *Guest) WaitAgent() {
	g.t.Helper()
	for end := time.Now().Add(bootTime); ; time.Sleep(200 * time.Millisecond) {
		_, err := g.agent(`{"execute":"guest-ping"}`)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			console, _ := os.ReadFile(filepath.Join(g.Dir, "console.log"))
			g.t.Fatalf("guest %s: no agent within %v: %v\nconsole: %s", g.Name, bootTime, err, console)
		}
	}
}

// Agent sends one command to the guest agent and gives the value of "return".
func (g *Guest) Agent(command string) json.RawMessage {
	g.t.Helper()
	value, err := g.agent(command)
	if err != nil {
		g.t.Fatal(err)
	}
	return value
}

func (g *Guest) agent(command string) (json.RawMessage, error) {
	out, err := exec.Command("virsh", "-q", "-c", URI, "qemu-agent-command", "--timeout", "20", g.Name, command).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("guest %s: agent: %w: %s", g.Name, err, out)
	}
	var reply struct {
		Return json.RawMessage `json:"return"`
	}
	if err := json.Unmarshal(out, &reply); err != nil {
		return nil, fmt.Errorf("guest %s: agent: %w: %s", g.Name, err, out)
	}
	return reply.Return, nil
}

// Run runs a shell script in the guest as root, waits for it and gives its standard output; a failure ends the test.
func (g *Guest) Run(script string) string {
	g.t.Helper()
	order, _ := json.Marshal(map[string]any{"execute": "guest-exec", "arguments": map[string]any{
		"path": "/bin/sh", "arg": []string{"-ec", script}, "capture-output": true,
	}})
	var started struct{ PID int }
	g.decode(g.Agent(string(order)), &started)
	for end := time.Now().Add(bootTime); ; time.Sleep(100 * time.Millisecond) {
		var status struct {
			Exited   bool
			ExitCode int
			OutData  string `json:"out-data"`
			ErrData  string `json:"err-data"`
		}
		g.decode(g.Agent(fmt.Sprintf(`{"execute":"guest-exec-status","arguments":{"pid":%d}}`, started.PID)), &status)
		if !status.Exited {
			if time.Now().After(end) {
				g.t.Fatalf("guest %s: %q does not end", g.Name, script)
			}
			continue
		}
		out, _ := base64.StdEncoding.DecodeString(status.OutData)
		if status.ExitCode != 0 {
			errs, _ := base64.StdEncoding.DecodeString(status.ErrData)
			g.t.Fatalf("guest %s: %q: exit status %d\n%s%s", g.Name, script, status.ExitCode, out, errs)
		}
		return strings.TrimSpace(string(out))
	}
}

// Frozen asks the agent whether filesystems are frozen.
func (g *Guest) Frozen() bool {
	g.t.Helper()
	var status string
	g.decode(g.Agent(`{"execute":"guest-fsfreeze-status"}`), &status)
	return status == "frozen"
}

func (g *Guest) decode(value json.RawMessage, into any) {
	g.t.Helper()
	if err := json.Unmarshal(value, into); err != nil {
		g.t.Fatalf("guest %s: agent: %v: %s", g.Name, err, value)
	}
}
