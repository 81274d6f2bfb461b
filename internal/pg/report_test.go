package pg

import (
	"strings"
	"testing"
)

// TestMarkdownOddNames: a name keeps to its cell, and tells a terminal nothing.
func TestMarkdownOddNames(t *testing.T) {
	r := Report{Facts: Facts{Database: "a\x1b[31m\nb"}, Tables: []Table{{Schema: "s|t", Name: "x\ry\u202e\xff ü", Rows: 1}}}
	text := r.Markdown()
	for _, want := range []string{`# Database a\x1b[31m\nb` + "\n", `| s\|t.x\ry\u202e` + "\ufffd ü | 1 |\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q: want %q", text, want)
		}
	}
}
