package vm

import (
	"fmt"

	"vaultfs/ingest"
)

// sourceName is the source's name after "vm/": the name that was asked for, else the VM's own. One that cannot be
// written as SOURCE@TIME, or not shown on a terminal, is refused.
func (o *Options) sourceName(vm string) (string, error) {
	if o.Name != "" {
		if why := ingest.Unfit(o.Name); why != "" {
			return "", fmt.Errorf("%w: name %q %s", ErrUsage, o.Name, why)
		}
		return o.Name, nil
	}
	if why := ingest.Unfit(vm); why != "" {
		return "", fmt.Errorf("%w: VM %q cannot give its name to the source, it %s: give another with --name", ErrUsage, vm, why)
	}
	return vm, nil
}
