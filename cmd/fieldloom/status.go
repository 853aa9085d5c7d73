package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
)

// statusLines is the status as lines that are no wider than width; 0: as wide as they are.
func statusLines(s *screen, st *client.Status, now time.Time, w *statusWord, width int) []string {
	grids := []*grid{driverGrid(st, now), spoolGrid(&st.Spool, now), processGrid(st, now), confinementGrid(st), meterGrid(st), offlineGrid(st, now), eventGrid(st, w.Events),
		linkGrid(st, now), deviceGrid(st, now)}
	lines := statusHead(st, now).fit(s, width)
	if len(w.Names) > 0 {
		grids = []*grid{driverGrid(st, now), offlineGrid(st, now), eventGrid(st, w.Events), linkGrid(st, now), deviceGrid(st, now)}
		lines = nil
	}
	for _, g := range grids {
		if len(g.rows) < 2 {
			continue // the head alone
		}
		if lines != nil {
			lines = append(lines, "")
		}
		lines = append(lines, g.fit(s, width)...)
	}
	return lines
}

func statusHead(st *client.Status, now time.Time) *grid {
	head := new(grid)
	head.add("", "gateway", st.Gateway, fmt.Sprintf("up %s, pid %d, version %s", ago(st.Since, now), st.PID, st.Version))
	head.add("", "config", st.Config.Dir, fmt.Sprintf("revision %d, in force since %s", st.Config.Revision, ago(st.Config.Loaded, now)))
	for _, line := range st.Config.Errors {
		head.add(red, "", "refused", line)
	}
	if at := st.Config.LastGood; !at.IsZero() {
		head.add(red, "", "last good", "the files are refused: in force is the copy of what was good last, of "+at.Local().Format(time.DateTime))
	}
	for _, line := range st.Config.Aside {
		head.add(red, "", "set aside", line)
	}
	head.add("", "spool", size(st.Spool.Bytes), spoolText(&st.Spool, now))
	if st.Spool.Fault != "" {
		head.add(red, "", "fault", st.Spool.Fault)
	}
	for _, line := range st.Warnings {
		head.add(red, "", "warning", line)
	}
	return head
}

func spoolText(sp *client.SpoolStatus, now time.Time) string {
	text := fmt.Sprintf("%d records in %d files", sp.Records, sp.Files)
	if !sp.First.IsZero() {
		text += fmt.Sprintf(", of the last %s", ago(sp.First, now))
	}
	if sp.Lost > 0 {
		text += fmt.Sprintf(", %d lost", sp.Lost)
	}
	if sp.Lasts > 0 {
		text += fmt.Sprintf("; %s last %s at %s/s", size(sp.Max), lastsText(sp.Lasts), size(uint64(totalRate(sp))))
	}
	if sp.Keep > 0 {
		text += ", keep is " + lastsText(sp.Keep)
	}
	return text
}

func totalRate(sp *client.SpoolStatus) (rate float64) {
	for i := range sp.Drivers {
		rate += sp.Drivers[i].Rate
	}
	return rate
}

// spoolGrid is what the spool holds of each driver.
func spoolGrid(sp *client.SpoolStatus, now time.Time) *grid {
	g := new(grid)
	g.add(bold, "SPOOL", "BYTES", "RECORDS", "OLDEST", "BYTES/S", "KEPT FOR")
	for i := range sp.Drivers {
		d := &sp.Drivers[i]
		name, kept := d.Driver, "-"
		if name == "" {
			name = "(gateway)"
		}
		if d.Lasts > 0 {
			kept = lastsText(d.Lasts)
		}
		g.add("", name, size(d.Bytes), fmt.Sprint(d.Records), ago(d.First, now), size(uint64(d.Rate)), kept)
	}
	return g
}

// lastsText writes seconds that are hours or days.
func lastsText(seconds float64) string {
	if d := time.Duration(min(seconds, 1<<33) * float64(time.Second)); d < 48*time.Hour {
		return d.Round(time.Second).String()
	}
	if seconds >= 10*365*86400 {
		return "over 10 years"
	}
	return fmt.Sprintf("%.1f days", seconds/86400)
}

func driverGrid(st *client.Status, now time.Time) *grid {
	g := &grid{least: []string{"PID", "RESTARTS", "GAPS", "VERSION", "RING"}}
	g.add(bold, "DRIVER", "STATE", "SINCE", "VERSION", "PID", "RESTARTS", "SAMPLES", "PER S", "GAPS", "RING", "CAUSE")
	for i := range st.Drivers {
		d := &st.Drivers[i]
		g.add(stateColour(d.State), d.Name, d.State, ago(d.Since, now), versionText(d), pidText(d.PID), fmt.Sprint(d.Restarts), counter(d.Samples, d.Uncounted),
			rateOf(d.Rate, d.Uncounted), fmt.Sprint(d.Gaps), ringText(d), d.Cause)
		if u := d.Upgrade; u != nil {
			g.add(yellow, "", "", "", "", "", "", "", "", "", "", fmt.Sprintf("upgrade to %s for %s, %d of %d links: %s", u.Version, ago(u.Since, now), u.Done, u.Of, u.Text))
		}
		if d.Refused > 0 {
			g.add(yellow, "", "", "", "", "", "", "", "", "", "", fmt.Sprintf("%d frames and events refused, the last: %s", d.Refused, d.Refusal))
		}
		for _, line := range d.Stderr {
			if d.State != "active" {
				g.add(stateColour(d.State), "", "", "", "", "", "", "", "", "", "", "| "+line)
			}
		}
	}
	return g
}

// ringText is what waits in memory, and on disk where some may.
func ringText(d *client.Driver) string {
	if d.SpillMax == 0 {
		return size(d.Ring)
	}
	return fmt.Sprintf("%s + %s of %s on disk", size(d.Ring), size(d.Spill), size(d.SpillMax))
}

func versionText(d *client.Driver) string {
	if d.Unsigned {
		return d.Version + " UNSIGNED"
	}
	return d.Version
}

func pidText(pid int) string {
	if pid == 0 {
		return "-"
	}
	return fmt.Sprint(pid)
}

// processGrid has a line a process: what it is.
func processGrid(st *client.Status, now time.Time) *grid {
	g := &grid{least: []string{"RESTARTS", "LINKS", "VERSION"}}
	g.add(bold, "PROCESS", "ROLE", "STATE", "SINCE", "PID", "VERSION", "LINKS", "RESTARTS", "CAUSE")
	for i := range st.Drivers {
		for j := range st.Drivers[i].Processes {
			p := &st.Drivers[i].Processes[j]
			g.add(stateColour(p.State), fmt.Sprintf("%s.%d", st.Drivers[i].Name, p.Member), roleText(p), p.State, ago(p.Since, now), pidText(p.PID),
				p.Version, fmt.Sprint(p.Links), fmt.Sprint(p.Restarts), processCause(p, now))
		}
	}
	return g
}

func roleText(p *client.Process) string {
	text := fmt.Sprintf("instance %d", p.Instance)
	switch {
	case p.Next:
		text = "next version"
	case p.Instance < 0:
		text = "standby"
	}
	if p.Detached {
		text += ", detached"
	}
	return text
}

func processCause(p *client.Process, now time.Time) string {
	cause := p.Cause
	if p.Adopted && cause == "" {
		cause = "adopted from an earlier gateway"
	}
	if p.Pending > 0 {
		cause = joined(fmt.Sprintf("%d links to go", p.Pending), cause)
	}
	if p.Unanswered > 0 {
		cause = joined(fmt.Sprintf("busy: has not told its counters for %s", seconds(p.Unanswered)), cause)
	}
	if p.Retry.After(now) {
		cause = fmt.Sprintf("next start in %s; %s", p.Retry.Sub(now).Round(100*time.Millisecond), cause)
	}
	return cause
}

// confinementGrid has what keeps the processes in their places, and what is missing of
// that. What is the same for several processes of a driver is one line.
func confinementGrid(st *client.Status) *grid {
	g := new(grid)
	g.add(bold, "CONFINED", "MODE", "IN FORCE", "MISSING")
	for i := range st.Drivers {
		of := make(map[[3]string][]string)
		var kinds [][3]string // in the order of the processes
		for j := range st.Drivers[i].Processes {
			p := &st.Drivers[i].Processes[j]
			if p.Confinement == nil {
				continue
			}
			kind := [3]string{p.Confinement.Mode, heads(p.Confinement.InForce), heads(p.Confinement.Missing)}
			if of[kind] == nil {
				kinds = append(kinds, kind)
			}
			of[kind] = append(of[kind], strconv.Itoa(p.Member))
		}
		for _, kind := range kinds {
			g.add("", st.Drivers[i].Name+"."+strings.Join(of[kind], ","), kind[0], kind[1], kind[2])
		}
	}
	return g
}

// heads is the beginnings of texts that go into details behind a colon.
func heads(texts []string) string {
	list := make([]string, len(texts))
	for i, text := range texts {
		list[i], _, _ = strings.Cut(text, ":")
	}
	return strings.Join(list, ", ")
}

// meterGrid has what drivers count themselves.
func meterGrid(st *client.Status) *grid {
	g := new(grid)
	g.add(bold, "METER", "LINK", "NAME", "VALUE")
	for i := range st.Drivers {
		for _, m := range st.Drivers[i].Meters {
			g.add("", st.Drivers[i].Name, m.Link, m.Name, fmt.Sprint(m.Value))
		}
	}
	return g
}

func offlineGrid(st *client.Status, now time.Time) *grid {
	g := new(grid)
	g.add(bold, "OFF LINE", "SINCE", "")
	for i := range st.Offline {
		g.add(yellow, st.Offline[i].Name, ago(st.Offline[i].Since, now), st.Offline[i].Text)
	}
	return g
}

func eventGrid(st *client.Status, events bool) *grid {
	g := new(grid)
	g.add(bold, "EVENTS")
	for i := range st.Drivers {
		for j := range st.Drivers[i].Events {
			if events {
				g.add("", eventLine(&screen{}, &st.Drivers[i].Events[j]))
			}
		}
	}
	return g
}

func linkGrid(st *client.Status, now time.Time) *grid {
	g := &grid{least: []string{"OPENED", "DEVICES"}}
	g.add(bold, "LINK", "DRIVER", "STATE", "SINCE", "DEVICES", "OPENED", "FAILED", "PER S", "CAUSE")
	for i := range st.Links {
		l := &st.Links[i]
		g.add(stateColour(l.State), l.Name, l.Driver, l.State, ago(l.Since, now), fmt.Sprint(len(l.Devices)), counter(l.Opens, l.Uncounted),
			counter(l.OpenFailures, l.Uncounted), rateOf(l.Rate, l.Uncounted), joined(ageText(l), causeText(l.Cause)))
	}
	return g
}

func deviceGrid(st *client.Status, now time.Time) *grid {
	g := &grid{least: []string{"LATE MS", "OVERRUN", "POLLS", "POLL MS", "BAD", "SAMPLES"}}
	g.add(bold, "DEVICE", "STATE", "SINCE", "POLLS", "FAILED", "OVERRUN", "SAMPLES", "BAD", "PER S", "POLL MS", "LATE MS", "CAUSE")
	for i := range st.Links {
		for j := range st.Links[i].Devices {
			d, never := &st.Links[i].Devices[j], st.Links[i].Uncounted
			g.add(stateColour(d.State), st.Links[i].Name+"/"+d.Name, d.State, ago(d.Since, now), counter(d.Polls, never), counter(d.Failures, never),
				counter(d.Overruns, never), counter(d.Samples, never), counter(d.BadSamples, never), rateOf(d.Rate, never),
				fmt.Sprintf("%.1f", d.LastPoll), fmt.Sprintf("%.1f", d.LastLate), causeText(d.Cause))
		}
	}
	return g
}

func stateColour(state string) string {
	switch state {
	case "up", "active":
		return green
	case "down", "backing-off", "quarantined":
		return red
	}
	return yellow
}

func causeText(f *client.Fault) string {
	if f == nil {
		return ""
	}
	return f.String()
}

// counter is a number, or a dash where its process has never told it.
func counter(n uint64, never bool) string {
	if never {
		return "-"
	}
	return fmt.Sprint(n)
}

func rateOf(f float64, never bool) string {
	if never {
		return "-"
	}
	return rate(f)
}

// ageText says how old the counters of a link are whose process is too busy to tell them.
func ageText(l *client.Link) string {
	if l.Unanswered == 0 || l.Uncounted {
		return ""
	}
	return fmt.Sprintf("counters of %s ago", seconds(l.Unanswered))
}

func seconds(f float64) string {
	return time.Duration(f * float64(time.Second)).Round(100 * time.Millisecond).String()
}

func joined(texts ...string) string {
	return strings.Join(slices.DeleteFunc(texts, func(text string) bool { return text == "" }), "; ")
}

func rate(f float64) string { return fmt.Sprintf("%.1f", f) }
