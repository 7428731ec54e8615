package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// bars is a plot of horizontal bars on a logarithmic scale, in groups.
type bars struct {
	title, unit string
	series      []place // one bar of each group
	groups      []string
	values      func(group, series string) float64 // NaN: no bar
}

// Sizes of a plot, in pixels.
const (
	plotLabels = 170 // left of the bars
	plotWidth  = 560 // of the bars
	plotRight  = 70
	barHeight  = 11
	plotTop    = 60
)

// svg draws the plot.
func (p *bars) svg() string {
	low, high := p.scale()
	x := func(v float64) float64 { return plotLabels + plotWidth*math.Log(v/low)/math.Log(high/low) }
	step := (len(p.series) + 1) * barHeight
	height := plotTop + len(p.groups)*step + 24
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">`+"\n", plotLabels+plotWidth+plotRight, height)
	b.WriteString(`<rect width="100%" height="100%" fill="#ffffff"/>` + "\n")
	text(&b, 10, 20, `font-size="14" font-weight="bold"`, p.title+", "+p.unit)
	p.legend(&b)
	for v := low; v <= high*1.001; v *= 10 {
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#dddddd"/>`+"\n", x(v), x(v), plotTop-6, height-20)
		text(&b, x(v), float64(height-6), `text-anchor="middle" fill="#555555"`, fmt.Sprintf("%g", v))
	}
	for i, group := range p.groups {
		top := float64(plotTop + i*step)
		text(&b, plotLabels-8, top+float64(step)/2, `text-anchor="end"`, group)
		for j, series := range p.series {
			v, y := p.values(group, series.name), top+float64(j*barHeight)
			if math.IsNaN(v) || v <= 0 {
				text(&b, plotLabels+3, y+barHeight-2, `font-size="9" fill="#999999"`, "–")
				continue
			}
			fmt.Fprintf(&b, `<rect x="%d" y="%.1f" width="%.1f" height="%d" fill="%s"/>`+"\n", plotLabels, y, x(v)-plotLabels, barHeight-1, series.color)
			text(&b, x(v)+3, y+barHeight-2, `font-size="9"`, short(v))
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// scale returns the powers of ten around all values.
func (p *bars) scale() (low, high float64) {
	low, high = math.Inf(1), 0
	for _, group := range p.groups {
		for _, series := range p.series {
			if v := p.values(group, series.name); v > 0 { // NaN is not
				low, high = min(low, v), max(high, v)
			}
		}
	}
	if high == 0 {
		return 1, 10
	}
	low, high = math.Pow(10, math.Floor(math.Log10(low*0.99))), math.Pow(10, math.Ceil(math.Log10(high)))
	return low, max(high, 10*low)
}

func (p *bars) legend(b *strings.Builder) {
	x := 10.0
	for _, series := range p.series {
		fmt.Fprintf(b, `<rect x="%.0f" y="32" width="10" height="10" fill="%s"/>`+"\n", x, series.color)
		text(b, x+14, 41, "", series.name)
		x += 26 + 6.2*float64(len(series.name))
	}
}

func text(b *strings.Builder, x, y float64, attributes, s string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" %s>%s</text>`+"\n", x, y, attributes, html.EscapeString(s))
}

// short is a value in two or three digits.
func short(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
