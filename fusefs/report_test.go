package fusefs

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestReportsAreFew(t *testing.T) {
	var s sink
	r := &reporter{log: s.log}
	for i := range 1000 {
		r.problem("reading a", fmt.Sprint(" at ", i), errors.New("pack 1"))
	}
	if got := s.String(); got != "reading a at 0: pack 1" {
		t.Errorf("one failure is reported as %q", got)
	}
	for i := range 1000 {
		r.problem("reading a", "", fmt.Errorf("pack %d", i))
	}
	if n := strings.Count(s.String(), "\n") + 1; n != reportsPerMinute {
		t.Errorf("%d lines in a minute", n)
	}
	r.began = r.began.Add(-2 * time.Minute)
	r.problem("reading b", "", errors.New("pack 2"))
	if got := s.String(); !strings.HasSuffix(got, "1980 more errors were not reported\nreading b: pack 2") {
		t.Errorf("the next minute begins with %q", got[len(got)-80:])
	}
	r.log = nil
	r.problem("nobody", "", errors.New("listens"))
}
