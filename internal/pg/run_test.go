package pg

import (
	"fmt"
	"strings"
	"testing"
)

// TestTail: why a statement failed is kept, however long the statement is that
// follows, and however the two arrive.
func TestTail(t *testing.T) {
	text := "pg_dump: error: query failed: ERROR:  permission denied for table t1\npg_dump: detail: Query was: LOCK TABLE " + strings.Repeat("public.t1, ", 10000) + "\nlast"
	for _, step := range []int{1, 7, 4096, len(text)} {
		var l tail
		for i := 0; i < len(text); i += step {
			fmt.Fprint(&l, text[i:min(len(text), i+step)])
		}
		got := l.said("pg_dump")
		if !strings.HasPrefix(got, "query failed: ERROR: permission denied for table t1; detail: Query was: LOCK TABLE public.t1,") || !strings.HasSuffix(got, "…; last") || len(got) > 600 {
			t.Errorf("%d: %s", step, got)
		}
	}
	var l tail
	for i := range 100000 {
		fmt.Fprintf(&l, "pg_restore: warning: %d\n", i)
	}
	if got := l.said("pg_restore"); !strings.HasSuffix(got, "; warning: 99998; warning: 99999") || strings.Count(got, ";") > tailLines {
		t.Error(got)
	}
}
