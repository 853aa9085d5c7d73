package mqtt

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// address is a parsed point address.
type address struct {
	filter   string
	path     path // nil: the whole payload
	kind     kind
	set      string // the topic to publish on; empty: can't be written
	optional bool   // no sample where the path leads nowhere
}

// kind is how a payload or a JSON field becomes a value.
type kind uint8

const (
	auto kind = iota
	number
	integer
	text
	boolean
	raw
)

var kinds = map[string]kind{
	"auto": auto, "number": number, "integer": integer, "text": text, "bool": boolean, "bytes": raw,
}

const maxAddress = 4096

// parseAddress reads an address of the grammar in the package comment.
func parseAddress(s string) (*address, error) {
	if len(s) > maxAddress {
		return nil, fmt.Errorf("the address is longer than %d bytes", maxAddress)
	}
	if !utf8.ValidString(s) {
		return nil, fmt.Errorf("the address is no UTF-8 text: %q", s)
	}
	words, err := splitWords(s)
	if err != nil {
		return nil, err
	}
	if len(words) == 0 {
		return nil, fmt.Errorf("the address is empty: give a topic, for example plant/line1/temp")
	}
	a := &address{}
	if a.filter, err = topicWord(words[0]); err != nil {
		return nil, err
	}
	if err := checkFilter(a.filter); err != nil {
		return nil, err
	}
	rest, err := a.parseTake(words[1:])
	if err != nil {
		return nil, err
	}
	if err := a.parseOptions(rest); err != nil {
		return nil, err
	}
	if a.set == "" && !hasWildcard(a.filter) && a.path.writable() {
		a.set = a.filter
	}
	return a, nil
}

// splitWords splits at spaces outside of JSON strings.
func splitWords(s string) ([]string, error) {
	var words []string
	for {
		s = strings.TrimLeft(s, " ")
		if s == "" {
			return words, nil
		}
		end := 0
		for end < len(s) && s[end] != ' ' {
			if s[end] != '"' {
				end++
				continue
			}
			_, tail, err := cutQuoted(s[end:])
			if err != nil {
				return nil, err
			}
			end = len(s) - len(tail)
		}
		words, s = append(words, s[:end]), s[end:]
	}
}

// topicWord takes a topic as it is, or as the JSON string that it is written as.
func topicWord(w string) (string, error) {
	if !strings.Contains(w, `"`) {
		return w, nil
	}
	if w[0] != '"' {
		return "", fmt.Errorf("topic %s has a quote in it: write all of it as a JSON string", w)
	}
	topic, rest, err := cutQuoted(w)
	if err != nil {
		return "", err
	}
	if rest != "" {
		return "", fmt.Errorf("a space must follow %s", w[:len(w)-len(rest)])
	}
	return topic, nil
}

// parseTake reads the optional path and type, and returns the words after them.
func (a *address) parseTake(words []string) ([]string, error) {
	if len(words) > 0 && words[0] == "json" {
		if words = words[1:]; len(words) == 0 || words[0][0] != '$' {
			return nil, fmt.Errorf("a path must follow json, for example json $.value")
		}
	}
	if len(words) > 0 && words[0][0] == '$' {
		p, err := parsePath(words[0])
		if err != nil {
			return nil, err
		}
		a.path, words = p, words[1:]
	}
	if len(words) > 0 {
		if k, ok := kinds[words[0]]; ok {
			a.kind, words = k, words[1:]
		}
	}
	if a.path != nil && a.kind == raw {
		return nil, fmt.Errorf("bytes can't be taken from JSON: use text")
	}
	return words, nil
}

func (a *address) parseOptions(words []string) error {
	for _, w := range words {
		topic, isSet := strings.CutPrefix(w, "set=")
		switch {
		case isSet && a.set == "":
			var err error
			if a.set, err = topicWord(topic); err != nil {
				return err
			}
			if err := checkTopic(a.set); err != nil {
				return err
			}
			if !a.path.writable() {
				return fmt.Errorf("set= can't be used with an index in the path: %s", a.path)
			}
		case w == "optional" && a.path != nil && !a.optional:
			a.optional = true
		default:
			return fmt.Errorf("%q is not understood here: use auto, number, integer, text, bool, bytes, "+
				"json PATH, set=TOPIC or, after a path, optional; each at most once", w)
		}
	}
	return nil
}
