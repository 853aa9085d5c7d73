package document

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// Value is a part of a document. Its readers complain to the document, and then return a zero value.
type Value struct {
	doc  *Document
	node ast.Node
	path string
	n    *int // what {n} stands for, nil outside of a range
}

// Errorf complains about the value.
func (v Value) Errorf(format string, args ...any) {
	v.doc.complain(v.node, v.path, fmt.Sprintf(format, args...))
}

// entries returns the keys and values of a mapping.
func (v Value) entries() []*ast.MappingValueNode {
	switch n := v.node.(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	case *ast.NullNode:
		return nil
	}
	v.Errorf("a mapping of keys to values is needed here")
	return nil
}

func (v Value) child(key string, node ast.Node) Value {
	path := key
	if v.path != "" {
		path = v.path + "." + key
	}
	return Value{doc: v.doc, node: node, path: path, n: v.n}
}

// IsMapping reports whether the value has keys.
func (v Value) IsMapping() bool {
	switch v.node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return true
	}
	return false
}

// Fields hands the value of each key to the function of its name. Any other key is complained
// about. It returns false when there was any complaint.
func (v Value) Fields(fields map[string]func(Value)) bool {
	before := v.doc.count
	for _, e := range v.entries() {
		key := keyText(e)
		read, ok := fields[key]
		if !ok {
			names := make([]string, 0, len(fields))
			for name := range fields {
				names = append(names, name)
			}
			slices.Sort(names)
			v.doc.complain(e.Key, v.path, fmt.Sprintf("unknown key %q: it is one of %s", key, strings.Join(names, ", ")))
			continue
		}
		read(v.child(key, e.Value))
	}
	return v.doc.count == before
}

func keyText(e *ast.MappingValueNode) string {
	if s, ok := e.Key.(*ast.StringNode); ok {
		return s.Value
	}
	return e.Key.String()
}

var ranged = regexp.MustCompile(`^(.*)\[(\d{1,9})\.\.(\d{1,9})\](.*)$`)

// Each hands over every entry of a mapping whose keys are names, with ranges written out. Of a
// range whose first entry is wrong the others are left out.
func (v Value) Each(read func(name string, v Value)) {
	seen := make(map[string]bool)
	once := func(key ast.Node, name string, entry Value) {
		if v.doc.entries++; v.doc.entries > maxEntries {
			v.doc.exhausted(key)
			return
		}
		if seen[name] {
			v.doc.complain(key, v.path, fmt.Sprintf("%q is there twice", name))
			return
		}
		seen[name] = true
		entry.path = strings.TrimPrefix(v.path+"."+name, ".")
		read(name, entry)
	}
	for _, e := range v.entries() {
		key := v.expand(keyText(e))
		entry := v.child(key, e.Value)
		m := ranged.FindStringSubmatch(key)
		if m == nil {
			once(e.Key, key, entry)
			continue
		}
		first, _ := strconv.Atoi(m[2])
		last, _ := strconv.Atoi(m[3])
		if last < first || last-first >= maxRange {
			v.doc.complain(e.Key, v.path, fmt.Sprintf("range %q: it goes from a number to a higher one, and has at most %d", key, maxRange))
			continue
		}
		before := v.doc.count
		for n := first; n <= last && v.doc.count == before; n++ {
			entry.n = &n
			once(e.Key, m[1]+strconv.Itoa(n)+m[4], entry)
		}
	}
}

// List hands over every item of a sequence.
func (v Value) List(read func(Value)) {
	s, ok := v.node.(*ast.SequenceNode)
	if !ok {
		v.Errorf("a list is needed here")
		return
	}
	for i, item := range s.Values {
		read(Value{doc: v.doc, node: item, path: fmt.Sprintf("%s[%d]", v.path, i), n: v.n})
	}
}

// Text returns a scalar as it is written, with {n} filled in.
func (v Value) Text() string {
	switch n := v.node.(type) {
	case *ast.StringNode:
		return v.expand(n.Value)
	case *ast.LiteralNode:
		return v.expand(n.Value.Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return v.node.GetToken().Value
	}
	v.Errorf("a text or number is needed here")
	return ""
}

// Quoted reports whether the value is a text in quotes, and so meant as one.
func (v Value) Quoted() bool {
	s, ok := v.node.(*ast.StringNode)
	return ok && strings.ContainsAny(s.Token.Origin, `"'`) && !strings.Contains(s.Value, "{")
}

// Bool returns true or false.
func (v Value) Bool() bool {
	b, ok := v.node.(*ast.BoolNode)
	if !ok {
		v.Errorf("true or false is needed here")
		return false
	}
	return b.Value
}

// Int returns an integer between two limits.
func (v Value) Int(least, most int64) int64 {
	text := v.Text()
	n, err := strconv.ParseInt(text, 0, 64)
	if err != nil || n < least || n > most {
		v.Errorf("%q is no integer from %d to %d", text, least, most)
		return least
	}
	return n
}

// Number returns a finite number.
func (v Value) Number() float64 {
	text := v.Text()
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		v.Errorf("%q is no number", text)
		return 0
	}
	return f
}

// Duration returns a time span such as 250ms, 10s or 1h30m, never negative.
func (v Value) Duration() time.Duration {
	text := v.Text()
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d == 0 && strings.ContainsAny(text, "123456789") { // it would be 0
		v.Errorf("%q is no duration like 250ms, 10s or 1h30m", text)
		return 0
	}
	return d
}
