// Package plot draws bar charts as SVG that are read on light and dark pages.
package plot

import (
	"bytes"
	"fmt"
	"html"
)

// A Chart is a column of panels under a title.
type Chart struct {
	Title  string
	Panels []Panel
}

// A Panel compares the same quantity of several; its longest bar fills it.
type Panel struct {
	Title string
	Bars  []Bar
}

// A Bar has a length, and the text beside it.
type Bar struct {
	Name  string
	Value float64
	Text  string
	Own   bool // drawn in the colour of this project
}

// Measures of the drawing, in pixels.
const (
	width     = 760
	names     = 150 // to the left of the bars
	texts     = 130 // to their right
	barHeight = 16
	barStep   = 22
	panelHead = 30
	panelGap  = 14
	titleHead = 36
)

const style = `<style>
text { font: 13px -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #24292f }
.title { font-size: 16px; font-weight: 600 }
.panel { font-weight: 600 }
.own { fill: #1f6feb }
.other { fill: #8c959f }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .own { fill: #58a6ff } .other { fill: #6e7681 } }
</style>
`

// SVG is the drawing. Panels without bars are left out.
func (c Chart) SVG() []byte {
	var body bytes.Buffer
	y := titleHead
	for _, p := range c.Panels {
		if len(p.Bars) > 0 {
			y = p.draw(&body, y) + panelGap
		}
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" role=\"img\">\n", width, y, width, y)
	fmt.Fprintf(&out, "<title>%s</title>\n%s", html.EscapeString(c.Title), style)
	text(&out, "title", "start", 8, 22, c.Title)
	out.Write(body.Bytes())
	out.WriteString("</svg>\n")
	return out.Bytes()
}

// draw draws a panel from y on and returns where it ends.
func (p Panel) draw(w *bytes.Buffer, y int) int {
	text(w, "panel", "start", 8, y+18, p.Title)
	y += panelHead
	longest := 0.0
	for _, b := range p.Bars {
		longest = max(longest, b.Value)
	}
	for _, b := range p.Bars {
		class, length := "other", 1.0
		if b.Own {
			class = "own"
		}
		if longest > 0 {
			length = max(1, b.Value/longest*(width-names-texts))
		}
		text(w, "", "end", names-8, y+13, b.Name)
		fmt.Fprintf(w, "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" rx=\"2\"/>\n", class, names, y, length, barHeight)
		text(w, "", "start", names+int(length)+6, y+13, b.Text)
		y += barStep
	}
	return y
}

func text(w *bytes.Buffer, class, anchor string, x, y int, s string) {
	if class != "" {
		class = fmt.Sprintf(" class=%q", class)
	}
	fmt.Fprintf(w, "<text%s x=\"%d\" y=\"%d\" text-anchor=%q>%s</text>\n", class, x, y, anchor, html.EscapeString(s))
}
