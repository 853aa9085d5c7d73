package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/fieldloom/fieldloom/core/client"
)

func newScreen(out, errs *os.File) *screen {
	lively := term.IsTerminal(int(out.Fd())) && os.Getenv("TERM") != "dumb"
	return &screen{out: out, err: errs, lively: lively, colour: lively && os.Getenv("NO_COLOR") == ""}
}

// The colours of terminals (ECMA-48, SGR).
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	bold   = "1"
)

// paint colours a text, where there is colour.
func (s *screen) paint(colour, text string) string {
	if !s.colour || colour == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// size is the terminal's width and height.
func (s *screen) size() (width, height int) {
	if f, ok := s.out.(*os.File); ok {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil && w > 0 && h > 0 {
			return w, h
		}
	}
	return 80, 24
}

func printJSON(out io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = out.Write(append(client.PlainJSON(text), '\n'))
	return err
}

// A grid is lines of cells that are printed as aligned columns. A line may have a
// colour of its own.
type grid struct {
	rows    [][]string
	colours []string
	least   []string // heads of the columns that are left out first where the screen is narrow
}

func (g *grid) add(colour string, cells ...string) {
	g.rows = append(g.rows, cells)
	g.colours = append(g.colours, colour)
}

// lines aligns the columns. Colours come last: their codes have no width.
func (g *grid) lines(s *screen, width int) []string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range g.rows {
		for i, cell := range row {
			row[i] = printable(cell)
		}
		_, _ = fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	_ = w.Flush()
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	for i, line := range lines {
		line = strings.TrimRight(line, " ")
		if r := []rune(line); width > 0 && len(r) > width {
			line = string(r[:width-1]) + "…"
		}
		lines[i] = s.paint(g.colours[min(i, len(g.colours)-1)], line)
	}
	return lines
}

// fit is lines for a screen of a width; 0: of any. Where the lines are wider, the columns that
// matter least are left out, and the last ones, which are texts, stand below their lines.
func (g *grid) fit(s *screen, width int) []string {
	columns := g.columns()
	total := func() int {
		n := -2
		for _, c := range columns {
			n += c.width + 2
		}
		return n
	}
	if width <= 0 || total() <= width {
		return g.lines(s, 0)
	}
	last := columns[len(columns)-1]
	columns = columns[:len(columns)-1]
	below := []column{last}
	for _, head := range g.least {
		if total() <= width {
			break
		}
		columns = slices.DeleteFunc(columns, func(c column) bool { return c.head == head })
	}
	for len(columns) > 2 && total() > width {
		below = append([]column{columns[len(columns)-1]}, below...)
		columns = columns[:len(columns)-1]
	}
	return g.above(columns).linesWith(s, width, below, g)
}

// A column is a column of a grid.
type column struct {
	head  string
	at    int // in a row
	width int
}

func (g *grid) columns() []column {
	var list []column
	for _, row := range g.rows {
		for i, cell := range row {
			if i == len(list) {
				list = append(list, column{head: g.rows[0][min(i, len(g.rows[0])-1)], at: i})
			}
			list[i].width = max(list[i].width, utf8.RuneCountInString(printable(cell)))
		}
	}
	return list
}

// above is the grid with some of its columns only.
func (g *grid) above(columns []column) *grid {
	less := &grid{colours: g.colours}
	for _, row := range g.rows {
		var cells []string
		for _, c := range columns {
			if c.at < len(row) {
				cells = append(cells, row[c.at])
			}
		}
		less.rows = append(less.rows, cells)
	}
	return less
}

// linesWith is lines with columns of the whole grid below each line, or at its end where
// there is room.
func (g *grid) linesWith(s *screen, width int, below []column, whole *grid) []string {
	var out []string
	headed := whole.colours[0] == bold
	for i, line := range g.lines(&screen{}, width) {
		var texts []string
		for _, c := range below {
			if c.at < len(whole.rows[i]) && whole.rows[i][c.at] != "" && (i > 0 || !headed) {
				text := printable(whole.rows[i][c.at])
				if headed && c.head != "CAUSE" && c.head != "" {
					text = strings.ToLower(c.head) + ": " + text
				}
				texts = append(texts, text)
			}
		}
		paint := func(line string) { out = append(out, s.paint(whole.colours[i], line)) }
		if len(texts) == 1 && line != "" && utf8.RuneCountInString(line)+2+utf8.RuneCountInString(texts[0]) <= width {
			paint(line + "  " + texts[0])
			continue
		}
		if strings.TrimSpace(line) != "" {
			paint(line)
		}
		for _, text := range texts {
			for _, part := range wrap(text, width-4) {
				paint("    " + part)
			}
		}
	}
	return out
}

// wrap breaks a text into lines, between words where it can.
func wrap(text string, width int) []string {
	var lines []string
	width = max(width, 1)
	for r := []rune(text); len(r) > 0; {
		n := min(width, len(r))
		if n < len(r) {
			for i := n; i > n/2; i-- {
				if r[i] == ' ' {
					n = i
					break
				}
			}
		}
		lines = append(lines, string(r[:n]))
		r = r[n:]
		for len(r) > 0 && r[0] == ' ' {
			r = r[1:]
		}
	}
	return lines
}

func (g *grid) print(s *screen) error {
	_, err := fmt.Fprintln(s.out, strings.Join(g.lines(s, 0), "\n"))
	return err
}

// printable keeps what a device or a file calls itself from driving the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if client.Obeyed(r) {
			return '·'
		}
		return r
	}, text)
}

// printableLines is printable for a text that has lines of its own.
func printableLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = printable(line)
	}
	return strings.Join(lines, "\n")
}

// plainWriter writes lines of JSON that no terminal obeys. Each Write has whole lines.
type plainWriter struct{ to io.Writer }

func (w plainWriter) Write(lines []byte) (int, error) {
	if _, err := w.to.Write(client.PlainJSON(lines)); err != nil {
		return 0, err
	}
	return len(lines), nil
}

// A canvas draws lines over the lines that it drew before.
type canvas struct {
	s     *screen
	drawn int
}

// draw draws as many lines as the terminal has room for; none may be wider than it, for the
// next drawing goes back up by lines. hidden is how many more the caller left out.
func (c *canvas) draw(lines []string, hidden int) {
	width, height := c.s.size()
	limit := max(height-1, 2)
	if over := len(lines) - limit; over > 0 {
		hidden += over
		lines = lines[:limit]
	}
	if hidden > 0 {
		lines = append(lines[:limit-1:limit-1], short(fmt.Sprintf("… and %d more", hidden+1), width))
	}
	var b strings.Builder
	if c.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r", c.drawn)
	}
	for _, line := range lines {
		b.WriteString(line + "\x1b[K\n")
	}
	b.WriteString("\x1b[J")
	_, _ = io.WriteString(c.s.out, b.String())
	c.drawn = len(lines)
}

// ago formats how long something lasts, briefly.
func ago(since, now time.Time) string {
	if since.IsZero() {
		return "-"
	}
	d := now.Sub(since)
	switch {
	case d < 0:
		return "0s"
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// size formats bytes.
func size(n uint64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1024, 0
	for ; f >= 1024 && i < len(units)-1; i++ {
		f /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}
