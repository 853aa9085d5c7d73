package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
)

type discoverWord struct {
	Link   string `arg:"" optional:"" help:"The link to look on."`
	Within string `help:"Where to look, in the driver's words: units of a Modbus line as 1-32,100. Default: wherever a device may be." placeholder:"RANGE"`
	remote
	Timeout time.Duration `help:"For each candidate. Default, and the most: the link's timeout." placeholder:"TIME"`
	JSON    bool          `help:"One line of JSON a candidate."`

	Hosts  []string `help:"Instead of a link: hosts, or networks as 192.0.2.0/28, of at most 1024 hosts." placeholder:"HOST,..."`
	Driver string   `help:"With --hosts: the driver that asks them." placeholder:"NAME"`
	Port   int      `help:"With --hosts: the port. Default: the driver's." placeholder:"PORT"`
}

// Help has the examples.
func (*discoverWord) Help() string {
	return `Asks every candidate of a line (of a Modbus line the units 1 to 247) whether it is there, one after the other, behind everything else
that waits for the link: its polls go on. A candidate that keeps silent takes the timeout. Ctrl-C ends it, also at the gateway.
Nothing is written. The audit log says who looked.

With --hosts a driver process of its own, with the rights of links to these hosts and no others, asks the first candidate of each, or
those within; it needs no running gateway, and the drivers and keys of the configuration. 8 hosts are asked at a time, 50 a second at
most, each for 500ms or --timeout, and the connection is closed.

  fieldloom discover line1
  fieldloom discover line1 --within 1-32 --timeout 100ms
  fieldloom discover line1 --json | jq -c 'select(.found)'
  fieldloom discover --driver modbus --hosts 192.0.2.0/28,192.0.2.77 --port 502`
}

// Run discovers.
func (w *discoverWord) Run(ctx context.Context, s *screen) error {
	if w.Timeout < 0 {
		return &usageError{fmt.Sprintf("--timeout %v: use a time like 100ms", w.Timeout)}
	}
	switch {
	case (w.Link == "") == (len(w.Hosts) == 0):
		return &usageError{"name a link to look on, or hosts with --hosts"}
	case len(w.Hosts) > 0 && w.Driver == "":
		return &usageError{"--hosts needs --driver, to say who asks them"}
	case len(w.Hosts) == 0 && (w.Driver != "" || w.Port != 0):
		return &usageError{"--driver and --port are for --hosts: a link has its own"}
	case w.Port < 0 || w.Port > 65535:
		return &usageError{fmt.Sprintf("--port %d: use 1 to 65535", w.Port)}
	case len(w.Hosts) > 0:
		return w.hosts(ctx, s)
	}
	c, err := w.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	p := discoveryBar{s: s, asJSON: w.JSON, began: time.Now()}
	err = c.Discover(ctx, client.DiscoverOptions{Link: w.Link, Within: w.Within, Timeout: w.Timeout}, p.take)
	if printErr := p.end(w.Link, err); err == nil {
		err = printErr
	}
	return err
}

// A discoveryBar shows how far a discovery has come.
type discoveryBar struct {
	s      *screen
	asJSON bool
	began  time.Time
	last   client.Discovery
	found  []client.Found
}

// take shows the next candidate: as a bar on a terminal, else as a line where it is there.
func (p *discoveryBar) take(d client.Discovery) error {
	p.last = d
	if d.Found != nil {
		p.found = append(p.found, *d.Found)
	}
	switch {
	case p.asJSON:
		return printJSON(p.s.out, &d)
	case p.s.lively:
		width, _ := p.s.size()
		_, err := fmt.Fprint(p.s.out, "\r\x1b[K"+p.bar(width, time.Now()))
		return err
	case d.Found != nil:
		_, err := fmt.Fprintln(p.s.out, printable(strings.TrimSpace(fmt.Sprintf("%d of %d: %s  %s %s", d.Done, d.Of, d.Found.Address, d.Found.Name, d.Found.Value))))
		return err
	}
	return nil
}

// bar is how far it has come, within a width.
func (p *discoveryBar) bar(width int, now time.Time) string {
	d := &p.last
	left := now.Sub(p.began) / time.Duration(max(d.Done, 1)) * time.Duration(d.Of-d.Done)
	text := fmt.Sprintf("] %d of %d, %d found, %s left", d.Done, d.Of, len(p.found), left.Round(time.Second))
	room := min(30, width-len(text)-2)
	if room < 1 {
		return short(text[2:], max(width-1, 1))
	}
	full := room * d.Done / max(d.Of, 1)
	return "[" + strings.Repeat("#", full) + strings.Repeat(" ", room-full) + text
}

// end prints what was found, also where it ended early.
func (p *discoveryBar) end(link string, err error) error {
	if p.asJSON || err != nil && p.last.Done == 0 {
		return nil
	}
	if p.s.lively {
		if _, err := fmt.Fprint(p.s.out, "\r\x1b[K"); err != nil {
			return err
		}
	}
	if p.s.lively && len(p.found) > 0 {
		g := new(grid)
		g.add(bold, "ADDRESS", "NAME", "VALUE")
		for i := range p.found {
			g.add("", p.found[i].Address, p.found[i].Name, p.found[i].Value)
		}
		if err := printFit(p.s, g); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(p.s.out, "%s: %d found, %d of %d asked in %s\n", printable(link), len(p.found), p.last.Done, p.last.Of,
		time.Since(p.began).Round(100*time.Millisecond))
	return err
}

// printFit prints a table, on a terminal within its width.
func printFit(s *screen, g *grid) error {
	width := 0
	if s.lively {
		width, _ = s.size()
	}
	_, err := fmt.Fprintln(s.out, strings.Join(g.fit(s, width), "\n"))
	return err
}
