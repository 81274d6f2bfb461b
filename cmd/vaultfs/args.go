package main

import "github.com/spf13/cobra"

// exactly wants n arguments.
func exactly(n int) cobra.PositionalArgs { return between(n, n) }

// atLeast wants n arguments or more.
func atLeast(n int) cobra.PositionalArgs { return between(n, int(^uint(0)>>1)) }

func between(low, high int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < low:
			return usage(c, "something is missing: %s", c.UseLine())
		case len(args) > high:
			return usage(c, "%q is too much: %s", args[high], c.UseLine())
		}
		return nil
	}
}
