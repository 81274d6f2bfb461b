package report

import (
	"strings"

	"vaultfs/bench/plot"
)

// Charts are the plots, by their file's name.
func (r *Results) Charts() map[string]plot.Chart {
	panel := func(row string, m metric, cell func(spread) string) plot.Panel {
		p := plot.Panel{Title: upper(titles[row])}
		for _, tool := range r.tools(row) {
			if v := r.of(row, tool, m); v.n > 0 {
				p.Bars = append(p.Bars, plot.Bar{Name: tool, Value: v.median, Text: cell(spread{n: 1, median: v.median, min: v.median, max: v.median}), Own: own(tool)})
			}
		}
		return p
	}
	all := panel(Other, stored, storedCell)
	all.Title = "All guests: generations of one, and another"
	growth := panel(Next, grown, storedCell)
	growth.Title = "Growth by the next generation"
	dump := panel(DumpNext, grown, storedCell)
	dump.Title = "Growth by the next day's dump"
	return map[string]plot.Chart{
		Plots[0]: {Title: "Backup: source bytes a second (longer is better)", Panels: []plot.Panel{
			panel(First, rate, rateCell), panel(Next, rate, rateCell), panel(LargeAgain, rate, rateCell),
			panel(TreeFirst, rate, rateCell), panel(DumpFirst, rate, rateCell)}},
		Plots[1]: {Title: "Mount and restore (longer is better)", Panels: []plot.Panel{
			panel(Sequential, rate, rateCell), panel(RandomReads, reads, readsCell), panel(Restore, rate, rateCell)}},
		Plots[2]: {Title: "Stored (shorter is better)", Panels: []plot.Panel{all, growth, dump}},
	}
}

func storedCell(s spread) string { return s.cell(mega, " MB") }

// own tells whether a sample is one of vaultfs.
func own(tool string) bool { return strings.HasPrefix(tool, Own) }

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
