package vm

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"libvirt.org/go/libvirt"
)

// isCode reports whether a libvirt call failed with the given code.
func isCode(err error, code libvirt.ErrorNumber) bool {
	var e libvirt.Error
	return errors.As(err, &e) && e.Code == code
}

// wrapping is what libvirt puts before the words of QEMU or of the system.
var wrapping = regexp.MustCompile(`^(internal error|operation failed|Operation not supported|Requested operation is not valid|invalid argument): |^unable to execute QEMU (agent )?command '[^']*': `)

// sentence is a libvirt error in one line, without the code numbers and the layers it passed through.
func sentence(err error) error {
	var e libvirt.Error
	if !errors.As(err, &e) {
		return err
	}
	text := strings.TrimSpace(e.Message)
	for {
		rest := wrapping.ReplaceAllString(text, "")
		if rest == text || rest == "" {
			break
		}
		text = rest
	}
	text = strings.Join(strings.Fields(text), " ")
	if text == "" {
		text = fmt.Sprintf("libvirt error %d", e.Code)
	}
	return errors.New(text)
}

// connectError says what to install or to start.
func connectError(uri string, err error) error {
	name := uri
	if name == "" {
		name = "the default URI"
	}
	text := sentence(err).Error()
	switch {
	case strings.Contains(text, "libvirt.so.0"):
		return errors.New("the libvirt library is not installed (libvirt.so.0): install libvirt0 and libvirt-daemon-system (Debian, Ubuntu) or libvirt-libs and libvirt-daemon-kvm (Fedora, RHEL)")
	case strings.Contains(text, "authentication"), strings.Contains(text, "Permission denied"):
		return fmt.Errorf("libvirt at %s refused access (%s): run as root or as a member of the group libvirt", name, text)
	case isCode(err, libvirt.ERR_NO_CONNECT), strings.Contains(text, "no connection driver"):
		return fmt.Errorf("libvirt has no driver for %s (%s)", name, text)
	case strings.Contains(text, "Failed to connect socket"), strings.Contains(text, "Cannot recv data"):
		return fmt.Errorf("libvirt is not running (%s): start it with systemctl start libvirtd, or virtqemud where the daemons are separate", text)
	}
	return fmt.Errorf("libvirt at %s: %s", name, text)
}

// beginError says why libvirt did not begin the backup job.
func beginError(name string, s *scratch, err error) error {
	text := sentence(err).Error()
	switch {
	case isCode(err, libvirt.ERR_OPERATION_TIMEOUT):
		return fmt.Errorf("VM %q is busy with another libvirt job (%s): try again when that has ended", name, text)
	case isCode(err, libvirt.ERR_NO_SUPPORT), isCode(err, libvirt.ERR_OPERATION_UNSUPPORTED), isCode(err, libvirt.ERR_CONFIG_UNSUPPORTED):
		return fmt.Errorf("VM %q: libvirt cannot make a live backup of it (%s): shut it down and use --mode offline", name, text)
	case strings.Contains(text, "Permission denied"), strings.Contains(text, "Operation not permitted"):
		return fmt.Errorf("VM %q: QEMU may not write in %s (%s): %s", name, s.dir, text, s.permissionHint())
	case strings.Contains(text, "No space left"):
		return fmt.Errorf("VM %q: no space for the backup job in %s: free some or name another place with --scratch-dir", name, s.dir)
	}
	return fmt.Errorf("VM %q: the backup job did not begin: %s", name, text)
}
