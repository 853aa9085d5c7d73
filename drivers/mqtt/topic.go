package mqtt

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxTopic is the length of an UTF-8 encoded string at most (MQTT 3.1.1, 1.5.3).
const maxTopic = 65535

// checkTopic tells what is wrong with a topic name to publish on (clause 4.7).
func checkTopic(topic string) error {
	switch {
	case topic == "":
		return errors.New("the topic is empty")
	case len(topic) > maxTopic:
		return fmt.Errorf("the topic is longer than %d bytes", maxTopic)
	case !utf8.ValidString(topic) || strings.Contains(topic, "\x00"):
		return fmt.Errorf("topic %q is no valid UTF-8 text", topic)
	case strings.ContainsAny(topic, "+#"):
		return fmt.Errorf("topic %q has a wildcard: it can't be published on", topic)
	}
	return nil
}

// checkFilter tells what is wrong with a topic filter (clause 4.7).
func checkFilter(filter string) error {
	if strings.HasPrefix(filter, "$share/") {
		return fmt.Errorf("filter %q is a shared subscription: a gateway must get every message of its devices", filter)
	}
	levels := strings.Split(filter, "/")
	for i, level := range levels {
		switch {
		case level == "+" || (level == "#" && i == len(levels)-1):
			levels[i] = "x"
		case level == "#":
			return fmt.Errorf("filter %q: # is allowed as the last level only", filter)
		case strings.ContainsAny(level, "+#"):
			return fmt.Errorf("filter %q: a wildcard must be a level of its own", filter)
		}
	}
	return checkTopic(strings.Join(levels, "/"))
}

func hasWildcard(filter string) bool { return strings.ContainsAny(filter, "+#") }

// interest is what one subscription wants of the messages of one filter.
type interest struct {
	sub    *subscription
	points []*compiled
}

// index finds the interests in a topic without a look at all the others: a map
// for filters without wildcards, a tree of levels for the rest.
type index struct {
	exact map[string][]*interest
	wild  level
}

type level struct {
	next map[string]*level // "+" and "#" among the keys
	here []*interest
}

func (x *index) add(filter string, in *interest) {
	if !hasWildcard(filter) {
		if x.exact == nil {
			x.exact = make(map[string][]*interest)
		}
		x.exact[filter] = append(x.exact[filter], in)
		return
	}
	at := &x.wild
	for name := range strings.SplitSeq(filter, "/") {
		if at.next == nil {
			at.next = make(map[string]*level)
		}
		if at.next[name] == nil {
			at.next[name] = &level{}
		}
		at = at.next[name]
	}
	at.here = append(at.here, in)
}

func (x *index) remove(filter string, in *interest) {
	if hasWildcard(filter) {
		x.wild.remove(strings.Split(filter, "/"), in)
		return
	}
	if left := without(x.exact[filter], in); len(left) > 0 {
		x.exact[filter] = left
	} else {
		delete(x.exact, filter)
	}
}

// remove takes the interest out, and levels that are empty then.
func (at *level) remove(names []string, in *interest) {
	if len(names) == 0 {
		at.here = without(at.here, in)
		return
	}
	next := at.next[names[0]]
	if next == nil {
		return
	}
	next.remove(names[1:], in)
	if len(next.here) == 0 && len(next.next) == 0 {
		delete(at.next, names[0])
	}
}

func without(list []*interest, in *interest) []*interest {
	return slices.DeleteFunc(list, func(other *interest) bool { return other == in })
}

// match appends every interest in topic to hits.
func (x *index) match(topic string, hits []*interest) []*interest {
	hits = append(hits, x.exact[topic]...)
	if len(x.wild.next) == 0 {
		return hits
	}
	if strings.HasPrefix(topic, "$") {
		// A wildcard in the first level does not match a topic that begins with $
		// (clause 4.7.2).
		name, rest, more := strings.Cut(topic, "/")
		if next := x.wild.next[name]; next != nil {
			hits = next.match(rest, more, hits)
		}
		return hits
	}
	return x.wild.match(topic, true, hits)
}

// match follows topic, of which there are levels left where more is set.
func (at *level) match(topic string, more bool, hits []*interest) []*interest {
	if rest := at.next["#"]; rest != nil {
		hits = append(hits, rest.here...) // "#" includes the level above it
	}
	if !more {
		return append(hits, at.here...)
	}
	name, tail, more := strings.Cut(topic, "/")
	if next := at.next[name]; next != nil && name != "+" && name != "#" {
		hits = next.match(tail, more, hits)
	}
	if next := at.next["+"]; next != nil {
		hits = next.match(tail, more, hits)
	}
	return hits
}
