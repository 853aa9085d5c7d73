package config

import (
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	wrong "github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// leaves returns the errors that are causes and no consequences. An anyOf or
// oneOf stays whole: of its forms each is wrong in a way of its own.
func leaves(e *jsonschema.ValidationError) []*jsonschema.ValidationError {
	switch e.ErrorKind.(type) {
	case *wrong.AnyOf, *wrong.OneOf:
		return []*jsonschema.ValidationError{e}
	}
	if len(e.Causes) == 0 {
		return []*jsonschema.ValidationError{e}
	}
	var all []*jsonschema.ValidationError
	for _, cause := range e.Causes {
		all = append(all, leaves(cause)...)
	}
	return all
}

func wantsText(e *jsonschema.ValidationError) bool {
	switch k := e.ErrorKind.(type) {
	case *wrong.Type:
		return slices.Contains(k.Want, "string")
	case *wrong.AnyOf, *wrong.OneOf:
		return slices.ContainsFunc(e.Causes, wantsText)
	}
	return slices.ContainsFunc(e.Causes, wantsText)
}

// complain reports one thing that a schema does not allow in settings.
func (k *checker) complain(s *schema, src *source, value any, e *jsonschema.ValidationError) {
	loc := e.InstanceLocation
	n := at(src.settings, loc)
	where, path := src.place, src.trail
	if n != nil {
		where, path = n.place, n.trail
	}
	switch what := e.ErrorKind.(type) {
	case *wrong.AdditionalProperties:
		for _, key := range what.Properties {
			k.unknown(s, fieldAt(src, n, key), key, loc)
		}
	case *wrong.Required:
		for _, key := range what.Missing {
			k.add(where, path.at(key).String(), "is missing: add `%s:`%s", key, about(s.walk(append(slices.Clone(loc), key))))
		}
	default:
		k.add(where, path.String(), "%s", explainLeaf(s, e, found(n, value, loc)))
	}
}

// lookup returns the value at a location.
func lookup(value any, location []string) any {
	for _, key := range location {
		switch v := value.(type) {
		case map[string]any:
			value = v[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(v) {
				return nil
			}
			value = v[i]
		default:
			return nil
		}
	}
	return value
}

// fieldAt returns the field key of the map n, or of the settings where n is nil.
func fieldAt(src *source, n *node, key string) field {
	fields := src.settings
	if n != nil {
		fields = n.fields
	}
	for _, f := range fields {
		if f.key == key {
			return f
		}
	}
	return field{key: key, place: src.place, value: &node{trail: src.trail.at(key)}}
}

// unknown reports a key that the driver does not take.
func (k *checker) unknown(s *schema, f field, key string, loc []string) {
	var takes []string
	if sub := s.walk(loc); sub != nil {
		for name := range sub.Properties {
			takes = append(takes, name)
		}
	}
	known := takes
	if len(loc) == 0 {
		known = append(slices.Clone(takes), s.own...)
	}
	hint := "takes " + list(takes)
	if len(takes) == 0 {
		hint = "takes no keys here"
	}
	k.add(f.place, f.value.trail.String(), "unknown key%s: the driver %s %s", suggest(key, known), s.driver, hint)
}

// walk returns the part of a schema that a location is described by, or nil.
func (s *schema) walk(location []string) *jsonschema.Schema {
	sub := s.Schema
	for _, key := range location {
		if sub = follow(sub); sub == nil {
			return nil
		}
		next := sub.Properties[key]
		if _, err := strconv.Atoi(key); err == nil && next == nil {
			next = sub.Items2020
		}
		if more, ok := sub.AdditionalProperties.(*jsonschema.Schema); ok && next == nil {
			next = more
		}
		sub = next
	}
	return follow(sub)
}

const maxRefs = 16

func follow(s *jsonschema.Schema) *jsonschema.Schema {
	for i := 0; s != nil && s.Ref != nil && i < maxRefs; i++ {
		s = s.Ref
	}
	return s
}

// about adds a hint from a schema: its examples, or else what it says of itself.
func about(s *jsonschema.Schema) string {
	switch {
	case s == nil:
		return ""
	case len(s.Examples) == 1:
		return ", such as " + jsonText(s.Examples[0])
	case len(s.Examples) > 1:
		return ", such as " + jsonText(s.Examples[0]) + " or " + jsonText(s.Examples[1])
	case s.Description != "":
		return " (" + strings.TrimSuffix(s.Description, ".") + ")"
	}
	return ""
}

// found describes a value that was written, or that placeholders made.
func found(n *node, value any, location []string) string {
	switch {
	case n == nil:
		return "this"
	case n.words != nil:
		b, err := json.Marshal(lookup(value, location))
		if err != nil {
			b = nil
		}
		return fmt.Sprintf("%s (from %q)", b, shorten(n.text))
	case n.kind == kindText:
		return strconv.Quote(shorten(n.text))
	case n.kind == kindList || n.kind == kindMap:
		return n.kind.String()
	}
	return n.text
}

// explainLeaf says what is wrong with a value, and what to write.
func explainLeaf(s *schema, e *jsonschema.ValidationError, found string) string {
	sub := s.walk(e.InstanceLocation)
	if sub != nil && sub.WriteOnly {
		found = "this" // a password is not for a log
	}
	if fault, want := wanted(e); want != "" {
		return fmt.Sprintf("%s %s: use %s", found, fault, want)
	}
	hint := about(sub)
	switch k := e.ErrorKind.(type) {
	case *wrong.Pattern:
		if hint == "" {
			hint = " matching " + k.Want
		}
		return fmt.Sprintf("%s has not the form that the driver %s takes: write another%s", found, s.driver, hint)
	case *wrong.AnyOf, *wrong.OneOf:
		return fmt.Sprintf("%s has none of the forms that the driver %s takes: use %s", found, s.driver, forms(e, hint))
	case *wrong.FalseSchema, *wrong.Not:
		return fmt.Sprintf("%s is not allowed here by the driver %s: change or remove it%s", found, s.driver, hint)
	}
	text := e.ErrorKind.LocalizedString(message.NewPrinter(language.English))
	return fmt.Sprintf("%s is wrong for the driver %s, %s: change it%s", found, s.driver, text, hint)
}

// wanted says what a value is and what it should be, for the simple kinds.
func wanted(e *jsonschema.ValidationError) (fault, want string) {
	switch k := e.ErrorKind.(type) {
	case *wrong.Type:
		return "is " + typeWord(k.Got), typeWords(k.Want)
	case *wrong.Enum:
		words := make([]string, len(k.Want))
		for i, w := range k.Want {
			words[i] = jsonText(w)
		}
		got, _ := k.Got.(string)
		return "is unknown" + suggest(got, words), "one of " + strings.Join(words, ", ")
	case *wrong.Const:
		return "is not allowed", jsonText(k.Want)
	case *wrong.Minimum:
		return "is too small", "at least " + number(k.Want)
	case *wrong.Maximum:
		return "is too large", "at most " + number(k.Want)
	case *wrong.ExclusiveMinimum:
		return "is too small", "more than " + number(k.Want)
	case *wrong.ExclusiveMaximum:
		return "is too large", "less than " + number(k.Want)
	case *wrong.MultipleOf:
		return "does not fit", "a multiple of " + number(k.Want)
	}
	return wantedSize(e)
}

func wantedSize(e *jsonschema.ValidationError) (fault, want string) {
	switch k := e.ErrorKind.(type) {
	case *wrong.MinLength:
		return "is too short", fmt.Sprintf("at least %d characters", k.Want)
	case *wrong.MaxLength:
		return "is too long", fmt.Sprintf("at most %d characters", k.Want)
	case *wrong.MinItems:
		return "has too few items", fmt.Sprintf("at least %d", k.Want)
	case *wrong.MaxItems:
		return "has too many items", fmt.Sprintf("at most %d", k.Want)
	case *wrong.Format:
		return "is not a " + k.Want, "a valid " + k.Want
	}
	return "", ""
}

// forms joins what each form of an anyOf or oneOf wants.
func forms(e *jsonschema.ValidationError, otherwise string) string {
	var all []string
	for _, leaf := range leavesBelow(e) {
		_, want := wanted(leaf)
		if p, ok := leaf.ErrorKind.(*wrong.Pattern); ok {
			want = "a text matching " + p.Want
		}
		if want != "" && !slices.Contains(all, want) {
			all = append(all, want)
		}
	}
	if len(all) == 0 {
		return "another" + otherwise
	}
	return strings.Join(all, ", or ")
}

func leavesBelow(e *jsonschema.ValidationError) []*jsonschema.ValidationError {
	var all []*jsonschema.ValidationError
	for _, cause := range e.Causes {
		all = append(all, leaves(cause)...)
	}
	return all
}

func number(r *big.Rat) string {
	f, _ := r.Float64() // rounded is good enough to be read
	return strconv.FormatFloat(f, 'g', -1, 64)
}

var typeNames = map[string]string{
	"string": "a text", "integer": "a whole number", "number": "a number", "boolean": "true or false",
	"array": "a list", "object": "a map", "null": "nothing",
}

func typeWord(t string) string {
	if word := typeNames[t]; word != "" {
		return word
	}
	return t
}

func typeWords(types []string) string {
	words := make([]string, len(types))
	for i, t := range types {
		words[i] = typeWord(t)
	}
	return strings.Join(words, " or ")
}

func jsonText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}
