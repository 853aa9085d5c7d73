package control

import "time"

// PollsDue counts the polls of a link that its configuration has due after one time and up to
// another: what was lost of it at most, or would have been made. pushes reports whether a
// device sends by itself. uncounted is set where nobody can know: such a device,
// or a scan class without a period.
//
// The grid of a link that was handed over may lie a little elsewhere, by the distance of two
// processes' clocks: then the number is wrong by one for a scan class of a device.
func (l *Link) PollsDue(from, to time.Time, pushes func(device string) bool) (polls uint64, uncounted bool) {
	if l.Offline || !to.After(from) {
		return 0, false
	}
	var classes []bool // with a readable point, of the table before
	var of *Table
	for i := range l.Devices {
		d := &l.Devices[i]
		if d.Offline || d.Table == nil {
			continue
		}
		if d.Table != of {
			classes, of = d.Table.scanned(len(l.Classes)), d.Table
		}
		if pushes(d.Name) {
			uncounted = uncounted || anyOf(classes)
			continue
		}
		for c := range classes {
			if !classes[c] {
				continue
			}
			if g := NewGrid(l.Classes[c].Period, l.Name, d.Name, l.Classes[c].Name); g.Period > 0 {
				polls += g.between(from.UnixNano(), to.UnixNano())
			} else {
				uncounted = true
			}
		}
	}
	return polls, uncounted
}

// scanned reports of each scan class whether the table has a point that it reads.
func (t *Table) scanned(classes int) []bool {
	scanned := make([]bool, classes)
	for i := range t.Points {
		if p := &t.Points[i]; p.Readable && p.Class >= 0 && p.Class < classes {
			scanned[p.Class] = true
		}
	}
	return scanned
}

func anyOf(list []bool) bool {
	for _, is := range list {
		if is {
			return true
		}
	}
	return false
}

// between is how many due times lie after from and up to to.
func (g Grid) between(from, to int64) uint64 {
	return uint64((g.After(to) - g.After(from)) / g.Period)
}
