package supervise

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
)

// tracker writes what people are to see of the conditions of links and devices: one line for
// a link that is down and none for its devices, one line for devices that go down together,
// one when it is over, and a count of what lasts or comes again. It keeps only what is not
// well, so that thousands of healthy devices cost nothing.
//
// The pool's mu guards it.
type tracker struct {
	log     *driverLog                                 // constant, as is devices
	devices func(link string) (n int, configured bool) // how many a link has
	links   map[string]*linkTrouble
}

// linkTrouble is the trouble of a link and of its devices.
type linkTrouble struct {
	name    string
	own     episode // its zero value: the link is well
	devices map[string]*episode
	window  time.Duration // how long devices are gathered; 0: gatherFor
	lastAt  time.Time     // when devices were told last
	again   schedule      // of devices that stay down
}

// namesShown is how many names are in a line about many.
const namesShown = 5

// forget drops what is not configured any more.
func (t *tracker) forget(s *control.State) {
	if len(t.links) == 0 {
		return
	}
	left := make(map[string]*linkTrouble)
	for i := range s.Links {
		spec := &s.Links[i]
		l := t.links[spec.Name]
		if l == nil {
			continue
		}
		left[spec.Name] = l
		devices := make(map[string]*episode)
		for j := range spec.Devices {
			if ep := l.devices[spec.Devices[j].Name]; ep != nil {
				devices[spec.Devices[j].Name] = ep
			}
		}
		l.devices = devices
	}
	t.links = left
}

// next is how long until look is to be called; false: there is nothing to look at.
func (t *tracker) next() (time.Duration, bool) { return watchEvery, len(t.links) > 0 }

// clear forgets everything: the driver does not run.
func (t *tracker) clear() { t.links = nil }

// look writes the lines that are due.
func (t *tracker) look(now time.Time) {
	var still []*linkTrouble
	for _, name := range slices.Sorted(maps.Keys(t.links)) {
		l := t.links[name]
		if l.look(t, now) {
			still = append(still, l)
		}
		l.lookDevices(t, now)
		if l.own.falls == 0 && len(l.devices) == 0 && now.Sub(l.lastAt) >= 2*gatherMost {
			delete(t.links, name)
		}
	}
	t.tellStill(still, now)
}

// look tells of the link itself, and reports whether it is among those that are still down.
func (l *linkTrouble) look(t *tracker, now time.Time) (still bool) {
	ep := &l.own
	lasted := now.Sub(ep.since)
	switch {
	case ep.falls == 0:
	case ep.bad && !ep.told && ep.falls <= manyFalls:
		if lasted >= openWithin || lasted >= gatherFor && (ep.attempts > 0 || ep.condition == control.Stopped) {
			l.tellDown(t, now)
		}
	case ep.bad && !ep.changed.IsZero() && now.Sub(ep.changed) >= gatherFor && ep.falls <= manyFalls:
		t.log.say(slog.LevelWarn, "link is "+ep.condition.String()+" for another cause", l.attributes(t, now)...)
		ep.toldNow(now)
	case (ep.bad || ep.falls > manyFalls) && !ep.again.due.IsZero() && !now.Before(ep.again.due):
		if !ep.bad && ep.wantsEnd(now) {
			break
		}
		return true
	}
	if ep.wantsEnd(now) {
		t.log.say(slog.LevelInfo, "link is up again", l.ended()...)
		ep.rose = true
	}
	if ep.falls > 0 && ep.over(now) {
		*ep = episode{}
	}
	return false
}

func (l *linkTrouble) tellDown(t *tracker, now time.Time) {
	t.log.say(slog.LevelWarn, "link is "+l.own.worst.String(), l.attributes(t, now)...)
	l.own.toldNow(now)
}

// attributes are those of a line about a link that is not well.
func (l *linkTrouble) attributes(t *tracker, now time.Time) []any {
	ep := &l.own
	list := []any{"link", l.name, "code", ep.cause.Code.String(), "err", ep.cause.Text}
	if n, configured := t.devices(l.name); configured {
		list = append(list, "devices", n)
	}
	list = append(list, "for", now.Sub(ep.fell).Round(time.Second), "attempts", ep.attempts)
	if ep.falls > 1 {
		list = append(list, "falls", ep.falls, "within", now.Sub(ep.began).Round(time.Second))
	}
	if do := advice(ep.cause); do != "" {
		list = append(list, "do", do)
	}
	return list
}

// ended are the attributes of the line about a link that is well again.
func (l *linkTrouble) ended() []any {
	ep := &l.own
	list := []any{"link", l.name, "for", ep.since.Sub(ep.fell).Round(time.Second), "attempts", ep.before + ep.attempts}
	if ep.falls > 1 {
		list = append(list, "falls", ep.falls, "within", ep.since.Sub(ep.began).Round(time.Second))
	}
	return list
}

// tellStill tells of the links that are still down: more than one of them in one line.
func (t *tracker) tellStill(still []*linkTrouble, now time.Time) {
	if len(still) == 0 {
		return
	}
	for _, l := range still {
		l.own.again.next(now)
	}
	if len(still) == 1 {
		l := still[0]
		text := "link is still " + l.own.condition.String()
		if l.own.falls > manyFalls {
			text = "link goes down again and again"
		}
		t.log.say(slog.LevelWarn, text, l.attributes(t, now)...)
		return
	}
	names, attempts, devices := make([]string, len(still)), uint64(0), 0
	longest := still[0]
	for i, l := range still {
		names[i] = l.name
		attempts += l.own.before + l.own.attempts
		n, _ := t.devices(l.name)
		devices += n
		if l.own.began.Before(longest.own.began) {
			longest = l
		}
	}
	t.log.say(slog.LevelWarn, "links are still down", "count", len(still), "links", few(names), "devices", devices,
		"for", now.Sub(longest.own.began).Round(time.Second), "attempts", attempts,
		"code", longest.own.cause.Code.String(), "err", longest.own.cause.Text)
}

// fall takes trouble of the link. What its devices have is part of it.
func (l *linkTrouble) fall(e control.Event, now time.Time) {
	l.own.fall(e, now)
	maps.DeleteFunc(l.devices, func(_ string, ep *episode) bool { return !ep.lines })
}

// rise takes that the link is up. The line of its first fall may not be written yet.
func (l *linkTrouble) rise(t *tracker, e control.Event, now time.Time) {
	ep := &l.own
	if !ep.bad {
		return
	}
	ep.attempts = max(ep.attempts, e.Failures)
	if !ep.told && ep.falls <= manyFalls {
		l.tellDown(t, now)
	}
	ep.rise(e, now)
	l.look(t, now)
}

// leave takes that a link or a device was taken off line: who did it knows.
func (l *linkTrouble) leave(e control.Event) {
	if e.Device == "" {
		l.own, l.devices = episode{}, make(map[string]*episode)
	}
	delete(l.devices, e.Device)
}

// few is the first names of many.
func few(names []string) string {
	slices.Sort(names)
	if len(names) <= namesShown {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:namesShown], ", ") + ", ..."
}
