package tui

import (
	"fmt"
	"html"
	"strconv"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// The size of a character cell of 15 px DejaVu Sans Mono, and what is around
// the screen, in px.
const (
	cellWidth, cellHeight = 9.03, 20.0
	left, top             = 16.0, 52.0
)

// colours of the palette by SGR number, on a dark background.
var colours = map[int]string{31: "#ff6b6b", 32: "#7bd88f", 33: "#fce566", 34: "#6cb6ff", 36: "#5ad4e6"}

// sgr is what SGR sequences said so far.
type sgr struct {
	bold, faint bool
	colour      string
}

func (s *sgr) set(parameters string) {
	for _, p := range strings.Split(parameters, ";") {
		switch n, _ := strconv.Atoi(p); {
		case n == 0:
			*s = sgr{}
		case n == 1:
			s.bold = true
		case n == 2:
			s.faint = true
		case colours[n] != "":
			s.colour = colours[n]
		}
	}
}

func (s sgr) attributes() string {
	fill := s.colour
	if fill == "" {
		fill = "#e6e6e6"
	}
	text := fmt.Sprintf(` fill="%s"`, fill)
	if s.bold {
		text += ` font-weight="bold"`
	}
	if s.faint {
		text += ` opacity="0.55"`
	}
	return text
}

// Picture draws a screen, text with SGR sequences, as an SVG of a terminal
// window. The font is the viewer's; each run of text has its place and length,
// so that columns stay columns.
func Picture(title, screen string, width, height int) string {
	w, h := left*2+float64(width)*cellWidth, top+float64(height)*cellHeight+16
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" font-family="'DejaVu Sans Mono','Menlo','Consolas',monospace" font-size="15">
<rect width="100%%" height="100%%" rx="10" fill="#1b1d23"/>
<circle cx="20" cy="20" r="6" fill="#ff5f57"/><circle cx="40" cy="20" r="6" fill="#febc2e"/><circle cx="60" cy="20" r="6" fill="#28c840"/>
<text x="%.0f" y="25" fill="#9aa0aa" text-anchor="middle">%s</text>
`, w, h, w, h, w/2, html.EscapeString(title))
	for y, line := range strings.Split(screen, "\n") {
		var s sgr
		column := 0
		for line != "" {
			if rest, ok := strings.CutPrefix(line, "\x1b["); ok {
				parameters, after, _ := strings.Cut(rest, "m")
				s.set(parameters)
				line = after
				continue
			}
			text, rest, more := strings.Cut(line, "\x1b[")
			line = ""
			if more {
				line = "\x1b[" + rest
			}
			cells := ansi.StringWidth(text)
			trimmed := strings.TrimLeft(text, " ")
			indent := cells - ansi.StringWidth(trimmed)
			if shown := strings.TrimRight(trimmed, " "); shown != "" {
				fmt.Fprintf(&b, "<text x=\"%.2f\" y=\"%.2f\" textLength=\"%.2f\" lengthAdjust=\"spacingAndGlyphs\" xml:space=\"preserve\"%s>%s</text>\n",
					left+float64(column+indent)*cellWidth, top+float64(y)*cellHeight+15, float64(ansi.StringWidth(shown))*cellWidth, s.attributes(), html.EscapeString(shown))
			}
			column += cells
		}
	}
	return b.String() + "</svg>\n"
}
