// Package bench measures vaultfs against its peers, and makes the large
// repositories for it. Nothing of the program imports it.
package bench
