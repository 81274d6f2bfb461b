package repo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// mutantsEnv says which mutants are built and hunted: a regular expression that
// their names match. Without it only the first is.
const mutantsEnv = "VAULTFS_MUTANTS"

// mutantHistories is in how many histories a mutant has to be caught, and
// mutantTime in what time.
const (
	mutantHistories = 5000
	mutantTime      = 4 * time.Minute
)

// A mutant is the program with a rule of collecting left out or weakened.
type mutant struct {
	name     string // what it does wrong
	rule     string
	file     string // of this package, or below it
	old, new string // old stands in the file once
	test     string // that catches it, of a single clause
	// histories is set if TestHistories catches it as well, within a few hundred
	// histories; it has to where there is no other test.
	histories bool
	harmless  string // why it does no harm, so that nothing catches it
}

// TestMutants proves that the tests find what they look for: each mutant of the
// program must fail those that are said to catch it.
func TestMutants(t *testing.T) {
	which, err := regexp.Compile(os.Getenv(mutantsEnv))
	if err != nil {
		t.Fatalf("%s: %v", mutantsEnv, err)
	}
	for i, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			source := m.apply(t)
			if which.String() == "" && i == 0 || which.String() != "" && which.MatchString(m.name) {
				m.hunt(t, source)
			}
		})
	}
}

// apply returns the source file with the mistake in it.
func (m mutant) apply(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile(m.file)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(b, []byte(m.old)); n != 1 {
		t.Fatalf("%s has %d times %q: the list of mutants has to follow the code", m.file, n, m.old)
	}
	return bytes.Replace(b, []byte(m.old), []byte(m.new), 1)
}

var (
	caught = regexp.MustCompile(`history \d+ failed, the (\d+)\. of this run, after (\S+);`)
	reason = regexp.MustCompile(`\.go:\d+: (.*)`)
)

// hunt builds the tests with the mistake and runs those that are to fail.
func (m mutant) hunt(t *testing.T, source []byte) {
	t.Helper()
	if m.harmless != "" {
		t.Skipf("rule %s: harmless: %s", m.rule, m.harmless)
	}
	binary := m.build(t, source)
	if m.test != "" {
		m.fails(t, binary, m.test)
	}
	if m.test == "" || m.histories {
		m.fails(t, binary, "^TestHistories$")
	}
}

// fails runs a test, which must fail.
func (m mutant) fails(t *testing.T, binary, test string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), mutantTime)
	defer cancel()
	begin := time.Now()
	cmd := exec.CommandContext(ctx, binary, "-test.run", test)
	cmd.WaitDelay = time.Second
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", historiesEnv, mutantHistories))
	out, err := cmd.CombinedOutput()
	why, found := reason.FindSubmatch(out), caught.FindSubmatch(out)
	var exit *exec.ExitError
	switch {
	case err == nil:
		t.Errorf("rule %s: not caught by %s", m.rule, test)
	case !errors.As(err, &exit) || ctx.Err() != nil || why == nil:
		t.Errorf("rule %s: not caught by %s in %v: %v\n%s", m.rule, test, time.Since(begin).Round(time.Second), err, out[max(0, len(out)-2000):])
	case found != nil:
		t.Logf("rule %s: caught after %s histories, %s: %s", m.rule, found[1], found[2], why[1])
	default:
		t.Logf("rule %s: caught by %s, %v: %s", m.rule, test, time.Since(begin).Round(time.Millisecond), why[1])
	}
}

// build builds the tests of this package with one file replaced.
func (m mutant) build(t *testing.T, source []byte) (binary string) {
	t.Helper()
	dir := t.TempDir()
	original, err := filepath.Abs(m.file)
	if err != nil {
		t.Fatal(err)
	}
	replacement, overlay := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json")
	list, err := json.Marshal(map[string]map[string]string{"Replace": {original: replacement}})
	if err == nil {
		err = os.WriteFile(replacement, source, 0o600)
	}
	if err == nil {
		err = os.WriteFile(overlay, list, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	binary = filepath.Join(dir, "mutant.test")
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-overlay", overlay, "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("it cannot be built: %v\n%s", err, out)
	}
	return binary
}
