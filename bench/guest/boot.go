// Package guest boots guests in QEMU.
package guest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"vaultfs/bench"
)

const (
	prompt  = "login:"
	longest = 3 * time.Minute
)

// Boot boots a guest from a qcow2 image behind an overlay, with an accelerator of
// QEMU's, and returns how long it takes until a login prompt is on its serial
// port. work is an empty directory.
func Boot(ctx context.Context, image, accel, work string) (time.Duration, error) {
	overlay, console := filepath.Join(work, "overlay.qcow2"), filepath.Join(work, "console")
	if _, err := bench.Run(ctx, nil, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", image, overlay); err != nil {
		return 0, err
	}
	qemu, err := bench.Command{Program: "qemu-system-x86_64", Args: []string{
		"-machine", "accel=" + accel, "-m", "1024", "-display", "none", "-monitor", "none", "-nic", "none", "-no-reboot",
		"-serial", "file:" + console, "-drive", "file=" + overlay + ",format=qcow2,if=virtio",
	}}.Start(ctx)
	if err != nil {
		return 0, err
	}
	defer qemu.Kill()
	begin := time.Now()
	for time.Since(begin) < longest {
		said, _ := os.ReadFile(console)
		if bytes.Contains(said, []byte(prompt)) {
			return time.Since(begin), nil
		}
		if err := qemu.Ended(); err != nil {
			return 0, err
		}
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		time.Sleep(20 * time.Millisecond)
	}
	said, _ := os.ReadFile(console)
	return 0, fmt.Errorf("the guest shows no login prompt on its serial port within %v; the end of what it says: %q", longest, said[max(0, len(said)-300):])
}
