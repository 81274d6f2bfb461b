package vm

import (
	"fmt"
	"strings"
	"unicode"
)

// sourceName is the source's name after "vm/": the name that was asked for, else the VM's own. One that cannot be
// written as SOURCE@TIME, or not shown on a terminal, is refused.
func (o *Options) sourceName(vm string) (string, error) {
	if o.Name != "" {
		if why := unfit(o.Name); why != "" {
			return "", fmt.Errorf("%w: name %q %s", ErrUsage, o.Name, why)
		}
		return o.Name, nil
	}
	if why := unfit(vm); why != "" {
		return "", fmt.Errorf("%w: VM %q cannot give its name to the source, it %s: give another with --name", ErrUsage, vm, why)
	}
	return vm, nil
}

// unfit says why a name is none for a source; "" when it is.
func unfit(name string) string {
	switch {
	case strings.TrimSpace(name) == "":
		return "is empty"
	case strings.Contains(name, "@"):
		return "holds an @, which separates a source from a time"
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }):
		return "holds what cannot be printed"
	}
	return ""
}
