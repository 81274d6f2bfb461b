package main

import (
	"io"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The help of a flag names no default where there is none, and a flag that takes
// no value shows none.
func TestHelpOfFlags(t *testing.T) {
	var look func(c *cobra.Command)
	look = func(c *cobra.Command) {
		if text := c.Flags().FlagUsages(); strings.Contains(text, "(default )") {
			t.Errorf("%s shows an empty default:\n%s", c.CommandPath(), text)
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if name, _ := pflag.UnquoteUsage(f); f.Value.Type() == "bool" && name != "" {
				t.Errorf("%s: --%s takes no value, and shows %q as one", c.CommandPath(), f.Name, name)
			}
		})
		for _, sub := range c.Commands() {
			look(sub)
		}
	}
	look(newApp(os.Stdin, io.Discard, io.Discard).rootCommand())
}
