package config

import (
	"fmt"
	"strconv"
	"strings"
)

// words is a text with placeholders: {EXPR} or {EXPR:FORMAT}. FORMAT is d or x
// (decimal, hexadecimal), after a 0 and a width where zeros are to fill it: 03d.
//
// Braces mean much to drivers too: JSON, regular expressions, a driver's own
// placeholders. So only what can be meant is a placeholder: nothing but names,
// numbers and operators in the braces, and n, d or l among the names. Anything
// else is left as it stands, and {{n}} is the text {n}.
type words struct {
	parts []part
	uses  variables
}

type part struct {
	literal string // where expr is nil
	expr    *expr
	format  string // for fmt; empty: %d, of a whole text a number
}

// parseWords returns nil where text has no placeholder and no doubled braces.
func parseWords(text string) (*words, error) {
	if strings.IndexByte(text, '{') < 0 {
		return nil, nil
	}
	w := &words{}
	changed := false
	var literal strings.Builder
	for i := 0; i < len(text); {
		inner, size, kind := braces(text[i:])
		switch kind {
		case bracesNone:
			literal.WriteByte(text[i])
		case bracesDoubled:
			literal.WriteString("{" + inner + "}")
			changed = true
		case bracesOpen:
			return nil, fmt.Errorf("%q has no closing brace: add }", text[i:])
		case bracesPlaceholder:
			p, uses, err := parsePart(inner)
			if err != nil {
				return nil, fmt.Errorf("the placeholder {%s} is wrong: %w", inner, err)
			}
			w.literal(&literal)
			w.parts = append(w.parts, p)
			w.uses |= uses
		}
		i += size
	}
	if w.uses == 0 && !changed {
		return nil, nil
	}
	w.literal(&literal)
	return w, nil
}

func (w *words) literal(b *strings.Builder) {
	if b.Len() > 0 {
		w.parts = append(w.parts, part{literal: b.String()})
		b.Reset()
	}
}

type bracesKind uint8

const (
	bracesNone bracesKind = iota
	bracesPlaceholder
	bracesDoubled
	bracesOpen // looks like a placeholder to the end of the text, but is not closed
)

const maxPlaceholder = 200

// braces looks at the beginning of text. inner is what stands in the braces and
// size what they take in all.
func braces(text string) (inner string, size int, kind bracesKind) {
	if text[0] != '{' {
		return "", 1, bracesNone
	}
	open := 1
	if strings.HasPrefix(text, "{{") {
		open = 2
	}
	end := open
	for end < len(text) && end < maxPlaceholder && (isWord(text[end]) || strings.IndexByte(" +-*():", text[end]) >= 0) {
		end++
	}
	inner = text[open:end]
	if !namesVariable(inner) {
		return "", 1, bracesNone
	}
	closing := text[end:]
	switch {
	case closing == "" && open == 1:
		return inner, end, bracesOpen
	case open == 2 && strings.HasPrefix(closing, "}}"):
		return inner, end + 2, bracesDoubled
	case open == 1 && strings.HasPrefix(closing, "}"):
		return inner, end + 1, bracesPlaceholder
	default:
		return "", 1, bracesNone
	}
}

// namesVariable reports whether n, d or l is among the names before the format.
func namesVariable(inner string) bool {
	inner, _, _ = strings.Cut(inner, ":")
	for i := 0; i < len(inner); {
		if !isWord(inner[i]) {
			i++
			continue
		}
		start := i
		for i < len(inner) && isWord(inner[i]) {
			i++
		}
		if variableOf(inner[start:i]) != 0 {
			return true
		}
	}
	return false
}

func parsePart(inner string) (part, variables, error) {
	text, format, formatted := strings.Cut(inner, ":")
	e, uses, err := parseExpr(text)
	if err != nil {
		return part{}, 0, err
	}
	p := part{expr: e}
	if formatted {
		if p.format, err = parseFormat(format); err != nil {
			return part{}, 0, err
		}
	}
	return p, uses, nil
}

func parseFormat(text string) (string, error) {
	letter := text
	if rest, padded := strings.CutPrefix(text, "0"); padded {
		letter = strings.TrimLeft(rest, "0123456789")
		width, err := strconv.Atoi(strings.TrimSuffix(rest, letter))
		if err != nil || width < 1 || width > 20 {
			letter = ""
		}
	}
	if letter != "d" && letter != "x" {
		return "", fmt.Errorf("the format %q is unknown: use d, x, or with zeros to a width 03d, 04x", text)
	}
	return "%" + text, nil
}

func (w *words) isNumber() bool {
	return len(w.parts) == 1 && w.parts[0].expr != nil && w.parts[0].format == ""
}

func (w *words) eval(s scope) (string, error) {
	buf := make([]byte, 0, 64)
	for _, p := range w.parts {
		if p.expr == nil {
			buf = append(buf, p.literal...)
			continue
		}
		v, err := p.expr.eval(s)
		if err != nil {
			return "", err
		}
		if p.format == "" {
			buf = strconv.AppendInt(buf, v, 10)
		} else {
			buf = fmt.Appendf(buf, p.format, v)
		}
	}
	return string(buf), nil
}
