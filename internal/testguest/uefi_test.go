package testguest

import (
	"strings"
	"testing"
)

func TestGuestWithUEFIAndTPM(t *testing.T) {
	t.Parallel()
	g := Define(t, Spec{UEFI: true, TPM: true})
	g.Start()
	g.WaitAgent()
	if got := g.Run("ls /sys/firmware/efi/efivars; cat /sys/class/tpm/tpm0/tpm_version_major"); !strings.Contains(got, "BootOrder-") || !strings.HasSuffix(got, "\n2") {
		t.Errorf("guest has %q", got)
	}
	g.Destroy()
}
