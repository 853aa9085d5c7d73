package serial

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode"

	"github.com/fieldloom/fieldloom/core/driver"
)

// template is what is sent: text with the places of the written value in it.
type template []part

// part is literal text or, with value set, the written value.
type part struct {
	text   string
	value  bool
	format string // of the value, as in fmt; empty: plain
}

const maxTemplate = 4096

var (
	placeholder = regexp.MustCompile(`\{\{|\}\}|\{[^{}]*\}|[{}]`)
	formats     = regexp.MustCompile(`^0?[0-9]{0,2}(\.[0-9]{1,2})?[dfsxX]$`)
	variable    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	inPattern   = regexp.MustCompile(`\\[pPx]\{[^}]*\}|\\.|\{[A-Za-z_][A-Za-z0-9_]*\}`)
)

// parseTemplate reads a send template and puts the variables in.
func parseTemplate(s string, vars map[string]string) (template, error) {
	if s == "" {
		return nil, errors.New("send is missing: what is to be sent?")
	}
	if len(s) > maxTemplate {
		return nil, fmt.Errorf("send is longer than %d bytes", maxTemplate)
	}
	var t template
	var text strings.Builder
	at := 0
	for _, found := range placeholder.FindAllStringIndex(s, -1) {
		text.WriteString(s[at:found[0]])
		at = found[1]
		switch word := s[found[0]:found[1]]; word {
		case "{{", "}}":
			text.WriteString(word[:1])
		case "{", "}":
			return nil, fmt.Errorf("send %q: a brace alone: write {{ or }} for one that is sent", s)
		default:
			name, format, formatted := strings.Cut(word[1:len(word)-1], ":")
			if name == "value" {
				if formatted && !formats.MatchString(format) {
					return nil, fmt.Errorf("send %q: format %q is not understood: write one such as .1f, 05d, X or s", s, format)
				}
				t = append(t, part{text: text.String()}, part{value: true, format: format})
				text.Reset()
				continue
			}
			v, ok := vars[name]
			if !ok || formatted {
				return nil, fmt.Errorf("send %q: %s is no variable of vars", s, word)
			}
			text.WriteString(v)
		}
	}
	text.WriteString(s[at:])
	return append(t, part{text: text.String()}), nil
}

// takesValue reports whether the template has a place for the written value.
func (t template) takesValue() bool {
	for _, p := range t {
		if p.value {
			return true
		}
	}
	return false
}

// render puts the value in. A text that would end the line early is refused: it
// would be a command of its own.
func (t template) render(v driver.Value, k kind) (string, *driver.Error) {
	var b strings.Builder
	for _, p := range t {
		if !p.value {
			b.WriteString(p.text)
			continue
		}
		s, ok := formatValue(v, k, p.format)
		if !ok || strings.ContainsFunc(s, unicode.IsControl) {
			return "", driver.Errorf(driver.BadValue, "%s %q can't be written as %s", v.Kind(), v, describe(k, p.format))
		}
		b.WriteString(s)
	}
	return b.String(), nil
}

func describe(k kind, format string) string {
	if format == "" {
		return k.String()
	}
	return fmt.Sprintf("%s with the format %s", k, format)
}

// formatValue writes v as a value of kind k.
func formatValue(v driver.Value, k kind, format string) (string, bool) {
	verb := byte(0)
	if format != "" {
		verb = format[len(format)-1]
	}
	var arg any
	f, isNumber := v.AsFloat64()
	switch {
	case isNumber && (math.IsNaN(f) || math.IsInf(f, 0)), v.Kind() == driver.KindNull, v.Kind() == driver.KindBytes:
		return "", false
	case verb == 's', verb == 0 && k == text:
		arg = v.String()
	case k == text:
		return "", false
	case k == boolean:
		b, ok := v.AsBool()
		if arg = int64(0); b {
			arg = int64(1)
		}
		return verbatim(arg, format), ok && verb != 'f'
	case verb == 'f', verb == 0 && k == number:
		if !isNumber {
			return "", false
		}
		arg = f
	default:
		n, whole := wholeNumber(v)
		if arg = n; !whole {
			return "", false
		}
		if format == "" && k == hex {
			format = "X"
		}
	}
	return verbatim(arg, format), true
}

// wholeNumber returns an int64 or a uint64.
func wholeNumber(v driver.Value) (any, bool) {
	if n, ok := v.AsInt64(); ok {
		return n, true
	}
	n, ok := v.AsUint64()
	return n, ok
}

func verbatim(arg any, format string) string {
	if f, ok := arg.(float64); ok && format == "" {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	if format == "" {
		return fmt.Sprint(arg)
	}
	return fmt.Sprintf("%"+format, arg)
}

// pattern is a compiled expect or refuse.
type pattern struct {
	*regexp.Regexp
	prefix string // the text that every match begins the line with; empty: any
}

// parsePattern compiles an expression and puts the variables in.
func parsePattern(s string, vars map[string]string) (*pattern, error) {
	if len(s) > maxTemplate {
		return nil, fmt.Errorf("the pattern is longer than %d bytes", maxTemplate)
	}
	var unknown error
	expanded := inPattern.ReplaceAllStringFunc(s, func(word string) string {
		if word[0] != '{' {
			return word
		}
		v, ok := vars[word[1:len(word)-1]]
		if !ok && unknown == nil {
			unknown = fmt.Errorf(`pattern %q: %s is no variable of vars: write \{ for a brace`, s, word)
		}
		return regexp.QuoteMeta(v)
	})
	if unknown != nil {
		return nil, unknown
	}
	re, err := regexp.Compile(expanded)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", s, err)
	}
	return &pattern{Regexp: re, prefix: anchoredPrefix(expanded)}, nil
}

// anchoredPrefix returns the literal text that follows "^" at the beginning of an
// expression. (regexp.LiteralPrefix knows nothing of anchors.)
func anchoredPrefix(expr string) string {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil || re.Op != syntax.OpConcat || len(re.Sub) < 2 {
		return ""
	}
	anchor, literal := re.Sub[0], re.Sub[1]
	if anchor.Op != syntax.OpBeginText || literal.Op != syntax.OpLiteral || literal.Flags&syntax.FoldCase != 0 {
		return ""
	}
	return string(literal.Rune)
}

// apart reports whether no line can match both patterns, as far as their beginnings say. A nil
// pattern matches every line.
func apart(a, b *pattern) bool {
	if a == nil || b == nil {
		return false
	}
	return !strings.HasPrefix(a.prefix, b.prefix) && !strings.HasPrefix(b.prefix, a.prefix)
}
