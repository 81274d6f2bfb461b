package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// Plots are the files that Charts makes, in the order in which they are shown.
var Plots = []string{"backup.svg", "read.svg", "stored.svg"}

// Markdown writes the results as a page, which shows the plots beside it.
func (r *Results) Markdown(w io.Writer) error {
	var b bytes.Buffer
	r.head(&b)
	r.goals(&b)
	for _, name := range Plots {
		fmt.Fprintf(&b, "![%s](%s)\n\n", strings.TrimSuffix(name, ".svg"), name)
	}
	for _, s := range sections {
		r.section(&b, s)
	}
	list(&b, "What was compared with the source byte by byte, and was the same", r.Checks)
	list(&b, "Remarks", r.Remarks)
	_, err := w.Write(b.Bytes())
	return err
}

func (r *Results) head(b *bytes.Buffer) {
	m := r.Machine
	fmt.Fprintf(b, "# Measured\n\nWritten by `make bench`; nothing here is typed in.\n\n")
	fmt.Fprintf(b, "%s, %.0f minutes; %d rounds, of the large disk, the tree, the dumps and the boots %d, the programs in turn. %s, %d cores, %.0f GB of memory, Linux %s, %s; written to %s.\n\n",
		r.Began.UTC().Format("2006-01-02 15:04 UTC"), r.Took/60, r.Rounds, r.Slow, m.CPU, m.Cores, float64(m.Memory)/1e9, m.Kernel, m.System, m.Disk)
	fmt.Fprintf(b, "| program | version |\n|---|---|\n")
	for _, t := range r.Tools {
		fmt.Fprintf(b, "| %s | %s |\n", t.Name, t.Version)
	}
	fmt.Fprintf(b, "\n| data | MB on the disk | |\n|---|---|---|\n")
	for _, d := range r.Data {
		fmt.Fprintf(b, "| %s | %s | %s |\n", d.Name, count(float64(d.Bytes)/1e6), d.About)
	}
	b.WriteByte('\n')
}

// goals writes the table of what is to be reached. A ratio of medians says how
// many times as good vaultfs is, or, where a bound is from above, its share.
func (r *Results) goals(b *bytes.Buffer) {
	fmt.Fprintf(b, "## Goals\n\nMedians. ≥: how many times as good as the other; ≤: the figure's share of the other's.\n\n")
	fmt.Fprintf(b, "| what | figure | beside | | ratio | goal | met |\n|---|---|---|---|---|---|---|\n")
	for _, g := range goals {
		o := r.reach(g)
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s |\n", g.title(), o.own, g.beside(), o.other, o.ratio, g.wanted(), o.met)
	}
	b.WriteByte('\n')
}

func (g goal) title() string {
	what := g.what
	if what == "" {
		what = titles[g.row]
	}
	if g.tool == OwnNoVerify {
		what += " (--no-verify)"
	}
	return what
}

func (g goal) beside() string {
	if g.thanRow != "" {
		return titles[g.thanRow]
	}
	return g.than
}

func (g goal) wanted() string {
	switch {
	case g.than == "":
		return "≥ " + g.cell(spread{n: 1, median: g.want, min: g.want, max: g.want})
	case g.most:
		return fmt.Sprintf("≤ %g", g.want)
	}
	return fmt.Sprintf("≥ %g", g.want)
}

// An outcome is the cells of a goal's line.
type outcome struct{ own, other, ratio, met string }

func (r *Results) reach(g goal) outcome {
	own := r.of(g.row, g.tool, g.metric)
	if own.n == 0 {
		return outcome{met: "not measured"}
	}
	out := outcome{own: g.cell(own)}
	if g.than == "" {
		out.met = yes(own.median >= g.want)
		return out
	}
	row := g.row
	if g.thanRow != "" {
		row = g.thanRow
	}
	other := r.of(row, g.than, g.metric)
	if other.n == 0 {
		out.met = "not measured"
		return out
	}
	out.other = g.cell(other)
	ratio := g.ratio(own.median, other.median)
	out.ratio = fmt.Sprintf("%.2f", ratio)
	out.met = yes(g.most && ratio <= g.want || !g.most && ratio >= g.want)
	return out
}

func (g goal) ratio(own, other float64) float64 {
	if g.most || g.higher {
		return own / other
	}
	return other / own
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "**no**"
}

// section writes a table; none if nothing of it was measured.
func (r *Results) section(b *bytes.Buffer, s section) {
	var tools []string
	for _, t := range r.tools(s.rows...) {
		for _, row := range s.rows {
			if r.of(row, t, s.metric).n > 0 {
				tools = append(tools, t)
				break
			}
		}
	}
	if len(tools) == 0 {
		return
	}
	fmt.Fprintf(b, "## %s\n\n%s\n\n| | %s |\n|---|%s\n", s.title, s.about, strings.Join(tools, " | "), strings.Repeat("---|", len(tools)))
	for _, row := range s.rows {
		cells, any := make([]string, len(tools)), false
		for i, t := range tools {
			if v := r.of(row, t, s.metric); v.n > 0 {
				cells[i], any = s.cell(v), true
			}
		}
		if any {
			fmt.Fprintf(b, "| %s | %s |\n", titles[row], strings.Join(cells, " | "))
		}
	}
	b.WriteByte('\n')
}

func list(b *bytes.Buffer, title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(b, "## %s\n\n", title)
	for _, l := range lines {
		fmt.Fprintf(b, "- %s\n", l)
	}
	b.WriteByte('\n')
}

// cell writes a spread; the range only where there is one.
func (s spread) cell(format func(float64) string, unit string) string {
	text := format(s.median) + unit
	if low, high := format(s.min), format(s.max); low != high {
		text += fmt.Sprintf(" (%s–%s)", low, high)
	}
	return text
}

func secondsCell(s spread) string { return s.cell(short, " s") }
func megaCell(s spread) string    { return s.cell(mega, "") }
func rateCell(s spread) string    { return s.cell(mega, " MB/s") }
func countCell(s spread) string   { return s.cell(count, "") }
func readsCell(s spread) string   { return s.cell(count, "/s") }

func short(v float64) string {
	if v < 1 {
		return fmt.Sprintf("%.3f", v)
	}
	if v < 100 {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func mega(v float64) string {
	if v /= 1e6; v < 10 && v > -10 {
		return fmt.Sprintf("%.1f", v)
	}
	return count(v)
}

// count is a whole number with its thousands set apart.
func count(v float64) string {
	text := fmt.Sprintf("%.0f", v)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
