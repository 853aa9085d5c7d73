package config

import (
	"slices"
	"strconv"
	"strings"

	"github.com/fieldloom/fieldloom/core/driver"
)

// A place is where something was written.
type place struct {
	line, column uint32
	file         uint16 // index into the names of the files
}

// named is the place with the path to what stands there; files are the names by place.file.
func (p place) named(files []string, path string) driver.Place {
	at := driver.Place{Line: int(p.line), Column: int(p.column), Path: path}
	if int(p.file) < len(files) {
		at.File = files[p.file]
	}
	return at
}

// A trail is the path to a node. It knows its parents but not its siblings, so
// a node that is kept does not keep the whole file.
type trail struct {
	up  *trail
	key string
}

func (t *trail) String() string {
	if t == nil {
		return ""
	}
	up := t.up.String()
	if up == "" || strings.HasPrefix(t.key, "[") {
		return up + t.key
	}
	return up + "." + t.key
}

func (t *trail) at(key string) *trail { return &trail{t, key} }

func (t *trail) item(i int) *trail { return &trail{t, "[" + strconv.Itoa(i) + "]"} }

type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindInteger
	kindNumber
	kindText
	kindList
	kindMap
)

var kindWords = [...]string{"nothing", "true or false", "a whole number", "a number", "a text", "a list", "a map"}

func (k kind) String() string { return kindWords[k] }

// A node is one value of a file.
type node struct {
	kind   kind
	place  place
	trail  *trail
	text   string  // of a scalar, numbers as JSON writes them
	words  *words  // of a text with placeholders
	fields []field // of a map, in the order of the file
	items  []*node // of a list
	// number caches what a constant numeric key evaluates to, so that the
	// thousand points that come from one line share it.
	number *float64
}

// A field is one key of a map.
type field struct {
	key   string
	place place
	value *node
}

// get returns a key's value, or nil.
func (n *node) get(key string) *node {
	if n == nil {
		return nil
	}
	for i := range n.fields {
		if n.fields[i].key == key {
			return n.fields[i].value
		}
	}
	return nil
}

// mapFields returns the fields of a map, none of anything else.
func (n *node) mapFields() []field {
	if n == nil {
		return nil
	}
	return n.fields
}

// only reports whether n is a map without other keys.
func (n *node) only(keys ...string) bool {
	if n.kind != kindMap {
		return false
	}
	for i := range n.fields {
		if !slices.Contains(keys, n.fields[i].key) {
			return false
		}
	}
	return true
}

// A scalar is a node's value with its placeholders replaced.
type scalar struct {
	kind kind
	text string
}

// eval replaces placeholders. A text that is one placeholder and nothing else
// becomes a whole number.
func (n *node) eval(s scope) (scalar, error) {
	if n.words == nil {
		return scalar{n.kind, n.text}, nil
	}
	text, err := n.words.eval(s)
	if err != nil {
		return scalar{}, err
	}
	if n.words.isNumber() {
		return scalar{kindInteger, text}, nil
	}
	return scalar{kindText, text}, nil
}

// uses returns the variables that n and its children depend on.
func (n *node) uses() variables {
	if n == nil {
		return 0
	}
	var v variables
	if n.words != nil {
		v = n.words.uses
	}
	for i := range n.fields {
		v |= n.fields[i].value.uses()
	}
	for _, item := range n.items {
		v |= item.uses()
	}
	return v
}
