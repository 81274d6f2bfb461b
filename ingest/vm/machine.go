package vm

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"
)

// The names of what a snapshot holds of the machine around the disks, besides the definitions.
const (
	nvramItem       = "nvram.fd"
	tpmItem         = "tpm-state.tar"
	snapshotsItem   = "snapshots.xml"
	checkpointsItem = "checkpoints.xml"
)

// machine is what makes a guest besides its disks and its definitions, and what is to be said of what is not there.
type machine struct {
	files    []file
	notes    []string // what is as it should be
	warnings []string // what the guest will miss
}

// machineFiles reads the firmware's variables, the TPM's state, and what libvirt knows of snapshots and checkpoints.
// The XML is the definition that the guest runs with, or would start from. What cannot be read is a warning, for the
// disks are worth more than the rest; an error is that of XML which nothing can be read from.
func machineFiles(uri string, d *libvirt.Domain, xml string) (*machine, error) {
	var x libvirtxml.Domain
	if err := x.Unmarshal(xml); err != nil {
		return nil, fmt.Errorf("the domain's XML: %w", err)
	}
	m := new(machine)
	runs := x.ID != nil
	m.addNVRAM(&x, uri, runs)
	m.addTPM(&x, uri, runs)
	m.addSnapshots(x.Name, d)
	m.addCheckpoints(x.Name, d)
	return m, nil
}

func (m *machine) add(name string, content []byte) {
	m.files = append(m.files, file{name, string(content)})
}

func (m *machine) note(format string, args ...any) {
	m.notes = append(m.notes, fmt.Sprintf(format, args...))
}

func (m *machine) warn(vm, format string, args ...any) {
	m.warnings = append(m.warnings, fmt.Sprintf("VM %q: ", vm)+fmt.Sprintf(format, args...))
}

// tell puts the notes and warnings into the result. Nothing is told of a machine that was not read.
func (m *machine) tell(r *Result) {
	if m != nil {
		r.Notes = append(r.Notes, m.notes...)
		r.Warnings = append(r.Warnings, m.warnings...)
	}
}

// stateDir is where the daemon of a URI keeps something: a directory of the system's, or one of a name below the
// user's. The places are those of libvirt's qemu_conf.c.
func stateDir(uri, system, session string) (string, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return "", fmt.Errorf("libvirt URI %q: not a URI", uri)
	}
	switch u.Path {
	case "/system":
		return system, nil
	case "/session":
		config, err := os.UserConfigDir() // libvirt too goes by XDG_CONFIG_HOME, then by the home directory
		return filepath.Join(config, "libvirt/qemu", session), err
	}
	return "", fmt.Errorf("where libvirt at %s keeps them is not known", uri)
}
