package vm

import (
	"fmt"
	"strings"

	"vaultfs/internal/virt"

	"libvirt.org/go/libvirt"
)

// beginError says why libvirt did not begin the backup job.
func beginError(name string, s *scratch, err error) error {
	text := virt.Sentence(err).Error()
	switch {
	case isOff(text):
		return fmt.Errorf("VM %q was shut off before its backup job could begin (%s): try again, then its images are read while it is off", name, text)
	case virt.IsCode(err, libvirt.ERR_OPERATION_TIMEOUT):
		return fmt.Errorf("VM %q is busy with another libvirt job (%s): try again when that has ended", name, text)
	case virt.IsCode(err, libvirt.ERR_NO_SUPPORT), virt.IsCode(err, libvirt.ERR_OPERATION_UNSUPPORTED), virt.IsCode(err, libvirt.ERR_CONFIG_UNSUPPORTED):
		return fmt.Errorf("VM %q: libvirt cannot make a live backup of it (%s): shut it down and use --mode offline", name, text)
	case strings.Contains(text, "Permission denied"), strings.Contains(text, "Operation not permitted"):
		return fmt.Errorf("VM %q: QEMU may not write in %s (%s): %s", name, s.dir, text, s.permissionHint())
	case strings.Contains(text, "No space left"):
		return fmt.Errorf("VM %q: no space for the backup job in %s: free some or name another place with --scratch-dir", name, s.dir)
	}
	return fmt.Errorf("VM %q: the backup job did not begin: %s", name, text)
}

// isOff tells whether libvirt refused a backup job because the guest does not run. The code that it gives is the one for
// what QEMU cannot do.
func isOff(text string) bool {
	return strings.Contains(text, "inactive domain") || strings.Contains(text, "is not running")
}

// checkpointTrouble tells whether libvirt may have refused a job for its checkpoints, so that one without them is worth
// trying: not where the guest is busy or stopped, nor where the scratch directory is the trouble.
func checkpointTrouble(err error) bool {
	for _, code := range []libvirt.ErrorNumber{libvirt.ERR_OPERATION_TIMEOUT, libvirt.ERR_NO_DOMAIN, libvirt.ERR_NO_SUPPORT} {
		if virt.IsCode(err, code) {
			return false
		}
	}
	text := virt.Sentence(err).Error()
	for _, words := range []string{"Permission denied", "Operation not permitted", "No space left", "connection"} {
		if strings.Contains(text, words) {
			return false
		}
	}
	return !isOff(text)
}
