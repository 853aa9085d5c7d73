// Package document reads strict YAML with positions: every complaint has the file, the line,
// the column and the path of what it is about, and all of them come at once.
//
// A key may be a range, `m[1..1000]`, which stands for as many entries; in their keys and
// values `{n}` is the number of each, and `{20000+n}` a sum.
package document

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

const (
	maxFile   = 1 << 20
	maxErrors = 50
	maxDepth  = 100
	maxRange  = 100_000

	// maxEntries bounds what ranges within ranges come to.
	maxEntries = 200_000
)

// Error is one complaint.
type Error struct {
	File         string
	Line, Column int
	Path, Text   string
}

// Error returns `file:line:column: path: text`.
func (e *Error) Error() string {
	at := fmt.Sprintf("%s:%d:%d: ", e.File, e.Line, e.Column)
	if e.Path != "" {
		at += e.Path + ": "
	}
	return at + e.Text
}

// Document is a file that is being read. It collects complaints; Err returns them.
type Document struct {
	file  string
	errs  []*Error
	count int // of complaints, those beyond maxErrors included

	entries int // of mappings, with ranges written out
}

// Open reads a file. Without an error the Value is its root.
func Open(path string) (*Document, Value, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, Value{}, err
	}
	if info.Size() > maxFile {
		return nil, Value{}, fmt.Errorf("%s: larger than %d bytes", path, maxFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, Value{}, err
	}
	return Parse(path, text)
}

// Parse reads a text that stands in a file.
func Parse(file string, text []byte) (*Document, Value, error) {
	d := &Document{file: file}
	if line, deep := tooDeep(string(text)); deep {
		return nil, Value{}, &Error{File: file, Line: line, Column: 1, Text: "nested too deep"}
	}
	tree, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, Value{}, d.syntax(err)
	}
	var body ast.Node
	for _, doc := range tree.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			return nil, Value{}, &Error{File: file, Line: 1, Column: 1, Text: "more than one document in the file"}
		}
		body = doc.Body
	}
	if body == nil {
		return nil, Value{}, &Error{File: file, Line: 1, Column: 1, Text: "empty"}
	}
	return d, Value{doc: d, node: body}, nil
}

func (d *Document) syntax(err error) error {
	var e yaml.Error
	if errors.As(err, &e) && e.GetToken() != nil {
		at := e.GetToken().Position
		return &Error{File: d.file, Line: at.Line, Column: at.Column, Text: e.GetMessage()}
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return &Error{File: d.file, Line: 1, Column: 1, Text: text}
}

// tooDeep keeps the parser, which calls itself for each level, from running out of stack.
func tooDeep(text string) (line int, deep bool) {
	depth := 0
	for i, l := range strings.Split(text, "\n") {
		dashes := 0
		for _, r := range l {
			switch r {
			case '[', '{':
				depth++
			case ']', '}':
				depth = max(depth-1, 0)
			case '-', '?', ':':
				dashes++
			}
			if depth > maxDepth || dashes > 10*maxDepth {
				return i + 1, true
			}
		}
	}
	return 0, false
}

func (d *Document) complain(node ast.Node, path, text string) {
	e := &Error{File: d.file, Line: 1, Column: 1, Path: path, Text: text}
	if t := node.GetToken(); t != nil && t.Position != nil {
		e.Line, e.Column = t.Position.Line, t.Position.Column
	}
	d.count++
	if len(d.errs) < maxErrors {
		d.errs = append(d.errs, e)
	}
}

// exhausted complains once about a document that is larger than it looks. Being a complaint, it
// also ends every range.
func (d *Document) exhausted(node ast.Node) {
	if d.entries == maxEntries+1 {
		d.complain(node, "", fmt.Sprintf("the ranges up to here stand for more than %d entries", maxEntries))
	}
}

// Err returns all complaints in the order of their places, or nil.
func (d *Document) Err() error {
	slices.SortStableFunc(d.errs, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	errs := make([]error, 0, len(d.errs))
	for _, e := range d.errs {
		errs = append(errs, e)
	}
	return errors.Join(errs...)
}

// Failed reports whether there is a complaint.
func (d *Document) Failed() bool { return d.count > 0 }
