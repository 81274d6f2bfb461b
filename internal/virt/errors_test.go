package virt

import (
	"errors"
	"strings"
	"testing"

	"libvirt.org/go/libvirt"
)

func TestSentences(t *testing.T) {
	virError := func(code libvirt.ErrorNumber, text string) error { return libvirt.Error{Code: code, Message: text} }
	for name, c := range map[string]struct {
		err   error
		words []string
	}{
		"layers": {Sentence(virError(1, "internal error: unable to execute QEMU command 'nbd-server-start': Failed to\nbind")), []string{"Failed to bind"}},
		"other":  {Sentence(errors.New("plain")), []string{"plain"}},
		"empty":  {Sentence(virError(38, "")), []string{"libvirt error 38"}},
		"library": {connectError("", virError(1, "libvirt.so.0: cannot open shared object file: No such file or directory")),
			[]string{"not installed", "libvirt0", "libvirt-daemon-system"}},
		"not running": {connectError("qemu:///system", virError(38, "Failed to connect socket to '/var/run/libvirt/libvirt-sock': No such file or directory")),
			[]string{"not running", "systemctl start libvirtd", "virtqemud"}},
		"access": {connectError("qemu:///system", virError(45, "authentication unavailable: no polkit agent")), []string{"run as root", "group libvirt"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.err.Error()
			if strings.Contains(got, "virError") || strings.Contains(got, "\n") {
				t.Error(got)
			}
			for _, w := range c.words {
				if !strings.Contains(got, w) {
					t.Errorf("error %q does not say %q", got, w)
				}
			}
		})
	}
}

func TestOtherHostsAreRefused(t *testing.T) {
	for uri, remote := range map[string]bool{
		"qemu:///system": false, "qemu+unix:///system?socket=/x": false, "qemu+ssh://localhost/system": false,
		"qemu+ssh://root@elsewhere/system": true, "qemu+tls://192.0.2.7/system": true, "": false,
	} {
		if err := refuseRemote(uri); (err != nil) != remote {
			t.Errorf("%q: %v", uri, err)
		} else if remote && !strings.Contains(err.Error(), "run vaultfs on ") {
			t.Errorf("%q: %v does not say what to do", uri, err)
		}
	}
}
