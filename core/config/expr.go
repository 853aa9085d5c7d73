package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
)

// variables is a set of the numbers that a placeholder may use.
type variables uint8

const (
	useN variables = 1 << iota // the innermost range
	useD                       // the device's range
	useL                       // the link's range
)

// A count is the number in a range; not ok outside of one.
type count struct {
	value int64
	ok    bool
}

// A scope is the values of the variables at one place.
type scope struct{ n, d, l count }

func (s scope) withLink(c count) scope {
	if c.ok {
		s.n, s.l = c, c
	}
	return s
}

func (s scope) withDevice(c count) scope {
	if c.ok {
		s.n, s.d = c, c
	}
	return s
}

func (s scope) withPoint(c count) scope {
	if c.ok {
		s.n = c
	}
	return s
}

// An expr is a parsed expression: a leaf (a number or a variable) or a binary
// operation.
type expr struct {
	op          byte // '+', '-', '*'; 'v' a variable; 'i' an integer
	left, right *expr
	value       int64
	name        variables
}

var errOverflow = errors.New("the number grows too large: use smaller ones")

func (e *expr) eval(s scope) (int64, error) {
	switch e.op {
	case 'i':
		return e.value, nil
	case 'v':
		return e.variable(s)
	}
	a, err := e.left.eval(s)
	if err != nil {
		return 0, err
	}
	b, err := e.right.eval(s)
	if err != nil {
		return 0, err
	}
	return apply(e.op, a, b)
}

func (e *expr) variable(s scope) (int64, error) {
	c, letter, what := s.n, "n", "a range"
	switch e.name {
	case useD:
		c, letter, what = s.d, "d", "a device with a range"
	case useL:
		c, letter, what = s.l, "l", "a link with a range"
	}
	if !c.ok {
		return 0, fmt.Errorf("%s has no number outside of %s: give the name a range such as m[1..10], or double the braces for the text itself", letter, what)
	}
	return c.value, nil
}

func apply(op byte, a, b int64) (int64, error) {
	switch op {
	case '+':
		if sum := a + b; (sum > a) == (b > 0) {
			return sum, nil
		}
	case '-':
		if diff := a - b; (diff < a) == (b > 0) {
			return diff, nil
		}
	default:
		product := a * b
		if a == 0 || (product/a == b && (a != -1 || b != math.MinInt64)) {
			return product, nil
		}
	}
	return 0, errOverflow
}

// A parser reads one expression:
//
//	sum    = term { ("+" | "-") term }
//	term   = factor { "*" factor }
//	factor = number | "n" | "d" | "l" | "(" sum ")" | "-" factor
type parser struct {
	text  string
	pos   int
	depth int
	uses  variables
}

const maxExprDepth = 32

func parseExpr(text string) (*expr, variables, error) {
	p := parser{text: text}
	e, err := p.sum()
	if err != nil {
		return nil, 0, err
	}
	if c := p.peek(); c != 0 {
		return nil, 0, fmt.Errorf("%q is not expected after %q", c, text[:p.pos])
	}
	return e, p.uses, nil
}

// peek skips blanks and returns the next byte, 0 at the end.
func (p *parser) peek() byte {
	for p.pos < len(p.text) && p.text[p.pos] == ' ' {
		p.pos++
	}
	if p.pos == len(p.text) {
		return 0
	}
	return p.text[p.pos]
}

func (p *parser) sum() (*expr, error) {
	return p.chain(p.term, func(c byte) bool { return c == '+' || c == '-' })
}

func (p *parser) term() (*expr, error) {
	return p.chain(p.factor, func(c byte) bool { return c == '*' })
}

func (p *parser) chain(operand func() (*expr, error), isOp func(byte) bool) (*expr, error) {
	left, err := operand()
	for err == nil && isOp(p.peek()) {
		e := &expr{op: p.text[p.pos], left: left}
		p.pos++
		e.right, err = operand()
		left = e
	}
	return left, err
}

func (p *parser) factor() (*expr, error) {
	if p.depth++; p.depth > maxExprDepth {
		return nil, errors.New("too many parentheses and signs")
	}
	defer func() { p.depth-- }()
	switch c := p.peek(); {
	case c == 0:
		return nil, errors.New("it ends where a number or n, d or l is expected")
	case c == '(':
		return p.group()
	case c == '-':
		p.pos++
		e, err := p.factor()
		return &expr{op: '-', left: &expr{op: 'i'}, right: e}, err
	case isDigit(c):
		return p.integer()
	case isLetter(c):
		return p.name()
	default:
		return nil, fmt.Errorf("%q stands where a number or n, d or l is expected", c)
	}
}

func (p *parser) group() (*expr, error) {
	p.pos++
	e, err := p.sum()
	if err != nil {
		return nil, err
	}
	if p.peek() != ')' {
		return nil, errors.New("a closing parenthesis is missing")
	}
	p.pos++
	return e, nil
}

func (p *parser) integer() (*expr, error) {
	start := p.pos
	for p.pos < len(p.text) && isWord(p.text[p.pos]) {
		p.pos++
	}
	v, err := strconv.ParseInt(p.text[start:p.pos], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%q is not a whole number that can be used", p.text[start:p.pos])
	}
	return &expr{op: 'i', value: v}, nil
}

func (p *parser) name() (*expr, error) {
	start := p.pos
	for p.pos < len(p.text) && isWord(p.text[p.pos]) {
		p.pos++
	}
	word := p.text[start:p.pos]
	v := variableOf(word)
	if v == 0 {
		return nil, fmt.Errorf("%q is unknown: there are n (the innermost range), d (the device's) and l (the link's)", word)
	}
	p.uses |= v
	return &expr{op: 'v', name: v}, nil
}

func variableOf(word string) variables {
	switch word {
	case "n":
		return useN
	case "d":
		return useD
	case "l":
		return useL
	}
	return 0
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_' }

func isWord(c byte) bool { return isDigit(c) || isLetter(c) }
