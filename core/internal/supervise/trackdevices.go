package supervise

import (
	"cmp"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
)

// named is the episode of a device.
type named struct {
	name string
	*episode
}

func (l *linkTrouble) deviceFalls(e control.Event, now time.Time) {
	ep := l.devices[e.Device]
	if ep == nil {
		ep = &episode{}
		l.devices[e.Device] = ep
	}
	ep.fall(e, now)
}

func (l *linkTrouble) deviceRises(e control.Event, now time.Time) {
	if ep := l.devices[e.Device]; ep != nil && ep.bad {
		ep.rise(e, now)
	}
}

// lookDevices tells of the devices of the link: together of those that fell, or rose,
// together. Of a link that is down it tells nothing.
func (l *linkTrouble) lookDevices(t *tracker, now time.Time) {
	if l.own.bad || len(l.devices) == 0 {
		return
	}
	fallen := make(map[control.Condition][]named)
	var changed, risen, still []named
	first := now
	for name, ep := range l.devices {
		d := named{name, ep}
		if ep.wantsLine(now) {
			fallen[ep.worst] = append(fallen[ep.worst], d)
			first = earliest(first, ep.fell)
		}
		switch {
		case ep.wantsEnd(now):
			risen = append(risen, d)
			first = earliest(first, ep.since)
		case ep.told && !ep.changed.IsZero():
			changed = append(changed, d)
			first = earliest(first, ep.changed)
		}
		if ep.bad && ep.told || ep.falls > manyFalls {
			still = append(still, d)
		}
	}
	if now.Sub(first) >= l.gather(now) {
		l.tellDevices(t, fallen, changed, risen, now)
	}
	l.tellStillDevices(t, still, now)
	maps.DeleteFunc(l.devices, func(_ string, ep *episode) bool { return ep.over(now) })
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// gather is how long devices are gathered: longer and longer while there are more and more.
func (l *linkTrouble) gather(now time.Time) time.Duration {
	if now.Sub(l.lastAt) >= 2*gatherMost {
		l.window = gatherFor
	}
	return l.window
}

func (l *linkTrouble) tellDevices(t *tracker, fallen map[control.Condition][]named, changed, risen []named, now time.Time) {
	told := false
	for _, c := range slices.Sorted(maps.Keys(fallen)) {
		l.sayDevices(t, slog.LevelWarn, "is "+c.String(), "are "+c.String(), fallen[c], now)
		for _, d := range fallen[c] {
			d.toldNow(now)
			if d.wantsEnd(now) {
				risen = append(risen, d)
			}
		}
		if l.again.due.IsZero() {
			l.again.next(now)
		}
		told = true
	}
	if len(changed) > 0 {
		l.sayDevices(t, slog.LevelWarn, "is not well for another cause", "are not well for other causes", changed, now)
		for _, d := range changed {
			d.toldNow(now)
		}
		told = true
	}
	if len(risen) > 0 {
		l.sayDevices(t, slog.LevelInfo, "is up again", "are up again", risen, now)
		for _, d := range risen {
			d.rose = true
		}
		told = true
	}
	if told {
		l.lastAt, l.window = now, min(2*l.window, gatherMost)
	}
}

// tellStillDevices tells at growing intervals of devices that stay down, or fall again and
// again.
func (l *linkTrouble) tellStillDevices(t *tracker, still []named, now time.Time) {
	switch {
	case len(still) == 0:
		l.again = schedule{}
	case l.again.due.IsZero():
		l.again.next(now)
	case !now.Before(l.again.due):
		l.again.next(now)
		again := false
		for _, d := range still {
			d.lines = true
			again = again || d.falls > manyFalls
		}
		if again {
			l.sayDevices(t, slog.LevelWarn, "goes down again and again", "go down again and again", still, now)
		} else {
			state := still[0].worst.String()
			l.sayDevices(t, slog.LevelWarn, "is still "+state, "are still "+state, still, now)
		}
	}
}

// sayDevices writes one line about one device or many, each with its words.
func (l *linkTrouble) sayDevices(t *tracker, level slog.Level, one, many string, list []named, now time.Time) {
	slices.SortFunc(list, func(a, b named) int { return cmp.Or(a.began.Compare(b.began), cmp.Compare(a.name, b.name)) })
	oldest := list[0]
	attempts, falls := uint64(0), 0
	names := make([]string, len(list))
	causes := make(map[string]bool)
	for i, d := range list {
		names[i] = d.name
		attempts += d.before + d.attempts
		falls = max(falls, d.falls)
		causes[causeKey(d.cause)] = true
	}
	until := now
	if !oldest.bad {
		until = oldest.since
	}
	attributes := []any{"link", l.name}
	text := "device " + one
	if len(list) == 1 {
		attributes = append(attributes, "device", oldest.name)
	} else {
		text = "devices " + many
		attributes = append(attributes, "count", len(list), "devices", few(names))
	}
	if level == slog.LevelWarn {
		attributes = append(attributes, "code", oldest.cause.Code.String(), "err", oldest.cause.Text)
		if len(causes) > 1 {
			attributes = append(attributes, "causes", len(causes))
		}
		if do := advice(oldest.cause); do != "" && len(causes) == 1 {
			attributes = append(attributes, "do", do)
		}
	}
	attributes = append(attributes, "for", until.Sub(oldest.fell).Round(time.Second), "attempts", attempts)
	if falls > 1 {
		attributes = append(attributes, "falls", falls, "within", until.Sub(oldest.began).Round(time.Second))
	}
	t.log.say(level, text, attributes...)
}
