package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"regexp/syntax"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// A schema comes from a driver, and the core must not be at its mercy: twenty lines that
// refer to each other twice are a million schemas, and the time that the compiler takes
// grows faster than the depth of the text.
const (
	maxNested   = 64      // as of the schemas in a manifest
	maxUnfolded = 100_000 // schemas, with each that is referred to where it is referred to
	maxSchema   = 1 << 20 // bytes, as of the manifest
	// A regular expression is a program: ten letters are a thousand times what stands before
	// them. maxPattern is how many steps one may have, and maxPatterns all of a schema.
	maxPattern  = 2_000
	maxPatterns = 50_000
)

// noLoader keeps a schema from reading files or the network.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s is outside of the schema", url)
}

// compile makes a schema of its text; it is nil where there is none.
func compile(raw json.RawMessage) (*jsonschema.Schema, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, nil
	}
	if len(raw) > maxSchema {
		return nil, fmt.Errorf("it has more than %d bytes", maxSchema)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	if nested(doc, 0) {
		return nil, fmt.Errorf("it is nested more than %d deep", maxNested)
	}
	const url = "driver:schema"
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	left := patterns(maxPatterns)
	c.UseRegexpEngine(left.compile)
	if err := c.AddResource(url, doc); err != nil {
		return nil, err
	}
	s, err := c.Compile(url)
	if err != nil {
		return nil, err
	}
	if u := make(unfolding); u.size(s, 0) > maxUnfolded {
		return nil, fmt.Errorf("it is more than %d schemas, one within the other by $ref", maxUnfolded)
	}
	return s, nil
}

// patterns is how many steps the regular expressions of a schema may still have.
type patterns int

// compile makes a regular expression that is not too large.
func (p *patterns) compile(text string) (jsonschema.Regexp, error) {
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	n := steps(tree)
	if n > maxPattern {
		return nil, fmt.Errorf("the regular expression %.60q has more than %d steps", text, maxPattern)
	}
	if *p -= patterns(n); *p < 0 {
		return nil, fmt.Errorf("its regular expressions have more than %d steps", maxPatterns)
	}
	return regexp.Compile(text)
}

// steps is about how many instructions a regular expression becomes; no more than just
// beyond maxPattern.
func steps(tree *syntax.Regexp) int {
	n := 1 + len(tree.Rune)/2
	for _, sub := range tree.Sub {
		n = min(n+steps(sub), maxPattern+1)
	}
	if tree.Op == syntax.OpRepeat {
		n *= max(tree.Min, tree.Max, 1)
	}
	return min(n, maxPattern+1)
}

// nested reports whether a document is nested too deep.
func nested(doc any, depth int) bool {
	if depth > maxNested {
		return true
	}
	switch doc := doc.(type) {
	case map[string]any:
		for _, v := range doc {
			if nested(v, depth+1) {
				return true
			}
		}
	case []any:
		for _, v := range doc {
			if nested(v, depth+1) {
				return true
			}
		}
	}
	return false
}

// unfolding is the size of each schema that was looked at.
type unfolding map[*jsonschema.Schema]int

// size is how many schemas a schema is, if what it refers to stood in it; one that
// comes up within itself is as deep as what is checked by it, and is not counted again.
func (u unfolding) size(s *jsonschema.Schema, depth int) int {
	if n, known := u[s]; known {
		return n
	}
	if depth > maxUnfolded/100 {
		return maxUnfolded + 1
	}
	u[s] = 0
	n := 1
	u.within(reflect.ValueOf(s).Elem(), func(sub *jsonschema.Schema) { n = min(n+u.size(sub, depth+1), maxUnfolded+1) })
	u[s] = n
	return n
}

// within calls each for the schemas that a value holds, however the library keeps them.
func (u unfolding) within(v reflect.Value, each func(*jsonschema.Schema)) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				u.within(v.Field(i), each)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			u.within(v.Index(i), each)
		}
	case reflect.Map:
		for at := v.MapRange(); at.Next(); {
			u.within(at.Value(), each)
		}
	case reflect.Interface:
		u.within(v.Elem(), each)
	case reflect.Pointer:
		switch p := v.Interface().(type) {
		case *jsonschema.Schema:
			if p != nil {
				each(p)
			}
		case *jsonschema.DynamicRef:
			if p != nil {
				each(p.Ref)
			}
		}
	}
}
