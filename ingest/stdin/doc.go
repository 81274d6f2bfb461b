// Package stdin backs up what comes from standard input.
package stdin
