package virt

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"libvirt.org/go/libvirt"
)

// IsCode reports whether a libvirt call failed with the given code.
func IsCode(err error, code libvirt.ErrorNumber) bool {
	var e libvirt.Error
	return errors.As(err, &e) && e.Code == code
}

// wrapping is what libvirt puts before the words of QEMU or of the system.
var wrapping = regexp.MustCompile(`^(internal error|operation failed|Operation not supported|Requested operation is not valid|invalid argument): |^unable to execute QEMU (agent )?command '[^']*': `)

// Sentence is a libvirt error in one line, without the code numbers and the layers it passed through.
func Sentence(err error) error {
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
	text := Sentence(err).Error()
	switch {
	case strings.Contains(text, "libvirt.so.0"):
		return errors.New("the libvirt library is not installed (libvirt.so.0): install libvirt0 and libvirt-daemon-system (Debian, Ubuntu) or libvirt-libs and libvirt-daemon-kvm (Fedora, RHEL)")
	case strings.Contains(text, "authentication"), strings.Contains(text, "Permission denied"):
		return fmt.Errorf("libvirt at %s refused access (%s): run as root or as a member of the group libvirt", name, text)
	case IsCode(err, libvirt.ERR_NO_CONNECT), strings.Contains(text, "no connection driver"):
		return fmt.Errorf("libvirt has no driver for %s (%s)", name, text)
	case strings.Contains(text, "Failed to connect socket"), strings.Contains(text, "Cannot recv data"):
		return fmt.Errorf("libvirt is not running (%s): start it with systemctl start libvirtd, or virtqemud where the daemons are separate", text)
	}
	return fmt.Errorf("libvirt at %s: %s", name, text)
}
