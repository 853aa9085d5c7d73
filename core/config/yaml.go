package config

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	yamlparser "github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// A converter turns one file's syntax tree into nodes.
type converter struct {
	file   uint16
	faults *faults
}

// tree reads one file. It returns nil after a fault that leaves no tree.
func (c *converter) tree(text string) *node {
	body, at, err := parseYAML(text)
	if err != nil {
		c.faults.add(place{at.line, at.column, c.file}, "", "%s", err)
		return nil
	}
	if body == nil {
		return nil
	}
	return c.node(body, nil)
}

// parseYAML runs the YAML library, and is the only one to do so.
func parseYAML(text string) (body ast.Node, at place, err error) {
	// The library reads bytes that anyone may have written and is known to have
	// panicked on some: that must cost an error here, not the gateway.
	defer func() {
		if r := recover(); r != nil {
			body, at, err = nil, place{}, fmt.Errorf("cannot be read as YAML (the parser stopped: %v): simplify it", r)
		}
	}()
	tokens := lexer.Tokenize(text)
	if r := guard(tokens); r != nil {
		return nil, placeOf(r.token), errors.New(r.text)
	}
	file, err := yamlparser.Parse(tokens, 0, yamlparser.AllowDuplicateMapKey())
	if err != nil {
		at, err = syntaxError(err)
		return nil, at, err
	}
	for _, d := range file.Docs {
		if d.Body != nil {
			return d.Body, place{}, nil
		}
	}
	return nil, place{}, nil
}

var syntaxHints = [...]struct{ found, hint string }{
	{"value is not allowed in this context", "put a text that has `: ` in it in quotes, and indent the keys of one map alike"},
	{"found an invalid key for this map", "in braces {} put a name with a range in quotes"},
	{"could not find end character", "close the quotes"},
	{"not found", "close it"},
	{"end token", "close it"},
}

func syntaxError(err error) (place, error) {
	var syntax *yaml.SyntaxError
	if !errors.As(err, &syntax) {
		return place{}, fmt.Errorf("cannot be read as YAML: %w", err)
	}
	text := syntax.GetMessage()
	for _, h := range syntaxHints {
		if strings.Contains(text, h.found) {
			return placeOf(syntax.GetToken()), fmt.Errorf("%s: %s", text, h.hint)
		}
	}
	return placeOf(syntax.GetToken()), fmt.Errorf("%s: write valid YAML", text)
}

func placeOf(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{}
	}
	return place{line: uint32(max(0, t.Position.Line)), column: uint32(max(0, t.Position.Column))}
}

func (c *converter) place(n ast.Node) place {
	p := placeOf(n.GetToken())
	p.file = c.file
	return p
}

func (c *converter) node(n ast.Node, t *trail) *node {
	out := &node{place: c.place(n), trail: t}
	switch v := n.(type) {
	case *ast.MappingNode:
		out.kind = kindMap
		c.fields(out, v.Values)
	case *ast.MappingValueNode:
		out.kind = kindMap
		c.fields(out, []*ast.MappingValueNode{v})
	case *ast.SequenceNode:
		out.kind = kindList
		for i, item := range v.Values {
			out.items = append(out.items, c.node(item, t.item(i)))
		}
	default:
		c.scalar(out, n)
	}
	return out
}

// fields fills a map. The place of a block map is that of its first key: the
// library gives that of the first colon.
func (c *converter) fields(out *node, values []*ast.MappingValueNode) {
	seen := make(map[string]place, len(values))
	for i, v := range values {
		at := c.place(v.Key)
		key, ok := keyText(v.Key)
		if i == 0 && (at.line < out.place.line || at.line == out.place.line && at.column < out.place.column) {
			out.place = at
		}
		if !ok {
			c.faults.add(at, out.trail.String(), "this cannot be a key: write a plain name")
			continue
		}
		if first, twice := seen[key]; twice {
			c.faults.add(at, out.trail.at(key).String(), "is here twice, first on line %d: remove one", first.line)
			continue
		}
		seen[key] = at
		out.fields = append(out.fields, field{key, at, c.node(v.Value, out.trail.at(key))})
	}
}

func keyText(k ast.MapKeyNode) (string, bool) {
	switch v := k.(type) {
	case *ast.StringNode:
		return strings.Clone(v.Value), true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return strings.Clone(k.GetToken().Value), true
	}
	return "", false
}

// scalar fills a node that has no children. Texts are cloned, because the
// library's are parts of the file, which would stay in memory with them.
func (c *converter) scalar(out *node, n ast.Node) {
	var err error
	switch v := n.(type) {
	case *ast.NullNode:
		out.kind = kindNull
	case *ast.BoolNode:
		out.kind, out.text = kindBool, strconv.FormatBool(v.Value)
	case *ast.StringNode:
		out.kind, out.text = kindText, strings.Clone(v.Value)
		if v.Token.Type == token.StringType {
			err = c.plain(out)
		}
	case *ast.LiteralNode:
		out.kind, out.text = kindText, strings.Clone(v.Value.Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		out.kind, out.text, err = parseNumber(n.GetToken().Value)
	default:
		err = fmt.Errorf("%s is not taken here: write a plain value", n.Type())
	}
	if err == nil && out.kind == kindText {
		out.words, err = parseWords(out.text)
	}
	if err != nil {
		c.faults.add(out.place, out.trail.String(), "%s", err)
	}
}

// numeral is a number as YAML 1.2's core schema has it, of which the library
// takes some for texts: 1e3 and what is too large for 64 bits.
var numeral = regexp.MustCompile(`^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`)

func (c *converter) plain(out *node) (err error) {
	if numeral.MatchString(out.text) {
		out.kind, out.text, err = parseNumber(out.text)
	}
	return err
}

// parseNumber returns a number as JSON writes it.
func parseNumber(text string) (kind, string, error) {
	digits := strings.ReplaceAll(strings.TrimLeft(text, "+-"), "_", "")
	if len(digits) > 1 && digits[0] == '0' && isDigit(digits[1]) {
		return kindInteger, "0", fmt.Errorf("%s has a zero before it, which some read as octal: remove it, write 0o for octal, or put it in quotes as a text", text)
	}
	if strings.HasPrefix(text, "-") {
		digits = "-" + digits
	}
	if n, err := strconv.ParseInt(digits, 0, 64); err == nil {
		return kindInteger, strconv.FormatInt(n, 10), nil
	}
	if n, err := strconv.ParseUint(digits, 0, 64); err == nil {
		return kindInteger, strconv.FormatUint(n, 10), nil
	}
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return kindNumber, "0", fmt.Errorf("%s is not a number that can be used: write a finite one, or put it in quotes as a text", text)
	}
	if mantissa, _, _ := strings.Cut(strings.ToLower(digits), "e"); f == 0 && vanishes(mantissa) {
		return kindNumber, "0", fmt.Errorf("%s is so small that it would be 0: write 0, or a larger one", text)
	}
	return kindNumber, strconv.FormatFloat(f, 'g', -1, 64), nil
}
